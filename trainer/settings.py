"""The settings of a training run with their bounds, and how `name=value` texts change them.

Each run records the ones it used. The defaults are for a 135M model on two cores and sane up to 8B on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar, get_type_hints

Number = TypeVar("Number", int, float)


class BadSetting(ValueError):
    """A setting that does not exist or cannot have this value; the message says why, and what can be set."""


def _between(low: float, high: float, default: Number) -> Number:
    """A field whose bounds `override` checks."""
    return field(default=default, metadata={"bounds": (low, high)})


@dataclass(frozen=True)
class TrainerSettings:
    """Sizes are in examples, `margin` in points of the score (0 to 1), `max_answer_tokens` in tokens."""

    seed: int = _between(0, 2**32 - 1, 0)
    epochs: int = _between(1, 1000, 10)  # at most; `patience` ends most runs earlier
    # Found for the embedded 135M model; larger models take less, say 2e-4.
    learning_rate: float = _between(1e-8, 1.0, 1e-3)
    rank: int = _between(1, 16, 16)  # the server loads adapters up to rank 16 (assistant.serving.MAX_RANK)
    # Noise on the embeddings while training (NEFTune, Jain et al. 2023, arXiv:2310.05914). Under the empty prompt it
    # raised chrF from 77.5 (8 epochs, none) to 83.7 (6 epochs) on 89 questions that were not trained on.
    embedding_noise: float = _between(0.0, 100.0, 5.0)
    # Weight of the teacher (base model, full prompt) beside that of an approved answer; 0 for none. It is distilled on
    # its own answers: those rated up and, where people approve of at least `teacher_approval` of what they rate of it,
    # also the newest `teacher_answers` that nobody has rated.
    distillation: float = _between(0.0, 100.0, 1.0)
    teacher_approval: float = _between(0.0, 1.0, 0.5)
    teacher_answers: int = _between(0, 10**6, 200)
    # Raters whose ratings are ignored, and the largest share of all examples that one rater may give; of a rater who
    # gave more, the oldest are left out.
    without_raters: tuple[str, ...] = ()
    rater_share: float = _between(0.01, 1.0, 1.0)
    # A rater whose corrections say what nobody else says, whatever was asked, is not learned from until a reviewer
    # approves or the rater is trusted (`trainer.examples.outlier_raters`).
    exclude_outliers: bool = True
    trusted_raters: tuple[str, ...] = ()
    # The newest rated answers that are considered; the page and the report say how many are older. About half of
    # 10,000 are trained on, a quarter of an hour an epoch on two cores; selecting from them takes 0.5 s.
    newest_answers: int = _between(1, 10**9, 10_000)
    # So many examples at most train on one question, however it is worded; 0 for any number. Three teach several ways
    # to ask and drown nothing: of 3,000 Banking77 questions 34 are over it (0.7 % of the clusters), of the sample none.
    similar_cap: int = _between(0, 10**6, 3)
    # So many examples at most are trained on, 0 for any number; corrected ones stay first, then the newest.
    max_train: int = _between(0, 10**9, 0)
    # E-mail addresses, keys, card numbers and the like become placeholders in all splits (docs/privacy.md).
    privacy: bool = True
    examples_per_step: int = _between(1, 1024, 8)
    patience: int = _between(1, 1000, 2)  # epochs without a better dev loss before training stops
    # A shorter prompt may score this much less at most, with 95 % confidence.
    margin: float = _between(0.001, 0.5, 0.05)
    # Answers of a refused candidate that people are asked about, where they are not simply right or wrong; 0 for none.
    judgement_requests: int = _between(0, 10**4, 40)
    min_train: int = _between(2, 10**9, 20)  # an adapter from so few rarely passes the gate
    min_gate: int = _between(2, 10**9, 20)
    retrain_after: int = _between(1, 10**9, 30)  # new approved examples that trigger a retrain
    # Roll a deployment back when ratings or answers show that it is worse than the one before (`rollback_monitor`).
    roll_back: bool = True
    max_answer_tokens: int = _between(1, 10**6, 256)
    # Shorter prompt variants offered to the gate, besides the full prompt; each costs about 40 s on two cores.
    variants: int = _between(1, 20, 3)

    @property
    def max_answer_characters(self) -> int:
        """A bound for selection, before anything is tokenized: four characters are a token in most texts."""
        return 4 * self.max_answer_tokens

    def as_record(self) -> dict[str, Any]:
        """Plain JSON values: a tuple is a list, as it is when the store gives it back."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TrainerSettings:
        """The settings that a run recorded. Raises BadSetting where some are unknown or missing."""
        names = {each.name for each in fields(cls)}
        unknown, missing = sorted(record.keys() - names), sorted(names - record.keys())
        if unknown or missing:
            raise BadSetting(
                "The recorded settings are not those of this version of Shorthand: "
                f"unknown: {', '.join(unknown) or 'none'}; missing: {', '.join(missing) or 'none'}."
            )
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
        return cls(**values)


def override(settings: TrainerSettings, texts: Sequence[str]) -> TrainerSettings:
    """The settings with every `name=value` applied, the last one of a name winning. Raises BadSetting."""
    types = get_type_hints(TrainerSettings)
    bounds = {each.name: each.metadata.get("bounds", (-math.inf, math.inf)) for each in fields(settings)}
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        name = name.replace("-", "_")
        may_be_empty = types.get(name) == tuple[str, ...]
        if not equals or not (value or may_be_empty):
            raise BadSetting(f"{text!r} sets nothing: write name=value, such as epochs=3.")
        if name not in types:
            raise BadSetting(f"There is no setting {name!r}. There are: {', '.join(types)}.")
        values[name] = _parse(name, value, types[name], *bounds[name])
    return replace(settings, **values)


def defaults_in_words() -> str:
    """Every setting with its default as `override` reads it, for --help."""
    record = TrainerSettings().as_record()
    return ", ".join(f"{name}={','.join(v) if isinstance(v, list) else v}" for name, v in record.items())


def _parse(name: str, text: str, kind: Any, low: float, high: float) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise BadSetting(f"{name} is true or false, not {text!r}.")
        return text.lower() == "true"
    if kind not in (int, float):  # a tuple of texts
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        value = kind(text)
    except ValueError as error:
        expected = "a whole number" if kind is int else "a number"
        raise BadSetting(f"{name} is {expected}, not {text!r}.") from error
    if not low <= value <= high:
        raise BadSetting(f"{name} lies between {low:g} and {high:g}, not at {text}.")
    return value
