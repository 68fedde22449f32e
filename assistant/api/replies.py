"""Answers as OpenAI's clients read them: one JSON object, or a stream of events."""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from assistant.api.answering import End, Piece
from assistant.api.errors import as_api_error
from assistant.rendering import Rendered
from assistant.tool_calls import Call


@dataclass(frozen=True)
class Shape:
    """What differs between chat and plain completions: the names of the objects, and where the text stands."""

    id: str
    whole: str
    chunk: str
    message: Callable[[str, list[dict[str, Any]]], dict[str, Any]]
    delta: Callable[[str], dict[str, Any]]
    first: dict[str, Any] | None = None  # the delta before any text


def _message(text: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    message = {"role": "assistant", "content": text or None if calls else text, "refusal": None}
    return {"message": message | ({"tool_calls": calls} if calls else {})}


CHAT = Shape(
    "chatcmpl",
    "chat.completion",
    "chat.completion.chunk",
    _message,
    lambda text: {"delta": {"content": text} if text else {}},
    {"delta": {"role": "assistant", "content": ""}},
)
TEXT = Shape(
    "cmpl",
    "text_completion",
    "text_completion",
    lambda text, calls: {"text": text},
    lambda text: {"text": text},
)


def calls_as_sent(calls: Sequence[Call], id: str) -> list[dict[str, Any]]:
    """As OpenAI's clients read them; `id` is the answer's."""
    return [
        {
            "id": f"call_{id}_{n}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        }
        for n, call in enumerate(calls)
    ]


@dataclass
class Reply:
    """The answers to one request, as they come."""

    shape: Shape
    model: str
    details: Callable[[Rendered | None], dict[str, Any]]
    id: str
    created: int = field(default_factory=lambda: int(time.time()))
    sent: Rendered | None = None
    texts: dict[int, str] = field(default_factory=dict)
    ends: dict[int, End] = field(default_factory=dict)
    calls: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def take(self, piece: Piece) -> None:
        self.texts[piece.index] = self.texts.get(piece.index, "") + piece.text
        # Of several answers the first may be copied, and the model asked for the others.
        if piece.sent and (self.sent is None or len(piece.sent.ids) > len(self.sent.ids)):
            self.sent = piece.sent
        if piece.end:
            self.ends[piece.index] = piece.end
        if piece.id and piece.index == 0:
            self.id = piece.id
        self.calls[piece.index] = self.calls_of(piece)

    def calls_of(self, piece: Piece) -> list[dict[str, Any]]:
        return calls_as_sent(piece.calls, piece.id or f"{self.id}_{piece.index}")

    def head(self, kind: str) -> dict[str, Any]:
        id = f"{self.shape.id}-{self.id}"
        return {"id": id, "object": kind, "created": self.created, "model": self.model}

    @property
    def usage(self) -> dict[str, Any]:
        ends = self.ends.values()
        prompt = max((end.prompt_tokens for end in ends), default=0)
        cached = max((end.cached_tokens for end in ends), default=0)
        written = sum(end.completion_tokens for end in ends)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    @property
    def headers(self) -> dict[str, str]:
        """For whoever reads a stream, or looks at the headers alone."""
        details = {
            f"x-shorthand-{name.replace('_', '-')}": value for name, value in self.details(self.sent).items()
        }
        return {name: str(value) for name, value in details.items() if value is not None}


async def whole(reply: Reply, pieces: AsyncGenerator[Piece]) -> Response:
    """All answers in one object. Raises what the pieces raise."""
    async with aclosing(pieces):
        async for piece in pieces:
            reply.take(piece)
    choices = [
        {"index": n, **reply.shape.message(text, reply.calls[n]), **_ended(reply, n)}
        for n, text in sorted(reply.texts.items())
    ]
    body = {**reply.head(reply.shape.whole), "choices": choices, "usage": reply.usage}
    return JSONResponse({**body, "shorthand": reply.details(reply.sent)}, headers=reply.headers)


async def streamed(reply: Reply, pieces: AsyncGenerator[Piece], with_usage: bool) -> Response:
    """The first text is waited for, so that what goes wrong before it has a status of its own."""
    first = []
    try:
        async for piece in pieces:
            reply.take(piece)
            first.append(piece)
            if piece.text or piece.end:
                break
    except BaseException:
        await pieces.aclose()
        raise
    events = _events(reply, first, pieces, with_usage)
    headers = {**reply.headers, "cache-control": "no-store", "x-accel-buffering": "no"}
    return _Events(events, media_type="text/event-stream", headers=headers)


class _Events(StreamingResponse):
    """Without a task group of its own: who calls it looks whether the client is still there."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.stream_response(send)


async def _events(
    reply: Reply, first: list[Piece], pieces: AsyncGenerator[Piece], with_usage: bool
) -> AsyncIterator[bytes]:
    head = reply.head(reply.shape.chunk)
    begun = set[int]()
    try:
        async with aclosing(pieces):
            for piece in first:
                for event in _events_of(reply, head, piece, begun):
                    yield event
            async for piece in pieces:
                reply.take(piece)
                for event in _events_of(reply, head, piece, begun):
                    yield event
    except Exception as error:
        yield _event(as_api_error(error).body)
        return
    # As vLLM and OpenAI send it: one more chunk without choices.
    if with_usage:
        yield _event({**head, "choices": [], "usage": reply.usage, "shorthand": reply.details(reply.sent)})
    yield b"data: [DONE]\n\n"


def _events_of(reply: Reply, head: dict[str, Any], piece: Piece, begun: set[int]) -> list[bytes]:
    shape, events = reply.shape, []
    if shape.first and piece.index not in begun:
        events.append(_choice(head, piece.index, shape.first))
    begun.add(piece.index)
    if piece.text:
        events.append(_choice(head, piece.index, shape.delta(piece.text)))
    if piece.calls:
        numbered = [{"index": n, **call} for n, call in enumerate(reply.calls_of(piece))]
        events.append(_choice(head, piece.index, {"delta": {"tool_calls": numbered}}))
    if piece.end:
        events.append(_choice(head, piece.index, shape.delta("") | _ended(reply, piece.index)))
    return events


def _choice(head: dict[str, Any], index: int, part: dict[str, Any]) -> bytes:
    return _event({**head, "choices": [{"index": index, "logprobs": None, "finish_reason": None, **part}]})


def _ended(reply: Reply, index: int) -> dict[str, Any]:
    """Why an answer ended, and its tokens, which come at its end also in a stream."""
    if index not in reply.ends:
        return {"logprobs": None, "finish_reason": None}
    end = reply.ends[index]
    tokens = [
        {**_token(one.text, one.ln_p), "top_logprobs": [_token(*other) for other in one.others]}
        for one in end.tokens
    ]
    logprobs = {"content": tokens, "refusal": None} if tokens else None
    return {"logprobs": logprobs, "finish_reason": end.finish_reason}


def _token(text: str, ln_p: float) -> dict[str, Any]:
    return {"token": text, "logprob": max(ln_p, -9999.0), "bytes": list(text.encode())}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
