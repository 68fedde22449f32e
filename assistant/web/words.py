"""Numbers and states → the words that the pages show, always with their unit.

In: plain values. Out: plain text (not HTML). Pure; knows no page.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from assistant.vllm_server import Phase, ServerState
from store.records import Deployment, Usage

NOTHING = "–"


def count(number: float, noun: str, plural: str | None = None) -> str:
    """“1 token”, “1,234 tokens”."""
    return f"{number:,.0f} {noun if round(number) == 1 else plural or noun + 's'}"


def tokens(number: float | None) -> str:
    return NOTHING if number is None else count(number, "token")


def seconds(value: float | None) -> str:
    """“0.41 s”, “12.3 s”, “2 min 5 s”, “1 h 4 min”."""
    if value is None:
        return NOTHING
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 59.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def remaining(value: float | None) -> str:
    """“about 40 s left”, “about 12 min left”; empty when nobody knows."""
    if value is None or value < 0:
        return ""
    if value < 55:
        return f"about {max(5, round(value / 5) * 5)} s left"
    if value < 3600 - 30:
        return f"about {max(1, round(value / 60))} min left"
    return f"about {value / 3600:.1f} h left"


def ago(then: float, now: float | None = None) -> str:
    """“just now”, “5 min ago”, “3 h ago”, “2 d ago”, then the date."""
    elapsed = (time.time() if now is None else now) - then
    if elapsed < 60:
        return "just now"
    if elapsed < 3600:
        return f"{elapsed / 60:.0f} min ago"
    if elapsed < 86400:
        return f"{elapsed / 3600:.0f} h ago"
    if elapsed < 7 * 86400:
        return f"{elapsed / 86400:.0f} d ago"
    return time.strftime("%d %b %Y", time.localtime(then))


def moment(then: float | None) -> str:
    """Local date and time, “21 Nov, 14:05”."""
    return NOTHING if then is None else time.strftime("%d %b, %H:%M", time.localtime(then))


def number(value: object, digits: int = 3) -> str:
    """A score or a loss; anything that is no number becomes a dash."""
    return f"{value:.{digits}f}" if isinstance(value, int | float) else NOTHING


def signed(value: object, digits: int = 3) -> str:
    """A difference, “+0.041” or “−0.020” (with a real minus)."""
    return f"{value:+.{digits}f}".replace("-", "−") if isinstance(value, int | float) else NOTHING


def interval(score: Mapping[str, Any] | None) -> str:
    """“0.43 (0.40 to 0.46)”: a mean and its confidence interval."""
    if not score or not isinstance(score.get("mean"), int | float):
        return NOTHING
    if score.get("low") is None or score.get("high") is None:
        return number(score["mean"])
    return f"{number(score['mean'])} ({number(score['low'])} to {number(score['high'])})"


def cut(before: float | None, now: float | None) -> str:
    """“−94 %”: how much smaller `now` is."""
    if not before or now is None:
        return NOTHING
    share = round(100 * (now - before) / before)
    return f"{share:+d} %".replace("-", "−") if share else "0 %"


def money(value: float) -> str:
    """An amount in whatever currency the prices have."""
    return f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.3g}"


def deployment(served: Deployment | None) -> str:
    """“base, full prompt” or “otter-quay-v0003, variant 4”."""
    if served is None:
        return "unknown deployment"
    return (
        f"{served.adapter or 'base'}, {'full prompt' if served.variant == 0 else f'variant {served.variant}'}"
    )


def usage(cost: Usage) -> str:
    """What an answer cost: prompt part, whole request, cached tokens, the wait for the first token."""
    return (
        f"prompt {tokens(cost.prompt_part_tokens)} (total {cost.prompt_tokens:,}, cached "
        f"{cost.cached_tokens:,})"
        f" · first token {seconds(cost.first_token_s)}"
    )


def server(state: ServerState, now: float | None = None) -> str:
    """“vLLM loading: warming up, 23 s”, “vLLM ready”."""
    waited = max(0, round((time.time() if now is None else now) - state.since))
    match state.phase:
        case Phase.READY:
            return "vLLM ready"
        case Phase.STARTING:
            return f"vLLM loading: {state.detail}, {waited} s"
        case Phase.RESTARTING:
            return f"vLLM restarting: {state.detail}"
        case _:
            return f"vLLM stopped: {state.detail}"
