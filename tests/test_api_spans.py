"""OpenTelemetry's spans sent to the API, by OpenTelemetry's own exporter and as JSON."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_scene import Scene, api
from fake_vllm import FakeVllm
from google.protobuf.json_format import ParseDict
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from page_client import GRADIO_WARNINGS, HTTP

from assistant.api import spans
from assistant.assistants import save_prompt
from assistant.prompt_text import parse
from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import Role

pytestmark = GRADIO_WARNINGS  # the fake server goes with its connections open

PROMPT = "You are the desk of a bank.\n\nAnswer in one short sentence."


@pytest.fixture
def scene(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path) -> Iterator[Scene]:
    with api(store, tokenizer, vllm, tmp_path) as made:
        save_prompt(store, tokenizer, "bank", parse(PROMPT))
        yield made


def request(system: str | None, *turns: str) -> dict[str, str]:
    """A span's attributes by OpenTelemetry's conventions; the last turn is the answer."""
    said = [
        {"role": ("user", "assistant")[n % 2], "parts": [{"type": "text", "content": text}]}
        for n, text in enumerate(turns)
    ]
    instructions = json.dumps([{"type": "text", "content": system}])
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps(said[:-1]),
        "gen_ai.output.messages": json.dumps(said[-1:]),
    } | ({} if system is None else {"gen_ai.system_instructions": instructions})


def as_json(*requests: dict[str, str]) -> dict[str, Any]:
    listed = [
        {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in one.items()]}
        for one in requests
    ]
    return {"resourceSpans": [{"scopeSpans": [{"spans": listed}]}]}


def kept(scene: Scene, assistant_id: str = "bank") -> list[tuple[str, ...]]:
    found = scene.desk.store.transfer.conversations(assistant_id)
    return [tuple(one.text for one in talk.messages) for talk in found]


@pytest.mark.parametrize("compression", Compression)
def test_what_opentelemetrys_exporter_sends_becomes_traffic_of_the_assistant_with_that_prompt(
    scene: Scene, compression: Compression
) -> None:
    results: list[SpanExportResult] = []

    class Exporter(OTLPSpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            results.append(super().export(spans))
            return results[-1]

    exporter = Exporter(endpoint=f"{scene.url}/v1/traces", compression=compression)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("app")
    for attributes in (request(PROMPT, "q1", "a1", "q2", "a2"), {"http.route": "/ask"}):
        for _ in range(2):  # sent again, it is the same conversation
            tracer.start_span("chat gpt-4o", attributes=attributes).end()
    assert set(results) == {SpanExportResult.SUCCESS} and kept(scene) == [("q1", "a1", "q2", "a2")]
    store = scene.desk.store
    (traffic,) = store.answers.unrated(store.prompts.latest("bank").id, 9)
    assert traffic.context == ((Role.USER, "q1"), (Role.ASSISTANT, "a1"), (Role.USER, "q2"))
    assert traffic.mean_ln_p is None, "it is no answer of a model here"


def test_a_prompt_that_nobody_knows_is_found_as_if_it_had_been_sent_here(scene: Scene) -> None:
    reply = scene.post("/v1/traces", as_json(request("You sell boats.", "How much?", "$14")))
    assert (reply.status_code, reply.json()) == (200, {})
    (found,) = scene.desk.store.assistants.found()
    assert kept(scene, found.id) == [("How much?", "$14")] and not kept(scene)
    messages = [{"role": "system", "content": "You sell boats."}, {"role": "user", "content": "How long?"}]
    asked_here = scene.post("/v1/chat/completions", {"model": "gpt-4o", "messages": messages})
    assert asked_here.json()["model"] == found.id


def test_spans_that_belong_to_no_assistant_are_refused_with_the_reason_and_the_others_kept(
    scene: Scene,
) -> None:
    body = as_json(request(None, "q0", "a0"), request(PROMPT, "q1", "<think>hm"), request(PROMPT, "q2", "a2"))
    partial = scene.post("/v1/traces", body).json()["partialSuccess"]
    assert partial["rejectedSpans"] == "2" and "no system message" in partial["errorMessage"]
    assert kept(scene) == [("q2", "a2")]
    too_long = as_json(request("word " * scene.desk.limits.context, "q", "a"))
    partial = scene.post("/v1/traces", too_long).json()["partialSuccess"]
    assert partial["rejectedSpans"] == "1" and "Shorten it" in partial["errorMessage"]
    assert not scene.desk.store.assistants.found()


PROTOBUF = "application/x-protobuf"


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "status", "said"),
    [
        (b"{", "application/json", "", 400, "JSON"),
        (b"[]", "application/json", "", 400, "JSON"),
        (b'{"a":' * 5000, "application/json", "", 400, "JSON"),
        (b"\xff\xff", PROTOBUF, "", 400, "protobuf"),
        (b"{}", "application/json", "gzip", 400, "gzip"),
        (b"{}", "application/json", "zstd", 400, "gzip"),
        (gzip.compress(b" " * 2000, mtime=0), PROTOBUF, "gzip", 413, "1,000 bytes"),
    ],
)
def test_what_is_no_otlp_is_refused_in_words(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    body: bytes,
    kind: str,
    encoding: str,
    status: int,
    said: str,
) -> None:
    monkeypatch.setattr(spans, "_BODY_BYTES", 1000)
    headers = {"content-type": kind} | ({"content-encoding": encoding} if encoding else {})
    reply = httpx.post(f"{scene.url}/v1/traces", content=body, headers=headers, **HTTP)
    assert reply.status_code == status and said in reply.json()["error"]["message"]


def test_nothing_to_say_is_said_in_the_form_that_was_sent(scene: Scene) -> None:
    for content, kind in (
        (b"", PROTOBUF),
        (b"{}", "application/json"),
        (b'{"resourceSpans": 3}', "application/json"),
    ):
        reply = httpx.post(f"{scene.url}/v1/traces", content=content, headers={"content-type": kind}, **HTTP)
        assert reply.status_code == 200 and reply.headers["content-type"].startswith(kind)
    body = ParseDict(as_json(request(None, "q", "a")), ExportTraceServiceRequest()).SerializeToString()
    reply = httpx.post(f"{scene.url}/v1/traces", content=body, headers={"content-type": PROTOBUF}, **HTTP)
    partial = ExportTraceServiceResponse.FromString(reply.content).partial_success
    assert partial.rejected_spans == 1 and "no system message" in partial.error_message
