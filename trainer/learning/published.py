"""A published candidate as plain values: what the gate has to know of it, now or at a second hearing.

In: what training found out. Out: a frozen value, and the same as JSON for a run's report. Pure; does not know torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Published:
    """An adapter on disk with its ladder; `parity` are the tokens that greedily follow `parity_ids` in the trainer,
    each with its ln p.
    """

    name: str
    ladder: tuple[tuple[str, ...], ...]  # ids of the segments that each rung keeps, the full prompt first
    dev_losses: tuple[float, ...]  # of each rung, in nats per answer token
    parity_ids: tuple[int, ...]
    parity: tuple[tuple[int, float], ...]
    training: Mapping[str, Any]  # what it took and how it went, for the report
    remarks: tuple[str, ...]  # what a person should know about the training beside the gate's word

    def as_record(self) -> dict[str, Any]:
        """Without `training` and `remarks`, which a report has anyway."""
        return {
            "name": self.name,
            "ladder": [list(kept) for kept in self.ladder],
            "dev_losses": list(self.dev_losses),
            "parity_ids": list(self.parity_ids),
            "parity": [list(pair) for pair in self.parity],
        }

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], training: Mapping[str, Any], remarks: Sequence[str] = ()
    ) -> Published:
        """Of the same candidate."""
        return cls(
            name=record["name"],
            ladder=tuple(tuple(kept) for kept in record["ladder"]),
            dev_losses=tuple(record["dev_losses"]),
            parity_ids=tuple(record["parity_ids"]),
            parity=tuple((int(token), float(ln_p)) for token, ln_p in record["parity"]),
            training=training,
            remarks=tuple(remarks),
        )
