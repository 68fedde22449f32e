"""The texts of one example to the same texts with typed placeholders: `<EMAIL_1>` is one address in all of them.

In: a Screen (rules, what is the team's own) and texts. Out: texts with placeholders, and what each stands for. Pure but
for a model of names. Does not know examples, splits or the store.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from store.records import PrivacyAction, PrivacyRule
from trainer.privacy.finding import Detector, Found, find, find_again
from trainer.privacy.passages import Passage
from trainer.privacy.patterns import Pattern, pattern

_PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{1,40}_[0-9]{1,9}>")


@dataclass(frozen=True)
class Swap:
    """One replaced passage: `text` as it was written stood in text number `number`."""

    number: int
    kind: str
    placeholder: str
    text: str


@dataclass(frozen=True)
class Replaced:
    texts: tuple[str, ...]
    swaps: tuple[Swap, ...]


class Screen:
    """What is replaced for one assistant. `own` are the texts of its prompt: what stands in them is no secret."""

    def __init__(
        self, rules: Sequence[PrivacyRule] = (), own: Sequence[str] = (), names: Detector | None = None
    ):
        """Raises BadPattern for a rule that another version accepted."""
        replace = [rule for rule in rules if rule.action is PrivacyAction.REPLACE]
        keep = [rule for rule in rules if rule.action is PrivacyAction.KEEP]
        self._patterns = tuple((rule.kind, pattern(rule.pattern, rule.literal)) for rule in replace)
        self._kept = tuple(pattern(rule.pattern, False) for rule in keep if not rule.literal)
        self._names = names
        self._own = _Own([*own, *(rule.pattern for rule in keep if rule.literal)], self._patterns, names)

    def replace(self, texts: Sequence[str]) -> Replaced:
        """Raises PatternTooSlow."""
        found = find_again([find(text, self._patterns, self._names) for text in texts])
        taken = self._own.placeholders.union(
            *map(_placeholders, texts), *(_placeholders(f.folded.text) for f in found)
        )
        numbers = _Numbers(taken)
        replaced, swaps = [], []
        for number, (text, each) in enumerate(zip(texts, found, strict=True)):
            parts, at = [], 0
            for passage in each.passages:
                if self._is_kept(each, passage):
                    continue
                start, end = each.folded.span(passage.start, passage.end)
                placeholder = numbers.placeholder(passage)
                swaps.append(Swap(number, passage.kind, placeholder, text[start:end]))
                parts += [text[at:start], placeholder]
                at = end
            replaced.append("".join(parts) + text[at:] if parts else text)
        return Replaced(tuple(replaced), tuple(swaps))

    def _is_kept(self, found: Found, passage: Passage) -> bool:
        written = found.written(passage)
        return self._own.holds(passage, written) or any(kept.is_all_of(written) for kept in self._kept)


class _Own:
    """Values that stand in the team's own texts, in whatever way they are written there, and those texts."""

    def __init__(self, texts: Sequence[str], patterns: Sequence[tuple[str, Pattern]], names: Detector | None):
        found = find_again([find(text, patterns, names) for text in texts])
        self._values = {(passage.kind, passage.value) for each in found for passage in each.passages}
        self._text = "\n".join(each.folded.text for each in found)
        self.placeholders = _placeholders(self._text)

    def holds(self, passage: Passage, written: str) -> bool:
        if (passage.kind, passage.value) in self._values:
            return True
        # Verbatim, but not as a part of something longer.
        at = self._text.find(written)
        while at >= 0:
            before, after = self._text[at - 1 : at], self._text[at + len(written) : at + len(written) + 1]
            if not before.isalnum() and not after.isalnum():
                return True
            at = self._text.find(written, at + 1)
        return False


class _Numbers:
    """Placeholders by order of appearance; those that somebody typed are skipped."""

    def __init__(self, taken: set[str]):
        self._taken = taken
        self._given: dict[tuple[str, str], str] = {}
        self._last: dict[str, int] = {}

    def placeholder(self, passage: Passage) -> str:
        key = passage.kind, passage.value
        if key not in self._given:
            number = self._last.get(passage.kind, 0) + 1
            while f"<{passage.kind}_{number}>" in self._taken:
                number += 1
            self._last[passage.kind] = number
            self._given[key] = f"<{passage.kind}_{number}>"
        return self._given[key]


def _placeholders(text: str) -> set[str]:
    return set(_PLACEHOLDER.findall(text))
