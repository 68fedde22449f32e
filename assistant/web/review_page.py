"""The Review page: one answer after the other, the most helpful first, with a key for everything.

An action is one short request: it saves the decision and brings the next answer.

Ids for tests: #review-search #review-show #review-rater #review-reason #review-deployment #review-since #review-until
#review-item (article.review[data-message][data-turn]) #review-approve #review-reject #review-skip #review-undo
#review-editor #review-correction #review-save #review-diff #review-count #review-bulk #bulk-approve-open
#bulk-approve-confirm #bulk-reject-open #bulk-reject-confirm #review-dataset.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from assistant.web import judgement_requests, review_card, words
from assistant.web.access import QUIET, Person, Update
from assistant.web.markup import forward, render, review_keys
from assistant.web.review_card import Card
from assistant.web.review_order import Ranked
from assistant.web.review_queue import ReviewQueue, ReviewSession, Stale
from assistant.web.services import Services
from store import StoreError
from store.accounts import UserRole
from store.records import Ruling
from store.reviews import ReviewFilter, Show

_SHOWN = [
    ("Worth a look", Show.WORTH),
    ("Judgement wanted", Show.PROPOSED),
    ("All undecided", Show.UNDECIDED),
    ("Rated down", Show.DOWN),
    ("Rated up", Show.UP),
    ("Corrected", Show.CORRECTED),
    ("Not rated", Show.UNRATED),
    ("Reviewed", Show.DECIDED),
]
_ANY = ""
_DAY_S = 86400.0
# Counting the dataset reads every rating, so it takes at most this share of one processor.
_COUNT_S, _COUNT_SHARE = 4.0, 0.05


class PageState:
    """What this tab shows: whether the page was ever opened, and of when the numbers of the dataset are."""

    def __init__(self) -> None:
        self.opened = False
        self.changed = False  # decisions have changed the numbers
        self.next_at = 0.0


class ReviewPage:
    """Builds the components where it is made."""

    def __init__(self, services: Services, assistant: gr.Dropdown):
        self._services = services
        self._store = services.store
        self.assistant = assistant
        self.session = gr.State(ReviewSession())  # copied for every tab
        self.state = gr.State(PageState())
        self.clock = gr.Timer(_COUNT_S)
        with gr.Column(elem_id="review-page"):
            self._build_filters()
            self.bulk = gr.HTML(elem_id="review-bulk", elem_classes="panel-html", js_on_load=forward("bulk"))
            with gr.Row(elem_id="review-columns"):
                self.item = gr.HTML(
                    elem_id="review-item", elem_classes="panel-html", js_on_load=review_keys()
                )
                with gr.Column(elem_id="review-side", scale=0, min_width=250):
                    self.progress = gr.HTML(elem_id="review-progress", elem_classes="panel-html")
                    gr.HTML(render("review_legend.html"), elem_classes="panel-html", elem_id="review-legend")
            self.dataset = gr.HTML(elem_id="review-dataset", elem_classes="panel-html")
        self.filters = [
            self.search,
            self.show_kind,
            self.rater,
            self.reason,
            self.deployment,
            self.since,
            self.until,
        ]
        self.here = [self.assistant, self.session, self.state, *self.filters]
        # The states are changed in place, so they are no outputs.
        self.changing = [self.item, self.bulk, self.progress]
        self.shown = [*self.changing, self.rater, self.reason, self.deployment, self.dataset]
        self._wire()

    def _build_filters(self) -> None:
        with gr.Row(elem_id="review-filters"):
            self.search = gr.Textbox(
                label="Search",
                placeholder="Questions, answers, comments",
                max_lines=1,
                elem_id="review-search",
                scale=3,
                min_width=220,
            )
            self.show_kind = gr.Dropdown(
                _SHOWN, value=Show.WORTH, label="Show", elem_id="review-show", scale=2, min_width=150
            )
            self.rater = _choice("Rater", "review-rater")
            self.reason = _choice("Reason", "review-reason")
            self.deployment = _choice("Answered by", "review-deployment")
            self.since = _date("From", "review-since")
            self.until = _date("To", "review-until")

    def _wire(self) -> None:
        def on(method: Callable[..., Any]) -> Callable[..., Any]:
            return self._services.access.event(UserRole.REVIEWER, method)

        here = [self.assistant, self.session, self.state]
        # Not through the queue: one short request instead of two and a stream halves the wait for the next answer.
        self.item.act(on(self.act), here, self.changing, queue=False, **QUIET)
        self.bulk.bulk(on(self.act_on_all), here, self.changing, **QUIET)
        asked = [part.change for part in self.filters]
        gr.on(
            asked,
            on(self.find),
            self.here,
            self.changing,
            trigger_mode="always_last",
            **QUIET,
        )
        ticked = self._services.access.event(UserRole.REVIEWER, self.count, quiet=True)
        self.clock.tick(ticked, [self.assistant, self.state], self.dataset, queue=False, **QUIET)

    # What brings other answers

    def show(
        self,
        person: Person,
        assistant_id: str | None,
        session: ReviewSession,
        state: PageState,
        *filters: Any,
    ) -> Update:
        """The page was opened, or another assistant was chosen: the queue and the choices anew."""
        try:
            update = self._find(person, assistant_id, session, state, filters)
            raters, reasons = self._store.reviews.raters(), self._store.reviews.reasons()
            served = self._store.deployments.all(assistant_id) if assistant_id else []
        except StoreError as error:
            gr.Warning(escape(str(error)))
            return {self.item: gr.skip()}
        state.opened = True
        deployments = [(words.deployment(one), str(one.id)) for one in reversed(served)]
        return update | {
            self.rater: gr.Dropdown([("Everybody", _ANY), *((name, name) for name in raters)]),
            self.reason: gr.Dropdown([("Any", _ANY), *((name, name) for name in reasons)]),
            self.deployment: gr.Dropdown([("Any", _ANY), *deployments]),
            self.dataset: self._counted(assistant_id, state),
        }

    def show_if_open(
        self,
        person: Person,
        assistant_id: str | None,
        session: ReviewSession,
        state: PageState,
        *filters: Any,
    ) -> Update:
        """Another assistant is shown: a page that nobody has opened yet costs nothing."""
        if not state.opened:
            return {self.item: gr.skip()}
        return self.show(person, assistant_id, session, state, *filters)

    def find(
        self,
        person: Person,
        assistant_id: str | None,
        session: ReviewSession,
        state: PageState,
        *filters: Any,
    ) -> Update:
        """A filter was changed."""
        try:
            return self._find(person, assistant_id, session, state, filters)
        except StoreError as error:
            gr.Warning(escape(str(error)))
            return {self.item: gr.skip()}

    def _find(
        self,
        person: Person,
        assistant_id: str | None,
        session: ReviewSession,
        state: PageState,
        filters: tuple[Any, ...],
    ) -> Update:
        self._queue(person).open(session, assistant_id, _wanted(*filters))
        return self._update(person, session, state)

    def _queue(self, person: Person) -> ReviewQueue:
        return ReviewQueue(self._store, person.name)

    # Actions

    def act(
        self,
        person: Person,
        assistant_id: str | None,
        session: ReviewSession,
        state: PageState,
        event: gr.EventData,
    ) -> Update:
        """A key or a button. What was typed stays in the box when it could not be saved."""
        data = event._data
        do, id = str(data.get("do")), str(data.get("id", ""))
        typed = str(data.get("text", "")) if do == "correct" else None
        try:
            if do == "undo":
                self._queue(person).undo(session)
            elif do == "skip":
                self._queue(person).skip(session, id)
            elif typed is not None and not typed.strip():
                raise Stale("The correction is empty. Write the answer as it should have been.")
            else:
                self._queue(person).decide(session, id, Ruling(do), typed and typed.strip())
        except Stale as error:
            return self._update(person, session, state, typed, str(error))
        except StoreError as error:
            return self._update(person, session, state, typed, f"Not saved. {error}")
        state.changed = state.changed or do != "skip"
        return self._update(person, session, state)

    def act_on_all(
        self,
        person: Person,
        assistant_id: str | None,
        session: ReviewSession,
        state: PageState,
        event: gr.EventData,
    ) -> Update:
        """Everything that was found, after the number was confirmed."""
        count = int(event.count)
        try:
            self._queue(person).decide_all(session, Ruling(event.do), count)
        except (Stale, StoreError) as error:
            gr.Warning(escape(f"Nothing was changed. {error}"))
            return self._update(person, session, state)
        done = "approved" if event.do == Ruling.APPROVE else "rejected"
        gr.Info(f"{words.count(count, 'answer')} {done}. Z takes all of it back.")
        state.changed = True
        return self._update(person, session, state)

    def count(self, person: Person, assistant_id: str | None, state: PageState) -> Any:
        """A tick: the numbers of the dataset, where decisions have changed them."""
        if not state.changed or time.monotonic() < state.next_at:
            return gr.skip()
        return self._counted(assistant_id, state)

    # HTML

    def _update(
        self,
        person: Person,
        session: ReviewSession,
        state: PageState,
        typed: str | None = None,
        notice: str = "",
    ) -> Update:
        session.turn += 1
        left = len(session.waiting)
        to_do = 0 if session.wanted.show is Show.DECIDED else left
        today = self._queue(person).decided_today(session.assistant_id) if session.assistant_id else 0
        return {
            self.item: self._item(person, session, typed, notice),
            self.bulk: review_card.bulk(left, session.full) if _narrowed(session.wanted) else "",
            self.progress: review_card.progress(today, to_do, session.full and to_do > 0, session.waiting),
        }

    def _item(self, person: Person, session: ReviewSession, typed: str | None, notice: str) -> str:
        current, can_undo = session.current, self._queue(person).can_undo(session)
        if session.assistant_id is None:
            title, text = "No assistant yet", "Load the sample or write a prompt on the Prompt page."
            return review_card.finished(title, text, session.turn, False)
        if current is None:
            title, text = _nothing_left(session.wanted, bool(session.actions))
            return review_card.finished(title, text, session.turn, can_undo, notice)
        shown = self._card(current, can_undo, typed, notice)
        following = self._queue(person).following(session)
        behind = None if following is None else self._card(following, True)
        return review_card.page(session.turn, shown, behind)

    def _card(self, one: Ranked, can_undo: bool, typed: str | None = None, notice: str = "") -> Card:
        id = one.item.message_id
        if judgement_requests.is_judgement_request(id):
            branch = judgement_requests.branch(self._store, id)
            return Card(one, branch, "answered by a refused candidate", can_undo, typed, notice)
        branch = self._store.messages.branch(id)
        served = branch[-1].deployment_id
        answered_by = "imported, not answered here"
        if served is not None:
            answered_by = words.deployment(self._store.deployments.get(served))
        return Card(one, branch, answered_by, can_undo, typed, notice)

    def _counted(self, assistant_id: str | None, state: PageState) -> str:
        if assistant_id is None:
            return ""
        began = time.monotonic()
        try:
            counts = self._services.dataset_now(assistant_id)
        except StoreError as error:
            return f'<p class="notice bad">{escape(str(error))}</p>'
        took = time.monotonic() - began
        state.changed, state.next_at = False, time.monotonic() + took / _COUNT_SHARE
        return review_card.dataset(counts) if counts else ""


def _choice(label: str, id: str) -> gr.Dropdown:
    return gr.Dropdown([("Any", _ANY)], value=_ANY, label=label, elem_id=id, scale=2, min_width=130)


def _date(label: str, id: str) -> gr.DateTime:
    return gr.DateTime(label=label, include_time=False, elem_id=id, scale=2, min_width=130)


def _wanted(
    text: str,
    show: str,
    rater: str | None,
    reason: str | None,
    deployment: str | None,
    since: float | None,
    until: float | None,
) -> ReviewFilter:
    """`since` and `until` are the beginnings of days, the last of which is included."""
    return ReviewFilter(
        show=Show(show or Show.WORTH),
        text=text.strip(),
        rater=rater or "",
        reason=reason or "",
        deployment_id=int(deployment) if deployment else None,
        since=since,
        until=None if until is None else until + _DAY_S,
    )


def _narrowed(wanted: ReviewFilter) -> bool:
    """Whether somebody has said what is looked for; all at once is for that alone."""
    return wanted != ReviewFilter()


def _nothing_left(wanted: ReviewFilter, begun: bool) -> tuple[str, str]:
    if wanted.show is Show.DECIDED:
        return "Nothing reviewed", "No reviewed answer is found with these filters."
    if _narrowed(wanted):
        return "Nothing is left", "No answer is found with these filters that is not reviewed yet."
    title = "All reviewed" if begun else "Nothing needs a look"
    return title, "To see more, choose “All undecided” or “Rated up” above."
