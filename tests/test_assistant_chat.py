"""A chat turn against a fake vLLM: what the person sees, and what the store keeps of it."""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from desk_scene import PROMPT, Desk, answer
from fake_vllm import FakeVllm
from tiny_model import write_adapter

from assistant.assistants import create_assistant, save_prompt
from assistant.chat import Chat
from assistant.limits import ChatError
from assistant.rendering import render
from assistant.sampling import varied
from assistant.serving import ServerAddress, prepare, reconcile
from assistant.vllm_client import VllmClient, VllmRefused
from assistant.vllm_pool import VllmPool
from store.records import Message, MessageStatus, Role, Verdict
from trainer.examples.selection import DropReason, select


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
        return await answer(chat, question), await answer(chat, question, varied())

    first, second = desk.run(act)
    greedy, other = desk.vllm.asked()
    assert (greedy["temperature"], greedy["seed"]) == (0.0, None)
    assert other["temperature"] > 0 and other["seed"] is not None
    assert greedy["prompt"] == other["prompt"]
    assert set(desk.store.messages.versions(first.conversation_id)[first.id]) == {first.id, second.id}


def test_a_question_to_another_assistant_begins_a_conversation_with_it(desk: Desk) -> None:
    """The page may still show a conversation with the assistant that was chosen before."""
    first = desk.ask("How do I open an account?")
    desk.store.assistants.create("post", "Post", "exact")

    async def act(chat: Chat) -> Message:
        return chat.ask("post", first.conversation_id, "Where is my letter?")

    asked = desk.run(act)
    assert asked.conversation_id != first.conversation_id and asked.parent_id is None
    assert desk.store.conversations.get(asked.conversation_id).assistant_id == "post"
    assert len(desk.store.messages.thread(first.conversation_id)) == 2


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


def _missing(directory: Path) -> None:
    shutil.rmtree(directory)


def _damaged(directory: Path) -> None:
    (directory / "adapter_model.safetensors").write_bytes(b"cut")


def _without_manifest(directory: Path) -> None:
    (directory / "manifest.json").unlink()


def _of_another_model(directory: Path) -> None:
    shutil.rmtree(directory)
    write_adapter(directory.parent, directory.name, base="another model")


@pytest.mark.parametrize("harm", [_missing, _damaged, _without_manifest, _of_another_model])
@pytest.mark.parametrize("when", ["at start", "while people chat"])
def test_an_assistant_whose_adapter_is_lost_goes_on_with_the_base_model_and_the_others_with_theirs(
    desk: Desk, harm: Callable[[Path], None], when: str
) -> None:
    full = desk.store.deployments.active("bank")
    create_assistant(desk.store, desk.tokenizer, "Shop", "exact", PROMPT, assistant_id="shop")
    desk.deploy("bank-v0001")
    desk.deploy("shop-v0001", assistant="shop")
    desk.vllm.answer = lambda model, ids: f"by {model}"
    harm(desk.adapters / "bank-v0001")

    async def act(chat: Chat) -> tuple[Message, Message, list[str]]:
        if when == "at start":
            await reconcile(desk.store, chat._pool, desk.adapters, "base hash")
        said = [await answer(chat, chat.ask(id, None, "Hi")) for id in ("bank", "shop")]
        return said[0], said[1], chat.notices()

    here, there, notices = desk.run(act)
    assert full and (here.text, here.deployment_id) == ("by base", full.id) and there.text == "by shop-v0001"
    assert len(notices) == 1 and notices[0].startswith("Bank: its adapter cannot be loaded")
    assert "backup" in notices[0] and "bank-v0001" not in desk.vllm.adapters
    assert desk.store.messages.streaming_count() == 0


def test_a_server_that_comes_back_has_the_active_adapter_before_it_answers_or_stays_out(desk: Desk) -> None:
    """One that cannot load what the others serve does not take the adapter from everybody."""
    desk.deploy("bank-v0001")
    other = FakeVllm()
    with other.serving():
        address = ServerAddress((other.url,), None, "", 1024, "", 256)

        async def act(chat: Chat) -> None:
            pool = VllmPool([VllmClient(desk.vllm.url), VllmClient(other.url)])
            pool.away.add(other.url)
            await reconcile(desk.store, pool, desk.adapters, "base hash")
            other.max_loras = 0
            with pytest.raises(VllmRefused, match="Bank: its adapter cannot be loaded"):
                await prepare(desk.store, pool, address, desk.adapters, "base hash", desk.tokenizer)
            assert not pool.lost
            other.max_loras = 4
            await prepare(desk.store, pool, address, desk.adapters, "base hash", desk.tokenizer)
            await pool.close()

        desk.run(act)
        assert [*other.adapters] == [*desk.vllm.adapters] == ["bank-v0001"]


