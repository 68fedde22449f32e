"""The Training page: ask for a run, watch it, read every run's verdict, and roll back.

It does not train: it leaves a request in the store, which the trainer takes.
"""

import time
from dataclasses import dataclass
from html import escape

import gradio as gr
from gradio import EventData

from assistant.web import plots, run_report, words
from assistant.web.access import QUIET, Id, Person, Refused, Services, Update
from assistant.web.markup import forward, render, script
from assistant.web.theme import panel
from store.accounts import UserRole
from store.lock import WATCH, is_locked
from store.records import Deployment, DeploymentStatus, RunEvent, RunStatus, TrainingRun
from store.runs import AutomaticRetrains

# With a look every second the app took 15 % of a core and a browser without a graphics card 21 %, which the training
# beside them did not get.
_RUNNING_S, _IDLE_S = 2.0, 4.0
_EARLIER = 5  # deployments that the page offers to serve again
_WRITE_ONE = "Load the sample or write a prompt on the Prompt page."


@dataclass(frozen=True)
class TrainingOverview:
    """What the page shows of an assistant: `run` of its `runs`, newest first, and what may come."""

    runs: list[TrainingRun]
    run: TrainingRun | None
    events: list[RunEvent]
    automatic: AutomaticRetrains
    waiting: bool
    watching: bool
    active: Deployment | None

    @property
    def busy(self) -> bool:
        return bool(self.runs) and self.runs[0].status is RunStatus.RUNNING

    def signature(self) -> object:
        """Of two alike the page looks the same."""
        statuses = [(one.id, one.status) for one in self.runs]
        may_come = (self.automatic, self.waiting, self.watching, self.active)
        return self.run and self.run.id, statuses, len(self.events), may_come


@dataclass
class PageState:
    """What this tab shows already: only what changed is sent again, so nothing flickers."""

    assistant_id: Id = None
    run_id: int | None = None  # the run that is selected; None: the newest
    shown: object = None


