"""Who is answered where and when: how much one person may have at once; nothing is stored of what is too much."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace

import gradio as gr
import pytest
from desk_scene import Desk
from review_scene import RATES, services_of

from assistant.chat import Chat
from assistant.web.access import Access, Person, RateLimits, Refused
from assistant.web.answers import Answer, Answers
from assistant.web.app import build
from assistant.web.chat_page import ChatPage, TabState
from store import Store
from store.accounts import UserRole
from store.errors import NotFound

pytestmark = pytest.mark.usefixtures("event_loops")

ANN = Person("ann", UserRole.USER, signed_in=True)
BO = Person("bo", UserRole.USER, signed_in=True)


def answers_of(desk: Desk, chat: Chat, rates: RateLimits = RATES) -> Answers:
    return Answers(services_of(desk.store, chat, rates))


def chat_page(desk: Desk, chat: Chat) -> ChatPage:
    with gr.Blocks():
        return ChatPage(services_of(desk.store, chat), gr.Dropdown(), gr.BrowserState())


async def asked(answers: Answers, person: Person, text: str) -> Answer:
    """Asked, and the whole answer is there."""
    answer = await answers.ask(person, "bank", None, text)
    await answer.task
    return answer


def titles(desk: Desk, owner: str) -> list[str]:
    return sorted(talk.title for talk in desk.store.conversations.all("bank", owner))


def test_more_ratings_than_a_minute_allows_are_refused_for_this_person_alone() -> None:
    limiter = replace(RATES, ratings=3)
    for _ in range(3):
        limiter.count("ratings", ANN)
    with pytest.raises(Refused, match=r"At most 3 ratings a minute: wait \d\d s. What you typed stays"):
        limiter.count("ratings", ANN)
    limiter.count("ratings", BO)


def test_more_messages_than_a_minute_allows_are_not_stored(desk: Desk) -> None:
    async def act(chat: Chat) -> None:
        answers = answers_of(desk, chat, replace(RATES, messages=2))
        for number in range(2):
            await asked(answers, ANN, f"message {number}")
        with pytest.raises(Refused, match="At most 2 messages a minute"):
            await asked(answers, ANN, "one more")
        await asked(answers, BO, "of another")
        for _ in range(3):  # the one person of a product without users
            await asked(answers, Person(), "here")

    desk.run(act)
    assert titles(desk, "ann") == ["message 0", "message 1"] and titles(desk, "local") == ["here"] * 3


def test_at_most_so_many_answers_are_written_at_once_however_they_are_asked_for(desk: Desk) -> None:
    desk.vllm.holds_after = 0

    async def act(chat: Chat) -> None:
        answers = answers_of(desk, chat, replace(RATES, streams=2))
        results = await asyncio.gather(
            *(answers.ask(ANN, "bank", None, f"at once {n}") for n in range(5)), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, Refused)]
        assert len(refused) == 3 and "your text stays in the box" in str(refused[0])
        started = await answers.ask(BO, "bank", None, "of another")
        desk.vllm.go_on.set()
        await asyncio.gather(started.task, *(one.task for one in list(answers._running.values())))
        await asked(answers, ANN, "later")

    desk.run(act)
    assert len(titles(desk, "ann")) == 3


def test_the_more_people_watch_the_more_rarely_each_sees_new_words_but_the_first_come_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.vllm.answer = lambda model, ids: " ".join(["word"] * 20)
    desk.vllm.pace_s, desk.vllm.holds_after = 0.03, 3

    async def shown(chat: Chat, watchers: int) -> list[str]:
        monkeypatch.setattr(Answer, "watchers", watchers)
        desk.vllm.go_on.clear()
        answer, texts = await answers_of(desk, chat).ask(ANN, "bank", None, "hello"), list[str]()
        async for _ in answer.watch():
            texts.append(answer.text)
            if answer.text:
                desk.vllm.go_on.set()
        return texts

    async def act(chat: Chat) -> None:
        alone, among_many = await shown(chat, 0), await shown(chat, 3_000)
        assert len(alone) > len(among_many) == 2
        assert among_many[0] == "" and 0 < len(among_many[1]) <= len("word " * 3)

    desk.run(act)


def test_one_person_does_not_take_the_places_of_all(store: Store) -> None:
    access = Access(store)
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(access._place(ANN))
        with pytest.raises(Refused, match="Close some tabs"), access._place(ANN):
            pass
        with access._place(BO), access._place(Person()):
            pass
    with access._place(ANN):
        assert sum(access._under_way.values()) == 1


def test_the_pages_have_places_for_far_more_events_than_streams(desk: Desk) -> None:
    page = build(services_of(desk.store))
    assert page._queue.max_thread_count >= 1_000
    assert all(one.concurrency_limit is None for one in page.fns.values() if one.fn)


def test_a_message_that_is_sent_before_the_picker_is_filled_goes_to_the_newest_assistant(desk: Desk) -> None:
    async def act(chat: Chat) -> None:
        page, tab = chat_page(desk, chat), TabState()
        *_, last = [update async for update in page.ask(Person(), "at once", None, None, tab)]
        assert "at once" in last[page.log]
        # What the page asks for when it has opened, of a browser that knows nothing of the conversation yet.
        (opened,) = [update async for update in page.show(Person(), "bank", None, tab)]
        assert opened[page.conversation] == last[page.conversation]

    desk.run(act)
    assert titles(desk, "local") == ["at once"]


@pytest.mark.parametrize("apart_s", [0.0, 0.6])
def test_a_second_press_asks_nothing_and_what_failed_may_be_pressed_again(desk: Desk, apart_s: float) -> None:
    async def act(chat: Chat) -> None:
        page, tab = chat_page(desk, chat), TabState()

        async def press(conversation: str | None, text: str) -> None:
            async for _ in page.ask(ANN, text, "bank", conversation, tab):
                pass

        desk.vllm.pace_s = apart_s / 4
        first = asyncio.create_task(press(None, "Twice?"))
        await asyncio.sleep(apart_s)
        await asyncio.gather(first, press(None, "Twice?"))
        [talk] = desk.store.conversations.all("bank", "ann")
        assert [m.text for m in desk.store.messages.thread(talk.id)] == ["Twice?", "Call the front desk."]
        tab.sent_at -= 60  # much later the page still shows no conversation: the press is the same one
        await press(None, "Twice?")
        assert titles(desk, "ann") == ["Twice?"]
        tab.sent_at -= 60
        await press(talk.id, "Twice?")
        assert len(desk.store.messages.thread(talk.id)) == 4, "somebody asks the same again"
        for _ in range(2):
            with pytest.raises(NotFound):
                await press("made up", "Lost?")

    desk.run(act)


def test_an_answer_is_sampled_only_where_what_serves_now_has_answered_already(desk: Desk) -> None:
    """So that after a swap “ask again” shows what the new deployment says, not one of many things it might say."""

    async def act(chat: Chat) -> None:
        answers = answers_of(desk, chat)
        first = await asked(answers, ANN, "When?")
        id = desk.store.messages.thread(first.question.conversation_id)[-1].id
        await (await answers.ask_again(ANN, id)).task
        shorter = desk.store.deployments.add("bank", 1, None, (), 1, 0)
        desk.store.deployments.activate(shorter.id)
        await (await answers.ask_again(ANN, id)).task

    desk.run(act)
    assert [body["temperature"] > 0 for body in desk.vllm.asked()] == [False, True, False]
