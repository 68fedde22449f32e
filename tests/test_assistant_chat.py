"""A chat turn against a fake vLLM: what the person sees, and what the store keeps of it."""

from typing import Any

import pytest
from desk_scene import PROMPT, Desk, answer

from assistant.assistants import save_prompt
from assistant.chat import MAX_MESSAGE_CHARACTERS, Chat, ChatError
from assistant.rendering import render
from store.records import Message, MessageStatus, Role, Verdict


def test_a_turn_stores_question_answer_cost_and_deployment(desk: Desk) -> None:
    said = desk.ask("How do I\nopen an account?")

    thread = desk.store.messages.thread(said.conversation_id)
    assert [(m.role, m.text) for m in thread] == [
        (Role.USER, "How do I\nopen an account?"),
        (Role.ASSISTANT, "Call the front desk."),
    ]
    stored = thread[1]
    assert stored == said and stored.status is MessageStatus.COMPLETE
    active = desk.store.deployments.active("bank")
    assert active is not None and stored.deployment_id == active.id
    assert stored.usage is not None
    assert stored.usage.prompt_tokens == len(desk.vllm.asked()[0]["prompt"])
    assert stored.usage.prompt_part_tokens == active.prompt_tokens > 0
    assert (stored.usage.completion_tokens, stored.usage.cached_tokens) == (5, 0)
    assert 0 < stored.usage.first_token_s <= stored.usage.total_s
    assert desk.store.conversations.get(said.conversation_id).title == "How do I open an account?"


def test_the_answer_grows_while_it_streams(desk: Desk) -> None:
    async def act(chat: Chat) -> list[tuple[str, str]]:
        question = chat.ask("bank", None, "Hi")
        return [(p.message.text, p.message.status.value) async for p in chat.answer(question)]

    assert desk.run(act) == [
        ("", "streaming"),
        ("Call", "streaming"),
        ("Call the", "streaming"),
        ("Call the front", "streaming"),
        ("Call the front desk.", "streaming"),
        ("Call the front desk.", "complete"),
    ]


