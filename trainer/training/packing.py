"""Examples that share a prompt to one packed row: the prompt's tokens once, then each example after it.

In: token ids as rendered for serving. Out: rows with positions, owners and targets. Pure. Every example sees
the shared prefix and itself, at the positions that it has when served, so the numbers equal those of separate
rows; 8 questions under an 850-token prompt are one row of 1,200 tokens instead of 7,200, and nothing is
padding. The idea is prefix sharing as in Hydragen (Juravsky et al. 2024, arXiv:2402.05099), used for training.
Does not know what the tokens mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

IGNORE = -100  # the target of a position whose prediction does not count
PREFIX = -1  # the owner of the shared tokens

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class TopK:
    """A teacher's likeliest next tokens at every answer position, and how much following it counts.

    `ids` (int32) and `ln_p` (float32) are both of shape (answer tokens, k).
    """

    ids: np.ndarray
    ln_p: np.ndarray
    weight: float = 1.0


@dataclass(frozen=True)
class Item:
    """One example: the request's tokens, the answer's tokens (with its end token), its weight and its teacher."""

    request: Tokens
    answer: Tokens
    weight: float = 1.0
    teacher: TopK | None = None


@dataclass(frozen=True)
class PackedRow:
    """Parallel lists, one entry a token: `targets[i]` is the token that follows position i in its example.

    `teachers` has an entry an example, in the order of their tokens: its teacher, or for want of one the number of its
    answer tokens.
    """

    ids: list[int]
    positions: list[int]
    owners: list[int]
    targets: list[int]
    weights: list[float]
    teachers: list[TopK | int] = field(default_factory=list)


def pack(items: Sequence[Item]) -> PackedRow:
    """Pack examples into one row; the longest common start of their requests is stored once."""
    # The last request token predicts the answer's first, so it stays with the example that owns the answer.
    shared = min(common_prefix([item.request for item in items]), min(len(i.request) for i in items) - 1)
    row = PackedRow([], [], [], [], [])
    for position, token in enumerate(items[0].request[:shared]):
        _append(row, token, position, PREFIX, IGNORE, 0.0)
    for owner, item in enumerate(items):
        tokens = item.request + item.answer
        row.teachers.append(item.teacher or len(item.answer))
        for position in range(shared, len(tokens) - 1):
            counts = position >= len(item.request) - 1
            _append(
                row,
                tokens[position],
                position,
                owner,
                tokens[position + 1] if counts else IGNORE,
                item.weight if counts else 0.0,
            )
    return row


def common_prefix(sequences: Sequence[Tokens]) -> int:
    """How many leading tokens all sequences share."""
    low, high = min(sequences), max(sequences)  # the extremes in sorted order differ first
    length = 0
    for a, b in zip(low, high, strict=False):
        if a != b:
            break
        length += 1
    return length


def _append(row: PackedRow, token: int, position: int, owner: int, target: int, weight: float) -> None:
    row.ids.append(token)
    row.positions.append(position)
    row.owners.append(owner)
    row.targets.append(target)
    row.weights.append(weight)
