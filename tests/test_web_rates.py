"""How much one person may send, rate and have answered at once; nothing is stored of what is too much."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from fake_vllm import FakeVllm
from review_scene import event_loops, services_of  # noqa: F401

from assistant.assistants import create_assistant
from assistant.chat import Chat, ChatLimits
from assistant.prompt_text import parse
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient
from assistant.vllm_pool import VllmPool
from assistant.web.access import Person, RateLimiter, Rates, Refused
from assistant.web.answers import Answers
from assistant.web.app import build
from assistant.web.chat_page import TabState
from store import Store
from store.accounts import UserRole
from store.errors import NotFound

ANN = Person("ann", UserRole.USER, signed_in=True)
BO = Person("bo", UserRole.USER, signed_in=True)


@pytest.fixture
def chat(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path) -> Chat:
    create_assistant(store, tokenizer, "Desk", "exact", parse("Be brief."), (), "desk")
    pool = VllmPool([VllmClient(vllm.url)])
    return Chat(store, pool, tokenizer, "base", tmp_path, ChatLimits(2048))


def run_then_close(chat: Chat, run: Callable[[], Coroutine[None, None, None]]) -> None:
    async def both() -> None:
        try:
            await run()
        finally:
            await chat._pool.close()  # connections belong to this event loop

    asyncio.run(both())


def answers_of(store: Store, chat: Chat, rates: Rates) -> Answers:
    return Answers(services_of(store, chat), RateLimiter(rates))


def test_more_ratings_than_a_minute_allows_are_refused_for_this_person_alone() -> None:
    limiter = RateLimiter(Rates(ratings=3))
    for _ in range(3):
        limiter.count("ratings", ANN)
    with pytest.raises(Refused, match=r"At most 3 ratings a minute: wait (59|60|61) s. What you typed stays"):
        limiter.count("ratings", ANN)
    limiter.count("ratings", BO)


def test_more_messages_than_a_minute_allows_are_not_stored(store: Store, chat: Chat) -> None:
    async def run() -> None:
        answers = answers_of(store, chat, Rates(messages=2))
        for number in range(2):
            await (await answers.ask(ANN, "desk", None, f"message {number}")).task
        with pytest.raises(Refused, match="At most 2 messages a minute"):
            await answers.ask(ANN, "desk", None, "one more")
        await (await answers.ask(BO, "desk", None, "of another")).task
        for number in range(5):  # the one person of a product without users
            await (await answers.ask(Person(), "desk", None, f"local {number}")).task

    run_then_close(chat, run)
    titles = [talk.title for talk in store.conversations.all("desk", "ann")]
    assert sorted(titles) == ["message 0", "message 1"] and len(store.conversations.all("desk", "local")) == 5


def test_at_most_so_many_answers_are_written_at_once_however_they_are_asked_for(
    store: Store, chat: Chat, vllm: FakeVllm
) -> None:
    vllm.holds_after = 0

    async def run() -> None:
        answers = answers_of(store, chat, Rates(streams=2))
        results = await asyncio.gather(
            *(answers.ask(ANN, "desk", None, f"at once {n}") for n in range(5)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, Refused)]
        assert len(refused) == 3 and "your text stays in the box" in str(refused[0])
        started = await answers.ask(BO, "desk", None, "of another")
        vllm.go_on.set()
        await asyncio.gather(started.task, *(one.task for one in list(answers._running.values())))
        await (await answers.ask(ANN, "desk", None, "later")).task

    run_then_close(chat, run)
    assert len(store.conversations.all("desk", "ann")) == 3


def test_a_message_that_is_sent_before_the_picker_is_filled_goes_to_the_newest_assistant(
    store: Store, chat: Chat
) -> None:
    page = build(services_of(store, chat))
    functions = [function.fn.method for function in page.fns.values() if function.fn is not None]
    ask, show = (
        next(f for f in functions if f.__qualname__ == f"ChatPage.{name}") for name in ("ask", "show")
    )

    async def run() -> None:
        tab = TabState()
        updates = [update async for update in ask(Person(), "at once", None, None, tab)]
        shown = ask.__self__
        assert updates[0] == {shown.box: ""} and "at once" in updates[-1][shown.log]
        # What the page asks for when it has opened, of a browser that knows nothing of the conversation yet.
        (opened,) = [update async for update in show(Person(), "desk", None, tab)]
        assert opened[shown.conversation] == updates[-1][shown.conversation]

    run_then_close(chat, run)
    assert [talk.title for talk in store.conversations.all("desk", "local")] == ["at once"]


def test_nobody_goes_on_edits_or_asks_again_in_anothers_conversation(store: Store, chat: Chat) -> None:
    async def run() -> None:
        answers = answers_of(store, chat, Rates())
        answering = await answers.ask(ANN, "desk", None, "mine")
        await answering.task
        here = answering.question.conversation_id
        before = store.messages.thread(here)
        for attempt in (
            answers.ask(BO, "desk", here, "yours"),
            answers.ask_again(BO, before[0].id, "yours"),
            answers.ask_again(BO, before[1].id),
            answers.ask_again(BO, before[0].id),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert store.messages.thread(here) == before
        await (await answers.ask_again(ANN, before[1].id)).task
        await (await answers.ask_again(ANN, before[0].id, "mine too")).task
        assert len(store.messages.thread(here)) == 2

    run_then_close(chat, run)
