"""What a frozen dataset is: its content hash, its sizes, and how much is missing for one."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

from store.records import Example, Split
from trainer.examples.splits import DEV_SHARE, GATE_SHARE
from trainer.settings import TrainerSettings


def content_hash(examples: Sequence[Example]) -> str:
    """SHA-256 over ids, texts as trained and splits: two datasets with one hash train alike."""
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
        ]
        for e in examples
    ]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()


def sizes(examples: Sequence[Example]) -> dict[Split, int]:
    """Approved examples in each split."""
    counted = Counter(example.split for example in examples if example.approved)
    return {split: counted[split] for split in Split}


def shortage(examples: Sequence[Example], settings: TrainerSettings) -> str | None:
    """Why this is not enough to train and to evaluate, as “not enough yet, N more”; None when it is."""
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
