"""The end of an answer, stopped or complete, reaches the store, also one that was full or locked when it came."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from desk_scene import Desk
from waiting import PATIENCE_S

from assistant import message_finalizer
from assistant.chat import Chat
from assistant.limits import ChatError
from assistant.message_finalizer import MessageFinalizer
from assistant.sampling import GREEDY
from assistant.web.answers import Answer
from store import Store
from store.errors import NotFound, NotSaved
from store.records import Message, MessageStatus, Role

FULL = "Nothing was saved: the disk is full."


@pytest.fixture
def answer(store: Store) -> Message:
    store.assistants.create("bank", "Bank", "exact")
    question = store.conversations.start("bank", "Hi")
    return store.messages.add(
        question.conversation_id, question.id, Role.ASSISTANT, "", status=MessageStatus.STREAMING
    )


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_finalizer, "_SAVE_AGAIN_S", 0.01)


def refuse(store: Store, monkeypatch: pytest.MonkeyPatch, times: int, error: Exception) -> Callable[[], int]:
    """The store refuses the end of an answer so often; gives what says how often it was asked."""
    save, asked = store.messages.finish, 0

    def finish(*values: object) -> object:
        nonlocal asked
        asked += 1
        if asked <= times:
            raise error
        return save(*values)

    monkeypatch.setattr(store.messages, "finish", finish)
    return lambda: asked


def test_one_that_is_refused_is_stored_later_without_anybody_waiting(
    store: Store, answer: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(store, monkeypatch, 3, NotSaved(FULL))

    async def leave() -> None:
        final = replace(answer, text="Hel", status=MessageStatus.STOPPED)
        assert await MessageFinalizer(store).save_or_defer(final) == FULL
        async with asyncio.timeout(PATIENCE_S):
            while store.messages.get(answer.id).status is not MessageStatus.STOPPED:
                await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert store.messages.get(answer.id).text == "Hel"


def test_what_would_never_be_taken_is_not_tried_again(
    store: Store, answer: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = refuse(store, monkeypatch, 9, NotFound("There is no message."))
    final = replace(answer, text="Hello.", status=MessageStatus.COMPLETE)

    async def put() -> None:
        finalizer = MessageFinalizer(store)
        await finalizer.save_or_defer(final)  # deleted meanwhile: nobody has to be told
        async for _ in finalizer.save(final):
            pass

    with pytest.raises(NotFound):
        asyncio.run(put())
    assert asked() == 2


def test_a_conversation_does_not_begin_without_its_message(store: Store) -> None:
    store.assistants.create("bank", "Bank", "exact")
    connection = store._file.connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NotSaved, match="The disk is full"):
        store.conversations.start("bank", "x" * 100_000)
    connection.execute("PRAGMA max_page_count = 100000")
    assert store.conversations.all("bank") == []
    assert store.conversations.start("bank", "x" * 100_000).text == "x" * 100_000


@pytest.mark.parametrize("pieces", [0, 2])
def test_stopping_keeps_the_text_so_far_and_ends_the_request_at_the_server(desk: Desk, pieces: int) -> None:
    desk.vllm.holds_after = pieces

    async def act(chat: Chat) -> str:
        question = chat.ask("bank", None, "Hi")
        stream = chat.answer(question)
        for _ in range(1 + pieces):
            progress = await anext(stream)
        await stream.aclose()
        # No sleep: once the page has closed the iterator, nothing may still count as being generated.
        saved = desk.store.messages.get(progress.message.id)
        assert saved.status is MessageStatus.STOPPED and chat._pool.pick().in_flight == 0
        return saved.text

    assert desk.run(act) == ["", "Call the"][bool(pieces)]


def test_an_answer_that_cannot_be_saved_is_shown_and_saved_when_it_can(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(desk.store, monkeypatch, 2, NotSaved(FULL))

    async def act(chat: Chat) -> list[tuple[str, str, str]]:
        question = chat.ask("bank", None, "Hi")
        return [(p.message.text, p.message.status.value, p.not_saved) async for p in chat.answer(question)]

    whole = "Call the front desk."
    assert desk.run(act)[-3:] == [
        (whole, "streaming", FULL),
        (whole, "streaming", FULL),
        (whole, "complete", ""),
    ]
    (conversation,) = desk.store.conversations.all("bank")
    assert desk.store.messages.thread(conversation.id)[-1].text == whole


@pytest.mark.parametrize("complete", [False, True])
def test_who_stops_an_answer_that_cannot_be_saved_is_told_and_it_is_saved_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    desk.vllm.holds_after = None if complete else 2
    refuse(desk.store, monkeypatch, 10**9, NotSaved(FULL))

    async def act(chat: Chat) -> tuple[str, str]:
        answering = Answer(chat, await chat.start(lambda: chat.ask("bank", None, "Hi")), "local", GREEDY)
        watching = answering.watch()
        while not (answering.not_saved if complete else answering.text == "Call the"):
            await anext(watching)
        await answering.stop()
        with pytest.raises(
            ChatError, match=r"saved as soon as it can be\. Nothing was saved: the disk is full"
        ):
            answering.raise_failure()
        monkeypatch.undo()  # there is room again
        async with asyncio.timeout(PATIENCE_S):
            while (
                said := desk.store.messages.thread(answering.question.conversation_id)[-1]
            ).status is MessageStatus.STREAMING:
                await asyncio.sleep(0.01)
        return said.text, said.status.value

    assert desk.run(act) == (("Call the front desk.", "complete") if complete else ("Call the", "stopped"))


@pytest.mark.parametrize("moment", ["while it is stored", "before the answer's first step"])
def test_a_stop_in_the_first_milliseconds_ends_the_answer(desk: Desk, moment: str) -> None:
    storing, go_on = threading.Event(), threading.Event()

    async def act(chat: Chat) -> None:
        def question() -> Message:
            storing.set()
            go_on.wait(PATIENCE_S)
            return chat.ask("bank", None, "Hi")

        if moment == "while it is stored":
            starting = asyncio.create_task(chat.start(question))
            await asyncio.to_thread(storing.wait, PATIENCE_S)
            starting.cancel()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await starting
        else:
            go_on.set()
            await Answer(chat, await chat.start(question), "local", GREEDY).stop()

    desk.run(act)
    (conversation,) = desk.store.conversations.all("bank")
    asked, said = desk.store.messages.thread(conversation.id)
    assert (asked.text, said.text, said.status) == ("Hi", "", MessageStatus.STOPPED)
    assert not desk.vllm.in_flight
