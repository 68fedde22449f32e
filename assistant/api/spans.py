"""Receives OpenTelemetry's spans of requests to models, so that what an app records anyway becomes traffic."""

import asyncio
import time
import zlib
from collections import defaultdict
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant.api.admission import Admission, Caller
from assistant.api.endpoint import Endpoint
from assistant.api.errors import ApiError
from assistant.api.known_prompts import KnownPrompts
from assistant.limits import ChatError, ChatLimits
from store import Store
from store.api_clients import Scope
from store.errors import BadRow
from store.io.left_out import without_left_out
from store.io.records import FullConversation, ImportedConversation, ImportedMessage, ImportOptions, with_ids
from store.io.traces import read_spans

_BODY_BYTES = 16 << 20  # an exporter sends 512 spans at once
_PROTOBUF = "application/x-protobuf"


class SpanReceiver:
    """OTLP over HTTP, as protobuf or as JSON.

    A request belongs to the assistant whose prompt it was sent with; a prompt that nobody knows becomes a found one, as
    if it had been sent here.
    """

    def __init__(self, store: Store, known: KnownPrompts, limits: ChatLimits):
        self._store, self._known, self._limits = store, known, limits

    def routes(self, admission: Admission) -> list[Route]:
        endpoint = Endpoint(admission, Scope.CHAT, self.receive, _BODY_BYTES)
        return [Route("/v1/traces", endpoint, methods=["POST"])]

    async def receive(self, caller: Caller, body: bytes, request: Request) -> Response:
        is_protobuf = request.headers.get("content-type", "").startswith(_PROTOBUF)
        if request.headers.get("content-encoding"):
            body = _unpacked(body)
        row = _of_protobuf(body) if is_protobuf else _of_json(body)
        refused = await asyncio.to_thread(self._add, row, caller)
        message = f"{refused[0]} ({len(refused):,} refused in all)" if refused else ""
        return _reply(len(refused), message, is_protobuf)

    def _add(self, row: dict[str, Any], caller: Caller) -> list[str]:
        """Save the conversations, and return why others could not be."""
        refused: list[str] = []
        of_assistant = defaultdict[str, list[FullConversation]](list)
        now = time.time()
        for one in read_spans(row):
            try:
                if isinstance(one, BadRow):
                    raise one
                id, conversation = self._recognised(one)
                of_assistant[id].append(with_ids(conversation, ImportOptions(id, caller.name, False, now)))
            except (BadRow, ChatError) as error:
                refused.append(str(error))
        for id, conversations in of_assistant.items():
            _, not_added = self._store.transfer.add(id, conversations)
            refused += [reason for _, reason in not_added]
        return refused

    def _recognised(self, given: ImportedConversation) -> tuple[str, ImportedConversation]:
        """The assistant, and the conversation without its prompt. Raises BadRow, ChatError."""
        system = "\n\n".join(one.text for one in given.messages if one.is_system)
        if not system.strip():
            raise BadRow("a span has no system message by which its assistant could be recognised.")
        spoken, _ = without_left_out(given)
        spoken.check()
        *context, answer = spoken.messages
        turns = tuple((one.role, one.text) for one in context)
        if known := self._known.find(system, turns):
            context = [ImportedMessage(role, text, is_context=True) for role, text in known.turns]
            return known.assistant_id, ImportedConversation((*context, answer))
        found = self._known.add_found(system, self._limits)
        if found is None:
            raise BadRow("there are too many prompts that nobody has made an assistant of.")
        return found, spoken


def _unpacked(body: bytes) -> bytes:
    """Of gzip or deflate. Raises ApiError where it is neither, or larger than a body may be."""
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # finds out which of the two
    try:
        data = unpacking.decompress(body, _BODY_BYTES)
    except zlib.error as error:
        raise ApiError(
            400, f"The body is neither gzip nor deflate: {error}. Send it so, or as it is."
        ) from error
    if unpacking.unconsumed_tail:
        raise ApiError(413, f"The request is larger than {_BODY_BYTES:,} bytes unpacked. Send fewer spans.")
    return data


def _of_json(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ApiError(400, f"The body is no OTLP in JSON: {error}.") from error


def _of_protobuf(body: bytes) -> dict[str, Any]:
    # Half a second to import, for the apps that send spans.
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        found: dict[str, Any] = MessageToDict(ExportTraceServiceRequest.FromString(body))
    except DecodeError as error:
        raise ApiError(400, f"The body is no OTLP in protobuf: {error}.") from error
    return found


def _reply(refused: int, message: str, is_protobuf: bool) -> Response:
    """As OTLP wants it: 200, with what was refused and why."""
    if not is_protobuf:
        partial = {"rejectedSpans": str(refused), "errorMessage": message}
        return JSONResponse({"partialSuccess": partial} if refused else {})
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp

    reply = otlp.ExportTraceServiceResponse()
    if refused:
        reply.partial_success.rejected_spans, reply.partial_success.error_message = refused, message
    return Response(reply.SerializeToString(), media_type=_PROTOBUF)