def test_the_next_question_carries_the_turns_before(desk: Desk) -> None:
    first = desk.ask("How do I open an account?")
    desk.ask("Whom?", first.conversation_id)
    assert desk.shown().endswith(
        "user\nHow do I open an account?<|im_end|>\n<|im_start|>assistant\nCall the front desk.<|im_end|>\n"
        "<|im_start|>user\nWhom?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_first_answer_is_greedy_and_a_varied_one_is_not(desk: Desk) -> None:
    async def act(chat: Chat) -> tuple[Message, Message]:
        question = chat.ask("bank", None, "Hi")
        return await answer(chat, question), await answer(chat, question, vary=True)

    first, second = desk.run(act)
    greedy, varied = desk.vllm.asked()
    assert (greedy["temperature"], greedy["seed"]) == (0.0, None)
    assert varied["temperature"] > 0 and varied["seed"] is not None
    assert greedy["prompt"] == varied["prompt"]
    assert set(desk.store.messages.versions(first.conversation_id)[first.id]) == {first.id, second.id}


def test_an_edited_question_starts_a_branch_of_its_own(desk: Desk) -> None:
    first = desk.ask("How do I open an account?")
    question = desk.store.messages.thread(first.conversation_id)[0]

    async def act(chat: Chat) -> Message:
        return await answer(chat, chat.edit(question.id, "How do I close it?"))

    edited = desk.run(act)
    assert [m.text for m in desk.store.messages.thread(first.conversation_id)][0] == "How do I close it?"
    assert [m.text for m in desk.store.messages.branch(first.id)][0] == "How do I open an account?"
    assert "open an account" not in desk.shown()
    assert edited.conversation_id == first.conversation_id


@pytest.mark.parametrize(
    "trouble",
    [{"fails_with": 500}, {"dies_after": 2}, {"breaks_off_after": 2}, {"url": "http://127.0.0.1:9"}],
)
def test_a_failure_is_kept_as_failed_and_told(desk: Desk, trouble: dict[str, Any]) -> None:
    for name, value in trouble.items():
        setattr(desk.vllm, name, value)
    with pytest.raises(ChatError, match="Your message is saved"):
        desk.ask("Hi")
    (conversation,) = desk.store.conversations.all("bank")
    question, failed = desk.store.messages.thread(conversation.id)
    assert question.text == "Hi" and failed.status is MessageStatus.FAILED and failed.usage is None
    assert failed.text == ("Call the" if {"dies_after", "breaks_off_after"} & set(trouble) else "")


def test_an_adapter_that_the_server_forgot_is_loaded_again(desk: Desk) -> None:
    deployment = desk.deploy("bank-v0001")
    desk.vllm.answer = lambda model, ids: f"by {model}"
    assert desk.ask("Hi").text == "by bank-v0001"
    desk.vllm.restart()

    said = desk.ask("Hi again")

    assert (said.text, said.status, said.deployment_id) == (
        "by bank-v0001",
        MessageStatus.COMPLETE,
        deployment.id,
    )
    assert list(desk.vllm.adapters) == ["bank-v0001"]


def test_an_adapter_that_cannot_be_loaded_again_is_told(desk: Desk) -> None:
    deployment = desk.deploy("bank-v0001")
    (desk.adapters / "bank-v0001" / "manifest.json").unlink()
    with pytest.raises(ChatError, match="cannot be loaded.*published"):
        desk.ask("Hi")
    assert deployment.adapter not in desk.vllm.adapters
    assert desk.store.messages.streaming_count("bank-v0001") == 0


def test_the_oldest_turns_leave_when_the_conversation_outgrows_the_context(desk: Desk) -> None:
    desk.vllm.answer = lambda model, ids: "ok"
    said = desk.ask("first question " * 10)
    for number in range(12):
        said = desk.ask(f"question number {number} " * 5, said.conversation_id)
    shown, body = desk.shown(), desk.vllm.asked()[-1]
    assert "first question" not in shown and "number 11" in shown and "number 10" in shown
    assert len(body["prompt"]) + body["max_tokens"] <= 1024
    assert "Answer with one word." in shown and "Paris." in shown
    turns = shown.split("<|im_start|>")[4:]
    assert turns[0].startswith("user")  # a question never leaves without its answer


def test_a_message_that_does_not_fit_alone_is_refused_with_both_numbers(desk: Desk) -> None:
    with pytest.raises(ChatError, match=r"take [\d,]+ tokens.*room for 992"):
        desk.ask("word " * 1500)
    assert not desk.vllm.asked()


def test_a_failed_answer_in_between_does_not_stand_in_the_way(desk: Desk) -> None:
    """After a failure the person asks again: the model must still see questions and answers in turn."""
    desk.vllm.fails_with = 500
    with pytest.raises(ChatError):
        desk.ask("word " * 400)
    (conversation,) = desk.store.conversations.all("bank")
    desk.vllm.fails_with = None
    assert desk.ask("word " * 600, conversation.id).text == "Call the front desk."  # the first one leaves


def test_what_is_trained_later_is_what_was_served(desk: Desk) -> None:
    """Also after a failure, whose empty answer stands between the questions."""
    desk.vllm.fails_with = 500
    with pytest.raises(ChatError):
        desk.ask("How do I open an account?")
    (conversation,) = desk.store.conversations.all("bank")
    desk.vllm.fails_with = None
    said = desk.ask("Hello?", conversation.id)
    desk.store.ratings.add(said.id, "ann", Verdict.UP)
    (rated,) = desk.store.answers.rated("bank")
    assert list(render(desk.tokenizer, PROMPT, rated.context).ids) == desk.vllm.asked()[-1]["prompt"]


def test_a_swap_in_the_middle_of_an_answer_does_not_touch_that_answer(desk: Desk) -> None:
    before = desk.deploy("bank-v0001")
    desk.vllm.adapters["bank-v0001"] = desk.vllm.adapters["bank-v0002"] = "/somewhere"
    desk.vllm.holds_after = 2

    async def act(chat: Chat) -> tuple[Message, int, Message]:
        stream = chat.answer(chat.ask("bank", None, "Hi"))
        for _ in range(3):
            progress = await anext(stream)
        assert desk.store.messages.streaming_count("bank-v0001") == 1
        after = desk.deploy("bank-v0002")
        desk.vllm.go_on.set()
        progress = [progress async for progress in stream][-1]
        return progress.message, after.id, await answer(chat, chat.ask("bank", None, "Hi"))

    running, after, later = desk.run(act)
    assert (running.deployment_id, running.status) == (before.id, MessageStatus.COMPLETE)
    assert later.deployment_id == after
    assert [body["model"] for body in desk.vllm.asked()] == ["bank-v0001", "bank-v0002"]


def test_only_the_kept_segments_of_the_active_variant_are_sent(desk: Desk) -> None:
    desk.deploy("bank-v0001", segment_ids=("role",))
    desk.ask("Hi")
    assert "Answer with one word." in desk.shown() and "Paris." not in desk.shown()


def test_an_edited_prompt_is_served_in_full_by_the_base_model(desk: Desk) -> None:
    desk.deploy("bank-v0001")
    save_prompt(desk.store, desk.tokenizer, "bank", PROMPT[:1])
    said = desk.ask("Hi")
    assert desk.vllm.asked()[-1]["model"] == "base" and "Answer with one word." in desk.shown()
    assert said.usage is not None and said.usage.prompt_part_tokens > 0


@pytest.mark.parametrize("text", ["", "  \n", "x" * (MAX_MESSAGE_CHARACTERS + 1)])
def test_an_empty_or_endless_message_is_refused_before_anything_is_stored(desk: Desk, text: str) -> None:
    with pytest.raises(ChatError):
        desk.ask(text)
    assert not desk.store.conversations.all("bank")


def test_an_assistant_without_a_prompt_says_so(desk: Desk) -> None:
    desk.store.assistants.create("new", "New", "exact")

    async def act(chat: Chat) -> Message:
        return await answer(chat, chat.ask("new", None, "Hi"))

    with pytest.raises(ChatError, match="no prompt yet"):
        desk.run(act)
