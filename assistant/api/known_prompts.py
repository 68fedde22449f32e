"""Recognises a prompt that a program sends along with its question."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain

from assistant.api.chat_request import Turns
from assistant.assistants import save_prompt
from assistant.limits import ChatLimits
from assistant.prompt_text import VARIES, to_text
from assistant.tokenizer import ChatTokenizer
from assistant.varying import Lines, comparable, varying_lines
from store import Store
from store.records import Prompt, Role, Segment, SegmentKind
from store.visible import one_line

MOST_FOUND = 100  # prompts that nobody has adopted; one that changes with each request would fill the store


@dataclass(frozen=True)
class Recognised:
    """A version of an assistant's prompt, and the turns after its worked examples."""

    assistant_id: str
    version: int
    turns: Turns


@dataclass(frozen=True)
class _Form:
    """A prompt as a program may send it: the lines of a system message, and turns before the first question."""

    prompt: Prompt
    lines: Lines
    examples: Turns

    @property
    def varies(self) -> bool:
        return any(one.kind is SegmentKind.VARYING for one in self.prompt.segments)

    @property
    def rank(self) -> tuple[int, int]:
        return len(self.examples), self.prompt.id

    def begins(self, turns: Turns) -> bool:
        size = len(self.examples)
        return turns[:size] == self.examples and len(turns) > size


@dataclass(frozen=True)
class _Fit:
    """A form that a request has, with the lines that stand where its prompt varies."""

    form: _Form
    varying: Lines

    def recognised(self, turns: Turns) -> Recognised:
        (role, question), *rest = turns[len(self.form.examples) :]
        if self.varying:
            question = "\n".join([*self.varying, "", question])
        return Recognised(self.form.prompt.assistant_id, self.form.prompt.version, ((role, question), *rest))


class KnownPrompts:
    """Every version of every assistant's prompt; any number of threads may ask."""

    def __init__(self, store: Store, tokenizer: ChatTokenizer):
        self._store, self._tokenizer = store, tokenizer
        self._lock = threading.Lock()
        self._newest = -1
        self._known: tuple[Mapping[Lines, Sequence[_Form]], Sequence[_Form]] = ({}, ())

    def find(self, system: str, turns: Turns, assistant_id: str | None = None) -> Recognised | None:
        """The prompt whose instructions are this system message, and whose worked examples come first among the turns.

        Lines that vary then stand before the first question. Of several prompts it is the wanted assistant's, then one
        that somebody adopted, then one where nothing varies, then the longest, then the newest. Blank lines and spaces
        at the ends of lines make no difference.
        """
        fitting = [fit for fit in self._fitting(comparable(system)) if fit.form.begins(turns)]
        if not fitting:
            return None
        # Of each assistant the longest and newest alone.
        found = {one.form.prompt.assistant_id: one for one in sorted(fitting, key=lambda fit: fit.form.rank)}
        adopted = self._store.assistants.adopted_ids() if len(found) > 1 else set()
        best = max(
            found.values(),
            key=lambda fit: (
                fit.form.prompt.assistant_id == assistant_id,
                fit.form.prompt.assistant_id in adopted,
                not fit.varying,
                fit.form.rank,
            ),
        )
        return best.recognised(turns)

    def _fitting(self, lines: Lines) -> Iterator[_Fit]:
        forms, templates = self._forms()
        yield from (_Fit(form, ()) for form in forms.get(lines, ()))
        for form in templates:
            if (varying := varying_lines(form.lines, lines)) is not None:
                yield _Fit(form, varying)

    def _forms(self) -> tuple[Mapping[Lines, Sequence[_Form]], Sequence[_Form]]:
        """Those of which every line is known, by their lines, and the others."""
        with self._lock:
            newest = self._store.prompts.newest_id()
            if newest != self._newest:
                forms, templates = defaultdict[Lines, list[_Form]](list), list[_Form]()
                for form in chain.from_iterable(map(_forms_of, self._store.prompts.all())):
                    (templates if form.varies else forms[form.lines]).append(form)
                self._newest, self._known = newest, (dict(forms), templates)
            return self._known

    def add_found(self, system: str, limits: ChatLimits) -> str | None:
        """The id of a new assistant with this prompt, which nobody has adopted yet; None where there are too many.

        Its prompt is served as it was sent. Raises ChatError where it leaves no room for a message.
        """
        digest = sha256("\n".join(comparable(system)).encode()).hexdigest()
        id = f"prompt-{digest[:12]}"
        with self._lock:  # two requests with a new prompt come at the same moment
            known = self._store.assistants.found_ids()
            if id in known:
                return id
            if len(known) >= MOST_FOUND:
                return None
            limits.check(len(self._tokenizer.encode_text(system)))
            with self._store.writing():
                self._store.assistants.create(id, one_line(system, 60), "chrf", found=True)
                save_prompt(self._store, self._tokenizer, id, as_sent(system))
            return id


def _forms_of(prompt: Prompt) -> list[_Form]:
    """What a program may send for a prompt: examples as turns, or all of it as the text that stands on its page."""
    segments = prompt.segments
    instructions = [one.text for one in segments if one.kind is not SegmentKind.EXAMPLE]
    turns = tuple(
        turn
        for one in segments
        if one.kind is SegmentKind.EXAMPLE
        for turn in ((Role.USER, one.user), (Role.ASSISTANT, one.assistant))
    )
    forms = [_Form(prompt, comparable("\n\n".join(instructions)), turns)]
    if turns:
        text = to_text([replace(one, protected=False) for one in segments])
        forms.append(_Form(prompt, comparable(text), ()))
    # Nothing at all is no sign of a prompt.
    return [form for form in forms if set(form.lines) - {VARIES} or form.examples]


def as_sent(system: str) -> tuple[Segment, ...]:
    """A segment for each paragraph where they make up just this text, else one for all of it."""
    paragraphs = system.split("\n\n")
    if any(one != one.strip() or not one for one in paragraphs):
        paragraphs = [system]
    return tuple(
        Segment(f"part-{n}", SegmentKind.INSTRUCTION, text=text) for n, text in enumerate(paragraphs, 1)
    )
