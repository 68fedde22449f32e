"""Whoever is removed, signed out, demoted or given another password sees nothing more, also of what is on its way."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest
from fake_vllm import FakeVllm
from page_client import GRADIO_WARNINGS, PageClient, cheap_passwords, events_of
from review_scene import answering
from waiting import PATIENCE_S, wait_for

from assistant.tokenizer import ChatTokenizer
from assistant.web import access
from assistant.web.access import Access, Person
from assistant.web.sign_in import Visitor
from store import Store
from store.accounts import UserRole
from store.records import MessageStatus

pytestmark = GRADIO_WARNINGS
PASSWORD = "password of bo"

End = Callable[[Store, str], object]
ENDS: dict[str, End] = {
    "removed": lambda store, token: store.users.remove("bo"),
    "another password": lambda store, token: store.users.change_password("bo", "another one"),
    "signed out in another tab": lambda store, token: store.sessions.end(token),
    "demoted": lambda store, token: store.users.change_role("bo", UserRole.USER),
    "removed and made again": lambda store, token: (
        store.users.remove("bo"),
        store.users.add("bo", UserRole.REVIEWER, PASSWORD),
    ),
}


@pytest.fixture
def team(store: Store) -> Iterator[Store]:
    with cheap_passwords():
        store.users.add("ann", UserRole.ADMIN, "password of ann")
        store.users.add("bo", UserRole.REVIEWER, PASSWORD)
        yield store


def request_of(token: str) -> gr.Request:
    web = SimpleNamespace(scope={"user": Visitor("bo", token)})
    return gr.Request(request=cast(Any, web), username="bo")


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    return said


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("others", ["bo is still signed in elsewhere", "nowhere else"])
def test_a_stream_ends_with_the_right_to_it_and_what_waited_is_refused(
    team: Store, monkeypatch: pytest.MonkeyPatch, warned: list[str], how: str, others: str
) -> None:
    monkeypatch.setattr(access, "RECHECK_S", 0.05)
    token = team.sessions.begin("bo")
    if others != "nowhere else":
        team.sessions.begin("bo")
    closed, seen, asked = [], [], []

    async def numbers(person: Person) -> AsyncIterator[int]:
        try:
            for number in range(10_000):
                await asyncio.sleep(0.01)
                yield number
        finally:
            closed.append(person.name)

    async def watch() -> None:
        event = Access(team).event(UserRole.REVIEWER, numbers)
        async for number in event(request_of(token), cast(Any, None)):
            seen.append(number)
            if number == 3:
                ENDS[how](team, token)
        await Access(team).event(UserRole.REVIEWER, asked.append)(request_of(token), cast(Any, None))

    asyncio.run(watch())
    assert closed == ["bo"] and len(seen) < 1000 and asked == []
    why = "This needs the role reviewer; you are user." if how == "demoted" else access.SIGNED_OUT
    assert warned == [why] * 2


def begin_asking(client: PageClient, ask: Any) -> None:
    """Ask, and read nothing of what comes back."""
    call = {"data": ["hello", None, None, None], "fn_index": ask._id, "session_hash": client.session}
    client._post("/gradio_api/queue/join", call)


@pytest.mark.parametrize("watched", [True, False], ids=["while watched", "after the tab was closed"])
def test_the_answer_of_a_removed_user_ends_with_what_was_written(
    team: Store, tokenizer: ChatTokenizer, watched: bool
) -> None:
    vllm = FakeVllm(answer=lambda model, ids: "one two three four five six")
    vllm.holds_after = 3  # and then says nothing, as a busy model does
    with answering(team, tokenizer, vllm) as (url, page):
        client = PageClient(url)
        client.sign_in("bo", PASSWORD)
        ask = next(one for one in events_of(page) if one.name == "ask")
        said: list[str] = []
        watcher = threading.Thread(
            target=lambda: said.append(client.call(ask, ["hello", None, None, None])), daemon=True
        )
        if watched:
            watcher.start()
        else:
            begin_asking(client, ask)
        assert wait_for(lambda: vllm.streams == 1)
        team.users.remove("bo")
        assert wait_for(lambda: vllm.streams == 0)
        if watched:
            watcher.join(PATIENCE_S)
            assert not watcher.is_alive() and "process_completed" in said[0]
        assert client.http.get("/config").status_code == 401
        client.close()
    (talk,) = team.conversations.all("desk", "bo")
    assert team.messages.thread(talk.id)[-1].status is MessageStatus.STOPPED


def test_nothing_is_kept_for_a_tab_that_was_closed_and_its_answer_goes_on(
    store: Store, tokenizer: ChatTokenizer
) -> None:
    vllm = FakeVllm(answer=lambda model, ids: "one two three")
    vllm.holds_after = 2
    with answering(store, tokenizer, vllm) as (url, page):
        client = PageClient(url)
        begin_asking(client, next(one for one in events_of(page) if one.name == "ask"))
        session = {"session_hash": client.session}
        with client.http.stream("GET", "/gradio_api/queue/data", params=session) as stream:
            lines = stream.iter_lines()  # ends with it
            next(lines)
            assert len(page._queue.pending_messages_per_session) == 1
            assert wait_for(lambda: vllm.streams == 1)
        assert wait_for(lambda: not page._queue.pending_messages_per_session)
        vllm.go_on.set()
        (talk,) = store.conversations.all("desk", "local")
        assert wait_for(lambda: store.messages.thread(talk.id)[-1].status is MessageStatus.COMPLETE)
        client.close()
