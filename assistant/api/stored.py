"""The routes of stored completions: what a program was answered, found again by model and metadata."""

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant.api.admission import Admission, Caller
from assistant.api.chat_request import Metadata, read
from assistant.api.endpoint import Act, Endpoint, listed
from assistant.api.errors import ApiError
from assistant.api.replies import CHAT, calls_as_sent
from assistant.tokenizer import ChatTokenizer, UnusableTemplate
from assistant.tool_calls import Call
from store import Store
from store.api_clients import Scope
from store.threads import StoredAnswer

_PREFIX = f"{CHAT.id}-"
_MOST, _MOST_PAIRS = 100, 16  # of a list; of metadata to choose by, as many as one may have
_METADATA = "metadata["


class MetadataBody(msgspec.Struct):
    """`POST /v1/chat/completions/{id}`."""

    metadata: Metadata


class Stored:
    """Answers programs about what they asked; each key sees its own."""

    def __init__(self, store: Store, tokenizer: ChatTokenizer):
        self._threads, self._messages, self._tokenizer = store.threads, store.messages, tokenizer

    def routes(self, admission: Admission) -> list[Route]:
        def route(path: str, act: Act, method: str = "GET") -> Route:
            return Route(path, Endpoint(admission, Scope.CHAT, act), methods=[method])

        one = "/v1/chat/completions/{id}"
        return [
            route("/v1/chat/completions", self.all),
            route(one, self.get),
            route(one, self.update, "POST"),
            route(f"{one}/messages", self.turns),
        ]

    async def all(self, caller: Caller, body: bytes, request: Request) -> Response:
        query = request.query_params
        limit, order = query.get("limit", "20"), query.get("order", "asc")
        if not (limit.isdecimal() and len(limit) <= 3 and 1 <= int(limit) <= _MOST):
            raise ApiError(400, f"limit is {limit[:20]!r}; it may be 1 to {_MOST}.", param="limit")
        if order not in ("asc", "desc"):
            raise ApiError(400, f"order is {order[:20]!r}; it may be asc or desc.", param="order")
        pairs = {
            name[len(_METADATA) : -1]: value
            for name, value in query.items()
            if name.startswith(_METADATA) and name.endswith("]")
        }
        if len(pairs) > _MOST_PAIRS:
            text = f"Choose by at most {_MOST_PAIRS} metadata, not {len(pairs)}."
            raise ApiError(400, text, param="metadata")
        after = query.get("after")
        found = await asyncio.to_thread(
            self._threads.answers,
            caller.name,
            query.get("model"),
            pairs,
            after and after.removeprefix(_PREFIX),
            int(limit) + 1,
            order == "desc",
        )
        return listed([shown(one, self._tokenizer) for one in found[: int(limit)]], len(found) > int(limit))

    async def get(self, caller: Caller, body: bytes, request: Request) -> Response:
        found = await asyncio.to_thread(self._threads.answer, caller.name, _id(request))
        return JSONResponse(shown(found, self._tokenizer))

    async def update(self, caller: Caller, body: bytes, request: Request) -> Response:
        given = read(body, MetadataBody)
        changed = await asyncio.to_thread(
            self._threads.set_metadata, caller.name, _id(request), given.metadata
        )
        return JSONResponse(shown(changed, self._tokenizer))

    async def turns(self, caller: Caller, body: bytes, request: Request) -> Response:
        """The turns that were answered, without the prompt, which is the assistant's."""

        def before() -> list[dict[str, Any]]:
            answer = self._threads.answer(caller.name, _id(request)).message
            return [
                {"id": one.id, "role": one.role.value, "content": one.text}
                for one in self._messages.branch(answer.id)[:-1]
            ]

        return listed(await asyncio.to_thread(before))


def shown(stored: StoredAnswer, tokenizer: ChatTokenizer) -> dict[str, Any]:
    message, usage = stored.message, stored.message.usage
    text, calls = message.text, tuple[Call, ...]()
    prompt, written = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    if stored.with_tools:
        with suppress(UnusableTemplate):  # another model serves now
            text, calls = tokenizer.call_form.read(text)
    reason = "tool_calls" if calls else message.finish_reason or "stop"
    ended = {"finish_reason": reason, "logprobs": None}
    return {
        "id": _PREFIX + message.id,
        "object": CHAT.whole,
        "created": int(message.created_at),
        "model": stored.assistant_id,
        "choices": [{"index": 0, **CHAT.message(text, calls_as_sent(calls, message.id)), **ended}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
        },
        "metadata": dict(stored.metadata),
    }


def _id(request: Request) -> str:
    return str(request.path_params["id"]).removeprefix(_PREFIX)
