"""Who may do what, over HTTP: every event of every page, by a user, a reviewer and an admin, on what is another user's.

The calls are made up as an attacker would: the other's ids in every place that takes one, the other's session hash,
events that the page never showed. Nothing of the other's may come back, and nothing of it may change.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr
import pytest
from fake_vllm import FakeVllm
from page_client import (
    GRADIO_WARNINGS,
    PageClient,
    cheap_passwords,
    events_of,
    page_name,
    takes_event,
    value_of,
)
from review_scene import answering
from waiting import wait_for

from assistant.tokenizer import ChatTokenizer
from assistant.web.access import Access, RateLimits
from store import Store
from store.accounts import UserRole
from store.records import MessageStatus, Role, Verdict
from store.sqlite import sqlite3

pytestmark = GRADIO_WARNINGS

SECRET = "zanzibar"  # in all that Ann wrote, and in nothing else
HERS = ("where is zanzibar", "is an island", "in the sea", "not zanzibar", "about zanzibar")
PEOPLE = {"ann": "user", "mal": "user", "rev": "reviewer", "root": "admin"}
# Pages that are about everybody's, by the role that may see them.
OF_REVIEWERS = {"ReviewPage", "PromptPage", "TrainingPage"}
CENTRAL = ("prompts", "deployments", "decisions", "training_requests", "assistants", "users")


class Scene:
    """A running page, Ann's conversation, and a client for each person."""

    def __init__(self, store: Store, url: str, page: gr.Blocks, vllm: FakeVllm):
        self.store, self.url, self.page, self.vllm = store, url, page, vllm
        self.people = {}
        for name in PEOPLE:
            client = PageClient(url)
            assert client.sign_in(name, f"password of {name}").status_code == 303
            welcome = next(f for f in self.functions() if f.name == "welcome")
            assert "desk" in client.call(welcome, [None])  # gives the tab its choice of assistants
            self.people[name] = client
        talk = store.conversations.create("desk", f"about {SECRET}", owner="ann")
        self.conversation = talk.id
        self.question = store.messages.add(talk.id, None, Role.USER, f"where is {SECRET}?").id
        answer = store.messages.add(
            talk.id, self.question, Role.ASSISTANT, f"{SECRET} is an island", MessageStatus.COMPLETE
        )
        self.answer = answer.id
        store.ratings.add(
            self.answer, "ann", Verdict.DOWN, "off topic", f"not {SECRET}", f"{SECRET} is in the sea"
        )

    def functions(self) -> list[Any]:
        return events_of(self.page)

    def function(self, page: str, name: str) -> Any:
        return next(f for f in self.functions() if f.name == name and page_name(f) == page)

    def data(self, function: Any) -> list[Any]:
        """Ann's ids wherever an id fits, her word wherever a text does."""
        return [self._value(component) for component in function.inputs]

    def _value(self, component: Any) -> Any:
        is_search = component.elem_id in ("chat-search", "review-search")
        return value_of(component, self.conversation, SECRET if is_search else "typed words")

    def rows(self, *tables: str) -> dict[str, list[Any]]:
        with closing(sqlite3.connect(self.store.path)) as file:
            return {table: file.execute(f"SELECT * FROM {table}").fetchall() for table in tables}

    def anns(self) -> dict[str, list[Any]]:
        """What is hers, whatever else there is by now."""
        of = f"conversation_id = '{self.conversation}'"
        with closing(sqlite3.connect(self.store.path)) as file:
            return {
                "conversation": file.execute("SELECT * FROM conversations WHERE owner = 'ann'").fetchall(),
                "messages": file.execute(f"SELECT * FROM messages WHERE {of}").fetchall(),
                "ratings": file.execute(
                    f"SELECT * FROM ratings WHERE message_id IN (SELECT id FROM messages WHERE {of})"
                ).fetchall(),
            }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, tokenizer: ChatTokenizer) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("matrix")
    vllm = FakeVllm(answer=lambda model, ids: "an answer of few words")
    rates = RateLimits(messages=10_000, ratings=10_000, streams=100)
    with cheap_passwords(), Store(folder / "shorthand.sqlite") as store:
        for name, role in sorted(PEOPLE.items(), key=lambda item: item[1]):
            store.users.add(name, UserRole(role), f"password of {name}")
        with answering(store, tokenizer, vllm, rates) as (url, page):
            made = Scene(store, url, page, vllm)
            yield made
            for client in made.people.values():
                client.close()


def test_the_owner_gets_all_of_it_through_the_same_calls(scene: Scene) -> None:
    """Or that others get nothing would prove nothing."""
    ann = scene.people["ann"]
    for name in ("open", "show", "find"):
        function = scene.function("ChatPage", name)
        assert SECRET in ann.call(function, scene.data(function), {"id": scene.conversation}), name
    rated = scene.function("ChatPage", "rate")
    said = ann.call(
        rated, scene.data(rated), {"id": scene.answer, "verdict": "down", "comment": f"not {SECRET}"}
    )
    assert SECRET in said and len(scene.store.ratings.all(scene.answer)) == 2


def test_every_event_of_every_page_asks_who_it_is(scene: Scene) -> None:
    assert len(scene.functions()) > 40
    for function in scene.functions():
        assert function.fn.least in UserRole, function.name
    with gr.Blocks() as other, pytest.raises(TypeError, match="not registered through Access.event"):
        gr.Button().click(lambda: None)
        Access(scene.store).check(other)


