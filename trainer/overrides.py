"""`name=value` texts to trainer settings, checked: how the command line changes any of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, get_args, get_origin, get_type_hints

from trainer.settings import TrainerSettings

# Smallest and largest value that makes sense; a tuple's entries each. What is not here may be any value of its type.
_BOUNDS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "epochs": (1, 1000),
    "learning_rate": (1e-8, 1.0),
    "rank": (1, 16),  # the server is started for adapters of rank 16 at most: assistant.serving.MAX_RANK
    "embedding_noise": (0.0, 100.0),
    "distillation": (0.0, 100.0),
    "teacher_approval": (0.0, 1.0),
    "teacher_answers": (0, 10**6),
    "rater_share": (0.01, 1.0),
    "newest_answers": (1, 10**9),
    "similar_cap": (0, 10**6),
    "max_train": (0, 10**9),
    "examples_per_step": (1, 1024),
    "patience": (1, 1000),
    "margin": (0.001, 0.5),
    "judgement_requests": (0, 10**4),
    "min_train": (2, 10**9),
    "min_gate": (2, 10**9),
    "retrain_after": (1, 10**9),
    "max_answer_tokens": (1, 10**6),
    "variants": (1, 20),
}


class BadSetting(ValueError):
    """A text that sets nothing; the message says why, and what can be set."""


def override(settings: TrainerSettings, texts: Sequence[str]) -> TrainerSettings:
    """The settings with every `name=value` applied, the last one of a name winning. Raises BadSetting."""
    types = get_type_hints(TrainerSettings)
    names = [field.name for field in fields(TrainerSettings)]
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        name = name.replace("-", "_")
        may_be_empty = types.get(name) == tuple[str, ...]
        if not equals or not (value or may_be_empty):
            raise BadSetting(f"{text!r} sets nothing: write name=value, such as epochs=3.")
        if name not in names:
            raise BadSetting(f"There is no setting {name!r}. There are: {', '.join(names)}.")
        values[name] = _value(name, value, types[name])
    return replace(settings, **values)


def listed() -> str:
    """Every setting with its default, for --help."""
    record = TrainerSettings().as_record()
    return ", ".join(f"{name}={_text(value)}" for name, value in record.items())


def _value(name: str, text: str, type_: Any) -> Any:
    if get_origin(type_) is tuple:
        parts = [part for part in text.split(",") if part.strip()]
        if not parts and type_ != tuple[str, ...]:
            raise BadSetting(f"{name}={text} holds no value; separate several with commas.")
        return tuple(_value(name, part.strip(), get_args(type_)[0]) for part in parts)
    if type_ is bool:
        if text.lower() not in ("true", "false"):
            raise BadSetting(f"{name} is true or false, not {text!r}.")
        return text.lower() == "true"
    if type_ is str:
        return text
    try:
        value = type_(text)
    except (TypeError, ValueError) as error:
        kind = {int: "a whole number", float: "a number"}.get(type_, "something else")
        raise BadSetting(f"{name} is {kind}, not {text!r}.") from error
    low, high = _BOUNDS.get(name, (-math.inf, math.inf))
    if not low <= value <= high:
        raise BadSetting(f"{name} lies between {low:g} and {high:g}, not at {text}.")
    return value


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
