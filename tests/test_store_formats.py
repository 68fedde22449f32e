"""What a row of each format becomes in the store, and what of it cannot be used."""

import json
from functools import partial
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson
from import_scene import APPROVING, TABLE, Load, chats, message, rated_answers_in
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from store import Store
from store.records import Role, Verdict
from trainer.examples.selection import select


def test_chats_without_ratings_count_only_when_the_importer_says_so(bank: Store, load: Load) -> None:
    result = load(chats(1, 2))
    assert (result.counts["conversations"], result.unrated, rated_answers_in(bank)) == (2, 2, [])
    first = [m.text for m in bank.messages.thread(bank.conversations.all("bank")[0].id)]
    assert first in (["q1", "a1"], ["q2", "a2"])

    again = load(chats(1, 2), APPROVING)
    assert again.counts == {"known": 2, "ratings": 2}
    up = [("importer", Verdict.UP, None)]
    assert sorted(rated_answers_in(bank)) == [(["q1"], "a1", up), (["q2"], "a2", up)]
    assert len(select(bank.answers.rated("bank"), 1000)[0]) == 2
    assert {c.source for c in bank.conversations.all("bank")} == {"import"} and bank.maintenance.check() == []


def test_what_has_weight_nothing_is_context(bank: Store, load: Load) -> None:
    asked = [message("system", "Be brief."), message("user", [{"type": "text", "text": "q1"}])]
    said = [message("assistant", "a1", weight=0), message("user", "q2"), message("assistant", "a2")]
    load(json.dumps({"messages": [*asked, *said]}), APPROVING)
    assert rated_answers_in(bank) == [(["q1", "a1", "q2"], "a2", [("importer", Verdict.UP, None)])]


@pytest.mark.parametrize("text", [False, True], ids=["conversational", "standard"])
def test_completions_and_their_labels(bank: Store, load: Load, text: bool) -> None:
    def row(number: int, label: bool | None) -> str:
        question, answer = f"q{number}", f"a{number}"
        prompt = question if text else [message("user", question)]
        completion = answer if text else [message("assistant", answer)]
        return json.dumps({"prompt": prompt, "completion": completion, "label": label}) + "\n"

    result = load(row(1, True) + row(2, False) + row(3, None))
    assert (result.format, result.unrated) == ("records" if text else "trl-completion", 1)
    verdicts = [(answer, ratings[0][1]) for _, answer, ratings in rated_answers_in(bank)]
    assert sorted(verdicts) == [("a1", Verdict.UP), ("a2", Verdict.DOWN)]


