"""Numbers and states as the words that the pages show, always with their unit. Plain text, not HTML."""

import time
from collections.abc import Mapping
from typing import Any

from assistant.vllm_health import Phase, ServerState
from store.records import Deployment, Message, MessageStatus, Usage

NOTHING = "–"
# Of the gate's word. Where it may have to speak twice, each time is tested at 97.5 %, so that both together hold at 95.
CONFIDENCE = "95 %"
_RIGHT_OR_WRONG = ("exact", "json", "sql")  # scorers that give 0 or 1 and nothing between


def count(number: float, noun: str) -> str:
    """“1 token”, “1,234 tokens”."""
    return f"{number:,.0f} {noun if round(number) == 1 else noun + 's'}"


def tokens(number: float) -> str:
    return count(number, "token")


def seconds(value: float | None) -> str:
    """“0.41 s”, “12.3 s”, “2 min 5 s”, “1 h 4 min”."""
    if value is None:
        return NOTHING
    if value < 59.95:
        return f"{value:.{2 if value < 9.995 else 1}f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def remaining(value: float) -> str:
    """“about 40 s left”, “about 12 min left”."""
    if value < 55:
        return f"about {5 * round(value / 5)} s left"
    return f"about {value / 60:.0f} min left" if value < 3570 else f"about {value / 3600:.1f} h left"


def soon(then: float) -> str:
    """“at 14:05, in 4 min”; “in a moment” when it is due."""
    left = then - time.time()
    if left < 60:
        return "in a moment"
    return f"at {time.strftime('%H:%M', time.localtime(then))}, in {left / 60:.0f} min"


def ago(then: float) -> str:
    """“just now”, “5 min ago”, “3 h ago”, “2 d ago”, then the date."""
    elapsed = time.time() - then
    if elapsed < 60:
        return "just now"
    for unit, size, most in (("min", 60, 3600), ("h", 3600, 86400), ("d", 86400, 7 * 86400)):
        if elapsed < most:
            return f"{elapsed / size:.0f} {unit} ago"
    return time.strftime("%d %b %Y", time.localtime(then))


def points(value: float) -> str:
    """A difference of two scores from 0 to 1 in points of 100, “+4.1” or “−2.0” (with a real minus)."""
    return f"{100 * value:+.1f}".replace("-", "−")


def score(value: float, gate: Mapping[str, Any]) -> str:
    """Of one answer: “right” or “wrong”, else points of 100."""
    if is_right_or_wrong(gate):
        return "right" if value == 1 else "wrong"
    return f"{100 * value:.0f}"


def is_right_or_wrong(gate: Mapping[str, Any]) -> bool:
    return str(gate.get("scorer")).partition(":")[0] in _RIGHT_OR_WRONG


def quality(score: Mapping[str, Any] | None, gate: Mapping[str, Any]) -> str:
    """“12 of 135 right” where the gate's scorer is right-or-wrong, else “43 points”, of 100."""
    if not score or score.get("mean") is None:
        return NOTHING
    examples = gate.get("examples")
    if examples and is_right_or_wrong(gate):
        return f"{score['mean'] * examples:,.0f} of {examples:,} right"
    return count(round(100 * score["mean"]), "point")


def first_token(report: Mapping[str, Any], prompt: str, cache: str) -> float | None:
    """Median seconds to the first token of a run's report: prompt full or short, cache cold or warm."""
    timing: Mapping[str, float] = (report.get("probe") or {}).get(prompt, {}).get(cache, {})
    return timing.get("median_s")


def cut(before: float | None, now: float | None) -> str:
    """“−94 %”: how much smaller `now` is."""
    if not before or now is None:
        return NOTHING
    share = round(100 * (now - before) / before)
    return f"{share:+d} %".replace("-", "−") if share else "0 %"


def money(value: float) -> str:
    """An amount in whatever currency the prices have."""
    return f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.3g}"


def prompt(variant: int, prompt_tokens: float, copies: bool = False) -> str:
    """“full prompt”, “prompt of 16 tokens”, “no prompt”; `copies`: some questions get an approved answer instead."""
    if variant == 0:
        return "full prompt"
    if not prompt_tokens:
        return "no prompt: approved answers are given again" if copies else "no prompt"
    average = " on average: approved answers are given again" if copies else ""
    return f"prompt of {tokens(prompt_tokens)}{average}"


def deployment(served: Deployment | None) -> str:
    """“base model, full prompt” or “otter-quay-v0003, prompt of 16 tokens”."""
    if served is None:
        return "unknown deployment"
    sent = prompt(served.variant, served.prompt_tokens, served.copy_at is not None)
    return f"{served.adapter or 'base model'}, {sent}"


def usage(cost: Usage) -> str:
    """What an answer cost (prompt part, whole request, cached tokens, first token), and what had no room in it."""
    if not (cost.prompt_tokens or cost.completion_tokens):
        if not cost.demonstrations:
            return "an answer that the prompt lists; the model was not asked, 0 tokens"
        return "the approved answer to a question much like it; the model was not asked, 0 tokens"
    used = count(len(cost.demonstrations), "approved answer")
    parts = f"prompt {tokens(cost.prompt_part_tokens)}"
    if cost.demonstrations:
        parts += f" + {tokens(cost.demonstration_tokens)} of {used}"
    parts += f" (total {cost.prompt_tokens:,}, cached {cost.cached_tokens:,})"
    parts += f" · first token {seconds(cost.first_token_s)}"
    if cost.left_out_turns:
        parts += (
            f" · {count(cost.left_out_turns, 'earlier message')} left out: the model has no room for them"
        )
    return parts


def cut_off(message: Message) -> str:
    """Why an answer has no end of its own: “cut off: longest answer reached”, “stopped”."""
    if message.status is not MessageStatus.COMPLETE:
        names = {MessageStatus.FAILED: "failed: press regenerate", MessageStatus.STREAMING: "unfinished"}
        return names.get(message.status, str(message.status))
    reasons = {"length": "longest answer reached", "content_filter": "a filter stepped in"}
    return f"cut off: {reasons.get(message.finish_reason or '', message.finish_reason)}"


def server(state: ServerState) -> str:
    """“vLLM loading: warming up, 23 s”, “vLLM ready”."""
    if state.phase is Phase.READY:
        return "vLLM ready" if state.detail == "ready" else f"vLLM ready, but {state.detail}"
    if state.phase is Phase.STARTING:
        return f"vLLM loading: {state.detail}, {max(0, round(time.time() - state.since))} s"
    return f"vLLM {state.phase}: {state.detail}"
