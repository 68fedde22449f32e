"""A chat turn against a fake vLLM: what the person sees, and what the store keeps of it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import FakeVllm
from tiny_model import write_adapter

from assistant import endings
from assistant.assistants import create_assistant, save_prompt
from assistant.chat import MAX_MESSAGE_CHARACTERS, Chat, ChatError, ChatLimits
from assistant.rendering import render
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient
from assistant.vllm_pool import VllmPool
from assistant.web.answering import Answering
from store import Store
from store.errors import NotSaved
from store.records import Deployment, Message, MessageStatus, Role, Segment, SegmentKind, Verdict

PROMPT = (
    Segment("role", SegmentKind.INSTRUCTION, text="Answer with one word."),
    Segment("france", SegmentKind.EXAMPLE, user="What is the capital of France?", assistant="Paris."),
)


@dataclass
class Desk:
    """An assistant, its store and servers; `run` gives the coroutine a chat of its own event loop."""

    store: Store
    tokenizer: ChatTokenizer
    vllm: FakeVllm
    adapters: Path
    limits: ChatLimits

    def run(self, act: Callable[[Chat], Coroutine[Any, Any, Any]]) -> Any:
        async def whole() -> Any:
            pool = VllmPool([VllmClient(self.vllm.url)])
            try:
                return await act(
                    Chat(self.store, pool, self.tokenizer, "base hash", self.adapters, self.limits)
                )
            finally:
                await pool.close()

        return asyncio.run(whole())

    def ask(self, text: str, conversation: str | None = None) -> Message:
        """Ask and take the whole answer."""

        async def act(chat: Chat) -> Message:
            return await answer(chat, chat.ask("bank", conversation, text))

        return self.run(act)

    def deploy(self, name: str, kept: tuple[str, ...] = ()) -> Deployment:
        """A published adapter, active without the examples."""
        write_adapter(self.adapters, name)
        prompt = self.store.latest_prompt("bank")
        return self.store.activate(self.store.add_deployment("bank", prompt.id, name, kept, 1, 0).id)

    def shown(self) -> str:
        """The last request as text."""
        return self.tokenizer.decode(self.vllm.asked()[-1]["prompt"])


async def answer(chat: Chat, question: Message, vary: bool = False) -> Message:
    last = None
    async for progress in chat.answer(question, vary=vary):
        last = progress.message
    assert last is not None
    return last


@pytest.fixture
def desk(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path) -> Desk:
    create_assistant(store, tokenizer, "Bank", "exact", PROMPT, assistant_id="bank")
    vllm.answer = lambda model, ids: "Call the front desk."
    return Desk(store, tokenizer, vllm, tmp_path / "adapters", ChatLimits(context=1024, answer=32))


def test_a_turn_stores_question_answer_cost_and_deployment(desk: Desk) -> None:
    said = desk.ask("How do I\nopen an account?")

    thread = desk.store.thread(said.conversation_id)
    assert [(m.role, m.text) for m in thread] == [
        (Role.USER, "How do I\nopen an account?"),
        (Role.ASSISTANT, "Call the front desk."),
    ]
    kept = thread[1]
    assert kept == said and kept.status is MessageStatus.COMPLETE
    active = desk.store.active("bank")
    assert active is not None and kept.deployment_id == active.id
    assert kept.usage is not None
    assert kept.usage.prompt_tokens == len(desk.vllm.asked()[0]["prompt"])
    assert kept.usage.prompt_part_tokens == active.prompt_tokens > 0
    assert (kept.usage.completion_tokens, kept.usage.cached_tokens) == (5, 0)
    assert 0 < kept.usage.first_token_s <= kept.usage.total_s
    assert desk.store.conversation(said.conversation_id).title == "How do I open an account?"


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
    assert {m.id for m in desk.store.siblings(first.id)} == {first.id, second.id}


def test_an_edited_question_starts_a_branch_of_its_own(desk: Desk) -> None:
    first = desk.ask("How do I open an account?")
    question = desk.store.thread(first.conversation_id)[0]

    async def act(chat: Chat) -> Message:
        return await answer(chat, chat.edit(question.id, "How do I close it?"))

    edited = desk.run(act)
    assert [m.text for m in desk.store.thread(first.conversation_id)][0] == "How do I close it?"
    assert [m.text for m in desk.store.branch(first.id)][0] == "How do I open an account?"
    assert "open an account" not in desk.shown()
    assert edited.conversation_id == first.conversation_id


@pytest.mark.parametrize("pieces", [0, 2])
def test_stopping_keeps_the_text_so_far(desk: Desk, pieces: int) -> None:
    desk.vllm.holds_after = pieces

    async def act(chat: Chat) -> str:
        question = chat.ask("bank", None, "Hi")
        stream = chat.answer(question)
        for _ in range(1 + pieces):
            progress = await anext(stream)
        await stream.aclose()
        # No sleep: once the page has closed the iterator, nothing may still count as being generated.
        kept = desk.store.message(progress.message.id)
        assert kept.status is MessageStatus.STOPPED
        return kept.text

    assert desk.run(act) == ["", "Call the"][bool(pieces)]


def test_an_answer_that_cannot_be_saved_is_shown_and_saved_when_it_can(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "_PAUSE_S", 0.01)
    save, refused = desk.store.finish_message, 0

    def finish(*values: Any) -> Message:
        nonlocal refused
        refused += 1
        if refused < 3:
            raise NotSaved("Nothing was saved: the disk is full.")
        return save(*values)

    monkeypatch.setattr(desk.store, "finish_message", finish)

    async def act(chat: Chat) -> list[tuple[str, str, str]]:
        question = chat.ask("bank", None, "Hi")
        return [(p.message.text, p.message.status.value, p.not_saved) async for p in chat.answer(question)]

    whole, why = "Call the front desk.", "Nothing was saved: the disk is full."
    assert desk.run(act)[-3:] == [
        (whole, "streaming", why),
        (whole, "streaming", why),
        (whole, "complete", ""),
    ]
    (conversation,) = desk.store.conversations("bank")
    assert desk.store.thread(conversation.id)[-1].text == whole


@pytest.mark.parametrize("complete", [False, True])
def test_who_stops_an_answer_that_cannot_be_saved_is_told_and_it_is_saved_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    monkeypatch.setattr(endings, "_PAUSE_S", 0.01)
    desk.vllm.holds_after = None if complete else 2
    save, full = desk.store.finish_message, True

    def finish(*values: Any) -> Message:
        if full:
            raise NotSaved("Nothing was saved: the disk is full.")
        return save(*values)

    monkeypatch.setattr(desk.store, "finish_message", finish)

    async def act(chat: Chat) -> tuple[str, str]:
        nonlocal full
        answering = Answering(chat, chat.ask("bank", None, "Hi"), "local", False)
        watching = answering.watch()
        while not (answering.not_saved if complete else answering.text):
            await anext(watching)
        await answering.stop()
        with pytest.raises(
            ChatError, match=r"saved as soon as it can be\. Nothing was saved: the disk is full"
        ):
            async for _ in watching:
                pass
        full = False
        async with asyncio.timeout(10):
            while (
                said := desk.store.thread(answering.question.conversation_id)[-1]
            ).status is MessageStatus.STREAMING:
                await asyncio.sleep(0.01)
        return said.text, said.status.value

    assert desk.run(act) == (("Call the front desk.", "complete") if complete else ("Call the", "stopped"))


def test_stopping_ends_the_request_at_the_server(desk: Desk) -> None:
    desk.vllm.holds_after = 1

    async def act(chat: Chat) -> int:
        stream = chat.answer(chat.ask("bank", None, "Hi"))
        await anext(stream), await anext(stream)
        await stream.aclose()
        return chat._pool.pick().in_flight

    assert desk.run(act) == 0


@pytest.mark.parametrize(
    "trouble",
    [{"fails_with": 500}, {"dies_after": 2}, {"breaks_off_after": 2}, {"url": "http://127.0.0.1:9"}],
)
def test_a_failure_is_kept_as_failed_and_told(desk: Desk, trouble: dict[str, Any]) -> None:
    for name, value in trouble.items():
        setattr(desk.vllm, name, value)
    with pytest.raises(ChatError, match="Your message is saved"):
        desk.ask("Hi")
    (conversation,) = desk.store.conversations("bank")
    question, failed = desk.store.thread(conversation.id)
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
    assert desk.store.streaming_count("bank-v0001") == 0


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
    (conversation,) = desk.store.conversations("bank")
    desk.vllm.fails_with = None
    assert desk.ask("word " * 600, conversation.id).text == "Call the front desk."  # the first one leaves


def test_what_is_trained_later_is_what_was_served(desk: Desk) -> None:
    """Also after a failure, whose empty answer stands between the questions."""
    desk.vllm.fails_with = 500
    with pytest.raises(ChatError):
        desk.ask("How do I open an account?")
    (conversation,) = desk.store.conversations("bank")
    desk.vllm.fails_with = None
    said = desk.ask("Hello?", conversation.id)
    desk.store.rate(said.id, "ann", Verdict.UP)
    (rated,) = desk.store.rated_answers("bank")
    assert list(render(desk.tokenizer, PROMPT, rated.context).ids) == desk.vllm.asked()[-1]["prompt"]


def test_a_swap_in_the_middle_of_an_answer_does_not_touch_that_answer(desk: Desk) -> None:
    before = desk.deploy("bank-v0001")
    desk.vllm.adapters["bank-v0001"] = desk.vllm.adapters["bank-v0002"] = "/somewhere"
    desk.vllm.holds_after = 2

    async def act(chat: Chat) -> tuple[Message, int, Message]:
        stream = chat.answer(chat.ask("bank", None, "Hi"))
        for _ in range(3):
            progress = await anext(stream)
        assert desk.store.streaming_count("bank-v0001") == 1
        after = desk.deploy("bank-v0002")
        desk.vllm.go_on.set()
        progress = [progress async for progress in stream][-1]
        return progress.message, after.id, await answer(chat, chat.ask("bank", None, "Hi"))

    running, after, later = desk.run(act)
    assert (running.deployment_id, running.status) == (before.id, MessageStatus.COMPLETE)
    assert later.deployment_id == after
    assert [body["model"] for body in desk.vllm.asked()] == ["bank-v0001", "bank-v0002"]


def test_only_the_kept_segments_of_the_active_rung_are_sent(desk: Desk) -> None:
    desk.deploy("bank-v0001", kept=("role",))
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
    assert not desk.store.conversations("bank")


def test_an_assistant_without_a_prompt_says_so(desk: Desk) -> None:
    desk.store.create_assistant("new", "New", "exact")

    async def act(chat: Chat) -> Message:
        return await answer(chat, chat.ask("new", None, "Hi"))

    with pytest.raises(ChatError, match="no prompt yet"):
        desk.run(act)
