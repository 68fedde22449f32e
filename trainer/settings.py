"""The settings of a training run, all in one place; each run stores the ones it used.

In: nothing. Out: one frozen value. The defaults are for a 135M model on two cores and sane up to 8B on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

NO_MODEL = "none"  # of `privacy_model`

# What a record from before these settings means: that there was no such step.
_BEFORE: Mapping[str, Any] = {
    "privacy": False,
    "privacy_model": NO_MODEL,
    "preference": 0.0,
    "min_pairs": 30,
    "without_raters": (),
    "rater_share": 1.0,
    "quarantine": False,
    "trusted_raters": (),
    "roll_back": False,
    "proposals": 0,
    "newest_answers": 10**9,
    "similar_cap": 0,
    "max_train": 0,
}


class OtherSettings(ValueError):
    """A record of settings that this version cannot read; the message names the fields."""


@dataclass(frozen=True)
class TrainerSettings:
    """Sizes are in examples, `margin` in points of the score (0 to 1), `max_answer_tokens` in tokens."""

    seed: int = 0
    epochs: int = 10  # at most; `patience` ends most runs earlier
    # One is used as it is; of several, each is tried on the first 15 % of the steps and the best on dev is taken
    # (see `sweep`). 1e-3 was found for the embedded 135M model: give several, say 1e-3, 5e-4 and 2e-4, for another.
    learning_rates: tuple[float, ...] = (1e-3,)
    rank: int = 16
    frozen_layers: int = 0  # so many layers from below take no adapter; steps get faster, adapters smaller
    dropout: float = (
        0.0  # of the adapter's input; halves the speed on CPU, and early stopping is there anyway
    )
    # Share of the training examples in the first epoch; it grows evenly to all of them by the middle of the run.
    start_share: float = 1.0
    # Noise on the embeddings while training (NEFTune, Jain et al. 2023, arXiv:2310.05914). At the empty rung it brought
    # chrF from 77.5 (8 epochs, none) to 83.7 (6 epochs) on 89 questions that were not trained on.
    embedding_noise: float = 5.0
    # Share of the first steps that are rendered with more than the shortest rung; falls to none towards the last. On
    # Banking77 5 epochs with 0.6 gave 19 % at the shortest rung and 30 % at the full prompt, with none 24 and 18 %, and
    # 15 epochs with none 27 and 21 % (300 questions, about 2.4 points of standard error each).
    longer_rungs: float = 0.0
    # The prompt's own worked examples are learned beside the approved answers.
    worked_examples: bool = False
    # Before so many of the steps comes one that reads the full prompt itself, word by word.
    reading: float = 0.0
    # Weight of following the teacher (base model, full prompt) beside that of an approved answer; 0 for none. It is
    # followed on its own answers: those rated up and, where people approve of at least `teacher_approval` of what they
    # rate of it, also the newest `teacher_answers` that nobody has rated.
    distillation: float = 1.0
    teacher_approval: float = 0.5
    teacher_answers: int = 200
    # Weight of telling a correction from the answer that it corrected (DPO) beside that of the correction; 0 for none.
    # Learned after everything else, where there are `min_pairs` corrections, and kept where dev gains from it.
    preference: float = 0.0
    min_pairs: int = 30
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
    proposals: int = 40
    min_train: int = 20  # an adapter from so few is rarely promoted; that is for the gate to find out
    min_gate: int = 20
    retrain_after: int = 30  # new approved examples that trigger a retrain
    # After a swap: go back by itself when people and answers say that the new pair is worse (see `regression`).
    roll_back: bool = True
    max_answer_tokens: int = 256
    rungs: int = (
        3  # shorter rungs offered to the gate, besides the full prompt; each costs about 40 s on two cores
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
        record = {**_BEFORE, **record}
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
