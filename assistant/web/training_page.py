"""The Training page: ask for a run, watch it, read every run's verdict, and roll back.

It does not train: it leaves a request in the store, which the trainer takes.

Ids for tests: #train-now #rollback #rollback-confirm #trainer-state #run-status #run-phases #run-now
#loss-plot #runs (button[data-event=pick][data-id]) #verdict (class promoted/refused) #verdict-reasons
#verdict-prompts #gate-answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from assistant.web import plots, run_report, words
from assistant.web.access import QUIET, Person, Refused, Services, Update
from assistant.web.markup import forward, render
from assistant.web.theme import panel
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
        self.state = gr.State(PageState())  # copied for every tab
        self.timer = gr.Timer(_IDLE_S)
        with gr.Column(elem_id="training-page"):
            with gr.Row(elem_id="training-bar"):
                self.train = gr.Button("Train now", variant="primary", elem_id="train-now", scale=0)
                self.back = panel("rollback-bar", js_on_load=forward("roll_back"))
                self.trainer = panel("trainer-state")
            self.status = panel("run-status")
            self.runs = panel("runs", js_on_load=forward("pick"))
            self.losses = gr.Plot(show_label=False, container=False, elem_id="loss-plot", visible=False)
            self.verdict = panel("run-verdict")
            self.answers = panel("run-answers")
            self.details = panel("run-details")
        self.here = [assistant]
        self.shown = [self.state, self.timer, self.train, self.back, self.trainer, self.status, self.runs]
        self.shown += [self.losses, self.verdict, self.answers, self.details]
        here, on, admin = [assistant, self.state], services.access.event, UserRole.ADMIN
        self.timer.tick(on(UserRole.REVIEWER, self.refresh, quiet=True), here, self.shown, **QUIET)
        self.runs.pick(on(UserRole.REVIEWER, self.pick), here, self.shown, **QUIET)
        self.train.click(on(admin, self.ask), here, self.shown, **QUIET)
        self.back.roll_back(on(admin, self.roll_back), here, self.shown, **QUIET)

    def show(self, person: Person, assistant_id: str | None) -> Update:
        """Everything, from scratch: the page was opened. Only who may use the buttons sees them."""
        update = self._update(assistant_id, PageState(), forced=True)
        if not person.may(UserRole.ADMIN):
            update |= {self.train: gr.Button(visible=False), self.back: gr.HTML(visible=False)}
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

    def roll_back(self, person: Person, assistant_id: str | None, state: PageState) -> Update:
        served = self._store.deployments.rollback(str(assistant_id), "by hand, on the Training page")
        gr.Info(escape(f"{words.deployment(served)} serves again."))
        return self._update(assistant_id, state, forced=True)

    def _update(self, assistant_id: str | None, state: PageState, *, forced: bool = False) -> Update:
        if assistant_id is None:
            empty = render("empty.html", title="No assistant yet", text=_WRITE_ONE)
            texts = dict.fromkeys((self.runs, self.verdict, self.trainer, self.back), "")
            return {self.state: state, self.status: empty, self.train: gr.Button(interactive=False), **texts}
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
            update[self.status] = run_report.run_status(run, events, time.time())
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
        reason = ("Your request waits. " if waiting else "") + self._services.trainer_missing
        served = words.deployment(active) if active and active.adapter else None
        return {
            self.timer: gr.Timer(_RUNNING_S if busy or waiting else _IDLE_S),
            self.train: gr.Button(label, interactive=not busy and not waiting),
            self.back: render("rollback.html", served=served),
            self.trainer: render(
                "trainer_state.html",
                watching=watching,
                reason=reason,
                problem=self._services.model_problem(),
            ),
        }

    def _pictures(
        self, run: TrainingRun | None, events: Sequence[RunEvent], state: PageState, forced: bool
    ) -> Update:
        """The verdict and what is behind it; the losses are drawn anew only when there are more."""
        report = run.report if run else {}
        losses = run_report.losses(events)
        update: Update = {
            self.verdict: run_report.verdict(report),
            self.answers: self._side_by_side(run.id, report) if run else "",
            self.details: run_report.details(report),
        }
        if forced or len(losses) != state.losses:
            state.losses = len(losses)
            drawn = len(losses) > 1
            update[self.losses] = gr.Plot(plots.loss_curve(losses) if drawn else None, visible=drawn)
        return update

    def _side_by_side(self, run_id: int, report: Mapping[str, Any]) -> str:
        systems = run_report.compared(report)
        if systems is None:
            return ""
        answers, most = self._store.gate_answers, run_report.SHOWN_PAIRS
        lost, won = (answers.side_by_side(run_id, *systems, most, best_first=b) for b in (False, True))
        return run_report.side_by_side(report, answers.tally(run_id, *systems), lost, won)

    def _nothing_yet(self, assistant_id: str) -> str:
        rated = self._store.answers.rated_count(assistant_id)
        text = "Rate or correct answers on the Chat page first; or load the sample on the Prompt page."
        if rated:
            text = (
                f"{words.count(rated, 'rated answer')} to learn from. Press Train now: it takes some minutes, "
                "and chat goes on meanwhile."
            )
        return render("empty.html", title="No run yet", text=text)
