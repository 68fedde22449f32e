"""The end of an answer: stopped by the person, or refused by a store that is full."""

import asyncio
from typing import Any

import pytest
from desk_scene import Desk

from assistant import message_finalizer
from assistant.chat import Chat, ChatError
from assistant.web.answering import Answering
from store.errors import NotSaved
from store.records import Message, MessageStatus


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
        segment_ids = desk.store.messages.get(progress.message.id)
        assert segment_ids.status is MessageStatus.STOPPED
        return segment_ids.text

    assert desk.run(act) == ["", "Call the"][bool(pieces)]


def test_an_answer_that_cannot_be_saved_is_shown_and_saved_when_it_can(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_finalizer, "_PAUSE_S", 0.01)
    save, refused = desk.store.messages.finish, 0

    def finish(*values: Any) -> Message:
        nonlocal refused
        refused += 1
        if refused < 3:
            raise NotSaved("Nothing was saved: the disk is full.")
        return save(*values)

    monkeypatch.setattr(desk.store.messages, "finish", finish)

    async def act(chat: Chat) -> list[tuple[str, str, str]]:
        question = chat.ask("bank", None, "Hi")
        return [(p.message.text, p.message.status.value, p.not_saved) async for p in chat.answer(question)]

    whole, why = "Call the front desk.", "Nothing was saved: the disk is full."
    assert desk.run(act)[-3:] == [
        (whole, "streaming", why),
        (whole, "streaming", why),
        (whole, "complete", ""),
    ]
    (conversation,) = desk.store.conversations.all("bank")
    assert desk.store.messages.thread(conversation.id)[-1].text == whole


@pytest.mark.parametrize("complete", [False, True])
def test_who_stops_an_answer_that_cannot_be_saved_is_told_and_it_is_saved_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    monkeypatch.setattr(message_finalizer, "_PAUSE_S", 0.01)
    desk.vllm.holds_after = None if complete else 2
    save, full = desk.store.messages.finish, True

    def finish(*values: Any) -> Message:
        if full:
            raise NotSaved("Nothing was saved: the disk is full.")
        return save(*values)

    monkeypatch.setattr(desk.store.messages, "finish", finish)

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
                said := desk.store.messages.thread(answering.question.conversation_id)[-1]
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
