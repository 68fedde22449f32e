"""What a vLLM server says about an answer → its pieces, its cost and how sure the model was.

In: one event of a stream, or a whole body, of whoever answers at the address. Out: a `Reply`; ValueError for what is
none. Pure. Place in the flow: under `vllm_client`, which knows requests, connections and what to call a failure.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec


class Choice(msgspec.Struct):
    text: str = ""
    finish_reason: str | None = None
    logprobs: Any = None

    @property
    def ln_p(self) -> list[float]:
        """Of each token that came with this piece, in nats, as far as the server says it."""
        found = self.logprobs.get("token_logprobs") if isinstance(self.logprobs, dict) else None
        if not isinstance(found, list):
            return []
        return [float(one) for one in found if isinstance(one, int | float) and math.isfinite(one)]


class Reply(msgspec.Struct):
    """A piece of a streamed answer, or a whole one."""

    choices: list[Choice] = []
    usage: dict[str, Any] | None = None
    error: Any = None


def read_event(line: str) -> Reply:
    """Raises ValueError."""
    try:
        return msgspec.json.decode(line, type=Reply)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_whole(body: object) -> tuple[Choice, dict[str, Any]]:
    """The only choice, and the usage. Raises ValueError."""
    reply = msgspec.convert(body, type=Reply)
    [choice] = reply.choices
    return choice, reply.usage or {}


def count(usage: object, name: str) -> int:
    """Tokens of one kind; 0 where the server does not say."""
    value = usage.get(name) if isinstance(usage, dict) else None
    return max(0, value) if isinstance(value, int) else 0
