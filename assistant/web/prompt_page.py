"""The Prompt page: the prompt as text, its segments with their cost, its versions, and new assistants.

Saving makes a new version, which the base model serves in full until something shorter is proven.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr
from gradio import EventData

from assistant.assistants import create_assistant, load_sample, save_prompt
from assistant.prompt_text import PromptTextError, parse, to_text
from assistant.rendering import prompt_tokens, segment_tokens
from assistant.varying import PromptForms, as_segments, group_forms
from assistant.web import words
from assistant.web.access import QUIET, Id, Person, Services, Update
from assistant.web.markup import forward, render, script
from assistant.web.theme import panel
from store.accounts import UserRole
from store.outdated import outdated_answers
from store.records import Segment
from store.visible import is_blank, one_line

_EXAMPLE = """You are the help desk of a small library. Answer in one or two sentences.

[keep] Never give out the data of other readers.

User: How long can I keep a book?
Assistant: Four weeks, and you can renew it twice."""
_SCORERS = [
    ("chrF: free text, near the approved answer counts", "chrf"),
    ("exact: a label or one right answer", "exact"),
    ("BLEU: sentences with a fixed wording", "bleu"),
    ("JSON: same fields and values", "json"),
]


class PromptPage:
    """Builds the components where it is made. After the events `made`, `wanted` is a new assistant."""

    def __init__(self, services: Services, assistant: gr.Dropdown):
        self._services = services
        self._store = services.store
        self.assistant = assistant
        self.wanted = gr.State(None)
        # The assistant, its prompt and what came through the API, as the page last showed them.
        self.last_shown = gr.State(None)
        with gr.Column(elem_id="prompt-page"):
            self.first = gr.HTML(render("prompt_first.html"), elem_id="prompt-empty")
            with gr.Column(visible=False) as self.editing:
                self._build_editor()
            clicks = script("local_times.js") + forward("adopt")
            self.found = gr.HTML(elem_id="found", elem_classes="panel-html", js_on_load=clicks)
            with gr.Accordion("Another assistant", open=True, elem_id="another-assistant") as self.more:
                self._build_new()
        self.here = [assistant, self.text, self.last_shown]
        self.shown = [self.first, self.editing, self.more, self.text, self.save, self.cards, self.notice]
        self.shown += [self.versions, self.sample, self.found, self.last_shown]
        self._wire()

    def _build_editor(self) -> None:
        with gr.Row(elem_id="prompt-columns"):
            with gr.Column(scale=1, min_width=320):
                self.text = _box(lines=18, max_lines=32, elem_id="prompt-text")
                gr.HTML(render("prompt_rules.html"), elem_classes="panel-html")
                self.notice = panel("prompt-notice", js_on_load=script("local_times.js"))
                self.save = gr.Button("Save as a new version", variant="primary", elem_id="prompt-save")
            with gr.Column(scale=1, min_width=320):
                self.cards = panel("segments")
        self.versions = panel("prompt-versions", js_on_load=script("local_times.js"))

    def _build_new(self) -> None:
        self.sample = gr.Button("Load the sample", variant="primary", elem_id="load-sample")
        gr.HTML('<p class="none">or write your own:</p>', elem_classes="panel-html")
        with gr.Row():
            example = {"placeholder": "Help desk", "max_length": 80}
            self.name = gr.Textbox(label="Name", elem_id="assistant-name", **example)
            label = "Scorer, which judges answers at the gate"
            self.scorer = gr.Dropdown(_SCORERS, value="chrf", label=label, elem_id="assistant-scorer")
        self.new_text = _box(lines=8, max_lines=24, placeholder=_EXAMPLE, elem_id="new-prompt-text")
        gr.HTML(render("prompt_rules.html"), elem_classes="panel-html")
        self.create = gr.Button("Create the assistant", elem_id="create-assistant")

    def _wire(self) -> None:
        event, admin = self._services.access.event, UserRole.ADMIN
        preview = event(UserRole.REVIEWER, self.preview, quiet=True)
        here, shown = [self.assistant, self.text], [self.cards, self.notice]
        # Not `input`: that one misses the first edit after the server set the text.
        self.text.change(preview, here, shown, trigger_mode="always_last", **QUIET)
        self.save.click(event(admin, self.save_text), here, self.shown, **QUIET)
        loading, new = QUIET | {"show_progress": "minimal"}, [self.name, self.scorer, self.new_text]
        self.made = [
            self.sample.click(event(admin, self.load), None, self.wanted, **loading),
            self.create.click(event(admin, self.add), new, self.wanted, **QUIET),
            self.found.adopt(event(admin, self.adopt), None, self.wanted, **QUIET),
        ]

    def show(
        self,
        person: Person,
        assistant_id: Id,
        typed: str = "",
        before: tuple[str, str, str] | None = None,
    ) -> Update:
        """Everything of the page as the store has it. What was typed since it showed just this `before` stays."""
        edits = person.may(UserRole.ADMIN)
        if assistant_id is None:
            return {
                self.found: self._found(edits),
                self.first: gr.HTML(visible=True),
                self.editing: gr.Column(visible=False),
                self.more: gr.Accordion(label="Your first assistant", open=True, visible=edits),
            }
        prompts, deployments = (
            self._store.prompts.all(assistant_id),
            self._store.deployments.all(assistant_id),
        )
        text = to_text(prompts[-1].segments)
        found = self._found(edits)
        stays = before is not None and tuple(before[:2]) == (assistant_id, text)
        cards, notice = self.preview(person, assistant_id, typed if stays else text)
        return {
            self.first: gr.HTML(visible=False),
            self.editing: gr.Column(visible=True),
            self.more: gr.Accordion(label="Another assistant", open=False, visible=edits),
            self.text: gr.Textbox(interactive=edits) if stays else gr.Textbox(text, interactive=edits),
            self.last_shown: (assistant_id, text, found),
            self.save: gr.Button(visible=edits),
            self.cards: cards,
            self.notice: notice,
            self.versions: render("prompt_versions.html", prompts=prompts[::-1], deployments=deployments),
            self.found: gr.skip() if before and before[2] == found else found,
        }

    def preview(self, person: Person, assistant_id: Id, text: str) -> tuple[str, str]:
        """The cards of what stands in the editor, and what saving it would do."""
        if assistant_id is None:
            return "", ""
        latest, active = (
            self._store.prompts.latest(assistant_id),
            self._store.deployments.active(assistant_id),
        )
        try:
            segments = parse(text, latest.segments)
        except PromptTextError as error:
            return f'<p class="notice bad">{escape(str(error))}</p>', ""
        changed = segments != latest.segments
        replaced = active.adapter if active and changed else None
        # Of text that is not served yet no card says sent or left out.
        served = active and not changed and active.prompt_id == latest.id
        tokenizer, limits = self._services.tokenizer, self._services.chat.limits
        total = prompt_tokens(tokenizer, segments)
        cards = render(
            "segments.html",
            segments=segments,
            tokens=segment_tokens(tokenizer, segments),
            total=total,
            room=max(0, limits.room - total),
            segment_ids=active.segment_ids if active and served else None,
            in_adapter=active is not None and active.adapter is not None,
        )
        saved, complaint = None if changed else latest, limits.complaint(total)
        return cards, render("prompt_notice.html", adapter=replaced, saved=saved, complaint=complaint)

    def save_text(self, person: Person, assistant_id: Id, text: str) -> Update:
        if assistant_id is None:
            return {self.notice: ""}
        latest = self._store.prompts.latest(assistant_id)
        segments = _parsed(text, latest.segments)
        if segments == latest.segments:
            gr.Info(f"Nothing changed: this is version {latest.version}.")
            return {self.notice: gr.skip()}
        limits = self._services.chat.limits
        served = save_prompt(self._store, self._services.tokenizer, assistant_id, segments, limits)
        known = served.adapter or served.variant
        how = "as an earlier version with the same text was" if known else "in full"
        gr.Info(f"Saved. It is served {how}: {words.tokens(served.prompt_tokens)} per request.")
        if outdated := outdated_answers(self._store, assistant_id):
            gr.Warning(
                f"{words.count(len(outdated), 'approved answer')} say what the prompt no longer says. Nothing is "
                "learned from them until somebody has decided about them: they stand first on Review."
            )
        return self.show(person, assistant_id)

    def load(self, person: Person) -> str:
        assistant, new = load_sample(self._store, self._services.tokenizer, self._services.chat.limits)
        loaded = words.count(new, "conversation")
        gr.Info(f"{assistant.name}: {loaded} loaded. Chat with it, or press Train now.")
        return assistant.id

    def add(self, person: Person, name: str, scorer: str, text: str) -> str:
        tokenizer, limits = self._services.tokenizer, self._services.chat.limits
        name, segments = _named(name), _parsed(text)
        return create_assistant(self._store, tokenizer, name, scorer, segments, limits=limits).id

    def adopt(self, person: Person, event: EventData) -> str:
        """Make an assistant of a prompt that came through the API."""
        id, name, scorer = (str(event._data.get(key, "")) for key in ("id", "name", "scorer"))
        name = _named(name)
        if scorer not in dict(_SCORERS).values():
            raise PromptTextError("Choose a scorer.")
        group = next((one for one in self._found_groups() if id in one.ids), None)
        others = [one for one in group.ids if one != id] if group else []
        with self._store.writing():
            adopted = self._store.assistants.adopt(id, name, scorer, others)
            if group and others:
                segments = as_segments(self._text(id), group.lines)
                save_prompt(self._store, self._services.tokenizer, id, segments, self._services.chat.limits)
        gr.Info(f"{adopted.name} is an assistant now; what programs asked it is on Review.")
        return adopted.id

    def _found(self, edits: bool) -> str:
        known = {one.id: one for one in self._store.assistants.found()}
        found = [
            (
                [known[id] for id in one.ids],
                "\n".join(one.lines) if len(one.ids) > 1 else self._text(one.ids[0]),
            )
            for one in self._found_groups()
        ]
        return render("found_prompts.html", found=found, edits=edits, scorers=_SCORERS)

    def _found_groups(self) -> list[PromptForms]:
        return group_forms((one.id, self._text(one.id)) for one in self._store.assistants.found())

    def _text(self, assistant_id: str) -> str:
        """A found prompt as it was sent; nothing of one that is being saved."""
        newest = self._store.prompts.all(assistant_id)[-1:]
        return "\n\n".join(segment.text for prompt in newest for segment in prompt.segments)


def _named(name: str) -> str:
    if is_blank(name):
        raise PromptTextError("Give the assistant a name.")
    return one_line(name, 200)


def _parsed(text: str, before: Sequence[Segment] = ()) -> tuple[Segment, ...]:
    """Raises PromptTextError."""
    if segments := parse(text, before):
        return segments
    raise PromptTextError("The prompt is empty. Write at least one paragraph.")


def _box(**options: Any) -> gr.Textbox:
    return gr.Textbox(label="Prompt", elem_classes="mono", max_length=200_000, **options)