def _spans(*all_attributes: dict[str, Any]) -> str:
    """As OpenTelemetry's SDK records them and a collector's file exporter writes them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for attributes in all_attributes:
        provider.get_tracer("app").start_span("chat small", attributes=attributes).end()
    return MessageToJson(encode_spans(exporter.get_finished_spans()), indent=None) + "\n"


def test_opentelemetrys_spans_are_conversations_in_each_form_that_programs_write(
    bank: Store, load: Load
) -> None:
    def part(role: str, text: str, **more: str) -> dict[str, Any]:
        return {"role": role, "parts": [{"type": "text", "content": text}], **more}

    history = [part("user", "q1"), part("assistant", "a1"), part("user", "q2")]
    call = {"role": "assistant", "parts": [{"type": "tool_call", "name": "find", "arguments": "{}"}]}
    now = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
        "gen_ai.input.messages": json.dumps(history),
        "gen_ai.output.messages": json.dumps([part("assistant", "a2", finish_reason="length")]),
    }
    numbered = {
        f"gen_ai.prompt.{n}.{key}": value
        for n in (0, 10, 2)
        for key, value in (("role", "user"), ("content", f"q{n}."))
    }
    openllmetry = numbered | {"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "a3"}
    openinference = {
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "q4",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": "a4",
    }
    others = {"http.route": "/ask"}, {"gen_ai.operation.name": "embeddings"}
    empty = {"gen_ai.operation.name": "chat"}
    called = now | {"gen_ai.output.messages": json.dumps([call])}
    spans = [_spans(now, openllmetry, *others, openinference), _spans(*others), _spans(called), _spans(empty)]
    result = load("".join(spans), APPROVING)
    assert (result.format, result.counts["conversations"], result.refused) == ("otlp", 3, 2)
    assert "calls of tools" in result.refusals[3] and "no messages" in result.refusals[4]
    assert [(asked, said) for asked, said, _ in sorted(rated_answers_in(bank))] == [
        (["q0.", "q2.", "q10."], "a3"),
        (["q1", "a1", "q2"], "a2"),
        (["q4"], "a4"),
    ]
    learned, dropped = select(bank.answers.rated("bank"), 1000)
    assert {one.completion for one in learned} == {"a3", "a4"} and len(dropped) == 1, "one was cut off"


def test_spans_that_nobody_would_write_are_refused_or_passed_over(bank: Store, load: Load) -> None:
    asked, said = "gen_ai.input.messages", "gen_ai.output.messages"
    texts = {
        asked: {"stringValue": '["q"]'},
        said: {"stringValue": '[{"role": "assistant", "content": "a"}]'},
    }
    wrong = [None, 7, "x", [], {}, {"arrayValue": [1]}, {"arrayValue": {"values": 3}}, {"kvlistValue": "x"}]
    spans: list[Any] = [None, {"attributes": 3}, {"attributes": [texts]}]
    for value in (*wrong, {"stringValue": "["}, {"arrayValue": {"values": [{"intValue": "7"}]}}):
        spans.append({"attributes": [{"key": asked, "value": value}, {"key": said, "value": texts[said]}]})
        spans.append({"attributes": [{"key": f"gen_ai.prompt.{'9' * 5000}.content", "value": value}]})
    spans.append({"attributes": [{"key": key, "value": value} for key, value in texts.items()]})
    result = load(json.dumps({"resourceSpans": [None, {"scopeSpans": [7, {"spans": spans}]}]}) + "\n")
    assert (result.format, result.counts["conversations"]) == ("otlp", 0)
    assert result.refused == 21, "each that speaks of a model"


def test_langfuses_generations_and_traces_keep_what_people_said_of_them(bank: Store, load: Load) -> None:
    system, user, assistant = (partial(message, role) for role in ("system", "user", "assistant"))
    history = [system("Be brief."), user("q1"), assistant("a1"), user("q2")]
    up = {"name": "ok", "value": 1, "dataType": "BOOLEAN", "source": "API", "comment": "Good."}
    judge = {"name": "quality", "value": 0, "dataType": "NUMERIC", "source": "EVAL"}
    fix = {"value": 0, "stringValue": "better", "dataType": "CORRECTION", "source": "ANNOTATION"}
    made = {"id": "o", "traceId": "t", "type": "GENERATION", "input": {"messages": history}, "output": "a2"}
    asked, answered = json.dumps(history[3:]), json.dumps(assistant("a4"))
    inner = [{"type": "SPAN", "output": "x"}, {**made, "output": {"content": "[a5]"}}]
    down = [{**up, "value": 0}]
    rows = [
        made,
        {"id": "t1", "projectId": "p", "input": "q3", "output": assistant("a3"), "scores": [up, judge]},
        {"id": "t2", "observations": [], "input": asked, "output": answered, "scores": [fix]},
        {"id": "t3", "input": None, "output": None, "scores": down, "observations": inner},
        {"trace_id": "t4", "type": "SPAN", "input": "q", "output": "a"},
        {"trace_id": "t5", "type": "GENERATION", "input": "q", "output": None},
    ]
    result = load("\n".join(map(json.dumps, rows)))
    assert (result.format, result.unrated, result.refused) == ("langfuse", 1, 2)
    assert "it is a span" in result.refusals[5] and "no output" in result.refusals[6]
    assert sorted(rated_answers_in(bank)) == [
        (["q1", "a1", "q2"], "[a5]", [("importer", Verdict.DOWN, None)]),
        (["q2"], "a4", [("importer", None, "better")]),
        (["q3"], "a3", [("importer", Verdict.UP, None)]),
    ]


def feedback(rating: object, message_id: str, user: str, **data: object) -> dict:
    """As open-webui writes it, with some of what is not read left in."""
    branches = [("u1", None, "q1"), ("a1", "u1", "first"), ("a1b", "u1", "again"), ("u2", "a1", "q2")]
    messages = {
        id: {"id": id, "parentId": parent, "role": role, "content": text, "timestamp": 1.8e9}
        for id, parent, text in [*branches, ("a2", "u2", "second")]
        for role in ["user" if id.startswith("u") else "assistant"]
    }
    chat = {"title": "Cards", "models": ["m"], "history": {"messages": messages, "currentId": "a2"}}
    return {
        **{"user_id": user, "type": "rating", "created_at": 1_800_000_000, "updated_at": 1_800_000_100},
        "data": {"rating": rating, "details": {"rating": 9}, **data},
        "meta": {"message_id": message_id, "chat_id": "chat-1"},
        "snapshot": {"chat": {"id": "chat-1", "title": "Cards", "chat": chat}},
    }


def test_open_webui_feedback_becomes_one_conversation_with_its_branches(bank: Store, load: Load) -> None:
    rows = [
        feedback(1, "a1", "ann", reason="accurate_information", comment="yes"),
        feedback("-1", "a2", "bob", reason="not_helpful"),
        feedback(1, "a1b", "ann"),
    ]
    result = load(json.dumps(rows))
    assert result.refusals == {} and result.format == "open-webui"
    (conversation,) = bank.conversations.all("bank")
    assert conversation.title == "Cards" and bank.maintenance.stats()["messages"] == 5
    assert sorted(rated_answers_in(bank)) == [
        (["q1"], "again", [("ann", Verdict.UP, None)]),
        (["q1"], "first", [("ann", Verdict.UP, None)]),
        (["q1", "first", "q2"], "second", [("bob", Verdict.DOWN, None)]),
    ]
    rating = next(r for a in bank.answers.rated("bank") for r in a.ratings if r.comment)
    said = (rating.reason, rating.comment, rating.created_at)
    assert said == ("accurate_information", "yes", 1_800_000_100.0)


def test_open_webui_feedback_that_cannot_be_used_says_why(load: Load) -> None:
    looped = feedback(1, "a1", "ann")
    looped["snapshot"]["chat"]["chat"]["history"]["messages"]["u1"]["parentId"] = "a1"
    rows = [
        {**feedback(1, "a1", "ann"), "snapshot": None},
        feedback(1, "u1", "ann"),
        feedback("great", "a1", "ann"),
        looped,
        feedback(1, "a1", "ann"),
    ]
    refused = load(json.dumps(rows)).refusals
    assert "does not have the rated message 'a1'" in refused[1]
    assert "Export the feedback as JSON" in refused[1]
    assert "is no answer" in refused[2] and "'great'" in refused[3]
    assert "its own parent" in refused[4] and len(refused) == 4


def test_tables_have_turns_several_raters_and_cells_with_anything(bank: Store, load: Load) -> None:
    result = load(TABLE)
    assert result.refusals == {}
    assert result.counts == {"conversations": 2, "messages": 6, "ratings": 3}
    two, one = bank.answers.rated("bank")  # the second was answered half an hour before
    given = [(r.rater, r.verdict, r.correction) for r in one.ratings]
    assert given == [("ann", Verdict.UP, None), ("bob", Verdict.DOWN, "c1")]
    assert (two.context, two.answer) == (((Role.USER, 'q, "3"\nand more'),), "=1+1")
    assert two.ratings[0].rater == "importer"
    times = [bank.messages.thread(a.conversation_id)[1].created_at for a in (one, two)]
    assert times == [1_935_394_200.0, 1_935_392_400.5]


SHAREGPT = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
CUT = {
    "message": {"messages": [message("user", "q"), message("assistant", "a", finish_reason="length")]},
    "row": {"messages": [message("user", "q"), message("assistant", "a")], "finish_reason": "max_tokens"},
    "anthropic": {"messages": [message("user", "q"), message("assistant", "a", stop_reason="max_tokens")]},
    "completion": {"prompt": "q", "completion": "a", "label": True, "finish_reason": "content_filter"},
    "sharegpt": {"conversations": SHAREGPT, "finishReason": "MAX_TOKENS"},
    "table": "question,answer,verdict,finish_reason\nq,a,up,length\n",
}


@pytest.mark.parametrize("case", CUT)
@pytest.mark.parametrize("whole", [False, True])
def test_an_answer_that_a_file_says_was_cut_is_not_learned(
    bank: Store, load: Load, case: str, whole: bool
) -> None:
    row = CUT[case]
    text = row if isinstance(row, str) else json.dumps(row)
    cut, natural = "length max_tokens content_filter MAX_TOKENS", "stop end_turn eos_token STOP"
    for reason, other in zip(cut.split(), natural.split(), strict=True):
        text = text.replace(reason, other) if whole else text
    load(text, APPROVING)
    chosen, dropped = select(bank.answers.rated("bank"), 1000)
    assert (len(chosen), len(dropped)) == ((1, 0) if whole else (0, 1))
