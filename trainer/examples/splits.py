"""Conversations to train, dev and gate: by conversation, before anything else, and for ever.

In: conversation ids with their first question, and the splits recorded so far. Out: a split for each. Pure.
One that was placed before stays where it is. A new conversation goes to where one that asks nearly the same was placed;
where there is none, to where a hash of its first question says, and all that ask nearly the same with it.
What was placed but is not approved now is not compared with.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from store.records import Split
from trainer.examples.similar import Groups, Question, grouped
from trainer.examples.wording import wording

# The gate gets a large share: its size decides how small a loss can be told from none. At 225 approved answers 90 gate
# examples, not 68, let 58 instead of 43 % of equal candidates pass that differ in 4 % of their right-or-wrong answers.
DEV_SHARE, GATE_SHARE = 0.1, 0.4
_ORDER = (
    Split.GATE,
    Split.DEV,
    Split.TRAIN,
)  # of two that are equally near: what proves may only become more


def assign(first_questions: Mapping[str, str], recorded: Mapping[str, Split]) -> dict[str, Split]:
    """Split of each conversation id in `first_questions`; those in `recorded` keep theirs.

    A question near several that were placed goes with the nearest. Where questions that are near each other are in
    different splits already, they stay there, and `thinning` keeps them out of training.
    """
    asked = {conversation: Question(wording(text)) for conversation, text in first_questions.items()}
    groups = grouped(asked.values())
    placed: dict[Question, set[Split]] = defaultdict(set)
    texts: dict[Question, list[str]] = defaultdict(list)
    for conversation, question in asked.items():
        texts[question].append(first_questions[conversation])
        if conversation in recorded:
            placed[question].add(recorded[conversation])
    new: dict[Question, Split] = {}
    for question in set(asked.values()):
        first = groups.representative[question]
        near = (
            _nearest([question], groups, placed)
            or _nearest([first], groups, placed)
            or _nearest(groups.members[first], groups, placed)
        )
        new[question] = near or split_of(min(texts[first]))
    return {
        conversation: recorded.get(conversation) or new[question] for conversation, question in asked.items()
    }


def _nearest(
    questions: Iterable[Question], groups: Groups, placed: Mapping[Question, set[Split]]
) -> Split | None:
    found = [
        (alike, -_ORDER.index(split))
        for question in questions
        for other, alike in groups.near[question].items()
        for split in placed.get(other, ())
    ]
    return _ORDER[-max(found)[1]] if found else None


def split_of(question: str) -> Split:
    """Where a question that was never seen goes; case, spaces and punctuation do not matter."""
    key = " ".join(re.findall(r"\w+", question.casefold())) or question
    position = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64
    if position < GATE_SHARE:
        return Split.GATE
    return Split.DEV if position < GATE_SHARE + DEV_SHARE else Split.TRAIN
