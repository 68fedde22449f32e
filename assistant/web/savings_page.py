"""The Savings page: how much shorter the prompt got, at what quality, and what that is worth at a person's own prices.

Ids for tests: #saved-tokens #saved-quality #saved-cold #saved-warm #savings-plot #savings-runs
#price-uncached #price-cached #savings-cost.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import gradio as gr

from assistant.rendering import prompt_tokens, segment_tokens
from assistant.web import plots, words
from assistant.web.access import QUIET, Person, Services, Update
from assistant.web.markup import render, script
from assistant.web.theme import panel
from store.accounts import UserRole
from store.records import Activation, Deployment

_UNCACHED, _CACHED = 0.50, 0.05  # prices per million input tokens that the boxes begin with
_REQUESTS = 1000


_EVERY_S = 5.0


class SavingsState:
    """What this tab shows already."""

    def __init__(self) -> None:
        self.shown: object = None


class SavingsPage:
    """Builds the components where it is made."""

    def __init__(self, services: Services, assistant: gr.Dropdown):
        self._services = services
        self._store = services.store
        self.state, self.timer = gr.State(SavingsState()), gr.Timer(_EVERY_S)
        with gr.Column(elem_id="savings-page"):
            self.numbers = panel("savings-numbers")
            self.plot = panel("savings-plot", js_on_load=script("local_times.js"))
            self.runs = panel("savings-runs", js_on_load=script("local_times.js"))
            with gr.Row(elem_id="savings-prices", visible=False) as self.prices:
                self.uncached = _price("uncached", _UNCACHED)
                self.cached = _price("cached", _CACHED)
                self.cost = panel("savings-cost", min_width=320)
        self.here = [assistant, self.uncached, self.cached]
        self.shown = [self.numbers, self.plot, self.runs, self.prices, self.cost]
        ticked = services.access.event(UserRole.USER, self.refresh, quiet=True)
        self.timer.tick(ticked, [*self.here, self.state], [self.state, *self.shown], **QUIET)
        gr.on(
            [self.uncached.input, self.cached.input],
            services.access.event(UserRole.USER, self.price),
            self.here,
            self.cost,
            trigger_mode="always_last",
            **QUIET,
        )

    def refresh(
        self,
        person: Person,
        assistant_id: str | None,
        uncached: float | None,
        cached: float | None,
        state: SavingsState,
    ) -> Update:
        """A tick: something was swapped, measured or answered since."""
        active, runs = self._active(assistant_id), self._store.runs.all(assistant_id or "", 1)
        now = (
            active,
            [(run.id, run.status) for run in runs],
            active and self._store.messages.answered(active.id),
        )
        if now == state.shown:
            return {self.state: state}
        state.shown = now
        return {self.state: state} | self.show(person, assistant_id, uncached, cached)

    def show(
        self, person: Person, assistant_id: str | None, uncached: float | None, cached: float | None
    ) -> Update:
        store, active = self._store, self._active(assistant_id)
        if assistant_id is None or active is None:
            text = "Load the sample or write a prompt on the Prompt page."
            return {
                self.numbers: render("empty.html", title="Nothing is served yet", text=text),
                self.plot: "",
                self.runs: "",
                self.prices: gr.Row(visible=False),
            }
        runs = store.runs.all(assistant_id)
        report = next((run.report for run in runs if run.id == active.run_id), {})
        values = {"report": report, "gate": report.get("gate") or {}}
        steps = served(store.deployments.activations(assistant_id), store.deployments.all(assistant_id))
        tested = [run for run in runs if run.report.get("gate")]
        before, now = self._full_tokens(active), active.prompt_tokens
        answered = store.messages.answered(active.id)
        numbers = render("savings_numbers.html", before=before, now=now, answered=answered, **values)
        return {
            self.numbers: numbers + self._where_it_went(active, before),
            self.plot: plots.tokens_over_time(steps, time.time()),
            self.runs: render("savings_runs.html", runs=tested, **values),
            self.prices: gr.Row(visible=True),
            self.cost: self.price(person, assistant_id, uncached, cached),
        }

    def _where_it_went(self, active: Deployment, whole: int) -> str:
        """The prompt as a bar of its segments: what is sent, and what the adapter has learned."""
        segments = self._store.prompts.get(active.prompt_id).segments
        tokens = segment_tokens(self._services.tokenizer, segments)
        parts = [(one.text or one.user, tokens[one.id], one.id in active.segment_ids) for one in segments]
        counts = {"sent": active.prompt_tokens, "learned": whole - active.prompt_tokens}
        return (
            render("knowledge.html", parts=parts, adapter=active.adapter, **counts) if active.adapter else ""
        )

    def price(
        self, person: Person, assistant_id: str | None, uncached: float | None, cached: float | None
    ) -> str:
        active = self._active(assistant_id)
        if active is None:
            return ""
        before, now = self._full_tokens(active), active.prompt_tokens
        costs = {
            name: [_REQUESTS * tokens * (price or 0.0) / 1_000_000 for tokens in (before, now)]
            for name, price in (("Prefix not cached", uncached), ("Prefix cached", cached))
        }
        return render("savings_cost.html", costs=costs, requests=_REQUESTS)

    def _active(self, assistant_id: str | None) -> Deployment | None:
        return self._store.deployments.active(assistant_id) if assistant_id else None

    def _full_tokens(self, active: Deployment) -> int:
        """Tokens of the whole prompt of the version that is served."""
        return prompt_tokens(self._services.tokenizer, self._store.prompts.get(active.prompt_id).segments)


def served(activations: Sequence[Activation], deployments: Sequence[Deployment]) -> list[plots.Row]:
    """The step line of the plot, one step per activation."""
    known = {deployment.id: deployment for deployment in deployments}
    steps = []
    for activation in activations:
        deployment = known[activation.deployment_id]
        back = " (rollback)" if activation.reason.startswith("rollback") else ""
        label = f"{deployment.adapter or 'base model'}: {words.tokens(deployment.prompt_tokens)}{back}"
        steps.append({"at": activation.at, "tokens": deployment.prompt_tokens, "label": label})
    return steps


def _price(kind: str, value: float) -> gr.Number:
    label = f"Price per million {kind} input tokens"
    return gr.Number(value, label=label, minimum=0, elem_id=f"price-{kind}", min_width=160)
