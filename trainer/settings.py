"""The settings of a training run with their bounds, and how `name=value` texts change them.

Each run records the ones it used. The defaults are for a 135M model on two cores and sane up to 8B on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from assistant.serving import MAX_RANK


class BadSetting(ValueError):
    """A setting that does not exist or cannot have this value; the message says why, and what can be set."""


@dataclass(frozen=True)
class TrainerSettings:
    """Sizes are in examples, `margin` in points of the score (0 to 1), `max_answer_tokens` in tokens."""

    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    epochs: Annotated[int, Meta(ge=1, le=1000)] = 6
    # 0 for what suits the model's width (`trainer.training.lora.learning_rate`).
    learning_rate: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    rank: Annotated[int, Meta(ge=1, le=MAX_RANK)] = MAX_RANK
    # Noise on the embeddings while training (NEFTune, Jain et al. 2023, arXiv:2310.05914). Under the empty prompt it
    # raised chrF from 77.5 (8 epochs, none) to 83.7 (6 epochs) on 89 questions that were not trained on.
    embedding_noise: Annotated[float, Meta(ge=0.0, le=100.0)] = 5.0
    # The newest unrated answers that are considered; those that were sure enough are trained on at half the weight of
    # approved ones (`trainer.examples.traffic`). 0 for none.
    unrated_answers: Annotated[int, Meta(ge=0, le=10**6)] = 2_000
    # A larger model that answers questions that nobody rated, as <base url>#<model>, for the adapter to learn. The text
    # of these questions and the prompt leave this machine; personal data are replaced first.
    teacher: Annotated[str, Meta(pattern=r"^($|https?://[^#]+#.+)")] = ""
    # Raters whose ratings are ignored.
    without_raters: tuple[str, ...] = ()
    # A rater whose corrections say what nobody else says, whatever was asked, is not learned from until a reviewer
    # approves or the rater is trusted (`trainer.examples.outlier_raters`).
    exclude_outliers: bool = True
    trusted_raters: tuple[str, ...] = ()
    # The newest rated answers that are considered; the page and the report say how many are older. About half of
    # 10,000 are trained on, a quarter of an hour an epoch on two cores; selecting from them takes 0.5 s.
    newest_answers: Annotated[int, Meta(ge=1, le=10**9)] = 10_000
    # So many examples at most train on one question, however it is worded; 0 for any number. Three teach several ways
    # to ask and drown nothing: of 3,000 Banking77 questions 34 are over it (0.7 % of the clusters), of the sample none.
    similar_cap: Annotated[int, Meta(ge=0, le=10**6)] = 3
    # E-mail addresses, keys, card numbers and the like become placeholders in all splits (docs/privacy.md).
    privacy: bool = True
    # Adapters take large batches worse than whole models do (docs/training.md).
    examples_per_step: Annotated[int, Meta(ge=1, le=1024)] = 4
    # A shorter prompt may score this much less at most, with 95 % confidence.
    margin: Annotated[float, Meta(ge=0.001, le=0.5)] = 0.05
    # Answers of a refused candidate that people are asked about, of each variant, where they are not simply right or
    # wrong; 0 for none.
    judgement_requests: Annotated[int, Meta(ge=0, le=10**4)] = 40
    min_train: Annotated[int, Meta(ge=2, le=10**9)] = 20  # an adapter from so few rarely passes the gate
    min_gate: Annotated[int, Meta(ge=2, le=10**9)] = 20
    retrain_after: Annotated[int, Meta(ge=1, le=10**9)] = 30  # new approved examples that trigger a retrain
    # Roll a deployment back when ratings or answers show that it is worse than the one before (`rollback_monitor`).
    roll_back: bool = True
    max_answer_tokens: Annotated[int, Meta(ge=1, le=10**6)] = 256
    # Shorter prompts offered to the gate where an adapter does clearly worse without any; each costs about 40 s on two
    # cores.
    variants: Annotated[int, Meta(ge=1, le=20)] = 3

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
        names = cls().as_record().keys()
        unknown, missing = sorted(record.keys() - names), sorted(names - record.keys())
        if unknown or missing:
            raise BadSetting(
                "The recorded settings are not those of this version of Shorthand: "
                f"unknown: {', '.join(unknown) or 'none'}; missing: {', '.join(missing) or 'none'}."
            )
        return msgspec.convert(record, cls)


def override(settings: TrainerSettings, texts: Sequence[str]) -> TrainerSettings:
    """The settings with every `name=value` applied, the last one of a name winning. Raises BadSetting."""
    types = get_type_hints(TrainerSettings, include_extras=True)
    record = settings.as_record()
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        name = name.replace("-", "_")
        is_list, may_be_empty = types.get(name) == tuple[str, ...], isinstance(record.get(name), str | list)
        if not equals or not (value or may_be_empty):
            raise BadSetting(f"{text!r} sets nothing: write name=value, such as epochs=3.")
        if name not in types:
            raise BadSetting(f"There is no setting {name!r}. There are: {', '.join(types)}.")
        parts = [part.strip() for part in value.split(",") if part.strip()]
        try:
            record[name] = msgspec.convert(parts if is_list else value, types[name], strict=False)
        except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter for half a character
            expected = str(error).partition(",")[0].lower().replace("`", "")  # “expected int >= 1”
            raise BadSetting(f"{name} cannot be {value!r}: {expected}.") from error
    return msgspec.convert(record, TrainerSettings)


def defaults_in_words() -> str:
    """Every setting with its default as `override` reads it, for --help."""
    record = TrainerSettings().as_record()
    return ", ".join(f"{name}={','.join(v) if isinstance(v, list) else v}" for name, v in record.items())
