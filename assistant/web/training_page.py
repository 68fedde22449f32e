"""The Training page: ask for a run, watch it, read every run's verdict, and roll back.

It does not train: it leaves a request in the store, which the trainer takes.

Ids for tests: #train-now #rollback #rollback-confirm #trainer-state #run-status #run-phases #run-now
#loss-plot #runs (button[data-event=pick][data-id]) #verdict (class promoted/refused) #verdict-reasons
#verdict-prompts #gate-plot #gate-answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from assistant.web import plots, run_progress, verdict, words
from assistant.web.access import QUIET, Person, Refused, Update
from assistant.web.markup import forward, render
from assistant.web.services import Services
from store.accounts import UserRole
from store.records import RunEvent, RunStatus, TrainingRun

# With a look every second the app took 15 % of a core and a browser without a graphics card 21 %, which the training
# beside them did not get.
_RUNNING_S, _IDLE_S = 2.0, 4.0
_ASKED_S = 60.0  # after “Train now” the page is refreshed often for as long as this, until the run appears
_WRITE_ONE = "Load the sample or write a prompt on the Prompt page."


class PageState:
    """What this tab shows already: only what changed is sent again, so nothing flickers."""

    def __init__(self) -> None:
        self.assistant_id: str | None = None
        self.run_id: int | None = None  # the run that is selected; None: the newest
        self.asked_at = 0.0
        self.shown: tuple[Any, ...] = ()
        self.losses = -1


class TrainingPage:
    """Builds the components where it is made."""

    def __init__(self, services: Services, assistant: gr.Dropdown):
        self._services = services
        self._store = services.store
        self.assistant = assistant
        self.state = gr.State(PageState())  # copied for every tab
        self.timer = gr.Timer(_IDLE_S)
        with gr.Column(elem_id="training-page"):
            self._build_buttons()
            self.status = _html("run-status")
            self.runs = gr.HTML(elem_id="runs", elem_classes="panel-html", js_on_load=forward("pick"))
            self.losses = gr.Plot(show_label=False, container=False, elem_id="loss-plot", visible=False)
            self.verdict = _html("run-verdict")
            self.comparisons = gr.Plot(show_label=False, container=False, elem_id="gate-plot", visible=False)
            self.answers = _html("run-answers")
            self.details = _html("run-details")
        pictures = [self.losses, self.verdict, self.comparisons, self.answers, self.details]
        self.here = [assistant]
        self.shown = [self.state, self.timer, self.train, self.back, self.trainer, self.status, self.runs]
        self.shown += pictures
        self._wire()

    def _build_buttons(self) -> None:
        small = {"scale": 0, "min_width": 120}
        with gr.Row(elem_id="training-bar"):
            self.train = gr.Button("Train now", variant="primary", elem_id="train-now", **small)
            self.back = gr.Button("Roll back…", elem_id="rollback", **small)
            self.trainer = _html("trainer-state")
        with gr.Row(visible=False, elem_id="rollback-panel") as self.confirming:
            self.back_text = gr.HTML(elem_classes="panel-html")
            self.back_yes = gr.Button("Roll back now", variant="stop", elem_id="rollback-confirm", **small)
            self.back_no = gr.Button("Keep it", elem_id="rollback-cancel", **small)

    def _wire(self) -> None:
        here = [self.assistant, self.state]
        on, admin = self._services.access.event, UserRole.ADMIN
        self.timer.tick(on(UserRole.REVIEWER, self.refresh, quiet=True), here, self.shown, **QUIET)
        self.train.click(on(admin, self.ask), here, self.shown, **QUIET)
        self.runs.pick(on(UserRole.REVIEWER, self.pick), here, self.shown, **QUIET)
        confirming = [self.confirming, self.back_text]
        self.back.click(on(admin, self.confirm), self.assistant, confirming, **QUIET)
        self.back_no.click(on(admin, self.leave), None, self.confirming, **QUIET)
        self.back_yes.click(on(admin, self.roll_back), here, [self.confirming, *self.shown], **QUIET)

    def show(self, person: Person, assistant_id: str | None) -> Update:
        """Everything, from scratch: the page was opened. Only who may use the buttons sees them."""
        update = self._update(assistant_id, PageState(), forced=True)
        if not person.may(UserRole.ADMIN):
            update |= {self.train: gr.Button(visible=False), self.back: gr.Button(visible=False)}
        return update

    def refresh(self, person: Person, assistant_id: str | None, state: PageState) -> Update:
        """A tick of the timer."""
        return self._update(assistant_id, state)

    def ask(self, person: Person, assistant_id: str | None, state: PageState) -> Update:
        if assistant_id is None:
            raise Refused(f"There is no assistant yet. {_WRITE_ONE}")
        self._store.runs.request(assistant_id, "button")
        state.asked_at, state.run_id = time.time(), None
        return self._update(assistant_id, state, forced=True)

    def pick(self, person: Person, assistant_id: str | None, state: PageState, event: gr.EventData) -> Update:
        """A run was clicked in the table."""
        id = str(event.id)
        state.run_id = int(id) if id.isdecimal() else None
        return self._update(assistant_id, state, forced=True)

    def confirm(self, person: Person, assistant_id: str | None) -> Update:
        active = self._store.deployments.active(assistant_id) if assistant_id else None
        text = "Nothing is served."
        if active:
            text = (
                f"{words.deployment(active)} is retired and what it replaced serves again, adapter and prompt "
                "together. Running answers finish."
            )
        return {
            self.confirming: gr.Row(visible=True),
            self.back_text: f'<p class="notice">{escape(text)}</p>',
        }

    def leave(self, person: Person) -> gr.Row:
        """Nothing is rolled back."""
        return gr.Row(visible=False)

    def roll_back(self, person: Person, assistant_id: str | None, state: PageState) -> Update:
        served = self._store.deployments.rollback(str(assistant_id), "by hand, on the Training page")
        gr.Info(escape(f"{words.deployment(served)} serves again."))
        return {self.confirming: gr.Row(visible=False), **self._update(assistant_id, state, forced=True)}

    def _update(self, assistant_id: str | None, state: PageState, *, forced: bool = False) -> Update:
        if assistant_id is None:
            off = gr.Button(interactive=False)
            empty = render("empty.html", title="No assistant yet", text=_WRITE_ONE)
            texts = {self.runs: "", self.verdict: "", self.trainer: ""}
            return {self.state: state, self.status: empty, self.train: off, self.back: off, **texts}
        if assistant_id != state.assistant_id:
            state.assistant_id, state.run_id, state.shown, state.losses = assistant_id, None, (), -1
        runs = self._store.runs.all(assistant_id)
        newest = runs[0] if runs else None
        busy = newest is not None and newest.status is RunStatus.RUNNING
        if newest and (busy or newest.started_at > state.asked_at):
            state.asked_at = 0.0
        waiting = not busy and time.time() - state.asked_at < _ASKED_S
        run = next((item for item in runs if item.id == state.run_id), newest)
        events = self._store.runs.events(run.id) if run else []
        watching = self._store.leases.get("trainer-watch") is not None
        statuses = [one and (one.id, one.status) for one in (run, newest)]
        shown = (*statuses, len(events), len(runs), waiting, watching)
        changed = forced or shown != state.shown
        update: Update = {self.state: state}
        if run and (changed or (busy and run is newest)):  # the clock of a run that is on its way
            update[self.status] = run_progress.run_status(run, events, time.time())
        if not changed:
            return update
        state.shown = shown
        if run is None:
            update[self.status] = self._nothing_yet(assistant_id)
        update |= self._buttons(assistant_id, busy, waiting, watching)
        update[self.runs] = render("runs.html", runs=runs, selected=run.id) if run else ""
        return update | self._pictures(run, events, state, forced)

    def _buttons(self, assistant_id: str, busy: bool, waiting: bool, watching: bool) -> Update:
        active = self._store.deployments.active(assistant_id)
        label = "Training…" if busy else "Asked the trainer…" if waiting else "Train now"
        reason = "Your request waits. " if waiting else ""
        reason += (
            "The trainer does not answer"
            if self._services.trainer_expected
            else "The app runs without a trainer"
        )
        return {
            self.timer: gr.Timer(_RUNNING_S if busy or waiting else _IDLE_S),
            self.train: gr.Button(label, interactive=not busy and not waiting),
            self.back: gr.Button(interactive=active is not None and active.adapter is not None),
            self.trainer: render("trainer_state.html", watching=watching, reason=reason),
        }

    def _pictures(
        self, run: TrainingRun | None, events: Sequence[RunEvent], state: PageState, forced: bool
    ) -> Update:
        """The plots are drawn anew only when their points changed."""
        report = run.report if run else {}
        losses, chart = run_progress.losses(events), verdict.chart(report)
        hidden = gr.Plot(visible=False)
        update: Update = {
            self.verdict: verdict.verdict(report),
            self.answers: self._side_by_side(run.id, report) if run else "",
            self.details: verdict.details(report),
            self.comparisons: gr.Plot(chart, visible=True) if chart is not None else hidden,
        }
        if forced or len(losses) != state.losses:
            state.losses = len(losses)
            drawn = len(losses) > 1
            update[self.losses] = gr.Plot(plots.loss_curve(losses), visible=True) if drawn else hidden
        return update

    def _side_by_side(self, run_id: int, report: Mapping[str, Any]) -> str:
        systems = verdict.compared(report)
        if systems is None:
            return ""
        answers = self._store.gate_answers
        pairs = [
            answers.side_by_side(run_id, *systems, verdict.SHOWN_PAIRS, best_first=won)
            for won in (False, True)
        ]
        return verdict.side_by_side(report, answers.tally(run_id, *systems), *pairs)

    def _nothing_yet(self, assistant_id: str) -> str:
        rated = self._store.answers.rated_count(assistant_id)
        text = "Rate or correct answers on the Chat page first; or load the sample on the Prompt page."
        if rated:
            text = (
                f"{words.count(rated, 'rated answer')} to learn from. Press Train now: it takes some minutes, "
                "and chat goes on meanwhile."
            )
        return render("empty.html", title="No run yet", text=text)


def _html(id: str) -> gr.HTML:
    return gr.HTML(elem_id=id, elem_classes="panel-html")
