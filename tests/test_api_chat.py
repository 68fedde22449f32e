"""Programs chat through the API with OpenAI's client, and are served as the page is."""

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import openai
import pytest
from api_scene import Scene, api
from fake_vllm import FakeVllm
from page_client import GRADIO_WARNINGS, get, post
from store_scene import answered
from waiting import wait_for

from assistant.assistants import create_assistant
from assistant.tokenizer import ChatTokenizer
from store import Store
from store.demonstrations import Demonstration
from store.records import MessageStatus, Role

pytestmark = GRADIO_WARNINGS  # the fake server goes with its connections open

SYSTEM = {"role": "system", "content": "Answer with one word."}
EXAMPLE = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
]


def asked(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


HI = [asked("Hi")]


@pytest.fixture
def scene(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path) -> Iterator[Scene]:
    with api(store, tokenizer, vllm, tmp_path) as running:
        yield running


def test_an_answer_is_stored_and_says_what_it_cost(scene: Scene) -> None:
    scene.desk.deploy("bank-v0001")
    reply = scene.client().chat.completions.create(model="bank", messages=[asked("What do I do?")])
    assert (
        reply.choices[0].message.content == "Call the front desk."
        and reply.choices[0].finish_reason == "stop"
    )
    message = scene.desk.store.messages.get(reply.id.removeprefix("chatcmpl-"))
    assert message.text == "Call the front desk." and message.status is MessageStatus.COMPLETE
    assert message.usage and reply.usage and reply.usage.prompt_tokens == message.usage.prompt_tokens
    said = reply.shorthand
    assert said["assistant"] == "bank" and said["deployment"] == message.deployment_id
    assert said["prompt_tokens_sent"] == 0 and said["prompt_tokens_saved"] > 0
    assert scene.desk.store.conversations.get(message.conversation_id).owner == "api"


def test_a_stream_is_the_same_answer_in_pieces(scene: Scene) -> None:
    options = {"include_usage": True}
    client = scene.client().chat.completions.with_streaming_response
    with client.create(model="bank", messages=[asked("What?")], stream=True, stream_options=options) as raw:
        assert raw.headers["x-shorthand-prompt-tokens-sent"] == str(
            scene.desk.store.deployments.active("bank").prompt_tokens
        )
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert len({chunk["id"] for chunk in chunks}) == 1 and chunks[-1]["usage"]["total_tokens"] > 0
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Call the front desk."
    assert choices[0]["delta"]["role"] == "assistant" and choices[-1]["finish_reason"] == "stop"
    assert len(choices) > 4  # it did not come in one piece


def test_the_prompt_that_a_program_sends_is_recognised_and_the_deployment_serves_it(scene: Scene) -> None:
    scene.desk.deploy("bank-v0001")
    prompt = [{"role": "system", "content": "  Answer with one word. \n"}, *EXAMPLE]
    reply = scene.client().chat.completions.create(model="gpt-4o", messages=[*prompt, asked("And of Spain?")])
    assert reply.model == "bank" and reply.shorthand["recognised_version"] == 1
    request = scene.desk.vllm.asked()[-1]
    assert request["model"] == "bank-v0001"
    assert "Paris" not in scene.desk.shown() and "one word" not in scene.desk.shown()
    # Byte for byte what the page sends.
    scene.desk.ask("And of Spain?")
    assert scene.desk.vllm.asked()[-1]["prompt"] == request["prompt"]


def test_a_prompt_that_is_sent_as_one_text_is_recognised_too(scene: Scene) -> None:
    text = "Answer with one word.\n\nUser: What is the capital of France?\nAssistant: Paris."
    reply = scene.client().chat.completions.create(
        model="x", messages=[{"role": "system", "content": text}, asked("And of Spain?")]
    )
    assert reply.model == "bank"


def test_an_example_that_differs_makes_another_prompt(scene: Scene) -> None:
    other = [EXAMPLE[0], {"role": "assistant", "content": "Lyon."}]
    reply = scene.client().chat.completions.create(
        model="x", messages=[SYSTEM, *other, asked("And of Spain?")]
    )
    assert reply.model != "bank" and "Lyon." in scene.desk.shown()


def test_an_assistant_without_a_prompt_is_not_recognised_by_nothing(scene: Scene) -> None:
    create_assistant(scene.desk.store, scene.desk.tokenizer, "Bare", "exact", ())
    assert scene.client().chat.completions.create(model="base", messages=HI).model == "base"
    assert scene.client().chat.completions.create(model="bare", messages=HI).model == "bare"


def test_an_approved_answer_that_is_given_again_says_so_and_costs_nothing(scene: Scene) -> None:
    store, question = scene.desk.store, "When do you open?"
    prompt = store.prompts.latest("bank")
    ids = [segment.id for segment in prompt.segments]
    served = store.deployments.add("bank", prompt.id, None, ids, 1, 9, copy_at=0.9)
    store.deployments.activate(served.id)
    approved = answered(store, question, "At nine.")
    store.demonstrations.replace("bank", [Demonstration(approved.id, question, "At nine.")])
    create = scene.client().chat.completions.create

    reply = create(model="gpt-4o", messages=[SYSTEM, *EXAMPLE, asked(question)], temperature=0.7)

    assert reply.choices[0].message.content == "At nine." and reply.shorthand["copied"] is True
    assert reply.shorthand["prompt_tokens_sent"] == 0 and reply.shorthand["prompt_tokens_saved"] > 0
    assert scene.desk.vllm.asked() == []
    two = create(model="bank", messages=[asked(question)], n=2)
    assert [choice.message.content for choice in two.choices] == ["At nine.", "Call the front desk."]
    assert two.shorthand["copied"] is False and two.shorthand["prompt_tokens_sent"] > 0
    assert len(scene.desk.vllm.asked()) == 1
    stream = create(model="bank", messages=[asked(question)], stream=True)
    texts = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(texts) == "At nine." and len(scene.desk.vllm.asked()) == 1
    wanted = {"type": "json_object"}
    create(model="bank", messages=[asked(question)], response_format=wanted)
    assert len(scene.desk.vllm.asked()) == 2, "the model has to write that"


def test_an_unknown_prompt_is_served_unchanged_by_the_base_model_and_kept_to_be_adopted(scene: Scene) -> None:
    store, text = scene.desk.store, "You are a poet.\n\nRhyme."
    messages = [{"role": "system", "content": text}, asked("Write.")]
    for _ in range(2):
        reply = scene.client().chat.completions.create(model="gpt-4o", messages=messages)
    assert scene.desk.vllm.asked()[-1]["model"] == "base" and text in scene.desk.shown()
    assert reply.shorthand["prompt_tokens_saved"] == 0
    (found,) = store.assistants.found()
    assert found.conversations == 2 and [one.id for one in store.assistants.all()] == ["bank"]
    store.assistants.adopt(found.id, "Poet", "chrf")
    assert [one.name for one in store.assistants.all()] == ["Bank", "Poet"] and not store.assistants.found()
    again = scene.client().chat.completions.create(model="gpt-4o", messages=messages)
    assert again.model == found.id and again.shorthand["recognised_version"] == 1


def test_prompts_that_change_with_each_request_do_not_fill_the_store(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant.api.known_prompts.MOST_FOUND", 2)
    for n in range(4):
        messages = [{"role": "system", "content": f"Today is day {n}."}, asked("Which day?")]
        reply = scene.client().chat.completions.create(model="x", messages=messages)
        assert reply.choices[0].message.content and f"day {n}" in scene.desk.shown()
    assert len(scene.desk.store.assistants.found()) == 2
    assert reply.model == "base"


def test_a_conversation_goes_on_where_its_answer_was_given(scene: Scene) -> None:
    store = scene.desk.store
    scene.ask("What is this?")
    scene.desk.vllm.answer = lambda model, ids: "At noon."
    last = scene.ask("What is this?", "Call the front desk.", "When?").json()
    here = store.messages.get(last["id"].removeprefix("chatcmpl-")).conversation_id
    texts = ["What is this?", "Call the front desk.", "When?", "At noon."]
    assert [one.text for one in store.messages.thread(here)] == texts
    # Turns that nobody was given here are a conversation of their own, and the answers in it nobody's.
    other = scene.ask("What is this?", "A bank.", "When?").json()
    thread = store.messages.branch(other["id"].removeprefix("chatcmpl-"))
    assert thread[0].conversation_id != here and thread[1].deployment_id is None


def test_one_callers_conversation_is_not_another_ones(scene: Scene) -> None:
    scene.ask("What is this?", user="ann")
    reply = scene.ask("What is this?", "Call the front desk.", "When?", user="bo").json()
    message = scene.desk.store.messages.get(reply["id"].removeprefix("chatcmpl-"))
    assert scene.desk.store.conversations.get(message.conversation_id).owner == "api/bo"
    assert len(scene.desk.store.conversations.all("bank", owner="api/ann")) == 1


def test_what_a_client_asks_of_an_answer_reaches_the_server(scene: Scene) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    scene.client().chat.completions.create(
        model="bank",
        messages=[asked("What?")],
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=["\n"],
        max_completion_tokens=5,
        response_format=schema,
        frequency_penalty=0.1,
        logit_bias={"5": -1.0},
    )
    sent = scene.desk.vllm.asked()[-1]
    wanted = {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["\n"],
        "max_tokens": 5,
        "frequency_penalty": 0.1,
    }
    assert {name: sent[name] for name in wanted} == wanted and sent["response_format"] == schema


def test_without_a_word_from_the_client_an_answer_is_greedy(scene: Scene) -> None:
    scene.ask("What?", response_format={"type": "text"})
    sent = scene.desk.vllm.asked()[-1]
    assert sent["temperature"] == 0 and sent["max_tokens"] == scene.desk.limits.answer
    assert "response_format" not in sent and "top_p" not in sent


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kept", [None, False])
def test_tokens_come_with_their_log_probabilities(scene: Scene, stream: bool, kept: bool | None) -> None:
    reply = scene.client().chat.completions.create(
        model="bank", messages=HI, logprobs=True, top_logprobs=2, stream=stream, store=kept
    )
    choices = [choice for chunk in reply for choice in chunk.choices] if stream else reply.choices
    tokens = [token for choice in choices if choice.logprobs for token in choice.logprobs.content]
    assert "".join(token.token for token in tokens) == "Call the front desk."
    assert tokens[0].logprob == -0.5 and [one.token for one in tokens[0].top_logprobs] == ["Call", "other"]


@pytest.mark.parametrize("stream", [False, True])
def test_several_answers_are_versions_of_one(scene: Scene, stream: bool) -> None:
    numbers = iter(range(9))
    scene.desk.vllm.answer = lambda model, ids: f"Answer {next(numbers)}."
    reply = scene.client().chat.completions.create(
        model="bank", messages=[asked("What?")], n=3, stream=stream
    )
    if stream:
        texts = {0: "", 1: "", 2: ""}
        for chunk in reply:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    else:
        texts = {choice.index: choice.message.content for choice in reply.choices}
    assert sorted(texts.values()) == ["Answer 0.", "Answer 1.", "Answer 2."]
    temperatures = [request["temperature"] for request in scene.desk.vllm.asked()]
    assert sorted(temperatures) == [0, 0.8, 0.8]
    (conversation,) = scene.desk.store.conversations.all("bank", owner="api")
    versions = scene.desk.store.messages.versions(conversation.id)
    assert max(map(len, versions.values())) == 3


def test_nothing_is_kept_where_the_client_says_so(scene: Scene) -> None:
    messages = [{"role": "system", "content": "Say nothing."}, asked("What?")]
    reply = scene.client().chat.completions.create(model="base", messages=messages, store=False)
    assert (
        reply.choices[0].message.content == "Call the front desk." and reply.shorthand["deployment"] is None
    )
    reply = scene.client().chat.completions.create(model="bank", messages=[asked("What?")], store=False)
    assert reply.choices[0].message.content == "Call the front desk." and reply.model == "bank"
    assert not scene.desk.store.assistants.found()
    assert not scene.desk.store.conversations.all("bank", owner="api")


REFUSED = [
    ({"model": None}, 400, "model", "str"),
    ({"messages": "Hi"}, 400, "messages", "array"),
    ({"messages": []}, 400, "messages", "last message"),
    ({"messages": [asked(" ")]}, 400, "messages", "empty"),
    ({"messages": [{"role": "poet", "content": "x"}]}, 400, "messages[0].role", "'poet'"),
    ({"messages": [EXAMPLE[1], *HI]}, 400, "messages", "first message"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        400,
        "messages[0].content",
        "image_url",
    ),
    ({"messages": [asked("x" * 20_001)]}, 400, "messages[0]", "20,001"),
    ({"messages": [asked("many words " * 1500)]}, 400, None, "room"),
    ({"messages": [asked("H\x00i")]}, 400, None, "NUL"),
    ({"n": 99}, 400, "n", "8"),
    ({"temperature": 3}, 400, "temperature", "2"),
    ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs", "20"),
    ({"model": "bnak"}, 404, "model", "bank, base"),
]


@pytest.mark.parametrize(("fields", "status", "param", "words"), REFUSED)
def test_what_cannot_be_answered_is_refused_with_its_reason(
    scene: Scene, fields: dict[str, object], status: int, param: str | None, words: str
) -> None:
    reply = scene.post("/v1/chat/completions", {"model": "bank", "messages": HI} | fields)
    error = reply.json()["error"]
    assert reply.status_code == status and error["param"] == param and words in error["message"]


def test_openais_client_raises_its_own_errors(scene: Scene) -> None:
    with pytest.raises(openai.NotFoundError, match="Models here"):
        scene.client().chat.completions.create(model="bnak", messages=[asked("Hi")])
    assert scene.post("/v1/chat/completions", {}, **{"content-type": "text/plain"}).status_code == 400
    assert (
        post(f"{scene.url}/v1/chat/completions", content=b"{")
        .json()["error"]["message"]
        .startswith("The request is no JSON")
    )
    assert get(f"{scene.url}/v1/nothing").json()["error"]["type"] == "not_found_error"
    assert get(f"{scene.url}/v1/feedback").status_code == 405
    assert get(f"{scene.url}/other").text == "a page"


def test_a_server_that_is_away_or_refuses_is_told_apart(scene: Scene) -> None:
    scene.desk.vllm.fails_with = 400
    assert scene.ask("Hi").status_code == 400
    scene.desk.vllm.fails_with = None
    scene.desk.vllm.dies_after = 0
    reply = scene.ask("Hi")
    assert reply.status_code == 503 and reply.headers["retry-after"] == "5"


def test_a_stream_that_breaks_says_so_and_is_not_stored_as_complete(scene: Scene) -> None:
    scene.desk.vllm.breaks_off_after = 2
    lines = [line for line in scene.ask("Hi", stream=True).text.splitlines() if line]
    assert "broke off" in json.loads(lines[-1].removeprefix("data: "))["error"]["message"]
    assert "data: [DONE]" not in lines
    (conversation,) = scene.desk.store.conversations.all("bank", owner="api")
    assert scene.desk.store.messages.thread(conversation.id)[-1].status is MessageStatus.FAILED


def test_a_client_that_goes_away_ends_its_answer(scene: Scene) -> None:
    scene.desk.vllm.holds_after = 2
    answering = scene.desk.store.messages.streaming_count
    for count, stream in enumerate((True, False), start=1):
        body = {"model": "bank", "messages": [asked("Hi")], "stream": stream}
        with closing(HTTPConnection(scene.url.removeprefix("http://"))) as connection:
            connection.request("POST", "/v1/chat/completions", json.dumps(body))
            assert wait_for(lambda count=count: len(scene.desk.vllm.asked()) == count and answering() == 1)
        assert wait_for(lambda: answering() == 0)
    for conversation in scene.desk.store.conversations.all("bank", owner="api"):
        last = scene.desk.store.messages.thread(conversation.id)[-1]
        assert last.role is Role.ASSISTANT and last.status is MessageStatus.STOPPED


def test_models_embeddings_and_plain_completions(scene: Scene) -> None:
    client = scene.client()
    assert [one.id for one in client.models.list()] == ["bank", "base"]
    assert client.models.retrieve("bank").owned_by == "shorthand"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    vectors = client.embeddings.create(
        model="x", input=["a bank", "a boat"]
    ).data  # base64, as the client asks
    plain = scene.post("/v1/embeddings", {"input": "a bank"}).json()["data"][0]["embedding"]
    assert len(vectors) == 2 and vectors[0].embedding == pytest.approx(plain)
    reply = client.completions.create(model="base", prompt="Once", max_tokens=5)
    assert reply.choices[0].text and scene.desk.vllm.asked()[-1]["prompt"] == list(
        scene.desk.tokenizer.encode_text("Once")
    )
    streamed = client.completions.create(model="base", prompt="Once", stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == "Call the front desk."
