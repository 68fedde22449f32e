"""The API's routes."""

import asyncio
import base64
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from opentelemetry.trace import NoOpTracer, Span, Tracer
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from assistant.api import replies
from assistant.api.admission import Admission, Caller
from assistant.api.answering import BASE, Piece, Plan, Planner, answers, merged, relayed
from assistant.api.chat_request import ChatBody, CompletionBody, read, read_messages
from assistant.api.description import EmbeddingBody, description
from assistant.api.endpoint import Act, Endpoint
from assistant.api.errors import ApiError
from assistant.api.feedback import FeedbackBody, ScoreBody, record_feedback
from assistant.api.jobs import Jobs
from assistant.api.keys import Keys
from assistant.api.known_prompts import KnownPrompts
from assistant.api.metrics import Metrics
from assistant.api.spans import SpanReceiver
from assistant.api.stored import Stored
from assistant.api.tracing import begin, traced
from assistant.api.tuning import Tuning
from assistant.chat import Chat, Started
from assistant.rendering import Rendered
from assistant.request_log import PROBES
from assistant.retrieval import Embeds
from assistant.tokenizer import ChatTokenizer, UnusableTemplate
from assistant.tool_calls import CallForm
from assistant.vllm_health import Phase, ServerState
from store import Store, StoreError
from store.api_clients import Scope as KeyScope
from store.audit import acting
from store.records import Message

_MOST_EMBEDDED = 256  # texts of one request
_METRICS = "/metrics"
_PREFIXES = ("/v1/", "/api/public/", _METRICS, *PROBES)


