"""Approved answers and splits to a frozen dataset, or to how much is missing for one.

In: approved examples, splits. Out: examples in a fixed order with a content hash, or a Shortage. Pure; the
store freezes what this module makes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from store.records import Example, Role, Split
from trainer.examples.selection import Approved
from trainer.examples.splits import DEV_SHARE, GATE_SHARE
from trainer.settings import TrainerSettings


def make_examples(
    approved: Sequence[Approved], splits: Mapping[str, Split], prompt_id: int | None
) -> tuple[Example, ...]:
    """Examples, each in its conversation's split; `prompt_id` is the prompt that teaches.

    They are ordered by what they say, so that the same ratings train the same adapter whatever ids they were given.
    """
    examples = [
        Example(
            message_id=item.answer.message_id,
            conversation_id=item.answer.conversation_id,
            context=item.answer.context,
            completion=item.completion,
            corrected=item.corrected,
            split=splits[item.answer.conversation_id],
            rater=item.rater,
            from_teacher=not item.corrected and item.answer.teacher_prompt_id == prompt_id,
            rejected=_rejected(item),
        )
        for item in approved
    ]
    return tuple(sorted(examples, key=in_order))


def _rejected(item: Approved) -> str | None:
    """The answer that was given, where a correction says something else."""
    given = item.answer.answer.strip()
    return given if item.corrected and given and given != item.completion else None


def in_order(example: Example) -> tuple[object, ...]:
    """Sorts examples by question, then answer."""
    return example.context, example.completion, example.message_id


def key_of(context: Sequence[tuple[Role, str]]) -> str:
    """What makes two contexts the same question."""
    return json.dumps([[str(role), text] for role, text in context])


def content_hash(examples: Sequence[Example]) -> str:
    """SHA-256 over ids, texts as trained and splits: two datasets with one hash train alike.

    A rejected answer counts only where there is one: datasets frozen before they were recorded keep their hash.
    """
    rows = [
        [
            e.message_id,
            e.conversation_id,
            [[str(role), text] for role, text in e.context],
            e.completion,
            e.corrected,
            str(e.split),
            e.approved,
            e.from_teacher,
            *([] if e.rejected is None else [e.rejected]),
        ]
        for e in examples
    ]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()


def sizes(examples: Sequence[Example]) -> dict[Split, int]:
    """Approved examples in each split."""
    counted = Counter(example.split for example in examples if example.approved)
    return {split: counted[split] for split in Split}


def shortage(examples: Sequence[Example], settings: TrainerSettings) -> str | None:
    """Why this is not enough to train and to prove anything, as “not enough yet, N more”; None when it is."""
    have = sizes(examples)
    missing = max(
        (settings.min_train - have[Split.TRAIN]) / (1 - DEV_SHARE - GATE_SHARE),
        (settings.min_gate - have[Split.GATE]) / GATE_SHARE,
        (1 - have[Split.DEV]) / DEV_SHARE,
    )
    if missing > 0:
        return (
            f"Not enough yet: about {max(1, round(missing))} more approved answers. There are {sum(have.values())}, of "
            f"which {have[Split.TRAIN]} to train on ({settings.min_train} needed) and {have[Split.GATE]} to prove "
            f"it on ({settings.min_gate} needed). Rate answers up or correct them."
        )
    answers = {example.completion for example in examples if example.approved}
    if len(answers) == 1:
        return (
            f"Not enough yet: all {sum(have.values())} approved answers are the same text "
            f"(“{next(iter(answers))[:60]}”). At least 1 more that differs is needed, or there is nothing to learn."
        )
    return None
