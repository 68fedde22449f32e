"""The Training page: ask for a run, watch it, read every run's verdict, and roll back.

It does not train: it leaves a request in the store, which the trainer takes.

Ids for tests: #train-now #rollback #rollback-confirm (button[data-event=serve][data-id] for the earlier ones)
#trainer-state #retrain-planned #retrain-automatically #runs (button[data-event=pick][data-id]) #run-status #run-now
#run-phases #verdict (class promoted/refused) #verdict-reasons #gate-answers #verdict-prompts #run-more #loss-plot.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from assistant.web import plots, run_report, words
from assistant.web.access import QUIET, Person, Refused, Services, Update
from assistant.web.markup import forward, render, script
from assistant.web.theme import panel
from store.accounts import UserRole
from store.records import Deployment, DeploymentStatus, RunEvent, RunStatus, TrainingRun

# With a look every second the app took 15 % of a core and a browser without a graphics card 21 %, which the training
# beside them did not get.
_RUNNING_S, _IDLE_S = 2.0, 4.0
_EARLIER = 5  # deployments that the page offers to serve again
_WRITE_ONE = "Load the sample or write a prompt on the Prompt page."


class PageState:
    """What this tab shows already: only what changed is sent again, so nothing flickers."""

    def __init__(self) -> None:
        self.assistant_id: str | None = None
        self.run_id: int | None = None  # the run that is selected; None: the newest
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
                self.back = panel(
                    "rollback-bar", js_on_load=forward("roll_back", "serve") + script("local_times.js")
                )
                self.trainer = panel("trainer-state")
            self.automatic = gr.Checkbox(
                label="Retrain by itself when enough new answers are rated",
                container=False,
                elem_id="retrain-automatically",
            )
            self.status = panel("run-status", js_on_load=script("local_times.js"))
            self.verdict = panel("run-verdict")
            with gr.Accordion("How it was trained", open=False, elem_id="run-more") as self.more:
                self.facts = panel("run-facts")
                self.losses = panel("loss-plot")
                self.details = panel("run-details")
            self.runs = panel("runs", js_on_load=forward("pick") + script("local_times.js"))
        self.here = [assistant]
        self.shown = [
            self.state,
            self.timer,
            self.train,
            self.back,
            self.trainer,
            self.automatic,
            self.status,
        ]
        self.shown += [self.runs, self.verdict, self.more, self.facts, self.losses, self.details]
        here, on, admin = [assistant, self.state], services.access.event, UserRole.ADMIN
        self.timer.tick(on(UserRole.REVIEWER, self.refresh, quiet=True), here, self.shown, **QUIET)
        self.runs.pick(on(UserRole.REVIEWER, self.pick), here, self.shown, **QUIET)
        self.train.click(on(admin, self.ask), here, self.shown, **QUIET)
        self.back.roll_back(on(admin, self.roll_back), here, self.shown, **QUIET)
        self.back.serve(on(admin, self.serve), here, self.shown, **QUIET)
        self.automatic.input(on(admin, self.switch), [*here, self.automatic], self.shown, **QUIET)

    def show(self, person: Person, assistant_id: str | None) -> Update:
        """Everything, from scratch: the page was opened. Only who may use the buttons sees them."""
        update = self._update(assistant_id, PageState(), forced=True)
        if not person.may(UserRole.ADMIN):
            update |= {self.train: gr.Button(visible=False), self.back: gr.HTML(visible=False)}
            update[self.automatic] = gr.Checkbox(visible=False)
        return update

    def refresh(self, person: Person, assistant_id: str | None, state: PageState) -> Update:
        """A tick of the timer."""
        return self._update(assistant_id, state)

    def ask(self, person: Person, assistant_id: str | None, state: PageState) -> Update:
        if assistant_id is None:
            raise Refused(f"There is no assistant yet. {_WRITE_ONE}")
        self._store.runs.request(assistant_id, "asked for on the page")
        state.run_id = None
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

    def serve(
        self, person: Person, assistant_id: str | None, state: PageState, event: gr.EventData
    ) -> Update:
        """One that served before was chosen, whichever it is."""
        chosen = next((one for one in self._served(assistant_id or "") if str(one.id) == str(event.id)), None)
        if chosen is None:
            raise Refused("That one cannot serve again. Reload the page.")
        self._store.deployments.activate(chosen.id)
        gr.Info(escape(f"{words.deployment(chosen)} serves again."))
        return self._update(assistant_id, state, forced=True)

    def switch(self, person: Person, assistant_id: str | None, state: PageState, allowed: bool) -> Update:
        if assistant_id is not None:
            self._store.runs.allow_automatic(assistant_id, bool(allowed))
        return self._update(assistant_id, state, forced=True)

    def _update(self, assistant_id: str | None, state: PageState, *, forced: bool = False) -> Update:
        if assistant_id is None:
            empty = render("empty.html", title="No assistant yet", text=_WRITE_ONE)
            hidden = {self.more: gr.Accordion(visible=False), self.train: gr.Button(interactive=False)}
            texts = dict.fromkeys((self.runs, self.verdict, self.trainer, self.back), "")
            return {self.state: state, self.status: empty, **hidden, **texts}
        if assistant_id != state.assistant_id:
            state.assistant_id, state.run_id, state.shown, state.losses = assistant_id, None, (), -1
        runs = self._store.runs.all(assistant_id)
        newest = runs[0] if runs else None
        busy = newest is not None and newest.status is RunStatus.RUNNING
        run = next((item for item in runs if item.id == state.run_id), newest)
        events = self._store.runs.events(run.id) if run else []
        automatic = self._store.runs.automatic(assistant_id)
        starting = automatic.starts_at is not None and automatic.starts_at <= time.time()
        waiting = not busy and (starting or self._store.runs.is_requested(assistant_id))
        watching = self._store.leases.get("trainer-watch") is not None
        statuses = [one and (one.id, one.status) for one in (run, newest)]
        active = self._store.deployments.active(assistant_id)
        shown = (*statuses, len(events), len(runs), waiting, watching, automatic, active)
        changed = forced or shown != state.shown
        update: Update = {self.state: state}
        if run and (changed or (busy and run is newest)):  # the clock of a run that is on its way
            earlier = [one for one in runs if one.id != run.id]
            update[self.status] = run_report.run_status(run, events, earlier, time.time())
            update[self.facts] = f'<p class="dim">{escape(run_report.technical(events))}</p>' if busy else ""
        if not changed:
            return update
        state.shown = shown
        if run is None:
            update[self.status] = self._nothing_yet(assistant_id)
        update |= self._buttons(assistant_id, busy, waiting, watching)
        update[self.runs] = render("run_choice.html", runs=runs, shown=run.id) if run else ""
        return update | self._evidence(run, self._proof(run, runs, active), events, state, forced)

    def _proof(
        self, run: TrainingRun | None, runs: Sequence[TrainingRun], active: Deployment | None
    ) -> TrainingRun | None:
        """The run whose evidence is shown: the chosen one, or the one that brought what serves."""
        if run is None or run.report.get("gate") or run is not runs[0]:
            return run
        return next((one for one in runs if active and one.id == active.run_id), run)

    def _buttons(self, assistant_id: str, busy: bool, waiting: bool, watching: bool) -> Update:
        automatic, deployments = self._store.runs.automatic(assistant_id), self._store.deployments
        label = "Training…" if busy else "Waiting…" if waiting else "Train now"
        back, other = deployments.replaced(assistant_id), self._store.runs.running()
        earlier = [one for one in self._served(assistant_id) if back is None or one.id != back.id][:_EARLIER]
        return {
            self.timer: gr.Timer(_RUNNING_S if busy or waiting else _IDLE_S),
            self.train: gr.Button(label, interactive=not busy and not waiting),
            self.automatic: gr.Checkbox(automatic.allowed),
            self.back: render(
                "rollback.html", served=deployments.active(assistant_id), back=back, earlier=earlier
            ),
            self.trainer: render(
                "trainer_state.html",
                busy=busy,
                waiting=waiting,
                watching=watching,
                missing=self._services.trainer_missing,
                other=other and self._store.assistants.get(other.assistant_id).name,
                automatic=automatic,
                now=time.time(),
                problem=self._services.model_problem(),
            ),
        }

    def _served(self, assistant_id: str) -> list[Deployment]:
        """What served before and may again, the latest first."""
        retired = [
            one
            for one in self._store.deployments.all(assistant_id)
            if one.status is DeploymentStatus.RETIRED and one.activated_at
        ]
        return sorted(retired, key=lambda one: one.activated_at or 0.0, reverse=True)

    def _evidence(
        self,
        run: TrainingRun | None,
        proof: TrainingRun | None,
        events: Sequence[RunEvent],
        state: PageState,
        forced: bool,
    ) -> Update:
        """The verdict and what is behind it; the losses are drawn anew only when there are more."""
        report = proof.report if proof else {}
        if proof and proof is not run:
            events = self._store.runs.events(proof.id)
        losses = run_report.losses(events)
        title = (
            ""
            if proof is run
            else f'<h2 class="section">What serves now: run {proof.id}</h2>'
            if proof
            else ""
        )
        update: Update = {
            self.verdict: title + self._verdict(proof.id, report) if proof else "",
            self.details: run_report.details(report),
            self.more: gr.Accordion(visible=bool(events)),
        }
        if forced or len(losses) != state.losses:
            state.losses = len(losses)
            update[self.losses] = plots.loss_curve(losses) if len(losses) > 1 else ""
        return update

    def _verdict(self, run_id: int, report: Mapping[str, Any]) -> str:
        systems, answers = run_report.compared(report), self._store.gate_answers
        if systems is None:
            return ""
        tally, most = answers.tally(run_id, *systems), run_report.SHOWN_PAIRS
        lost, won = (answers.side_by_side(run_id, *systems, most, best_first=b) for b in (False, True))
        return run_report.verdict(report, tally, lost, won)

    def _nothing_yet(self, assistant_id: str) -> str:
        rated = self._store.answers.rated_count(assistant_id)
        text = "Rate or correct answers on the Chat page first; or load the sample on the Prompt page."
        if rated:
            text = (
                f"{words.count(rated, 'rated answer')} to learn from. Press Train now: it takes some minutes, "
                "and chat goes on meanwhile."
            )
        return render("empty.html", title="No run yet", text=text)
