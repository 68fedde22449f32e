"""Patterns that people write, refused when they could take for ever.

In: a regular expression as text. Out: a Pattern that gives up after a bounded time, or BadPattern with what to write
instead. Pure, and the boundary to `regex`, whose matching can be given a time limit. A pattern that nests unbounded
repetitions is refused by its form, and one that is slow on adversarial texts by trying it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import regex

from trainer.privacy.errors import BadPattern, PatternTooSlow

_LONGEST = 500
_TRIAL_S, _TRIAL_LENGTH = 0.1, 10_000
_LIMIT_S, _LIMIT_PER_MB_S = (
    5.0,
    5.0,
)  # far more than a pattern takes that has passed its trial, on a busy machine too
_KIND = re.compile("[A-Z][A-Z0-9_]{1,23}")
_UNBOUNDED = re.compile(r"[*+]|\{[0-9]*,\}")


@dataclass(frozen=True)
class Pattern:
    """A checked regular expression, or a plain text."""

    text: str
    compiled: regex.Pattern[str]

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where it matches, within a time limit. Raises PatternTooSlow."""
        limit = _LIMIT_S + _LIMIT_PER_MB_S * len(text) / 1e6
        try:
            for found in self.compiled.finditer(text, timeout=limit):
                if found.end() > found.start():
                    yield found.span()
        except TimeoutError as error:
            raise PatternTooSlow(
                f"The pattern {self.text!r} did not finish within {limit:.0f} s on a text of {len(text):,} "
                "characters. Nothing was trained. Remove it (python -m trainer privacy remove) or bound it."
            ) from error

    def is_all_of(self, text: str) -> bool:
        """Raises PatternTooSlow."""
        try:
            return self.compiled.fullmatch(text, timeout=_LIMIT_S) is not None
        except TimeoutError as error:
            raise PatternTooSlow(
                f"The pattern {self.text!r} did not finish within {_LIMIT_S:.0f} s."
            ) from error


def pattern(text: str, literal: bool) -> Pattern:
    """A checked pattern; raises BadPattern. A literal text stands alone, not within a longer word."""
    if not text.strip():
        raise BadPattern("The pattern is empty. Give the text or the regular expression to look for.")
    if len(text) > _LONGEST:
        raise BadPattern(f"The pattern has {len(text)} characters; {_LONGEST} are allowed.")
    if literal:
        return Pattern(text, regex.compile(rf"(?<!\w){regex.escape(text)}(?!\w)"))
    try:
        compiled = regex.compile(text)
    except (regex.error, ValueError, OverflowError) as error:
        raise BadPattern(
            f"{text!r} is no regular expression: {error}. To look for it as it stands, add --text."
        ) from error
    nested = nested_repetition(text)
    if nested is not None:
        raise BadPattern(
            f"{text!r} repeats without bound what repeats without bound or has alternatives ({nested!r}), which can "
            "take for ever. Bound it, such as {1,20} instead of +."
        )
    _try(text, compiled)
    return Pattern(text, compiled)


def kind_name(text: str) -> str:
    """A kind as placeholders show it; raises BadPattern."""
    name = text.strip().upper().replace("-", "_").replace(" ", "_")
    if not _KIND.fullmatch(name):
        raise BadPattern(
            f"{text!r} is no kind: write 2 to 24 letters, digits or _, such as ORDER, which becomes <ORDER_1>."
        )
    return name


def nested_repetition(text: str) -> str | None:
    """A group repeated without bound around another such repetition or an alternative; None if there is none."""
    opened: list[tuple[int, bool]] = []
    risky = False  # in the group that is open now
    at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == "[":
            at = _end_of_class(text, at)
            continue
        if text[at] == "(":
            opened.append((at, risky))
            risky = False
        elif text[at] == ")" and opened:
            start, outside = opened.pop()
            repeated = _UNBOUNDED.match(text, at + 1) is not None
            if repeated and risky:
                return text[start : at + 2]
            risky = risky or outside or repeated
        elif text[at] == "|" or _UNBOUNDED.match(text, at):
            risky = True
        at += 1
    return None


def _end_of_class(text: str, at: int) -> int:
    at += 2 if text[at + 1 : at + 2] == "^" else 1
    at += text[at : at + 1] == "]"
    while at < len(text) and text[at] != "]":
        at += 2 if text[at] == "\\" else 1
    return at + 1


def _try(text: str, compiled: regex.Pattern[str]) -> None:
    """Long runs of each of its characters and of the commonest ones, with ends that do not match.

    One end has all of its letters: `regex` looks for those that a match needs before it tries anything.
    """
    letters = "".join(c for c in text if c.isalnum())
    for character in dict.fromkeys(["a", "0", " ", "-", "@", "A", ".", *letters][:24]):
        for end in ("", "!", f"!{letters}"):
            attack = character * _TRIAL_LENGTH + end
            try:
                if any(m.end() == m.start() for m in compiled.finditer(attack, timeout=_TRIAL_S)):
                    raise BadPattern(
                        f"{text!r} also matches nothing at all, such as between two letters. Make a part of it needed."
                    )
            except TimeoutError as error:
                raise BadPattern(
                    f"{text!r} takes longer than {_TRIAL_S} s on {_TRIAL_LENGTH:,} times {character!r}. Bound its "
                    "repetitions, such as {1,20} instead of +."
                ) from error