def test_who_asks_first_after_a_start_does_not_wait_for_the_prompt(desk: Desk) -> None:
    address = ServerAddress((desk.vllm.url,), None, "", 1024, "", 256)

    async def act(chat: Chat) -> Message:
        pool = VllmPool([VllmClient(desk.vllm.url)])
        await prepare(desk.store, pool, address, desk.adapters, "base hash", desk.tokenizer)
        await pool.close()
        return await answer(chat, chat.ask("bank", None, "Hi"))

    usage = desk.run(act).usage
    assert usage and usage.cached_tokens > 0


def test_a_prompt_for_which_a_server_has_no_room_does_not_keep_it_from_the_others(desk: Desk) -> None:
    desk.vllm.max_model_len = 3
    address = ServerAddress((desk.vllm.url,), None, "", 1024, "", 256)
    pool = VllmPool([VllmClient(desk.vllm.url)])
    asyncio.run(prepare(desk.store, pool, address, desk.adapters, "base hash", desk.tokenizer))
    assert pool.context == 3
    asyncio.run(pool.close())


@pytest.mark.parametrize("reason", ["stop", "length", "abort", "content_filter", "tool_calls", "error"])
def test_how_an_answer_ended_is_stored_and_no_other_end_is_taught_than_its_own(
    desk: Desk, reason: str
) -> None:
    desk.vllm.finish_reason = reason
    said = desk.ask("Hi")
    stored = desk.store.messages.get(said.id)
    assert (stored.finish_reason, stored.status) == (reason, MessageStatus.COMPLETE)
    assert stored.is_whole is (reason == "stop")
    prompt = desk.store.prompts.latest("bank").id
    assert len(desk.store.answers.unrated(prompt, 10)) == stored.is_whole
    desk.store.ratings.add(said.id, "ann", Verdict.UP)
    chosen, dropped = select(desk.store.answers.rated("bank"), 1000)
    assert bool(chosen) is stored.is_whole
    assert set(dropped.values()) == (set() if chosen else {DropReason.CUT})
    desk.store.ratings.add(said.id, "ann", Verdict.UP, correction="Call the front desk at once.")
    ((learned,), _) = select(desk.store.answers.rated("bank"), 1000)
    assert learned.completion == "Call the front desk at once."


@pytest.mark.parametrize("trouble", [{"dies_after": 2}, {"holds_after": 2}])
def test_what_was_stopped_or_broken_off_teaches_no_end_and_can_go_on(
    desk: Desk, trouble: dict[str, int]
) -> None:
    for name, value in trouble.items():
        setattr(desk.vllm, name, value)

    async def act(chat: Chat) -> Message:
        question = chat.ask("bank", None, "Hi")
        steps = chat.answer(question)
        with suppress(ChatError):
            async for progress in steps:
                if progress.message.text == "Call the" and "holds_after" in trouble:
                    break
        await steps.aclose()
        desk.vllm.go_on.set()
        (cut,) = (m for m in desk.store.messages.thread(question.conversation_id) if m.role is Role.ASSISTANT)
        desk.store.ratings.add(cut.id, "ann", Verdict.UP)
        assert (cut.text, cut.is_whole) == ("Call the", False)
        assert select(desk.store.answers.rated("bank"), 1000)[0] == []
        desk.vllm.dies_after, desk.vllm.answer = None, lambda model, ids: " front desk."
        return await answer(chat, question, begun=cut.text)

    assert desk.run(act).text == "Call the front desk."


def test_an_answer_that_fills_the_context_cannot_go_on_and_says_so(desk: Desk) -> None:
    said = desk.ask("Hi")

    async def act(chat: Chat) -> Message:
        return await answer(chat, desk.store.messages.get(str(said.parent_id)), begun="word " * 1000)

    with pytest.raises(ChatError, match="no room to go on"):
        desk.run(act)


def test_a_cut_answer_goes_on_where_it_ends_and_is_whole_then(desk: Desk) -> None:
    words = [f"word{number}" for number in range(40)]
    desk.vllm.answer = lambda model, ids: " ".join(words)
    cut = desk.ask("Tell me all")
    assert cut.finish_reason == "length" and cut.text.split(" ") == words[:32]
    desk.vllm.answer = lambda model, ids: " " + " ".join(words[32:])

    async def go_on(chat: Chat) -> Message:
        return await answer(chat, desk.store.messages.get(str(cut.parent_id)), begun=cut.text)

    whole = desk.run(go_on)
    first, second = (body["prompt"] for body in desk.vllm.asked())
    assert second == [*first, *desk.tokenizer.encode_text(cut.text)]
    assert whole.text.split() == words and whole.is_whole and whole.parent_id == cut.parent_id
    assert desk.store.messages.versions(cut.conversation_id)[whole.id] == (cut.id, whole.id)


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


def test_an_assistant_without_a_prompt_says_so(desk: Desk) -> None:
    desk.store.assistants.create("new", "New", "exact")

    async def act(chat: Chat) -> Message:
        return (await chat.start(lambda: chat.ask("new", None, "Hi"))).message

    with pytest.raises(ChatError, match="no prompt yet"):
        desk.run(act)
    assert not desk.store.conversations.all("new"), "a question that nobody answers stays in the box"
