"""Splits: each conversation is put into train, dev or gate, once and for ever.

A settled conversation stays. A new one goes to where one that asks nearly the same was put; where there is none, a hash
of a first question decides, for all that ask nearly the same.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping

from store.records import Split
from trainer.examples.similar import Groups
from trainer.examples.wording import Wording, wording

# The gate gets a large share: its size decides how small a loss can be told from none. At 225 approved answers 90 gate
# examples, not 68, let 58 instead of 43 % of equal candidates pass that differ in 4 % of their right-or-wrong answers.
DEV_SHARE, GATE_SHARE = 0.1, 0.4
# Of two that are equally near: the gate may only grow.
_ORDER = (Split.GATE, Split.DEV, Split.TRAIN)


def assign_splits(
    first_questions: Mapping[str, str], settled: Mapping[str, Split], groups: Groups
) -> dict[str, Split]:
    """The split of each conversation id in `first_questions`, all of which `groups` has; `settled` ones keep theirs.

    Where questions that are near each other are settled in different splits, they stay there, and `deduplicate` keeps
    them out of training.
    """
    asked = {conversation: wording(text) for conversation, text in first_questions.items()}
    placed: dict[Wording, set[Split]] = defaultdict(set)
    texts: dict[Wording, list[str]] = defaultdict(list)
    for conversation, question in asked.items():
        texts[groups.representative[question]].append(first_questions[conversation])
        if conversation in settled:
            placed[question].add(settled[conversation])
    new: dict[Wording, Split] = {}
    for question in set(asked.values()):
        first = groups.representative[question]
        nearest = ([question], groups.near[question], groups.near[first], groups.members[first])
        found = [{split for one in some for split in placed.get(one, ())} for some in nearest]
        splits = next((some for some in found if some), {split_of(min(texts[first]))})
        new[question] = min(splits, key=_ORDER.index)
    return {
        conversation: settled.get(conversation) or new[question] for conversation, question in asked.items()
    }


def split_of(question: str) -> Split:
    """Where a question that was never seen goes; case, spaces and punctuation do not matter."""
    key = " ".join(re.findall(r"\w+", question.casefold())) or question
    position = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64
    if position < GATE_SHARE:
        return Split.GATE
    return Split.DEV if position < GATE_SHARE + DEV_SHARE else Split.TRAIN