class TrainingPage:
    """Builds the components where it is made."""

    def __init__(self, services: Services, assistant: gr.Dropdown):
        self._services = services
        self._store = services.store
        self.state = gr.State(PageState())  # copied for every tab
        self.timer = gr.Timer(_IDLE_S)
        times = script("local_times.js")
        with gr.Column(elem_id="training-page"):
            with gr.Row(elem_id="training-bar"):
                self.train = gr.Button("Train now", variant="primary", elem_id="train-now", scale=0)
                self.back = panel("rollback-bar", js_on_load=forward("roll_back", "serve") + times)
                self.trainer = panel("trainer-state")
            label = "Retrain by itself when enough new answers are rated"
            self.automatic = gr.Checkbox(label=label, container=False, elem_id="retrain-automatically")
            self.status = panel("run-status", js_on_load=times)
            self.verdict = panel("run-verdict")
            with gr.Accordion("How it was trained", open=False, elem_id="run-more") as self.more:
                self.facts = panel("run-facts")
                self.losses = panel("loss-plot")
                self.details = panel("run-details")
            self.runs = panel("runs", js_on_load=forward("pick") + times)
        self.here = [assistant]
        # The state is changed in place, so it is no output.
        self.shown = [self.timer, self.train, self.back, self.trainer, self.automatic, self.status, self.runs]
        self.shown += [self.verdict, self.more, self.facts, self.losses, self.details]
        here, on, admin = [assistant, self.state], services.access.event, UserRole.ADMIN
        self.timer.tick(on(UserRole.REVIEWER, self.refresh, quiet=True), here, self.shown, **QUIET)
        self.runs.pick(on(UserRole.REVIEWER, self.pick), here, self.shown, **QUIET)
        self.train.click(on(admin, self.ask), here, self.shown, **QUIET)
        self.back.roll_back(on(admin, self.roll_back), here, self.shown, **QUIET)
        self.back.serve(on(admin, self.serve), here, self.shown, **QUIET)
        self.automatic.input(on(admin, self.switch), [*here, self.automatic], self.shown, **QUIET)

    def show(self, person: Person, assistant_id: Id) -> Update:
        """Everything, from scratch: the page was opened. Only who may use the buttons sees them."""
        update = self._update(assistant_id, PageState(), forced=True)
        if not person.may(UserRole.ADMIN):
            update |= {self.train: gr.Button(visible=False), self.back: gr.HTML(visible=False)}
            update[self.automatic] = gr.Checkbox(visible=False)
        return update

    def refresh(self, person: Person, assistant_id: Id, state: PageState) -> Update:
        """A tick of the timer."""
        return self._update(assistant_id, state)

    def ask(self, person: Person, assistant_id: Id, state: PageState) -> Update:
        if assistant_id is None:
            raise Refused(f"There is no assistant yet. {_WRITE_ONE}")
        self._store.runs.request(assistant_id, "asked for on the page")
        state.run_id = None
        return self._update(assistant_id, state, forced=True)

    def pick(self, person: Person, assistant_id: Id, state: PageState, event: EventData) -> Update:
        """A run was clicked in the table."""
        id = str(event.id)
        state.run_id = int(id) if id.isdecimal() else None
        return self._update(assistant_id, state, forced=True)

    def roll_back(self, person: Person, assistant_id: Id, state: PageState) -> Update:
        served = self._store.deployments.rollback(str(assistant_id), "by hand, on the Training page")
        return self._report_activation(served, state)

    def serve(self, person: Person, assistant_id: Id, state: PageState, event: EventData) -> Update:
        """One that served before was chosen, whichever it is."""
        chosen = next((one for one in self._served(assistant_id or "") if str(one.id) == str(event.id)), None)
        if chosen is None:
            raise Refused("That one cannot serve again. Reload the page.")
        return self._report_activation(self._store.deployments.activate(chosen.id), state)

    def _report_activation(self, served: Deployment, state: PageState) -> Update:
        gr.Info(escape(f"{words.deployment(served)} serves again."))
        return self._update(served.assistant_id, state, forced=True)

    def switch(self, person: Person, assistant_id: Id, state: PageState, allowed: bool) -> Update:
        if assistant_id is not None:
            self._store.runs.allow_automatic(assistant_id, bool(allowed))
        return self._update(assistant_id, state, forced=True)

    def _update(self, assistant_id: Id, state: PageState, *, forced: bool = False) -> Update:
        if assistant_id is None:
            empty = render("empty.html", title="No assistant yet", text=_WRITE_ONE)
            hidden = {self.more: gr.Accordion(visible=False), self.train: gr.Button(interactive=False)}
            texts = dict.fromkeys((self.runs, self.verdict, self.trainer, self.back), "")
            return {self.status: empty, **hidden, **texts}
        if assistant_id != state.assistant_id:
            state.assistant_id, state.run_id = assistant_id, None
        seen = self._overview(assistant_id, state.run_id)
        changed = forced or seen.signature() != state.shown
        update = {}
        if changed or (seen.busy and seen.run is seen.runs[0]):  # the clock of a run that is on its way
            update = self._status(assistant_id, seen)
        if changed:
            state.shown = seen.signature()
            update |= self._buttons(assistant_id, seen) | self._evidence(seen)
        return update

    def _overview(self, assistant_id: str, run_id: int | None) -> TrainingOverview:
        runs = self._store.runs.all(assistant_id)
        run = next((one for one in runs if one.id == run_id), runs[0] if runs else None)
        automatic = self._store.runs.automatic(assistant_id)
        starting = automatic.starts_at is not None and automatic.starts_at <= time.time()
        waits = starting or self._store.runs.is_requested(assistant_id)
        return TrainingOverview(
            runs,
            run,
            self._store.runs.events(run.id) if run else [],
            automatic,
            waits and not (runs and runs[0].status is RunStatus.RUNNING),
            is_locked(self._store.path.parent, WATCH),
            self._store.deployments.active(assistant_id),
        )

    def _status(self, assistant_id: str, seen: TrainingOverview) -> Update:
        """How far the run is."""
        if seen.run is None:
            return {self.status: render("no_run.html", rated=self._store.answers.rated_count(assistant_id))}
        earlier = [one for one in seen.runs if one.id != seen.run.id]
        status = run_report.run_status(seen.run, seen.events, earlier, time.time())
        facts = f'<p class="dim">{escape(run_report.technical(seen.events))}</p>' if seen.busy else ""
        return {self.status: status, self.facts: facts}

    def _buttons(self, assistant_id: str, seen: TrainingOverview) -> Update:
        deployments, other = self._store.deployments, self._store.runs.running()
        label = "Training…" if seen.busy else "Waiting…" if seen.waiting else "Train now"
        back = deployments.replaced(assistant_id)
        earlier = [one for one in self._served(assistant_id) if back is None or one.id != back.id][:_EARLIER]
        return {
            self.timer: gr.Timer(_RUNNING_S if seen.busy or seen.waiting else _IDLE_S),
            self.train: gr.Button(label, interactive=not seen.busy and not seen.waiting),
            self.automatic: gr.Checkbox(seen.automatic.allowed),
            self.back: render("rollback.html", served=seen.active, back=back, earlier=earlier),
            self.runs: render("run_choice.html", runs=seen.runs, shown=seen.run.id) if seen.run else "",
            self.trainer: render(
                "trainer_state.html",
                seen=seen,
                services=self._services,
                other=other and self._store.assistants.get(other.assistant_id).name,
            ),
        }

    def _served(self, assistant_id: str) -> list[Deployment]:
        """What served before and may again, the latest first."""
        deployments = self._store.deployments.all(assistant_id)
        retired = [one for one in deployments if one.status is DeploymentStatus.RETIRED and one.activated_at]
        return sorted(retired, key=lambda one: one.activated_at or 0.0, reverse=True)

    def _evidence(self, seen: TrainingOverview) -> Update:
        """The verdict and what is behind it: the chosen run's, or, where the newest has none yet, of what serves."""
        proof, events, title = seen.run, seen.events, ""
        if seen.run and seen.run is seen.runs[0] and not seen.run.report.get("gate"):
            serving = (one for one in seen.runs if seen.active and one.id == seen.active.run_id)
            proof = next(serving, seen.run)
        if proof and proof is not seen.run:
            events = self._store.runs.events(proof.id)
            title = f'<h2 class="section">What serves now: run {proof.id}</h2>'
        report = proof.report if proof else {}
        return {
            self.verdict: title + self._verdict(proof) if proof else "",
            self.details: run_report.details(report),
            self.more: gr.Accordion(visible=bool(events)),
            self.losses: plots.loss_curve(run_report.losses(events)),
        }

    def _verdict(self, run: TrainingRun) -> str:
        systems, answers = run_report.compared(run.report), self._store.gate_answers
        if systems is None:
            return ""
        tally, most = answers.tally(run.id, *systems), run_report.SHOWN_PAIRS
        lost, won = (answers.side_by_side(run.id, *systems, most, best_first=b) for b in (False, True))
        return run_report.verdict(run.report, tally, lost, won)
