"""What an operator sees of the API: traces by OpenTelemetry's conventions, and counts for Prometheus."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from api_scene import Scene, api
from fake_vllm import FakeVllm
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer
from page_client import GRADIO_WARNINGS, get

from assistant.api.tracing import tracer_of_environment
from assistant.tokenizer import ChatTokenizer
from store import Store

pytestmark = GRADIO_WARNINGS

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def scene(
    store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path, spans: InMemorySpanExporter
) -> Iterator[Scene]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with api(store, tokenizer, vllm, tmp_path, tracer=provider.get_tracer("test")) as running:
        yield running


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


@pytest.mark.parametrize("stream", [False, True])
def test_a_completion_is_a_span_without_what_anybody_wrote(
    scene: Scene, spans: InMemorySpanExporter, stream: bool
) -> None:
    scene.desk.deploy("bank-v0001")
    body = {
        "model": "bank",
        "messages": [{"role": "user", "content": "A secret question?"}],
        "temperature": 0.5,
    }
    reply = scene.post(
        "/v1/chat/completions", body | {"stream": stream}, traceparent=f"00-{TRACE}-b7ad6b7169203331-01"
    )
    assert reply.status_code == 200
    span = only(spans)
    said = dict(span.attributes or {})
    assert span.name == "chat bank" and format(span.context.trace_id, "032x") == TRACE
    first, id = said.pop("gen_ai.response.time_to_first_chunk"), said.pop("gen_ai.response.id")
    assert 0 < first < 60 and id in reply.text
    active = scene.desk.store.deployments.active("bank")
    (usage,) = [scene.desk.store.messages.get(str(id).removeprefix("chatcmpl-")).usage]
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "shorthand",
        "gen_ai.request.model": "bank",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stream": stream,
        "gen_ai.request.choice.count": 1,
        "gen_ai.response.model": "bank",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "shorthand.assistant": "bank",
        "shorthand.deployment": active.id,
        "shorthand.prompt_tokens_sent": 0,
        "shorthand.prompt_tokens_saved": scene.desk.store.deployments.without_adapter(active).prompt_tokens,
        "shorthand.left_out_turns": 0,
        "shorthand.copied": False,
    }


def test_an_answer_that_fails_says_so_in_its_span(scene: Scene, spans: InMemorySpanExporter) -> None:
    scene.desk.vllm.fails_with = 500
    assert scene.ask("A secret question?").status_code == 400
    span = only(spans)
    assert span.attributes and span.attributes["error.type"] == "ChatError" and not span.status.is_ok
    assert "secret" not in span.to_json()


def test_traces_go_where_the_environment_says_and_nowhere_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert isinstance(tracer_of_environment(), NoOpTracer)
    came: list[tuple[str, bytes]] = []
    has_come = threading.Event()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()
            has_come.set()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        tracer_of_environment().start_span("chat bank").end()
        assert has_come.wait(60)
        server.shutdown()
    path, body = came[0]
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert path == "/v1/traces" and resource.scope_spans[0].spans[0].name == "chat bank"
    assert "shorthand" in {one.value.string_value for one in resource.resource.attributes}


def test_requests_are_counted_by_route_and_what_waits_is_shown(scene: Scene) -> None:
    scene.ask("Hi")
    scene.ask(" ")
    get(f"{scene.url}/v1/models/bank")
    get(f"{scene.url}/v1/made-up-by-somebody")
    text = get(f"{scene.url}/metrics").text
    for line in (
        'shorthand_requests_total{route="/v1/chat/completions",status="200"} 1.0',
        'shorthand_requests_total{route="/v1/chat/completions",status="400"} 1.0',
        'shorthand_requests_total{route="/v1/models/{id:path}",status="200"} 1.0',
        'shorthand_requests_total{route="none",status="404"} 1.0',
        "shorthand_answers_waiting 0.0",
        'shorthand_answers_total{assistant="bank",status="complete"} 1.0',
    ):
        assert line in text.splitlines(), text
