"""The end of an answer reaches the store, also one that was full or locked when it came."""

import asyncio
from collections.abc import Callable

import pytest

from assistant import message_finalizer
from assistant.message_finalizer import FinalMessage, MessageFinalizer
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
    monkeypatch.setattr(message_finalizer, "_PAUSE_S", 0.01)


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


def test_it_is_tried_again_until_the_store_takes_it(
    store: Store, answer: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = refuse(store, monkeypatch, 2, NotSaved(FULL))
    final = FinalMessage(answer.id, "Hello.", MessageStatus.COMPLETE)

    async def put() -> list[str]:
        return [why async for why in MessageFinalizer(store).save(final)]

    assert asyncio.run(put()) == [FULL, FULL] and asked() == 3
    assert store.messages.get(answer.id).text == "Hello."
    assert store.messages.get(answer.id).status is MessageStatus.COMPLETE


@pytest.mark.parametrize("way", ["leave", "hand over"])
def test_who_cannot_wait_leaves_it_to_be_stored_later(
    store: Store, answer: Message, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    refuse(store, monkeypatch, 3, NotSaved(FULL))

    async def leave() -> None:
        finalizer, final = MessageFinalizer(store), FinalMessage(answer.id, "Hel", MessageStatus.STOPPED)
        if way == "leave":
            assert finalizer.save_now(final) == FULL
        else:
            await finalizer.save_or_defer(final)
        async with asyncio.timeout(10):
            while store.messages.get(answer.id).status is not MessageStatus.STOPPED:
                await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert store.messages.get(answer.id).text == "Hel"


def test_one_that_the_store_takes_is_there_at_once(store: Store, answer: Message) -> None:
    async def leave() -> str:
        MessageFinalizer(store).save_now(FinalMessage(answer.id, "Hel", MessageStatus.STOPPED))
        return store.messages.get(answer.id).text

    assert asyncio.run(leave()) == "Hel"


def test_what_would_never_be_taken_is_not_tried_again(
    store: Store, answer: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = refuse(store, monkeypatch, 9, NotFound("There is no message."))
    final = FinalMessage(answer.id, "Hello.", MessageStatus.COMPLETE)

    async def put() -> None:
        finalizer = MessageFinalizer(store)
        finalizer.save_now(final)  # deleted meanwhile: nobody has to be told
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
