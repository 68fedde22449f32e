"""OpenTelemetry traces of what programs ask, by its conventions for generative AI. Names and numbers alone are in them:
no prompt, no question, no answer.
"""

import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from opentelemetry.trace import NoOpTracer, Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.requests import Request

from assistant.api.answering import Piece
from assistant.api.chat_request import ChatBody, CompletionBody
from assistant.api.replies import Reply

_NAME_CHARACTERS = 80
_ASKED = ("max_tokens", "temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "stream")


def tracer_of_environment() -> Tracer:
    """One that sends to OTEL_EXPORTER_OTLP_ENDPOINT, as OpenTelemetry's other variables say; without it none does."""
    if not {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} & os.environ.keys():
        return NoOpTracer()
    # They take a second to import, and send from a thread of their own.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME", "shorthand")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("shorthand")


def begin(tracer: Tracer, request: Request, operation: str, asked: ChatBody | CompletionBody) -> Span:
    """A span of the trace that the client names in `traceparent`, or of a new one."""
    asked_for = {name: getattr(asked, name) for name in _ASKED} | {"choice.count": asked.n}
    model = asked.model[:_NAME_CHARACTERS]
    attributes = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "shorthand",
        "gen_ai.request.model": model,
        **{f"gen_ai.request.{name}": value for name, value in asked_for.items() if value is not None},
    }
    context = TraceContextTextMapPropagator().extract(dict(request.headers))
    return tracer.start_span(f"{operation} {model}", context, SpanKind.SERVER, attributes)


async def traced(span: Span, reply: Reply, pieces: AsyncGenerator[Piece]) -> AsyncGenerator[Piece]:
    """The same; the span ends with them."""
    began, first = time.monotonic(), None
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                if first is None and (piece.text or piece.calls):
                    first = time.monotonic() - began
                yield piece
    except Exception as error:  # its text may quote what was sent
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(StatusCode.ERROR)
        raise
    finally:
        usage, details = reply.usage, reply.details(reply.sent)
        span.set_attributes(
            {
                "gen_ai.response.id": reply.head("")["id"],
                "gen_ai.response.model": reply.model,
                "gen_ai.response.finish_reasons": [end.finish_reason for end in reply.ends.values()],
                "gen_ai.usage.input_tokens": usage["prompt_tokens"],
                "gen_ai.usage.output_tokens": usage["completion_tokens"],
                "gen_ai.usage.cache_read.input_tokens": usage["prompt_tokens_details"]["cached_tokens"],
                **({"gen_ai.response.time_to_first_chunk": first} if first is not None else {}),
                **{f"shorthand.{name}": value for name, value in details.items() if value is not None},
            }
        )
        span.end()
