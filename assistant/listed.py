"""Finds the answers that a prompt lists, such as the names of intents, by those of them that people have approved.

The name of an answer says what it is for: of 300 test questions of Banking77 the intent with the most similar name is
right for 58 %, of 60 intents of CLINC150 for 73 %, before anybody has approved anything.
"""

import re
from collections.abc import Callable, Iterator, Sequence, Set

import numpy as np

from assistant.approved import Allowed, ApprovedAnswers
from store.demonstrations import Demonstration
from store.records import Segment

# A list has so many approved answers, and they are so much of all approved answers and of the list: or it is one of
# something else.
_FEWEST, _OF_APPROVED, _OF_LIST = 3, 0.8, 0.1
_SEPARATORS = ("\n", ",", ";", "|")
_AROUND = " \t\r.-–*•·\"'`“”‘’[](){}"
_NUMBER = re.compile(r"^\s*\d{1,3}[.)]\s+")
_BEFORE = re.compile(r"[:\[(]")
_MEANING = re.compile(r"\s*(?::|=|\s[-–—]|\()\s*")  # between an answer and what it means


def listed_answers(segments: Sequence[Segment], approved: Set[str]) -> list[Demonstration]:
    """Each answer of the list in which most `approved` ones stand, as the answer to a question: its line in the list.
    Nothing where there is no such list.
    """
    found = (_list_in(one.text, separator, approved) for one in segments for separator in _SEPARATORS)
    return max(found, key=len, default=[])


def with_listed(
    approved: ApprovedAnswers, segments: Sequence[Segment], embed: Callable[[Sequence[str]], np.ndarray]
) -> ApprovedAnswers:
    """The approved answers and those that the prompt lists; `embed` makes unit vectors of texts."""
    listed = listed_answers(segments, approved.by_answer.keys())
    if not listed:
        return approved
    vectors = embed([one.question for one in listed])
    return ApprovedAnswers.of([*listed, *approved.items], np.concatenate([vectors, approved.vectors]))


def allowed_with_listed(index: ApprovedAnswers, segments: Sequence[Segment], allowed: Allowed) -> Allowed:
    """Also the listed answers, as far as allowed ones find the list: no gate question's own answer helps to."""

    def is_allowed(places: Sequence[int]) -> bool:
        return any(index.items[at].message_id and allowed(index.items[at]) for at in places)

    known = {answer for answer, places in index.by_answer.items() if is_allowed(places)}
    listed = {one.answer for one in listed_answers(segments, known)}
    return lambda one: allowed(one) if one.message_id else one.answer in listed


def _list_in(text: str, separator: str, approved: Set[str]) -> list[Demonstration]:
    """From the first item that is an approved answer to the last one."""
    items = [*_items(text.split(separator), approved)]
    there = [n for n, (answer, _) in enumerate(items) if answer in approved]
    listed = {items[n][0] for n in there}
    if len(listed) < max(_FEWEST, _OF_APPROVED * len(approved)):
        return []
    between = {answer: line for answer, line in items[there[0] : there[-1] + 1] if _is_one(answer, listed)}
    is_list = len(listed) >= _OF_LIST * len(between)
    return [Demonstration("", line, answer) for answer, line in between.items()] if is_list else []


def _items(lines: Sequence[str], approved: Set[str]) -> Iterator[tuple[str, str]]:
    """The answer and the whole line of each."""
    for line in lines:
        item = _NUMBER.sub("", line).strip(_AROUND)
        usual = _MEANING.split(item, maxsplit=1)[0].strip(_AROUND)
        # The first one may follow “Choose one of: ”, and another sentence the last one.
        last, first = _BEFORE.split(item)[-1].strip(_AROUND), item.split(". ")[0].strip(_AROUND)
        yield next((part for part in (item, usual, last, first) if part in approved), usual), item


def _is_one(answer: str, known: Set[str]) -> bool:
    """Whether it may be an answer: about as short as the known ones, and with spaces only where they have some."""
    has_spaces = any(" " in one for one in known)
    return 0 < len(answer) <= 2 * max(map(len, known)) and (has_spaces or " " not in answer)
