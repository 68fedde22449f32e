"""The Savings page: how much shorter the prompt got, at what quality, and what that is worth.

In: the services. Out: components and their events. Every number comes from the store; prices are the
person's own. Does not measure.

Ids for tests: #saved-tokens #saved-quality #saved-cold #saved-warm #savings-plot #savings-runs
#price-uncached #price-cached #savings-cost #savings-print.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr

from assistant.rendering import prompt_tokens
from assistant.web import plots, savings, words
from assistant.web.access import QUIET, Person, Update
from assistant.web.savings import Saving
from assistant.web.services import Services
from store.records import RunStatus, TrainingRun
from store.users import UserRole


class SavingsPage:
    """Builds the components where it is made."""

    def __init__(self, services: Services, assistant: gr.Dropdown):
        self._services = services
        self._store = services.store
        self.assistant = assistant
        with gr.Column(elem_id="savings-page"):
            self.numbers = gr.HTML(elem_id="savings-numbers", elem_classes="panel-html")
            self.plot = gr.Plot(show_label=False, container=False, elem_id="savings-plot", visible=False)
            self.table = gr.HTML(elem_id="savings-runs", elem_classes="panel-html")
            with gr.Row(elem_id="savings-prices", visible=False) as self.prices:
                self.uncached = gr.Number(
                    0.50,
                    label="Price per million uncached input tokens",
                    minimum=0,
                    elem_id="price-uncached",
                    min_width=160,
                )
                self.cached = gr.Number(
                    0.05,
                    label="Price per million cached input tokens",
                    minimum=0,
                    elem_id="price-cached",
                    min_width=160,
                )
                self.cost = gr.HTML(elem_id="savings-cost", elem_classes="panel-html", min_width=320)
            self.print = gr.HTML(elem_id="savings-print", elem_classes="panel-html")
        self.shown = [self.numbers, self.plot, self.table, self.prices, self.cost, self.print]
        gr.on(
            [self.uncached.input, self.cached.input],
            services.access.event(UserRole.USER, self.price),
            [assistant, self.uncached, self.cached],
            self.cost,
            trigger_mode="always_last",
            **QUIET,
        )

    def show(self, person: Person, assistant_id: str | None) -> Update:
        saved = self._saving(assistant_id)
        if assistant_id is None or saved is None:
            return {
                self.numbers: _empty(
                    "Nothing is served yet", "Load the sample or write a prompt on the Prompt page."
                ),
                self.plot: gr.Plot(visible=False),
                self.table: "",
                self.prices: gr.Row(visible=False),
                self.print: "",
            }
        runs = self._store.runs.all(assistant_id)
        steps = savings.served(
            self._store.deployments.activations(assistant_id), self._store.deployments.all(assistant_id)
        )
        dots = savings.requests(self._store.answers.request_points(assistant_id))
        return {
            self.numbers: _numbers(saved),
            self.plot: gr.Plot(plots.tokens_over_time(dots, steps, time.time()), visible=True),
            self.table: _table(runs),
            self.prices: gr.Row(visible=True),
            self.cost: _cost(saved, 0.50, 0.05),
            self.print: _small_print(saved),
        }

    def price(
        self, person: Person, assistant_id: str | None, uncached: float | None, cached: float | None
    ) -> str:
        saved = self._saving(assistant_id)
        return _cost(saved, uncached or 0.0, cached or 0.0) if saved else ""

    def _saving(self, assistant_id: str | None) -> Saving | None:
        active = self._store.deployments.active(assistant_id) if assistant_id else None
        if assistant_id is None or active is None:
            return None
        segments = self._store.prompts.get(active.prompt_id).segments
        full = prompt_tokens(self._services.tokenizer, segments)
        return savings.saving(full, active, self._store.runs.all(assistant_id))


def _numbers(saved: Saving) -> str:
    report = saved.report
    before, after = savings.quality(report, "before"), savings.quality(report, "after")
    if saved.now < saved.before:
        headline = (
            '<div class="big" id="saved-tokens"><p class="label">Prompt tokens per request</p><p '
            'class="figure">'
            f'<span class="was">{saved.before:,}</span> → {saved.now:,} <span class="unit">tokens</span></p>'
            f'<p class="cut">{words.cut(saved.before, saved.now)}</p></div>'
        )
    else:
        headline = (
            '<div class="big" id="saved-tokens"><p class="label">Prompt tokens per request</p><p '
            'class="figure">'
            f'{saved.now:,} <span class="unit">tokens</span></p><p class="dim">The whole prompt is sent. '
            "Rate answers and "
            "train to make it shorter.</p></div>"
        )
    tiles = [
        _tile(
            "saved-quality",
            "Quality on the gate examples",
            words.number(before.get("mean")),
            words.number(after.get("mean")),
            f"now {_range(after)}, 95 % interval" if after else "",
        ),
        _tile("saved-cold", "First token, cold cache", *_times(report, "cold")),
        _tile("saved-warm", "First token, warm cache", *_times(report, "warm")),
    ]
    return f'<div class="numbers">{headline}{"".join(tiles) if report else ""}</div>'


def _times(report: Mapping[str, Any], cache: str) -> tuple[str, str, str]:
    full, short = savings.probe(report, "full", cache), savings.probe(report, "short", cache)
    return words.seconds(full), words.seconds(short), words.cut(full, short) if full and short else ""


def _tile(name: str, label: str, before: str, now: str, note: str) -> str:
    return (
        f'<div class="tile" id="{name}"><p class="label">{label}</p><p class="figure"><span '
        f'class="was">{before}</span> → '
        f'{now}</p><p class="dim">{escape(note)}</p></div>'
    )


def _range(score: Mapping[str, Any]) -> str:
    return f"{words.number(score.get('low'))} to {words.number(score.get('high'))}"


def _table(runs: list[TrainingRun]) -> str:
    judged = [run for run in runs if isinstance(run.report.get("gate"), Mapping)]
    if not judged:
        return (
            '<p class="none">Each retrain adds a line here: tokens, quality and times before and after.</p>'
        )
    rows = "".join(_row(run) for run in judged)
    return (
        '<h3>Each retrain</h3><div class="table"><table><thead><tr><th>Run</th><th>Result</th>'
        '<th class="num">Prompt tokens</th><th class="num">Quality before</th><th class="num">Quality '
        "after</th>"
        '<th class="num">First token, cold</th><th class="num">First token, warm</th><th '
        'class="num">Gate examples</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _row(run: TrainingRun) -> str:
    report = run.report
    before, after = report.get("before") or {}, report.get("after") or {}
    kept = run.status is not RunStatus.PROMOTED
    tokens = f"{before.get('prompt_tokens', words.NOTHING)} → {after.get('prompt_tokens', words.NOTHING)}"
    times = "".join(
        f'<td class="num">{words.seconds(savings.probe(report, "full", cache))} → '
        f"{words.seconds(savings.probe(report, 'short', cache))}</td>"
        if savings.probe(report, "short", cache) is not None
        else f'<td class="num">{words.NOTHING}</td>'
        for cache in ("cold", "warm")
    )
    return (
        f"<tr><td>{run.id} <span class='dim'>{words.moment(run.started_at)}</span></td>"
        f'<td><span class="badge {str(run.status).replace(" ", "-")}">{run.status}</span></td>'
        f'<td class="num">{escape(tokens) if not kept else "unchanged"}</td>'
        f'<td class="num">{words.interval(savings.quality(report, "before"))}</td>'
        f'<td class="num">{words.interval(savings.quality(report, "after"))}</td>{times}'
        f'<td class="num">{escape(str(report["gate"].get("examples", words.NOTHING)))}</td></tr>'
    )


def _cost(saved: Saving, uncached: float, cached: float) -> str:
    price = savings.cost(saved, uncached, cached)
    lines = (
        ("Prefix not cached", price.cold_before, price.cold_now),
        ("Prefix cached", price.warm_before, price.warm_now),
    )
    rows = "".join(
        f"<tr><td>{name}</td><td class='num'>{words.money(before)}</td><td "
        f"class='num'>{words.money(now)}</td>"
        f"<td class='num'>{words.cut(before, now)}</td></tr>"
        for name, before, now in lines
    )
    return (
        '<div class="table"><table><thead><tr><th>Prompt of 1,000 requests</th><th class="num">Full</th>'
        f'<th class="num">Now</th><th class="num">Change</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _small_print(saved: Saving) -> str:
    gate: Mapping[str, Any] = saved.report.get("gate") or {}
    parts = [
        "Before is the whole prompt of the version that is served; now is what is sent of it. Costs are "
        "in the currency of "
        "your prices, for the prompt part alone."
    ]
    if gate:
        parts.append(
            f"Quality is the scorer {gate.get('scorer', words.NOTHING)} (0 to 1) on "
            f"{gate.get('examples', words.NOTHING)} "
            "approved answers that no training has seen. A shorter prompt is served only if, with "
            f"{100 * gate.get('confidence', 0.95):.0f} % confidence, it scores at most "
            f"{gate.get('margin', words.NOTHING)} "
            "less than every reference."
        )
    number = ((saved.report.get("probe") or {}).get("full") or {}).get("cold", {}).get("n")
    if number:
        parts.append(
            f"Times are medians of {number} requests each, full and short taking turns on an otherwise "
            "idle server."
        )
    return f'<p class="small-print">{escape(" ".join(parts))}</p>'


def _empty(title: str, text: str) -> str:
    return f'<div class="empty"><h2>{escape(title)}</h2><p>{escape(text)}</p></div>'
