"""How the tokens of an answer are chosen."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sampling:
    """Greedy unless a temperature is given, as the gate measures answers.

    `max_tokens` is what the answer may take instead of the usual limit; `more` are further fields of a completion
    request, as vLLM knows them. `is_another`: there is an answer already, and a different one is wanted.
    """

    temperature: float = 0.0
    seed: int | None = None
    max_tokens: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    is_another: bool = False

    @property
    def may_be_copied(self) -> bool:
        """Whether an approved answer may be given again: nothing is asked for that the model has to make."""
        asked = {name for name, value in self.more.items() if value or name == "logprobs"}
        return not self.is_another and asked <= {"top_p"}


GREEDY = Sampling()


def varied() -> Sampling:
    """Another answer each time, for “regenerate”."""
    return Sampling(0.8, secrets.randbits(31), is_another=True)
