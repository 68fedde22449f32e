"""The Savings page: how much shorter the prompt got, at what quality, and what that is worth at one's own prices."""

import time
from collections.abc import Sequence
from statistics import mean
from typing import Any

import gradio as gr

from assistant.rendering import prompt_tokens, segment_tokens
from assistant.web import plots, words
from assistant.web.access import QUIET, Id, Person, Services, Update
from assistant.web.markup import render, script
from assistant.web.theme import panel
from store.accounts import UserRole
from store.answers import RequestTokens
from store.records import Activation, Deployment, TrainingRun

_REQUESTS = 1000
_DRAWN = 3000  # newest requests and corrections that the plot shows
_EVERY_S = 5.0


class SavingsPage:
    """Builds the components where it is made."""

    def __init__(self, services: Services, assistant: gr.Dropdown):
        self._services = services
        self._store = services.store
        self.state, self.timer = gr.State(None), gr.Timer(_EVERY_S)
        with gr.Column(elem_id="savings-page"):
            self.numbers = panel("savings-numbers")
            self.plot = panel("savings-plot", js_on_load=script("local_times.js"))
            self.runs = panel("savings-runs", js_on_load=script("local_times.js"))
            with gr.Row(elem_id="savings-prices", visible=False) as self.prices:
                self.uncached = _price("uncached", 0.50)
                self.cached = _price("cached", 0.05)
                self.cost = panel("savings-cost", min_width=320)
        self.here = [assistant, self.uncached, self.cached]
        self.shown = [self.numbers, self.plot, self.runs, self.prices, self.cost]
        ticked = services.access.event(UserRole.USER, self.refresh, quiet=True)
        self.timer.tick(ticked, [*self.here, self.state], [self.state, *self.shown], **QUIET)
        priced, prices = services.access.event(UserRole.USER, self.price), (self.uncached, self.cached)
        typed = [box.input for box in prices]
        gr.on(typed, priced, self.here, self.cost, trigger_mode="always_last", **QUIET)

    def refresh(self, person: Person, assistant_id: Id, *given: Any) -> Update:
        """A tick: something was swapped, measured or answered since, or the page stays as it is."""
        *prices, shown = given
        active, runs = self._active(assistant_id), self._store.runs.all(assistant_id or "", 1)
        answered = self._store.messages.answered(active.id) if active else 0
        now = (active, [(run.id, run.status) for run in runs], answered)
        return {} if now == shown else {self.state: now, **self.show(person, assistant_id, *prices)}

    def show(self, person: Person, assistant_id: Id, uncached: float | None, cached: float | None) -> Update:
        store, tokenizer, active = self._store, self._services.tokenizer, self._active(assistant_id)
        if active is None:
            text = "Load the sample or write a prompt on the Prompt page."
            nothing = render("empty.html", title="Nothing is served yet", text=text)
            return {self.numbers: nothing, self.plot: "", self.runs: "", self.prices: gr.Row(visible=False)}
        runs, requests = (
            store.runs.all(active.assistant_id),
            store.answers.request_tokens(active.assistant_id, _DRAWN),
        )
        report = next((run.report for run in runs if run.id == active.run_id), {})
        values = {"report": report, "gate": report.get("gate") or {}}
        segments = store.prompts.get(active.prompt_id).segments
        numbers = render(
            "savings_numbers.html",
            whole=prompt_tokens(tokenizer, segments),
            active=active,
            spent=_mean_tokens(requests, active),
            answered=store.messages.answered(active.id),
            segments=segments,
            tokens=segment_tokens(tokenizer, segments),
            **values,
        )
        return {
            self.numbers: numbers,
            self.plot: self._plot(active.assistant_id, runs, requests),
            self.runs: render(
                "savings_runs.html", runs=[run for run in runs if run.report.get("gate")], **values
            ),
            self.prices: gr.Row(visible=True),
            self.cost: self.price(person, assistant_id, uncached, cached),
        }

    def _plot(self, id: str, runs: Sequence[TrainingRun], requests: Sequence[RequestTokens]) -> str:
        steps = served(self._store.deployments.activations(id), self._store.deployments.all(id), runs)
        corrected = self._store.answers.correction_times(id, _DRAWN)
        return plots.tokens_over_time(steps, time.time(), requests, corrected)

    def price(self, person: Person, assistant_id: Id, uncached: float | None, cached: float | None) -> str:
        active = self._active(assistant_id)
        if active is None:
            return ""
        segments = self._store.prompts.get(active.prompt_id).segments
        before, now = prompt_tokens(self._services.tokenizer, segments), active.prompt_tokens
        costs = {
            name: [_REQUESTS * tokens * (price or 0.0) / 1_000_000 for tokens in (before, now)]
            for name, price in (("Prefix not cached", uncached), ("Prefix cached", cached))
        }
        return render("savings_cost.html", costs=costs, requests=_REQUESTS)

    def _active(self, assistant_id: Id) -> Deployment | None:
        return self._store.deployments.active(assistant_id) if assistant_id else None


def _mean_tokens(requests: Sequence[RequestTokens], active: Deployment) -> float:
    """Tokens of the prompt and of approved answers, also of those that are not learned yet, in its newest requests."""
    found = [one.prompt + one.demonstrations for one in requests if one.at >= (active.activated_at or 0.0)]
    return mean(found) if found else active.prompt_tokens


def served(
    activations: Sequence[Activation], deployments: Sequence[Deployment], runs: Sequence[TrainingRun] = ()
) -> list[plots.Row]:
    """The step line of the plot, one step per activation, with the quality that the gate found."""
    known, reports = {one.id: one for one in deployments}, {run.id: run.report for run in runs}
    steps = []
    for activation in activations:
        deployment = known[activation.deployment_id]
        report = reports.get(deployment.run_id or 0, {})
        label = f"{deployment.adapter or 'base model'}: {words.tokens(deployment.prompt_tokens)}"
        if after := (report.get("after") or {}).get("quality"):
            label += f", {words.quality(after, report.get('gate') or {})}"
        if activation.reason.startswith("rollback"):
            label += " (rollback)"
        steps.append({"at": activation.at, "tokens": deployment.prompt_tokens, "label": label})
    return steps


def _price(kind: str, begins_with: float) -> gr.Number:
    label = f"Price per million {kind} input tokens"
    return gr.Number(begins_with, label=label, minimum=0, elem_id=f"price-{kind}", min_width=160)