class Api:
    """Answers programs through the same chat as the pages."""

    def __init__(
        self,
        store: Store,
        chat: Chat,
        tokenizer: ChatTokenizer,
        embedder: Embeds,
        metrics: Metrics,
        server_state: Callable[[], ServerState],
        key_required: Callable[[], bool],
        tracer: Tracer | None = None,
    ):
        self._store, self._chat, self._tokenizer, self._embedder = store, chat, tokenizer, embedder
        self._metrics, self._server_state = metrics, server_state
        self._tracer = tracer or NoOpTracer()
        known = KnownPrompts(store, tokenizer)
        self._planner = Planner(store, chat, known, tokenizer)
        self._tuning = Tuning(store, chat, Jobs(store, tokenizer, known))
        self._stored = Stored(store, tokenizer)
        self._spans = SpanReceiver(store, known, chat.limits)
        self._keys = Keys(store)
        self._admission = Admission(store, key_required)

    def app(self) -> ASGIApp:
        return self._metrics.counted(
            Starlette(routes=self.routes(), exception_handlers={HTTPException: _no_route})
        )

    def routes(self) -> list[Route]:
        post: dict[str, Any] = {"methods": ["POST"]}
        return [
            *(Route(path, self.probe) for path in PROBES),
            Route(_METRICS, self._route(KeyScope.METRICS, self.metrics)),
            Route("/v1/openapi.json", self._route(KeyScope.CHAT, self.description)),
            Route("/v1/models", self._route(KeyScope.CHAT, self.models)),
            Route("/v1/models/{id:path}", self._route(KeyScope.CHAT, self.model)),
            Route("/v1/chat/completions", self._route(KeyScope.CHAT, self.chat_completions), **post),
            Route("/v1/completions", self._route(KeyScope.CHAT, self.completions), **post),
            Route("/v1/embeddings", self._route(KeyScope.CHAT, self.embeddings), **post),
            Route("/v1/feedback", self._route(KeyScope.FEEDBACK, self.feedback), **post),
            Route("/api/public/scores", self._route(KeyScope.FEEDBACK, self.score), **post),
            *self._stored.routes(self._admission),
            *self._tuning.routes(self._admission),
            *self._spans.routes(self._admission),
            *self._keys.routes(self._admission),
        ]

    def _route(self, scope: KeyScope, act: Act) -> Endpoint:
        return Endpoint(self._admission, scope, act)

    async def probe(self, request: Request) -> Response:
        """For whoever restarts the app, or sends people to it; open to all, and tells nothing else.

        /healthz: the store answers. /readyz: a model server is ready too.
        """
        try:
            await asyncio.to_thread(self._store.maintenance.ping)
        except StoreError:
            return PlainTextResponse("The store does not answer.", 503)
        phase = self._server_state().phase
        if request.scope["path"] == PROBES[1] and phase is not Phase.READY:
            return PlainTextResponse(f"The model is {phase}.", 503)
        return PlainTextResponse("ok")

    async def metrics(self, caller: Caller, body: bytes, request: Request) -> Response:
        text = await asyncio.to_thread(self._metrics.text, self._chat.requests.waiting)
        return Response(text, media_type="text/plain; version=0.0.4")

    async def description(self, caller: Caller, body: bytes, request: Request) -> Response:
        return JSONResponse(description())

    async def models(self, caller: Caller, body: bytes, request: Request) -> Response:
        """Every assistant, and the base model."""
        return JSONResponse({"object": "list", "data": await asyncio.to_thread(self._models)})

    async def model(self, caller: Caller, body: bytes, request: Request) -> Response:
        id = request.path_params["id"]
        found = next((one for one in await asyncio.to_thread(self._models) if one["id"] == id), None)
        if found is None:
            raise ApiError(404, f"There is no model {id[:80]!r}.", param="model", code="model_not_found")
        return JSONResponse(found)

    def _models(self) -> list[dict[str, Any]]:
        made = [(one.id, one.name, one.created_at) for one in self._store.assistants.all()]
        return [
            {"id": id, "object": "model", "created": int(at), "owned_by": "shorthand", "name": name}
            for id, name, at in [*made, (BASE, "the base model alone", 0.0)]
        ]

    async def chat_completions(self, caller: Caller, body: bytes, request: Request) -> Response:
        asked = read(body, ChatBody)
        span = begin(self._tracer, request, "chat", asked)
        form = self._call_form(asked)
        left_out = len(asked.callable) if form is None else 0
        if left_out:
            asked = msgspec.structs.replace(asked, tools=None, tool_choice=None)
        messages = read_messages(asked, form)
        self._need_server()
        owner = caller.of_user(asked.safety_identifier or asked.user)
        with acting(caller.name):
            plan = await asyncio.to_thread(self._planner.plan, asked, messages)
        plan = replace(plan, left_out_tools=left_out)
        kept: Started | Message | None = None
        if plan.is_kept and (asked.n or 1) > 1:
            kept = await asyncio.to_thread(self._planner.ask, plan, owner)
        elif plan.is_kept:  # with the place of its answer, which saves a wait for the disk
            unshortened = plan.unchanged is not None
            kept = await self._chat.start(lambda: self._planner.ask(plan, owner), unshortened)
            plan = replace(plan, deployment=kept.deployment)
        pieces = answers(self._chat, plan, kept, asked, messages)
        return await self._reply(replies.CHAT, plan, asked, pieces, span)

    def _call_form(self, asked: ChatBody) -> CallForm | None:
        """None without tools, and where the model can be told of none: it answers as one that chose to call nothing.

        Raises UnusableTemplate where that is no answer.
        """
        try:
            return self._tokenizer.call_form if asked.has_tools else None
        except UnusableTemplate:
            if asked.needs_tools:
                raise
            return None

    async def completions(self, caller: Caller, body: bytes, request: Request) -> Response:
        """What the base model writes after a text; nothing is stored."""
        asked = read(body, CompletionBody)
        span = begin(self._tracer, request, "text_completion", asked)
        prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        if len(prompts) != 1 or asked.echo or asked.logprobs:
            text = "One prompt is answered at a time, without echo and logprobs."
            raise ApiError(400, text, param="prompt" if len(prompts) != 1 else None)
        self._need_server()
        sent = Rendered(self._tokenizer.encode_text(prompts[0]), 0)
        streams = [self._chat.requests.complete(sent, asked.sampling(n)) for n in range(asked.n or 1)]
        pieces = merged([relayed(n, stream) for n, stream in enumerate(streams)])
        return await self._reply(replies.TEXT, Plan(), asked, pieces, span)

    async def _reply(
        self,
        shape: replies.Shape,
        plan: Plan,
        asked: ChatBody | CompletionBody,
        pieces: AsyncGenerator[Piece],
        span: Span,
    ) -> Response:
        reply = replies.Reply(shape, plan.model, plan.details, uuid.uuid4().hex)
        if span.is_recording():  # else 2 of 50 µs of each token went into nothing
            pieces = traced(span, reply, pieces)
        if asked.stream:
            usage = asked.stream_options is not None and asked.stream_options.include_usage
            return await replies.streamed(reply, pieces, usage)
        return await replies.whole(reply, pieces)

    async def embeddings(self, caller: Caller, body: bytes, request: Request) -> Response:
        """Unit vectors of the model that finds like questions."""
        asked = read(body, EmbeddingBody)
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        if not 1 <= len(texts) <= _MOST_EMBEDDED:
            text = f"input has {len(texts):,} texts; it may have 1 to {_MOST_EMBEDDED}."
            raise ApiError(400, text, param="input")
        vectors = await asyncio.to_thread(self._embedder.embed, texts)
        packed = asked.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": n, "embedding": _base64(one) if packed else one.tolist()}
            for n, one in enumerate(vectors)
        ]
        usage = {"prompt_tokens": 0, "total_tokens": 0}  # its own tokenizer's, which nobody pays for
        return JSONResponse({"object": "list", "data": data, "model": self._embedder.name, "usage": usage})

    async def feedback(self, caller: Caller, body: bytes, request: Request) -> Response:
        given = read(body, FeedbackBody)
        return JSONResponse({"feedback_id": await self._record(caller, given)})

    async def score(self, caller: Caller, body: bytes, request: Request) -> Response:
        given = read(body, ScoreBody)
        id = await self._record(caller, given.as_feedback())
        if given.comment:
            comment = FeedbackBody(inference_id=given.trace_id, metric_name="comment", value=given.comment)
            id = await self._record(caller, comment)
        return JSONResponse({"id": id})

    async def _record(self, caller: Caller, given: FeedbackBody) -> str | None:
        with acting(caller.name):
            rating = await asyncio.to_thread(record_feedback, self._store, caller, given)
        return rating.id if rating else None

    def _need_server(self) -> None:
        state = self._server_state()
        if state.phase is not Phase.READY:
            raise ApiError(
                503, f"The model is not ready: {state.phase}.", code="server_unavailable", retry_s=5
            )


def in_front(api: ASGIApp, pages: ASGIApp) -> ASGIApp:
    """The API's paths to the API, which knows its callers by their keys; all others to the pages."""

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        to_api = scope["type"] == "http" and scope["path"].startswith(_PREFIXES)
        await (api if to_api else pages)(scope, receive, send)

    return front


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    texts = {
        404: f"There is no {request.url.path} here.",
        405: f"{request.method} is not for {request.url.path}.",
    }
    return ApiError(status, texts.get(status, str(error))).response()


def _base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
