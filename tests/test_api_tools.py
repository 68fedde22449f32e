"""Programs whose model may call tools: the real clients, what is sent to the model, and what becomes of the answers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_scene import Scene, api
from fake_vllm import FakeVllm
from model_kinds import write_kind
from page_client import GRADIO_WARNINGS
from tool_templates import HERMES

from assistant.api.stored import shown
from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import Verdict
from trainer.examples.selection import DropReason, select
from trainer.examples.traffic import confident_answers

pytestmark = [*GRADIO_WARNINGS, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Now.", "parameters": PARAMETERS},
}
TIME = {"type": "function", "function": {"name": "time"}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
SYSTEM = {"role": "system", "content": "Answer with one word."}
EXAMPLE = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
]
ASKED = [{"role": "user", "content": "Is it raining in Rome?"}]


@pytest.fixture
def scene(store: Store, vllm: FakeVllm, tmp_path: Path) -> Iterator[Scene]:
    tokenizer = ChatTokenizer.load(write_kind(tmp_path / "model", HERMES, "bytes"))
    with api(store, tokenizer, vllm, tmp_path) as running:
        vllm.answer = lambda model, ids: f"Let me look.\n{CALL}"
        yield running


def ask(scene: Scene, **fields: Any) -> Any:
    return scene.client().chat.completions.create(
        **{"model": "bank", "messages": ASKED, "tools": [WEATHER]} | fields
    )


def answered(choice: Any) -> list[dict[str, Any]]:
    """The turns after an answer with calls: itself, and what the tools say."""
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "It rains."}
        for call in choice.message.tool_calls
    ]
    return [choice.message.model_dump(exclude_none=True), *results]


def conversations(scene: Scene) -> list[str]:
    return [one.id for one in scene.desk.store.conversations.all("bank", owner="api", source="tools")]


@pytest.mark.parametrize("kept", [None, False])
def test_openais_client_calls_a_tool_and_goes_on(scene: Scene, kept: bool | None) -> None:
    (choice,) = ask(scene, store=kept).choices
    assert choice.finish_reason == "tool_calls" and choice.message.content == "Let me look."
    (call,) = choice.message.tool_calls
    assert call.function.name == "weather" and json.loads(call.function.arguments) == {"city": "Rome"}
    shown = scene.desk.shown()
    assert '"name": "weather"' in shown and shown.endswith("Rome?<|im_end|>\n<|im_start|>assistant\n")
    scene.desk.vllm.answer = lambda model, ids: "Yes."
    (last,) = ask(scene, store=kept, messages=[*ASKED, *answered(choice)]).choices
    assert last.message.content == "Yes." and last.finish_reason == "stop" and not last.message.tool_calls
    assert (
        f"Let me look.\n{CALL}<|im_end|>" in scene.desk.shown()
        and "<tool_response>\nIt rains." in scene.desk.shown()
    )
    assert len(conversations(scene)) == (0 if kept is False else 1)  # it went on in the same one


@pytest.mark.parametrize("n", [1, 2])
def test_a_stream_has_the_text_before_its_calls(scene: Scene, n: int) -> None:
    scene.desk.vllm.answer = lambda model, ids: f"Let me look.\n{CALL}\n{CALL}"
    texts, calls, reasons = dict.fromkeys(range(n), ""), dict[tuple[int, int], str](), []
    for chunk in ask(scene, stream=True, n=n):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons += [choice.finish_reason] if choice.finish_reason else []
            for call in choice.delta.tool_calls or ():
                calls[choice.index, call.index] = call.function.name + call.function.arguments
    assert texts == dict.fromkeys(range(n), "Let me look.") and reasons == ["tool_calls"] * n
    assert calls == {(k, at): 'weather{"city": "Rome"}' for k in range(n) for at in (0, 1)}


def test_a_known_prompt_is_sent_unshortened_to_the_base_model(scene: Scene) -> None:
    scene.desk.deploy("bank-v0001")
    for messages in ([SYSTEM, *EXAMPLE, *ASKED], ASKED):
        reply = ask(scene, messages=messages)
        assert scene.desk.vllm.asked()[-1]["model"] == "base"
        assert "one word" in scene.desk.shown() and "Paris." in scene.desk.shown()
        assert reply.model == "bank" and reply.shorthand["prompt_tokens_saved"] == 0
    # Without tools, or where none may be called, what was proven serves it.
    for fields in ({"tools": []}, {"tool_choice": "none"}):
        ask(scene, messages=[SYSTEM, *EXAMPLE, *ASKED], **fields)
        assert scene.desk.vllm.asked()[-1]["model"] == "bank-v0001" and "Paris." not in scene.desk.shown()


def test_nothing_is_learned_from_what_could_call_tools(scene: Scene) -> None:
    store, prompt = scene.desk.store, scene.desk.store.prompts.latest("bank").id
    ids = [ask(scene).id.removeprefix("chatcmpl-") for _ in range(2)]
    store.ratings.add(ids[0], "ann", Verdict.UP)
    (rated,) = store.answers.rated("bank")
    assert select([rated], 1000) == ([], {ids[0]: DropReason.WITH_TOOLS})
    plain = replace(rated, with_tools=False)  # how sure the model has to be is not said by answers with tools
    unrated = replace(plain, message_id="other", ratings=())
    assert confident_answers([plain] * 10 + [rated] * 10, [unrated]).keys() == {"other"}
    assert not store.answers.unrated(prompt, 9) and not store.answers.has_unrated(prompt, 1)
    assert not store.answers.served(store.deployments.active("bank").id, 9)
    # The same question without tools is another conversation, which is learned from.
    ask(scene, tools=[])
    assert len(store.answers.unrated(prompt, 9)) == 1 and len(conversations(scene)) == 2


def test_stored_completions_have_their_calls(scene: Scene, tokenizer: ChatTokenizer) -> None:
    made = ask(scene)
    (listed,) = scene.client().chat.completions.list()
    again = scene.client().chat.completions.retrieve(made.id)
    assert again.choices[0] == listed.choices[0] == made.choices[0]
    stored = scene.desk.store.threads.answer("api", made.id.removeprefix("chatcmpl-"))
    elsewhere = shown(stored, tokenizer)  # once a model without tools serves
    assert CALL in elsewhere["choices"][0]["message"]["content"]


def test_a_call_that_has_to_be_made_begins_the_answer(scene: Scene) -> None:
    scene.desk.vllm.answer = lambda model, ids: '{"city": "Rome"}'
    named = {"type": "function", "function": {"name": "weather"}}
    for tools, choice in (([WEATHER, TIME], named), ([WEATHER], "required")):
        (one,) = ask(scene, tools=tools, tool_choice=choice).choices
        assert [call.function.name for call in one.message.tool_calls] == [
            "weather"
        ] and one.message.content is None
        assert one.finish_reason == "tool_calls"
        assert scene.desk.shown().endswith('assistant\n<tool_call>\n{"name": "weather", "arguments": ')
        assert scene.desk.vllm.asked()[-1]["response_format"]["json_schema"]["schema"] == PARAMETERS
    scene.desk.vllm.answer = lambda model, ids: 'time", "arguments": {}}'
    (one,) = ask(scene, tools=[WEATHER, TIME], tool_choice="required").choices
    assert [call.function.name for call in one.message.tool_calls] == ["time"]
    assert scene.desk.shown().endswith('<tool_call>\n{"name": "')


CALLED = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "weather"}}],
}
REFUSED = [
    ({"tools": [{}]}, "tools[0]", "type"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "regex"),
    ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice", "'other'"),
    ({"functions": [{}]}, "functions", "Send tools"),
    ({"response_format": {"type": "json_object"}}, "response_format", "one of the two"),
    (
        {"messages": [*ASKED, {"role": "tool", "content": "x", "tool_call_id": "b"}]},
        "messages[1].tool_call_id",
        "'b'",
    ),
    (
        {
            "messages": [
                *ASKED,
                {**CALLED, "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]},
            ]
        },
        "messages[1].tool_calls",
        "no JSON object",
    ),
    ({"messages": [*ASKED, CALLED]}, "messages", "or a tool's"),
]


@pytest.mark.parametrize(("fields", "param", "words"), REFUSED)
def test_what_cannot_be_rendered_is_refused(
    scene: Scene, fields: dict[str, Any], param: str, words: str
) -> None:
    reply = scene.post(
        "/v1/chat/completions", {"model": "bank", "messages": ASKED, "tools": [WEATHER]} | fields
    )
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["param"] == param and words in error["message"]


@pytest.mark.parametrize(
    "needed",
    [
        {"tools": [WEATHER], "tool_choice": "required"},
        {
            "tools": [WEATHER],
            "messages": [*ASKED, CALLED, {"role": "tool", "tool_call_id": "a", "content": "4"}],
        },
    ],
)
def test_a_model_without_tools_says_what_is_missing_where_one_is_needed(
    store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path, needed: dict[str, Any]
) -> None:
    with api(store, tokenizer, vllm, tmp_path) as scene:
        reply = scene.post("/v1/chat/completions", {"model": "bank", "messages": ASKED} | needed)
        assert reply.status_code == 400 and "chat template has no tools" in reply.json()["error"]["message"]
        assert not vllm.asked()


@pytest.mark.parametrize("model", ["bank", "base"])
def test_a_model_without_tools_answers_as_one_that_calls_none_and_says_so(
    store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path, model: str
) -> None:
    """Chat apps such as open-webui send tools with each request, whatever the model."""
    body = {"model": model, "messages": ASKED}
    with api(store, tokenizer, vllm, tmp_path) as scene:
        plain = scene.post("/v1/chat/completions", body).json()
        offered = {"tools": [WEATHER, WEATHER], "tool_choice": "auto"}
        reply = scene.post("/v1/chat/completions", body | offered).json()
        assert reply["choices"][0]["message"] == plain["choices"][0]["message"]
        assert reply["shorthand"] == plain["shorthand"] | {"left_out_tools": 2}
        first, second = vllm.asked()
        assert first["prompt"] == second["prompt"]


def test_litellm_and_langchain_call_tools(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks another machine for prices
    import litellm
    from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    where: dict[str, Any] = {"model": "openai/bank", "api_base": f"{scene.url}/v1", "api_key": "none"}
    reply = litellm.completion(messages=ASKED, tools=[WEATHER], **where)
    assert reply.choices[0].message.tool_calls[0].function.arguments == '{"city": "Rome"}'
    chunks = [*litellm.completion(messages=ASKED, tools=[WEATHER], stream=True, **where)]
    built = litellm.stream_chunk_builder(chunks, messages=ASKED)
    assert built.choices[0].message.tool_calls[0].function.name == "weather"

    model = ChatOpenAI(model="bank", base_url=f"{scene.url}/v1", api_key="none").bind_tools([WEATHER])
    question = HumanMessage("Is it raining in Rome?")
    said = model.invoke([question])
    assert [(one["name"], one["args"]) for one in said.tool_calls] == [("weather", {"city": "Rome"})]
    whole = AIMessageChunk("")
    for chunk in model.stream([question]):
        whole += chunk
    assert [one["args"] for one in whole.tool_calls] == [{"city": "Rome"}]
    scene.desk.vllm.answer = lambda model, ids: "Yes."
    result = ToolMessage("It rains.", tool_call_id=said.tool_calls[0]["id"])
    assert model.invoke([question, said, result]).content == "Yes."
