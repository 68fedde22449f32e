"""Reads the bodies of requests: checked values out of what any client may send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any, TypeVar

import msgspec

from assistant.api.errors import ApiError
from assistant.limits import MAX_MESSAGE_CHARACTERS
from assistant.sampling import Sampling
from assistant.tokenizer import Turn
from store.records import Role
from store.visible import is_blank

_MOST_ANSWERS = 8
_SYSTEM = ("system", "developer")
_VARIED = 0.8  # of the second and further answers to a request that names no temperature

Turns = tuple[tuple[Role, str], ...]
# As OpenAI bounds them.
Metadata = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]],
    msgspec.Meta(max_length=16),
]


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Sampled(msgspec.Struct, kw_only=True):
    """The fields that chat and plain completions share; fields that are unknown are passed over, as OpenAI does."""

    model: str
    stream: bool = False
    stream_options: _StreamOptions | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=_MOST_ANSWERS)] | None = 1
    presence_penalty: Annotated[float, msgspec.Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, msgspec.Meta(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    user: str | None = None

    def sampling(self, index: int = 0, **more: Any) -> Sampling:
        """Of the answer with this index: greedy, as the gate measures, unless the client says otherwise."""
        names = ("top_p", "stop", "presence_penalty", "frequency_penalty", "logit_bias")
        given = {name: getattr(self, name) for name in names} | more
        temperature = self.temperature if self.temperature is not None else _VARIED if index else 0.0
        seed = self.seed if self.seed is None else self.seed + index
        said = {name: value for name, value in given.items() if value is not None}
        return Sampling(temperature, seed, self.max_tokens, said)


class ChatBody(_Sampled, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: list[_Message]
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    response_format: dict[str, Any] | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    safety_identifier: str | None = None
    store: bool | None = None
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        self.max_tokens = self.max_completion_tokens or self.max_tokens

    def sampling(self, index: int = 0, **more: Any) -> Sampling:
        text = (self.response_format or {}).get("type") == "text"
        logprobs = (self.top_logprobs or 0) if self.logprobs else None
        wanted = None if text else self.response_format
        return super().sampling(index, response_format=wanted, logprobs=logprobs)


class CompletionBody(_Sampled, kw_only=True):
    """`POST /v1/completions`."""

    prompt: str | list[str]
    echo: bool | None = None
    logprobs: int | None = None


_Body = TypeVar("_Body", bound=msgspec.Struct)


def read(body: bytes, type: type[_Body]) -> _Body:
    """Raises ApiError with the field that is to blame."""
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at `")  # “$.n`”, or “key` in `$.metadata`”
        param = where.rpartition("$")[2].strip("`.") or None
        raise ApiError(400, f"{param or 'The request'}: {text}", param=param) from error
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The request is no JSON: {error}") from error


@dataclass(frozen=True)
class Asked:
    """The messages of a request: what comes first from the system, and the turns, which begin and end with a question.

    `as_sent` are all of them as they came. Where a system message stands between turns, no prompt is found in them:
    `system` is None, and there are no turns.
    """

    system: str | None
    turns: Turns
    as_sent: tuple[Turn, ...]


def read_messages(body: ChatBody) -> Asked:
    """Raises ApiError for what cannot be answered."""
    _refuse_unsupported(body)
    sent = [Turn(_role(one, n), _text(one, n)) for n, one in enumerate(body.messages)]
    if not sent or sent[-1].role != Role.USER:
        raise ApiError(400, "The last message has to be a user's.", param="messages")
    if is_blank(sent[-1].content):
        raise ApiError(400, "The last message is empty: nothing of it can be seen.", param="messages")
    if too_long := [
        n for n, one in enumerate(sent) if one.role != "system" and len(one.content) > MAX_MESSAGE_CHARACTERS
    ]:
        at, most = too_long[0], MAX_MESSAGE_CHARACTERS
        text = f"messages[{at}] has {len(sent[at].content):,} characters; at most {most:,} fit. Shorten it."
        raise ApiError(400, text, param=f"messages[{at}]", code="context_length_exceeded")
    first = next((n for n, one in enumerate(sent) if one.role != "system"), 0)
    system, rest = [one.content for one in sent[:first]], sent[first:]
    if any(one.role == "system" for one in rest):
        return Asked(None, (), tuple(sent))
    if rest[0].role != Role.USER:
        raise ApiError(400, "The first message after the system's has to be a user's.", param="messages")
    return Asked("\n\n".join(system), _taking_turns(rest), tuple(sent))


def _taking_turns(sent: Sequence[Turn]) -> Turns:
    """Several of one role that follow each other become one."""
    groups = ((role, [one.content for one in group]) for role, group in groupby(sent, lambda one: one.role))
    return tuple((Role(role), "\n\n".join(texts)) for role, texts in groups)


def _refuse_unsupported(body: ChatBody) -> None:
    if (body.tools and body.tool_choice != "none") or body.functions:
        raise ApiError(400, "Tool calls are not supported. Leave tools out.", param="tools")


def _role(message: _Message, n: int) -> str:
    role = "system" if message.role in _SYSTEM else message.role
    if role not in ("system", *Role):
        text = f"messages[{n}] has the role {message.role[:40]!r}. Roles are system, developer, user and assistant."
        raise ApiError(400, text, param=f"messages[{n}].role")
    return role


def _text(message: _Message, n: int) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    if other := next((part.type for part in message.content if part.type not in ("text", "refusal")), None):
        text = f"messages[{n}] holds a part of the type {other[:40]!r}; only text is read here."
        raise ApiError(400, text, param=f"messages[{n}].content")
    return "".join(part.text for part in message.content)
