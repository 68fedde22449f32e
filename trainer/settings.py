"""The settings of a training run, all in one place; each run stores the ones it used.

In: nothing. Out: one frozen value. The defaults are for a 135M model on two cores and sane up to 8B on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

NO_MODEL = "none"  # of `privacy_model`


class OtherSettings(ValueError):
    """A record of settings that this version cannot read; the message names the fields."""


@dataclass(frozen=True)
class TrainerSettings:
    """Sizes are in examples, `margin` in points of the score (0 to 1), `max_answer_tokens` in tokens."""

    seed: int = 0
    epochs: int = 10  # at most; `patience` ends most runs earlier
    learning_rate: float = 1e-3  # found for the embedded 135M model; larger models take less, say 2e-4
    rank: int = 16
    # Noise on the embeddings while training (NEFTune, Jain et al. 2023, arXiv:2310.05914). At the empty variant it brought
    # chrF from 77.5 (8 epochs, none) to 83.7 (6 epochs) on 89 questions that were not trained on.
    embedding_noise: float = 5.0
    # Weight of following the teacher (base model, full prompt) beside that of an approved answer; 0 for none. It is
    # followed on its own answers: those rated up and, where people approve of at least `teacher_approval` of what they
    # rate of it, also the newest `teacher_answers` that nobody has rated.
    distillation: float = 1.0
    teacher_approval: float = 0.5
    teacher_answers: int = 200
    # Whose ratings are left out as if they had never been given, and the most that one rater may bring of all examples;
    # of a rater who gave more, the oldest are left out.
    without_raters: tuple[str, ...] = ()
    rater_share: float = 1.0
    # A rater whose corrections say what nobody else says, whatever was asked, is not learned from until a reviewer
    # approves or the rater is trusted (see `quarantine`).
    quarantine: bool = True
    trusted_raters: tuple[str, ...] = ()
    # So many rated answers are looked at, those that were rated last; the page and the report say how many are older.
    # About half of 10,000 are trained on, a quarter of an hour an epoch on two cores; selecting from them takes 0.5 s.
    newest_answers: int = 10_000
    # So many examples at most train on one question, however it is worded; 0 for any number. Three teach several ways
    # to ask and drown nothing: of 3,000 Banking77 questions 34 are over it (0.7 % of the clusters), of the sample none.
    similar_cap: int = 3
    # So many examples at most are trained on, 0 for any number; the largest topics give theirs up first.
    max_train: int = 0
    # E-mail addresses, keys, card numbers and the like become placeholders in what is trained on and in what proves it
    # (docs/privacy.md). `privacy_model`: also names of people and places, by a token classification model; a directory
    # or hub id.
    privacy: bool = True
    privacy_model: str = NO_MODEL
    examples_per_step: int = 8
    patience: int = 2  # epochs without a better dev loss before training stops
    margin: float = 0.05  # a shorter prompt may score this much less at most, with 95 % confidence
    # Answers of a refused candidate that people are asked about, where they are not simply right or wrong; 0 for none.
    judgement_requests: int = 40
    min_train: int = 20  # an adapter from so few is rarely promoted; that is for the gate to find out
    min_gate: int = 20
    retrain_after: int = 30  # new approved examples that trigger a retrain
    # After a swap: go back by itself when people and answers say that the new pair is worse (see `rollback_monitor`).
    roll_back: bool = True
    max_answer_tokens: int = 256
    variants: int = (
        3  # shorter variants offered to the gate, besides the full prompt; each costs about 40 s on two cores
    )

    @property
    def max_answer_characters(self) -> int:
        """A bound for selection, before anything is tokenized: four characters are a token in most texts."""
        return 4 * self.max_answer_tokens

    def as_record(self) -> dict[str, Any]:
        """Plain JSON values: a tuple is a list, as it is when the store gives it back."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TrainerSettings:
        """The settings that a run stored. Raises OtherSettings for those of another version of Shorthand."""
        known = {field.name for field in fields(cls)}
        unknown, missing = sorted(record.keys() - known), sorted(known - record.keys())
        if unknown or missing:
            said = [f"it has {', '.join(unknown)}"] * bool(unknown)
            said += [f"it lacks {', '.join(missing)}"] * bool(missing)
            raise OtherSettings(
                f"The settings were written by another version of Shorthand: {'; '.join(said)}."
            )
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
        return cls(**values)
