"""Reads the bodies of requests: checked values out of what any client may send."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from assistant.api.errors import ApiError
from assistant.limits import MAX_MESSAGE_CHARACTERS
from assistant.sampling import Sampling
from assistant.tokenizer import Turn
from assistant.tool_calls import Call, CallForm
from store.records import Role
from store.visible import is_blank

_MOST_ANSWERS = 8
_SYSTEM, _TOOL = ("system", "developer"), "tool"
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


_Name = Annotated[str, msgspec.Meta(pattern=r"^[\w.-]{1,64}$")]


class _Called(msgspec.Struct):
    name: _Name
    arguments: str = "{}"


class _Call(msgspec.Struct):
    id: str
    function: _Called


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _Function(msgspec.Struct, omit_defaults=True):
    name: _Name
    description: str | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})


class _Tool(msgspec.Struct):
    type: Literal["function"]
    function: _Function


class _Choice(msgspec.Struct):
    type: Literal["function"]
    function: _Called


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
        options = {name: value for name, value in given.items() if value is not None}
        return Sampling(temperature, seed, self.max_tokens, options, is_another=index > 0)


class ChatBody(_Sampled, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: list[_Message]
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    response_format: dict[str, Any] | None = None
    tools: Annotated[list[_Tool], msgspec.Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | _Choice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    safety_identifier: str | None = None
    store: bool | None = None
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        self.max_tokens = self.max_completion_tokens or self.max_tokens

    @property
    def callable(self) -> list[_Tool]:
        """The tools that may be called: all of them, none, or the one that is wanted."""
        choice, tools = self.tool_choice, self.tools or []
        if isinstance(choice, _Choice):
            return [one for one in tools if one.function.name == choice.function.name]
        return [] if choice == "none" else tools

    @property
    def must_call(self) -> bool:
        return bool(self.callable) and self.tool_choice not in (None, "auto")

    @property
    def called(self) -> _Function | None:
        """The function that has to be called, where there is no choice."""
        return self.callable[0].function if self.must_call and len(self.callable) == 1 else None

    def begun(self, form: CallForm | None) -> tuple[str, ...]:
        """What the answer begins with: a call, where one has to be made; markup, a name, markup."""
        if form is None or not self.must_call:
            return ("",)
        return (form.before, self.called.name, form.middle) if self.called else (form.before,)

    @property
    def has_tools(self) -> bool:
        return bool(self.callable) or self.needs_tools

    @property
    def needs_tools(self) -> bool:
        """Whether it cannot be answered without calling any."""
        return self.must_call or any(one.tool_calls or one.role == "tool" for one in self.messages)

    @property
    def format(self) -> dict[str, Any] | None:
        """What the answer has to be, as `response_format`."""
        if self.called:
            arguments = {"name": self.called.name, "schema": self.called.parameters}
            return {"type": "json_schema", "json_schema": arguments}
        return None if (self.response_format or {}).get("type") == "text" else self.response_format

    def sampling(self, index: int = 0, **more: Any) -> Sampling:
        logprobs = (self.top_logprobs or 0) if self.logprobs else None
        # Some models begin a call with a special token, which vLLM would leave out of the text.
        specials = False if self.has_tools else None
        return super().sampling(
            index, response_format=self.format, logprobs=logprobs, skip_special_tokens=specials
        )


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
    `system` is None, and there are no turns. `form` is how answers call tools, where the request has any.
    """

    system: str | None
    turns: Turns
    as_sent: tuple[Turn, ...]
    form: CallForm | None = None


def read_messages(body: ChatBody, form: CallForm | None = None) -> Asked:
    """`form` is needed where the request has tools. Raises ApiError for what cannot be answered."""
    _refuse_unsupported(body)
    sent = _sent(body.messages)
    if not sent or sent[-1].role not in (Role.USER, _TOOL):
        raise ApiError(400, "The last message has to be a user's, or a tool's.", param="messages")
    if is_blank(sent[-1].content) and sent[-1].role == Role.USER:
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
        return Asked(None, (), tuple(sent), form)
    if rest[0].role != Role.USER:
        raise ApiError(400, "The first message after the system's has to be a user's.", param="messages")
    return Asked("\n\n".join(system), _taking_turns(rest, form), tuple(sent), form)


def _taking_turns(sent: Sequence[Turn], form: CallForm | None) -> Turns:
    """As they are stored: several of one role that follow each other become one, and what a tool answers is a user's
    turn.
    """
    messages = [
        (one.role, form.write(one.content, one.calls) if form and one.role == Role.ASSISTANT else one.content)
        for one in sent
    ]
    groups = groupby(messages, lambda one: Role.ASSISTANT if one[0] == Role.ASSISTANT else Role.USER)
    return tuple((role, "\n\n".join(text for _, text in group)) for role, group in groups)


def _refuse_unsupported(body: ChatBody) -> None:
    if body.functions:
        raise ApiError(400, "functions is the older form of tools. Send tools.", param="functions")
    if isinstance(body.tool_choice, _Choice) and not body.callable:
        text = f"There is no tool {body.tool_choice.function.name[:80]!r} among tools."
        raise ApiError(400, text, param="tool_choice")
    if body.callable and body.format and not body.called:
        text = "With tools to choose from, the form of the answer cannot be set. Send one of the two."
        raise ApiError(400, text, param="response_format")


def _sent(messages: Sequence[_Message]) -> list[Turn]:
    sent, calls, numbers = list[Turn](), dict[str, Call](), count()
    for n, one in enumerate(messages):
        role = _role(one, n)
        made: tuple[Call, ...] = ()
        if role == Role.ASSISTANT:
            new = {call.id: _call(call, n, next(numbers)) for call in one.tool_calls or ()}
            calls |= new
            made = tuple(new.values())
        elif role == _TOOL:
            if one.tool_call_id not in calls:
                text = (
                    f"messages[{n}] answers the call {one.tool_call_id!r}, which no message before it makes."
                )
                raise ApiError(400, text, param=f"messages[{n}].tool_call_id")
            made = (calls[one.tool_call_id],)
        sent.append(Turn(role, _text(one, n), made))
    return sent


def _call(call: _Call, n: int, number: int) -> Call:
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}", type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        text = f"messages[{n}]: the arguments of {call.function.name} are no JSON object: {error}"
        raise ApiError(400, text, param=f"messages[{n}].tool_calls") from error
    return Call(call.function.name, arguments, f"call{number:05}")


def _role(message: _Message, n: int) -> str:
    role = "system" if message.role in _SYSTEM else message.role
    if role not in ("system", _TOOL, *Role):
        text = f"messages[{n}] has the role {message.role[:40]!r}. Roles are system, developer, user, assistant, tool."
        raise ApiError(400, text, param=f"messages[{n}].role")
    return role


def _text(message: _Message, n: int) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    if other := next((part.type for part in message.content if part.type not in ("text", "refusal")), None):
        text = f"messages[{n}] holds a part of the type {other[:40]!r}; only text is read here."
        raise ApiError(400, text, param=f"messages[{n}].content")
    return "".join(part.text for part in message.content)
