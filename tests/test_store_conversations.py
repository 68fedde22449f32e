"""Conversations and their tree of messages: regenerate, edit, show, search, stream."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import Store
from store.errors import Conflict, NotFound
from store.records import Message, MessageStatus, Role, Segment, SegmentKind, Usage


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Store]:
    """A store whose clock ticks one second per reading and whose ids are m1, m2, ..."""
    clock, ids = itertools.count(1000.0).__next__, itertools.count(1)
    with Store(tmp_path / "s.sqlite", clock=clock, new_id=lambda: f"m{next(ids)}") as opened:
        opened.assistants.create("bank", "Bank", "exact")
        opened.conversations.create("bank", id="c")
        yield opened


def ask(store: Store, text: str, parent: Message | None = None, conversation: str = "c") -> Message:
    return store.messages.add(conversation, parent.id if parent else None, Role.USER, text)


def answer(store: Store, text: str, question: Message) -> Message:
    return store.messages.add(question.conversation_id, question.id, Role.ASSISTANT, text)


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


def test_regenerate_edit_and_show_move_between_branches(chat: Store) -> None:
    q1 = ask(chat, "q1")
    a1 = answer(chat, "a1", q1)
    q2 = ask(chat, "q2", a1)
    answer(chat, "a2", q2)
    a1b = answer(chat, "a1 again", q1)  # regenerated
    assert texts(chat.messages.thread("c")) == ["q1", "a1 again"]
    assert chat.messages.versions("c")[a1b.id] == (a1.id, a1b.id)

    chat.messages.show(a1.id)
    assert texts(chat.messages.thread("c")) == ["q1", "a1", "q2", "a2"]
    q2b = ask(chat, "q2 edited", a1)  # edited
    answer(chat, "a2 edited", q2b)
    assert chat.messages.versions("c")[q2.id] == (q2.id, q2b.id)

    assert chat.messages.show(q2.id).head_id == chat.messages.thread("c")[-1].id
    assert texts(chat.messages.thread("c")) == ["q1", "a1", "q2", "a2"]
    chat.messages.show(q1.id)
    assert texts(chat.messages.thread("c"))[-1] == "a2 edited"  # the newest leaf below q1
    assert chat.maintenance.check() == []


def test_a_message_stays_inside_its_conversation(chat: Store) -> None:
    chat.conversations.create("bank", id="other")
    assert chat.messages.thread("c") == []
    with pytest.raises(NotFound, match="conversation 'x'"):
        chat.messages.thread("x")
    question = ask(chat, "q")
    with pytest.raises(NotFound, match="in conversation 'other'"):
        chat.messages.add("other", question.id, Role.ASSISTANT, "a")
    with pytest.raises(Conflict, match="follow a user message"):
        chat.messages.add("c", None, Role.ASSISTANT, "a")
    with pytest.raises(Conflict, match="UNIQUE"):
        chat.messages.add("c", None, Role.USER, "q", id=question.id)
    with pytest.raises(Conflict, match="FOREIGN KEY"):
        chat.messages.add("c", question.id, Role.ASSISTANT, "a", deployment_id=5)


def test_an_answer_streams_finishes_and_is_final(chat: Store) -> None:
    question = ask(chat, "q")
    streaming = chat.messages.add("c", question.id, Role.ASSISTANT, "", MessageStatus.STREAMING)
    chat.messages.finish(streaming.id, "so f", MessageStatus.STREAMING)
    assert chat.messages.get(streaming.id).text == "so f"

    usage = Usage(60, 40, 32, 9, first_token_s=0.5, total_s=1.5)
    done = chat.messages.finish(streaming.id, "so far", MessageStatus.COMPLETE, usage)
    assert (done.text, done.status, done.usage) == ("so far", MessageStatus.COMPLETE, usage)
    assert chat.messages.get(done.id) == done
    with pytest.raises(Conflict, match="its text is final"):
        chat.messages.finish(streaming.id, "changed", MessageStatus.COMPLETE)


def test_answers_left_behind_are_swept_and_may_still_arrive(chat: Store) -> None:
    prompt = chat.prompts.add("bank", [Segment("s1", SegmentKind.INSTRUCTION, text="Be brief.")])
    served = chat.deployments.add("bank", prompt.id, "bank-v0001", ("s1",), variant=0, prompt_tokens=5)
    question = ask(chat, "q")
    left = chat.messages.add("c", question.id, Role.ASSISTANT, "par", MessageStatus.STREAMING, served.id)
    assert chat.messages.streaming_count("bank-v0001") == 1
    assert chat.messages.streaming_count("bank-v0002") == 0

    assert chat.messages.end_streaming() == 1 and chat.messages.end_streaming() == 0
    swept = chat.messages.get(left.id)
    assert (swept.status, swept.text) == (MessageStatus.FAILED, "par")
    assert chat.messages.streaming_count("bank-v0001") == 0
    chat.messages.finish(left.id, "partial no more", MessageStatus.COMPLETE)
    assert chat.messages.get(left.id).text == "partial no more"


def test_search_takes_words_in_any_case_and_finds_titles_and_hidden_branches(chat: Store) -> None:
    ask(chat, "100% SURE_thing of ÄRGER")
    ask(chat, "edited away")
    chat.conversations.create("bank", title="Plain", id="d")

    def found(search: str) -> list[str]:
        return [conversation.id for conversation in chat.conversations.all("bank", search=search)]

    assert found("100% sure_") == ["c"] and found("ärger") == ["c"] and found("PLAIN") == ["d"]
    assert found("edited AWAY") == ["c"] and found("sure edited") == []  # in different messages
    assert found("%") == [] and found("'; --") == [] and found("") == ["d", "c"]


def test_a_search_gives_the_conversations_with_the_last_such_messages(chat: Store) -> None:
    for name in ("d", "e", "f"):
        chat.conversations.create("bank", id=name, source="import" if name == "e" else "chat")
        ask(chat, "card", conversation=name)
    ask(chat, "card again", conversation="d")
    assert [c.id for c in chat.conversations.all("bank", search="card", limit=2)] == ["d", "f"]
    assert [c.id for c in chat.conversations.all("bank", search="card", source="import")] == ["e"]
    assert [c.id for c in chat.conversations.all("bank", search="card", owner="ann")] == []


def test_the_list_is_newest_first_by_owner_and_source(chat: Store) -> None:
    chat.conversations.create("bank", id="d", owner="ann")
    chat.conversations.create("bank", id="e", source="import")
    assert [c.id for c in chat.conversations.all("bank")] == ["e", "d", "c"]
    ask(chat, "now")
    assert [c.id for c in chat.conversations.all("bank")] == ["c", "e", "d"]
    chat.conversations.rename("d", "D")
    assert [c.id for c in chat.conversations.all("bank", limit=2)] == ["c", "e"]
    assert [c.title for c in chat.conversations.all("bank", owner="ann")] == ["D"]
    assert [c.id for c in chat.conversations.all("bank", source="import", owner="local")] == ["e"]
    with pytest.raises(NotFound):
        chat.conversations.rename("x", "X")
    with pytest.raises(Conflict, match="nothing was saved: CHECK constraint failed: source IN"):
        chat.conversations.create("bank", source="nowhere")


def test_deleting_takes_messages_and_ratings_along_also_in_very_long_threads(chat: Store) -> None:
    with chat._file.writing():  # one transaction, or 1,200 syncs
        last = None
        for number in range(600):  # past SQLite's limit of 1,000 nested cascades
            last = answer(chat, "a", ask(chat, f"q{number}", last))
    chat.ratings.add(last.id, "ann", None)
    assert len(chat.messages.thread("c")) == 1200

    chat.conversations.delete("c")
    counts = chat.maintenance.stats()
    assert [counts[kind] for kind in ("conversations", "messages", "ratings")] == [0, 0, 0]
    assert chat.maintenance.check() == []
    with pytest.raises(NotFound):
        chat.conversations.delete("c")
