"""Calls of tools: how a chat template writes them, and how they are read out of an answer."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# What templates look for in the description of a tool. All other texts and names in it go through a template between
# two private-use signs, so that it can quote and compare them, and none of them becomes a control token.
_WORDS = re.compile(
    "type|function|name|description|parameters|properties|required|items|enum|default|nullable|anyOf|oneOf|allOf|"
    "additionalProperties|object|array|string|number|integer|boolean|null"
)
_OPENS, _CLOSES = "\ue002", "\ue003"
TYPED = re.compile(f"{_OPENS}([^{_CLOSES}]*){_CLOSES}")
_NO_SIGNS = str.maketrans("", "", f"\ue000\ue001{_OPENS}{_CLOSES}")  # the first two mark contents
_NAME = "somewhere"
_JSON = json.JSONDecoder()


@dataclass(frozen=True)
class Call:
    """A call in an answer; `id` is what its result names in the request."""

    name: str
    arguments: dict[str, Any]
    id: str = "call00000"  # as long as Mistral's templates want it


PROBE_CALLS = tuple(Call(_NAME, {"at": n}, f"call0000{n}") for n in (0, 1))
PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "Looks.",
        "parameters": {"type": "object", "properties": {"at": {"type": "integer", "description": "Where."}}},
    },
}


def typed(value: Any) -> Any:
    """JSON values for a template, with the texts in them marked as typed."""
    match value:
        case str() if value and not _WORDS.fullmatch(value):
            return f"{_OPENS}{value.translate(_NO_SIGNS)}{_CLOSES}"
        case dict():
            return {typed(key): typed(one) for key, one in value.items()}
        case list():
            return [typed(one) for one in value]
    return value


@dataclass(frozen=True)
class CallForm:
    """What a template writes before the name of a call, between name and arguments, behind them, and from there to the
    next name; None where it writes one call alone.
    """

    before: str
    middle: str
    after: str
    between: str | None

    def write(self, content: str, calls: Sequence[Call]) -> str:
        """An answer as the template writes it; just what it says where it calls nothing."""
        if not calls:
            return content
        text, start = f"{content}\n" if content and not self._stands_alone else "", self.before
        for call in calls:
            arguments = json.dumps(call.arguments, ensure_ascii=False)
            text, start = f"{text}{start}{call.name}{self.middle}{arguments}", self.between or self.before
        return text + self.after

    def read(self, text: str) -> tuple[str, tuple[Call, ...]]:
        """What an answer says before its calls, and these; all of it where there are none that can be read."""
        calls: list[Call] = []
        first = found = self._first.match(text) if self._stands_alone else self._first.search(text)
        while found:
            try:
                arguments, end = _JSON.raw_decode(text, found.end())
            except (ValueError, RecursionError):
                break  # cut off, or no JSON
            if not isinstance(arguments, dict):
                break
            calls.append(Call(found[1], arguments))
            found = self._next.match(text, end)
        return (text[: first.start()].rstrip(), tuple(calls)) if first and calls else (text, ())

    def content_of(self, begun: str) -> str:
        """What of a text that still grows belongs to no call, whatever follows."""
        if self._stands_alone:
            return "" if begun.lstrip()[:1] in ("", "{") else begun
        sign = self.before.split()[0]
        ends = range(max(0, len(begun) - len(sign) + 1), len(begun))
        cut = next((n for n in ends if sign.startswith(begun[n:])), len(begun))
        return begun[:cut].partition(sign)[0].rstrip()

    @property
    def _stands_alone(self) -> bool:
        """Nothing but JSON: only an answer that begins with it is a call."""
        return self.before.lstrip().startswith("{")

    @cached_property
    def _first(self) -> re.Pattern[str]:
        return self._pattern(self.before)

    @cached_property
    def _next(self) -> re.Pattern[str]:
        return self._pattern(self.between) if self.between else re.compile("(?!)")

    def _pattern(self, start: str) -> re.Pattern[str]:
        """Up to a call's arguments; spaces may differ, and an id is the model's own."""
        text = f"{start}{_NAME}{self.middle}"
        loose = r"\s*".join(map(re.escape, re.split(r"\s+", text)))
        for call in PROBE_CALLS:
            loose = loose.replace(call.id, r"[\w-]*")
        named = loose.replace(_NAME, r"([\w.-]+)")
        return re.compile(rf"\s*{named}\s*")


def form_of(answer: str, calls: Sequence[Call]) -> CallForm | None:
    """The form in which an answer has just these calls; None where names and arguments do not stand in it in this
    order, the arguments as JSON.
    """
    texts, at = list[str](), 0
    for call in calls:
        name = answer.find(call.name, at)
        opens = answer.find("{", max(0, name))
        try:
            found, end = _JSON.raw_decode(answer, max(0, opens))
        except ValueError:
            return None
        if name < 0 or found != call.arguments:
            return None
        texts += [answer[at:name], answer[name + len(call.name) : opens]]
        at = end
    before, middle, *more = texts
    return CallForm(before, middle, answer[at:], more[0] if more else None)
