"""Rules that people add: regular expressions and texts, refused when they could take for ever."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise

import regex

from trainer.redaction.entities import RedactionError

_LONGEST = 500
_TRIAL_S, _TRIAL_LENGTH = 0.1, 10_000
# Far more than a pattern takes that has passed its trial, also on a busy machine and a text of a megabyte.
_LIMIT_S = 10.0
_KIND = re.compile("[A-Z][A-Z0-9_]{1,23}")


@dataclass(frozen=True)
class Pattern:
    """A checked regular expression."""

    compiled: regex.Pattern[str]

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where it matches. Raises RedactionError when it takes too long."""
        with self._limit(text):
            for found in self.compiled.finditer(text, timeout=_LIMIT_S):
                if found[0]:
                    yield found.span()

    def matches_all_of(self, text: str) -> bool:
        """Raises RedactionError when it takes too long."""
        with self._limit(text):
            return self.compiled.fullmatch(text, timeout=_LIMIT_S) is not None

    @contextmanager
    def _limit(self, text: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise RedactionError(
                f"The pattern {self.compiled.pattern!r} did not finish within {_LIMIT_S:.0f} s on a text of "
                f"{len(text):,} characters. Nothing was trained. Remove it (python -m trainer privacy remove) or "
                "bound it."
            ) from error


def checked_pattern(text: str, literal: bool) -> Pattern:
    """Raises RedactionError when it is refused. A literal text stands alone, not within a longer word."""
    if not text.strip():
        raise RedactionError("The pattern is empty. Give the text or the regular expression to look for.")
    if len(text) > _LONGEST:
        raise RedactionError(f"The pattern has {len(text)} characters; {_LONGEST} are allowed.")
    if literal:
        return Pattern(regex.compile(rf"(?<!\w){regex.escape(text)}(?!\w)"))
    try:
        compiled = regex.compile(text)
    except (regex.error, ValueError, OverflowError) as error:
        raise RedactionError(
            f"{text!r} is no regular expression: {error}. To look for it as it stands, add --text."
        ) from error
    _try(compiled)
    return Pattern(compiled)


def kind_name(text: str) -> str:
    """A kind as placeholders show it. Raises RedactionError."""
    name = text.strip().upper().replace("-", "_").replace(" ", "_")
    if not _KIND.fullmatch(name):
        raise RedactionError(
            f"{text!r} is no kind: write 2 to 24 letters, digits or _, such as ORDER, which becomes <ORDER_1>."
        )
    return name


def _try(pattern: regex.Pattern[str]) -> None:
    """Tries long runs of the pattern's own characters, of each two neighbours of its letters and of common characters.

    One end has all of its letters: `regex` looks for those that a match needs before it tries anything.
    """
    letters = "".join(filter(str.isalnum, pattern.pattern))
    pairs = map("".join, pairwise(letters))
    for run in dict.fromkeys(["a", "0", " ", "-", "@", "A", ".", *pattern.pattern[:40], *islice(pairs, 20)]):
        for end in ("", "!", f"!{letters}"):
            attack = run * (_TRIAL_LENGTH // len(run)) + end
            try:
                empty = not all(found[0] for found in pattern.finditer(attack, timeout=_TRIAL_S))
            except TimeoutError as error:
                raise RedactionError(
                    f"{pattern.pattern!r} takes longer than {_TRIAL_S} s on {_TRIAL_LENGTH:,} characters of {run!r}, "
                    "and could take for ever. Bound its repetitions, such as {1,20} instead of +."
                ) from error
            if empty:
                raise RedactionError(
                    f"{pattern.pattern!r} also matches nothing at all, such as between two letters. Make a part of it "
                    "needed."
                )
