"""The Review page: one answer after the other, the most helpful first, with a key for everything.

An action is one short request: it saves the decision and brings the next answer.
"""

from collections.abc import Callable, Iterable
from html import escape
from typing import Any

import gradio as gr
from gradio import EventData

from assistant.web import words
from assistant.web.access import QUIET, Id, Person, Refused, Services, Update
from assistant.web.markup import forward, render, script
from assistant.web.review_order import Ranked, ReviewReason, reason_counts
from assistant.web.review_queue import ReviewQueue, ReviewSession, shown_correction
from assistant.web.run_report import SPLITS, funnel
from assistant.web.theme import panel
from store import StoreError
from store.accounts import UserRole
from store.records import Ruling
from store.reviews import ReviewFilter, ReviewKind

_SHOWN = [
    ("Worth a look", ReviewKind.WORTH),
    ("Judgement wanted", ReviewKind.PROPOSED),
    ("All undecided", ReviewKind.UNDECIDED),
    ("Rated down", ReviewKind.DOWN),
    ("Rated up", ReviewKind.UP),
    ("Corrected", ReviewKind.CORRECTED),
    ("Not rated", ReviewKind.UNRATED),
    ("Reviewed", ReviewKind.DECIDED),
]
_ANY = ""
_ALARMING = (
    ReviewReason.OUTDATED,
    ReviewReason.DISAGREE,
    ReviewReason.DIFFER,
)  # something is wrong with what people wrote


