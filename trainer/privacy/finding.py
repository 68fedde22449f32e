"""A text to everything in it that is personal or secret, in order and without overlaps.

In: a text. Out: passages of its folded form. Place in the flow: it asks one detector after the other, each on what
those before have left. Pure but for a model of names, if there is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from trainer.privacy import accounts, addresses, credentials, phones
from trainer.privacy.folding import Folded, fold
from trainer.privacy.national_ids import national_ids
from trainer.privacy.passages import BLANK, Passage, blank
from trainer.privacy.patterns import Pattern

Detector = Callable[[str], Iterator[Passage]]

# Who comes first wins: what is longer and surer. A card number is asked for after the identity numbers of 18 digits, of
# which one in ten also fulfils Luhn's check.
DETECTORS: tuple[Detector, ...] = (
    credentials.private_keys,
    credentials.url_credentials,
    credentials.keys,
    addresses.emails,
    accounts.ibans,
    addresses.macs,
    addresses.ips,
    national_ids,
    accounts.cards,
    credentials.said_secrets,
    phones.phones,
)
# Most texts hold no digit, and these detectors find nothing in them.
_NEED_DIGITS = frozenset(
    {national_ids, accounts.ibans, accounts.cards, addresses.ips, credentials.said_secrets, phones.phones}
)
_DIGIT = re.compile("[0-9]")
_REPEATED_AT_MOST = 128  # characters of a passage that is looked for again where no detector sees it
_WORD_STARTS = re.compile(r"(?<![0-9A-Za-z])[^\s\x00]")
_NUMBERS = re.compile(r"(?<![0-9])[+(]{0,2}[0-9](?:[ .\-/()]{0,2}[0-9]){6,14}(?![0-9])")


@dataclass(frozen=True)
class Found:
    """A text with what was found in it, in order."""

    folded: Folded
    passages: tuple[Passage, ...]

    def written(self, passage: Passage) -> str:
        return self.folded.text[passage.start : passage.end]


def find(text: str, patterns: Sequence[tuple[str, Pattern]], names: Detector | None) -> Found:
    """`patterns` are people's own with their kinds, `names` a model's. Raises PatternTooSlow."""
    folded = fold(text)
    found: list[Passage] = []
    left = folded.text
    detectors = [*DETECTORS, *(_by_pattern(kind, own) for kind, own in patterns), *([names] if names else [])]
    for detector in detectors:
        if detector in _NEED_DIGITS and not _DIGIT.search(left):
            continue
        new = in_order(detector(left), left)
        left = blank(left, new)
        found += new
    return Found(folded, tuple(sorted(found, key=_place)))


def find_again(found: Sequence[Found]) -> list[Found]:
    """Passages of one text, wherever they stand in the others: also where the word that gave one away is missing."""
    known = {f.written(passage): passage for f in found for passage in f.passages}
    numbers = {
        form: passage for written, passage in known.items() for form in _number_forms(written, passage.value)
    }
    again = []
    for each in found:
        left = blank(each.folded.text, each.passages)
        new = in_order([*_repeated(left, known), *_renumbered(left, numbers)], left)
        again.append(Found(each.folded, tuple(sorted([*each.passages, *new], key=_place))))
    return again


def in_order(passages: Iterable[Passage], text: str) -> list[Passage]:
    """Sorted, the longer one first where two start together; what overlaps one before it is left out."""
    kept: list[Passage] = []
    for passage in sorted(passages, key=_place):
        overlaps = kept and passage.start < kept[-1].end
        if not overlaps and BLANK not in text[passage.start : passage.end]:
            kept.append(passage)
    return kept


def _place(passage: Passage) -> tuple[int, int]:
    return passage.start, -passage.end


def _by_pattern(kind: str, own: Pattern) -> Detector:
    def detect(text: str) -> Iterator[Passage]:
        for start, end in own.spans(text):
            yield Passage(start, end, kind, text[start:end])

    return detect


def _repeated(text: str, known: dict[str, Passage]) -> Iterator[Passage]:
    """By the first two characters and then by length, so that many passages cost no more than a few."""
    lengths: dict[str, set[int]] = {}
    for written in known:
        if 2 <= len(written) <= _REPEATED_AT_MOST:
            lengths.setdefault(written[:2], set()).add(len(written))
    if not lengths:
        return
    for start in (m.start() for m in _WORD_STARTS.finditer(text)):
        for length in sorted(lengths.get(text[start : start + 2], ()), reverse=True):
            end = start + length
            passage = known.get(text[start:end])
            if passage is not None and not text[end : end + 1].isalnum():
                yield Passage(start, end, passage.kind, passage.value)
                break


def _number_forms(written: str, value: str) -> set[str]:
    digits = re.sub("[^0-9]", "", written)
    letters = re.search("[A-Za-z]", written) is not None
    return set() if letters or len(digits) < 7 else {digits, value.lstrip("+")}


def _renumbered(text: str, numbers: dict[str, Passage]) -> Iterator[Passage]:
    """The same number with other separators."""
    if numbers:
        for found in _NUMBERS.finditer(text):
            passage = numbers.get(re.sub("[^0-9]", "", found[0]))
            if passage is not None:
                yield Passage(found.start(), found.end(), passage.kind, passage.value)
