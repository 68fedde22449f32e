"""The Training page: ask for a run, watch it, and read every run's verdict.

In: the services. Out: components and their events; a timer looks at the store once a second while a run is
on its way and every few seconds otherwise. Does not train: it leaves a request in the store, which the
trainer takes.

Ids for tests: #train-now #rollback #rollback-confirm #trainer-state #run-status #run-phases #run-now
#loss-plot #runs (button[data-event=pick][data-id]) #verdict (class promoted/refused) #verdict-reasons
#verdict-variants #gate-plot #gate-answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from html import escape
from typing import Any

import gradio as gr

from assistant.web import plots, run_progress, verdict, words
from assistant.web.access import QUIET, Person, Update
from assistant.web.markup import forward
from assistant.web.services import Services
from assistant.web.side_by_side import SHOWN, side_by_side
from store import StoreError
from store.records import RunStatus, TrainingRun
from store.users import UserRole

# With a look every second the app took 15 % of a core and a browser without a graphics card 21 %, which the training
# beside them did not get.
_WATCH_S, _IDLE_S = 2.0, 4.0
_ASKED_S = 60.0  # after “Train now” the page looks often for as long as this, until the run appears


class Seen:
    """What this tab shows already: only what changed is sent again, so nothing flickers."""

    def __init__(self) -> None:
        self.assistant_id: str | None = None
        self.run_id: int | None = None  # the run that is selected; None: the newest
        self.asked_at = 0.0
        self.state: tuple[Any, ...] = ()
        self.losses = -1


class TrainingPage:
    """Builds the components where it is made."""

    def __init__(self, services: Services, assistant: gr.Dropdown):
        self._services = services
        self._store = services.store
        self.assistant = assistant
        self.seen = gr.State(Seen())  # copied for every tab
        self.timer = gr.Timer(_IDLE_S)
        with gr.Column(elem_id="training-page"):
            with gr.Row(elem_id="training-bar"):
                self.train = gr.Button(
                    "Train now", variant="primary", elem_id="train-now", scale=0, min_width=140
                )
                self.back = gr.Button("Roll back…", elem_id="rollback", scale=0, min_width=120)
                self.trainer = gr.HTML(elem_id="trainer-state", elem_classes="panel-html")
            with gr.Row(visible=False, elem_id="rollback-panel") as self.confirming:
                self.back_text = gr.HTML(elem_classes="panel-html")
                self.back_yes = gr.Button(
                    "Roll back now", variant="stop", elem_id="rollback-confirm", scale=0, min_width=140
                )
                self.back_no = gr.Button("Keep it", elem_id="rollback-cancel", scale=0, min_width=100)
            self.status = gr.HTML(elem_id="run-status", elem_classes="panel-html")
            self.runs = gr.HTML(elem_id="runs", elem_classes="panel-html", js_on_load=forward("pick"))
            self.losses = gr.Plot(show_label=False, container=False, elem_id="loss-plot", visible=False)
            self.verdict = gr.HTML(elem_id="run-verdict", elem_classes="panel-html")
            self.bounds = gr.Plot(show_label=False, container=False, elem_id="gate-plot", visible=False)
            self.answers = gr.HTML(elem_id="run-answers", elem_classes="panel-html")
            self.details = gr.HTML(elem_id="run-details", elem_classes="panel-html")
        self.shown = [
            self.seen,
            self.timer,
            self.train,
            self.back,
            self.trainer,
            self.status,
            self.losses,
            self.verdict,
            self.bounds,
            self.answers,
            self.details,
            self.runs,
        ]
        self._wire()

    def _wire(self) -> None:
        here = [self.assistant, self.seen]
        on, admin = self._services.access.event, UserRole.ADMIN
        self.timer.tick(on(UserRole.REVIEWER, self.look, quiet=True), here, self.shown, **QUIET)
        self.train.click(on(admin, self.ask), here, self.shown, **QUIET)
        self.runs.pick(on(UserRole.REVIEWER, self.pick), here, self.shown, **QUIET)
        confirming = [self.confirming, self.back_text]
        self.back.click(on(admin, self.confirm), self.assistant, confirming, **QUIET)
        self.back_no.click(on(admin, self.leave), None, self.confirming, **QUIET)
        self.back_yes.click(on(admin, self.roll_back), here, [self.confirming, *self.shown], **QUIET)

    def show(self, person: Person, assistant_id: str | None) -> Update:
        """Everything, from scratch: the page was opened. Only who may use the buttons sees them."""
        update = self._update(assistant_id, Seen(), forced=True)
        if not person.may(UserRole.ADMIN):
            update |= {self.train: gr.Button(visible=False), self.back: gr.Button(visible=False)}
        return update

    def look(self, person: Person, assistant_id: str | None, seen: Seen) -> Update:
        """A tick of the timer."""
        return self._update(assistant_id, seen)

    def ask(self, person: Person, assistant_id: str | None, seen: Seen) -> Update:
        if assistant_id is None:
            gr.Warning("There is no assistant yet. Load the sample or write a prompt on the Prompt page.")
            return {self.seen: seen}
        try:
            self._store.runs.request(assistant_id, "button")
        except StoreError as error:
            gr.Warning(escape(str(error)))
            return {self.seen: seen}
        seen.asked_at, seen.run_id = time.time(), None
        return self._update(assistant_id, seen, forced=True)

    def pick(self, person: Person, assistant_id: str | None, seen: Seen, event: gr.EventData) -> Update:
        """A run was clicked in the table."""
        with suppress(ValueError):  # no page sends another
            seen.run_id = int(event.id)
        return self._update(assistant_id, seen, forced=True)

    def confirm(self, person: Person, assistant_id: str | None) -> Update:
        active = self._store.deployments.active(assistant_id) if assistant_id else None
        text = (
            f"<p class='notice'>{escape(words.deployment(active))} ({words.tokens(active.prompt_tokens)}) "
            "is retired and "
            "what it replaced serves again, adapter and prompt together. Running answers finish.</p>"
            if active
            else "<p class='notice'>Nothing is active.</p>"
        )
        return {self.confirming: gr.Row(visible=True), self.back_text: text}

    def leave(self, person: Person) -> gr.Row:
        """Nothing is rolled back."""
        return gr.Row(visible=False)

    def roll_back(self, person: Person, assistant_id: str | None, seen: Seen) -> Update:
        try:
            served = self._store.deployments.rollback(str(assistant_id), "by hand, on the Training page")
            gr.Info(
                f"{words.deployment(served)} serves again: {words.tokens(served.prompt_tokens)} per request."
            )
        except StoreError as error:
            gr.Warning(escape(str(error)))
        return {self.confirming: gr.Row(visible=False), **self._update(assistant_id, seen, forced=True)}

    def _update(self, assistant_id: str | None, seen: Seen, *, forced: bool = False) -> Update:
        if assistant_id is None:
            return {
                self.seen: seen,
                self.status: _empty(
                    "No assistant yet", "Load the sample or write a prompt on the Prompt page."
                ),
                self.train: gr.Button(interactive=False),
                self.back: gr.Button(interactive=False),
                self.runs: "",
                self.verdict: "",
                self.trainer: "",
            }
        if assistant_id != seen.assistant_id:
            seen.assistant_id, seen.run_id, seen.state, seen.losses = assistant_id, None, (), -1
        runs = self._store.runs.all(assistant_id)
        newest = runs[0] if runs else None
        busy = newest is not None and newest.status is RunStatus.RUNNING
        if busy or (newest and newest.started_at > seen.asked_at):
            seen.asked_at = 0.0
        waiting = not busy and time.time() - seen.asked_at < _ASKED_S
        run = next((item for item in runs if item.id == seen.run_id), newest)
        events = self._store.runs.events(run.id) if run else []
        state = (
            run and run.id,
            run and run.status,
            len(events),
            len(runs),
            newest and newest.status,
            waiting,
            self._alive(),
        )
        update: Update = {self.seen: seen}
        if busy and run is newest and newest is not None:  # the clock of a run that is on its way
            update[self.status] = run_progress.run_status(newest, events, time.time())
        if not forced and state == seen.state:
            return update
        seen.state = state
        active = self._store.deployments.active(assistant_id)
        update |= {
            self.timer: gr.Timer(_WATCH_S if busy or waiting else _IDLE_S),
            self.train: gr.Button(
                "Training…" if busy else "Asked the trainer…" if waiting else "Train now",
                interactive=not busy and not waiting,
            ),
            self.back: gr.Button(interactive=active is not None and active.adapter is not None),
            self.trainer: self._trainer_state(waiting),
            self.status: run_progress.run_status(run, events, time.time())
            if run
            else self._nothing_yet(assistant_id),
            self.runs: run_progress.run_rows(runs, run.id if run else None),
        }
        return update | self._pictures(run, events, seen, forced)

    def _pictures(self, run: TrainingRun | None, events: list[Any], seen: Seen, forced: bool) -> Update:
        """The plots are drawn anew only when their points changed."""
        report = run.report if run else {}
        found = verdict.bounds(report)
        update: Update = {
            self.verdict: verdict.verdict(report),
            self.answers: self._side_by_side(run, report) if run else "",
            self.details: verdict.details(report),
            self.bounds: gr.Plot(plots.gate_bounds(found, verdict.margin(report)), visible=True)
            if found
            else gr.Plot(visible=False),
        }
        losses = run_progress.losses(events)
        if forced or len(losses) != seen.losses:
            seen.losses = len(losses)
            update[self.losses] = (
                gr.Plot(plots.loss_curve(losses), visible=True) if len(losses) > 1 else gr.Plot(visible=False)
            )
        return update

    def _side_by_side(self, run: TrainingRun, report: Mapping[str, Any]) -> str:
        systems = verdict.compared(report)
        if systems is None:
            return ""
        return side_by_side(
            self._store.gate_answers.tally(run.id, *systems),
            self._store.gate_answers.side_by_side(run.id, *systems, SHOWN),
            self._store.gate_answers.side_by_side(run.id, *systems, SHOWN, best_first=True),
            *(verdict.NAMES.get(name, f"candidate, {name}") for name in systems),
        )

    def _alive(self) -> bool:
        return self._store.leases.get("trainer-watch") is not None

    def _trainer_state(self, waiting: bool) -> str:
        if self._alive():
            return '<span class="pill ready">trainer is watching</span>'
        wish = "Your request waits. " if waiting else ""
        reason = (
            "The trainer does not answer"
            if self._services.trainer_expected
            else "The app runs without a trainer"
        )
        return (
            f'<span class="pill stopped">no trainer</span> <span class="dim">{wish}{reason}. Start one with '
            "<code>python -m trainer watch</code>.</span>"
        )

    def _nothing_yet(self, assistant_id: str) -> str:
        rated = self._store.answers.rated_count(assistant_id)
        text = (
            f"{words.count(rated, 'rated answer')} to learn from. Press Train now: it takes some minutes, "
            "and chat goes on "
            "meanwhile."
            if rated
            else "Rate or correct answers on the Chat page first; or load the sample on the Prompt page."
        )
        return _empty("No run yet", text)


def _empty(title: str, text: str) -> str:
    return f'<div class="empty"><h2>{escape(title)}</h2><p>{escape(text)}</p></div>'