class ReviewPage:
    """Builds the components where it is made."""

    def __init__(self, services: Services, assistant: gr.Dropdown):
        self._services = services
        self._store = services.store
        self.assistant = assistant
        self.session = gr.State(ReviewSession())  # copied for every tab
        with gr.Column(elem_id="review-page"):
            self._build_filters()
            self.bulk = panel("review-bulk", js_on_load=forward("bulk"))
            script_of_item = forward("act") + script("review_keys.js") + script("local_times.js")
            with gr.Row(elem_id="review-columns"):
                self.item = panel("review-item", js_on_load=script_of_item)
                with gr.Column(elem_id="review-side", scale=0, min_width=250):
                    self.progress = panel("review-progress")
                    self.prompt = panel("review-prompt")
                    panel("review-legend", render("review_legend.html"))
            self.dataset = panel("review-dataset")
        self.filters = [self.search, self.show_kind, self.rater, self.reason]
        # The session is changed in place, so it is no output.
        self.here = [assistant, self.session, *self.filters]
        self.changing = [self.item, self.bulk, self.progress]
        self.shown = [*self.changing, self.rater, self.reason, self.prompt, self.dataset]
        self._wire()

    def _build_filters(self) -> None:
        with gr.Row(elem_id="review-filters"):
            options = {"placeholder": "Questions, answers, comments", "scale": 3, "min_width": 220}
            self.search = gr.Textbox(label="Search", max_lines=1, elem_id="review-search", **options)
            self.show_kind = _choice("Show", "review-show", _SHOWN)
            self.rater = _choice("Rater", "review-rater")
            self.reason = _choice("Reason", "review-reason")

    def _wire(self) -> None:
        def on(method: Callable[..., Any]) -> Callable[..., Any]:
            return self._services.access.event(UserRole.REVIEWER, method)

        here = [self.assistant, self.session]
        # Not through the queue: one short request instead of two and a stream halves the wait for the next answer.
        self.item.act(on(self.act), here, self.changing, queue=False, **QUIET)
        self.bulk.bulk(on(self.act_on_all), here, self.changing, **QUIET)
        changed = [part.change for part in self.filters]
        gr.on(changed, on(self.find), self.here, self.changing, trigger_mode="always_last", **QUIET)

    def show(self, person: Person, assistant_id: Id, session: ReviewSession, *filters: Any) -> Update:
        """The page was opened, or another assistant was chosen: the queue and the choices anew."""
        update = self.find(person, assistant_id, session, *filters)
        if assistant_id is None:
            return update
        segments = self._store.prompts.latest(assistant_id).segments
        return update | {
            self.rater: _choices("Everybody", self._store.reviews.raters()),
            self.reason: _choices("Any", self._store.reviews.reasons()),
            self.prompt: render("review_prompt.html", segments=segments),
            self.dataset: self._counted(assistant_id),
        }

    def show_if_open(self, person: Person, assistant_id: Id, session: ReviewSession, *filters: Any) -> Update:
        """The picker was filled or changed: a page that nobody has opened yet costs nothing."""
        if session.turn:
            return self.show(person, assistant_id, session, *filters)
        return {self.item: gr.skip()}

    def find(self, person: Person, assistant_id: Id, session: ReviewSession, *filters: Any) -> Update:
        """A filter was changed."""
        # What was sent before the picker was filled may come after what was sent since.
        assistant_id = assistant_id or session.assistant_id
        text, show, *others = (choice or "" for choice in filters)
        wanted = ReviewFilter(ReviewKind(show or ReviewKind.WORTH), text.strip(), *others)
        self._queue(person).open(session, assistant_id, wanted)
        return self._update(person, session)

    def _queue(self, person: Person) -> ReviewQueue:
        return ReviewQueue(self._store, person.name)

    def act(self, person: Person, assistant_id: Id, session: ReviewSession, event: EventData) -> Update:
        """A key or a button. What was typed stays in the box when it could not be saved."""
        data, queue = event._data, self._queue(person)
        do, id = str(data.get("do")), str(data.get("id", ""))
        typed = str(data.get("text", "")) if do == "correct" else None
        notice = ""
        try:
            if do == "undo":
                queue.undo(session)
            elif do == "skip":
                queue.skip(session, id)
            elif do == "only":
                queue.choose(session, id, int(data["number"]))
            else:
                queue.decide(session, id, Ruling(do), typed)
            typed = None
        except (Refused, StoreError) as error:
            notice = str(error) if isinstance(error, Refused) else f"Not saved. {error}"
        return self._update(person, session, typed, notice)

    def act_on_all(
        self, person: Person, assistant_id: Id, session: ReviewSession, event: EventData
    ) -> Update:
        """Everything that was found, after the number was confirmed."""
        count, ruling = int(event.count), Ruling(event.do)
        try:
            self._queue(person).decide_all(session, ruling, count)
        except (Refused, StoreError) as error:
            gr.Warning(escape(f"Nothing was changed. {error}"))
            return self._update(person, session)
        done = "approved" if ruling is Ruling.APPROVE else "rejected"
        gr.Info(f"{words.count(count, 'answer')} {done}. Z takes all of it back.")
        return self._update(person, session)

    # HTML

    def _update(
        self, person: Person, session: ReviewSession, typed: str | None = None, notice: str = ""
    ) -> Update:
        session.turn += 1
        today = self._queue(person).decided_today(session.assistant_id) if session.assistant_id else 0
        values = {
            "session": session,
            "narrowed": session.wanted != ReviewFilter(),
            "to_do": 0 if session.wanted.show is ReviewKind.DECIDED else len(session.waiting),
            "today": today,
            "reasons": reason_counts(session.waiting),
            "cards": self._cards(person, session, typed, notice),
            "alarming": _ALARMING,
            "notice": notice,
        }
        return {
            self.item: render("review_card.html", **values),
            self.bulk: render("review_bulk.html", **values),
            self.progress: render("review_progress.html", **values),
        }

    def _cards(
        self, person: Person, session: ReviewSession, typed: str | None, notice: str
    ) -> list[dict[str, Any]]:
        """What is shown, and behind it what follows, which is shown while a decision is saved (`review_keys.js`)."""
        if session.current is None:
            return []
        can_undo, following = bool(session.actions), self._queue(person).following(session)
        shown = self._card(session.current, can_undo=can_undo, typed=typed, notice=notice)
        return [shown, self._card(following, can_undo=True, typed=None, notice="")] if following else [shown]

    def _card(self, one: Ranked, **values: Any) -> dict[str, Any]:
        """`typed` is a correction that could not be saved, `notice` says why."""
        branch = self._store.messages.branch(one.item.message_id)
        served = branch[-1].deployment_id
        return {
            **values,
            **vars(one),
            "id": one.id,
            "served": None if served is None else self._store.deployments.get(served),
            "before": branch[:-2],
            "correction": shown_correction(one.item),
        }

    def _counted(self, assistant_id: str) -> str:
        """What a retrain would learn from; reading it takes all ratings, so it is as of when the page was opened."""
        try:
            counts = self._services.dataset_now(assistant_id)
        except StoreError as error:
            return f'<p class="notice bad">{escape(str(error))}</p>'
        picture = funnel(counts, "review-funnel")
        return render("review_dataset.html", picture=picture, counts=counts, splits=SPLITS)


def _choice(label: str, id: str, choices: Iterable[tuple[str, str]] = (("Any", _ANY),)) -> gr.Dropdown:
    choices = list(choices)
    return gr.Dropdown(choices, value=choices[0][1], label=label, elem_id=id, scale=2, min_width=100)


def _choices(any_of_them: str, names: Iterable[str]) -> gr.Dropdown:
    return gr.Dropdown([(any_of_them, _ANY), *((name, name) for name in names)])
