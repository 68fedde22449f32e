"""A published candidate as plain values: what the gate needs to know of it, now or at its re-evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """An adapter on disk with its variants; `parity` are the tokens that greedily follow `parity_ids` in the trainer,
    each with its ln p.
    """

    name: str
    variants: tuple[
        tuple[str, ...], ...
    ]  # ids of the segments that each variant keeps, the full prompt first
    dev_losses: tuple[float, ...]  # of each variant, in nats per answer token
    parity_ids: tuple[int, ...]
    parity: tuple[tuple[int, float], ...]
    training: Mapping[str, Any]  # what it took and how it went, for the report
    remarks: tuple[str, ...]  # what a person should know about the training beside the gate's word

    def as_record(self) -> dict[str, Any]:
        """Without `training` and `remarks`, which a report has anyway."""
        return {
            "name": self.name,
            "variants": [list(segment_ids) for segment_ids in self.variants],
            "dev_losses": list(self.dev_losses),
            "parity_ids": list(self.parity_ids),
            "parity": [list(pair) for pair in self.parity],
        }

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], training: Mapping[str, Any], remarks: Sequence[str] = ()
    ) -> Candidate:
        """Of the same candidate."""
        return cls(
            name=record["name"],
            variants=tuple(tuple(segment_ids) for segment_ids in record["variants"]),
            dev_losses=tuple(record["dev_losses"]),
            parity_ids=tuple(record["parity_ids"]),
            parity=tuple((int(token), float(ln_p)) for token, ln_p in record["parity"]),
            training=training,
            remarks=tuple(remarks),
        )