@pytest.mark.parametrize("attacker", ["mal", "rev", "root"])
def test_no_event_shows_or_changes_what_is_another_users(scene: Scene, attacker: str) -> None:
    role = UserRole(PEOPLE[attacker])
    client = scene.people[attacker]
    before, central = scene.anns(), scene.rows(*CENTRAL)
    calls = 0
    for function in scene.functions():
        page = page_name(function)
        if role is not UserRole.USER and (page in OF_REVIEWERS or function.name in ("load", "add")):
            continue  # their own work: they see everybody's there
        # What is not told which message was pressed is the same call each time.
        ids = (scene.conversation, scene.question, scene.answer) if takes_event(function) else ("",)
        for id in ids:
            event = dict.fromkeys(("text", "title", "comment"), "mine now")
            event |= {"id": id, "verdict": "up", "reason": "other", "do": "approve", "count": 1}
            said = client.call(function, scene.data(function), event)
            calls += 1
            for phrase in HERS:
                assert phrase not in said, (attacker, page, function.name, said[:500])
            assert scene.anns() == before, (attacker, page, function.name, id)
    assert calls > 30
    if role is UserRole.USER:
        assert scene.rows(*CENTRAL) == central


def test_a_plain_user_gets_nothing_from_the_other_pages(scene: Scene) -> None:
    mal = scene.people["mal"]
    theirs = ("review-card", "segments", "Be brief", "run-head", "Who may sign in", "sign-in failed")
    for function in scene.functions():
        if page_name(function) in OF_REVIEWERS or function.name == "show_people":
            assert function.fn.least is not UserRole.USER or function.name == "price", function.name
            said = mal.call(function, scene.data(function), {"id": 1, "do": "approve", "count": 0})
            for shown in theirs:
                assert shown not in said, (function.name, said[:300])


def test_a_reviewer_reviews_and_cannot_do_what_admins_do(scene: Scene) -> None:
    rev = scene.people["rev"]
    before = scene.rows("prompts", "deployments", "training_requests", "assistants")
    for page, name in (
        ("PromptPage", "save_text"),
        ("PromptPage", "load"),
        ("PromptPage", "add"),
        ("TrainingPage", "ask"),
        ("TrainingPage", "roll_back"),
    ):
        function = scene.function(page, name)
        assert "needs the role admin" in rev.call(function, scene.data(function)), name
    assert scene.rows("prompts", "deployments", "training_requests", "assistants") == before
    shown = scene.function("ReviewPage", "show")
    filters = ["undecided" if one == "worth a look" else one for one in scene.data(shown)]
    assert "is an island" in rev.call(shown, filters)
    decided = scene.function("ReviewPage", "act")
    rev.call(decided, scene.data(decided), {"id": scene.answer, "do": "reject"})
    assert scene.store.decisions.effective([scene.answer])[scene.answer].reviewer == "rev"
    assert ("rev", "reviewed") in {(entry.actor, entry.action) for entry in scene.store.audit.entries()}
    refused = [
        entry for entry in scene.store.audit.entries() if entry.actor == "rev" and entry.action == "refused"
    ]
    assert {entry.subject for entry in refused} >= {"save_text", "roll_back"}


def test_what_a_user_sends_and_rates_is_theirs(scene: Scene) -> None:
    mal = scene.people["mal"]
    ask = scene.function("ChatPage", "ask")
    said = mal.call(ask, ["hello there", "desk", None, None])
    assert "an answer of few words" in said
    (talk,) = [c for c in scene.store.conversations.all("desk", "mal") if c.title == "hello there"]
    answer = scene.store.messages.thread(talk.id)[-1]
    rate = scene.function("ChatPage", "rate")
    mal.call(rate, [talk.id], {"id": answer.id, "verdict": "up"})
    assert [rating.rater for rating in scene.store.ratings.all(answer.id)] == ["mal"]


def test_anothers_answer_under_way_is_neither_seen_nor_stopped(scene: Scene) -> None:
    """The same session hash in two browsers is two sessions."""
    ann, mal = scene.people["ann"], scene.people["mal"]
    ann.session = mal.session = "same"
    welcome = next(f for f in scene.functions() if f.name == "welcome")
    ann.call(welcome, [None])
    scene.vllm.holds_after = 2
    scene.vllm.go_on.clear()
    try:
        ask = scene.function("ChatPage", "ask")
        data = [f"tell me of {SECRET}", "desk", None, None]
        body = {"data": data, "fn_index": ask._id, "session_hash": "same"}
        assert ann.http.post("/gradio_api/queue/join", json=body).status_code == 200
        assert wait_for(lambda: "tell me" in scene.store.conversations.all("desk", "ann")[0].title)
        (id,) = [talk.id for talk in scene.store.conversations.all("desk", "ann") if "tell me" in talk.title]
        assert wait_for(lambda: len(scene.store.messages.thread(id)) == 2)
        assert mal.http.get("/gradio_api/queue/data", params={"session_hash": "same"}).status_code == 404
        mal.call(welcome, [None])
        mal.call(scene.function("ChatPage", "end"), [id])
        assert scene.store.messages.thread(id)[-1].status is MessageStatus.STREAMING
    finally:
        scene.vllm.holds_after = None
        scene.vllm.go_on.set()


def test_a_removed_user_is_out_at_once(scene: Scene) -> None:
    scene.store.users.add("gone", UserRole.USER, "password of gone")
    client = PageClient(scene.url)
    client.sign_in("gone", "password of gone")
    show_server = next(f for f in scene.functions() if f.name == "show_server")
    assert "vLLM ready" in client.call(show_server, [])
    scene.store.users.remove("gone")
    assert client.http.get("/").status_code == 303
    assert "signed out" in client.call(show_server, [])
