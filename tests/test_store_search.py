"""Searching words: what is found, that any text may be asked for, and that the index is never behind."""

from contextlib import closing
from pathlib import Path

import pytest
from imported_turns import ImportedTurn, load_turns
from store_scene import answered

from store import Store
from store.records import MessageStatus, Role, Ruling, Verdict
from store.search import MOST_WORDS
from store.sqlite import sqlite3

# Begins like no other word here, so that the index, which shortens what begins alike, spells all of it.
SECRET = "qxzvjkwpy"


def ask(store: Store, question: str, answer: str = "Yes.", owner: str = "local", at: float = 1.0) -> str:
    """The id of the answer."""
    return answered(store, question, answer, owner, at=at).id


def texts(store: Store, words: str) -> list[str]:
    return [store.messages.get(id).text for id in store.search.find("bank", words)]


def in_file(store: Store, word: str) -> bool:
    """In the store's file or its log."""
    return any(word.encode() in path.read_bytes() for path in store.path.parent.glob(f"{store.path.name}*"))


def test_all_words_are_found_in_any_case_without_accents_the_last_one_by_its_beginning(bank: Store) -> None:
    ask(bank, "Ärger mit der Überweisung", at=1.0)
    ask(bank, "Überweisung ins Ausland", at=2.0)
    assert texts(bank, "UBERWEIS") == ["Überweisung ins Ausland", "Ärger mit der Überweisung"]
    assert texts(bank, "überweisung arg") == ["Ärger mit der Überweisung"]
    assert texts(bank, "arg überweisung") == []  # only the last word may be a beginning
    assert texts(bank, "Ausland Ärger") == [] and texts(bank, "weisung") == []


def test_corrections_and_comments_are_found_while_they_are_the_latest(bank: Store) -> None:
    answer = ask(bank, "Where are you?")
    bank.ratings.add(answer, "ann", Verdict.DOWN, comment="too vague", correction="By the quay.")
    bank.ratings.add(answer, "bo", Verdict.UP, comment="vague but right")
    assert bank.search.find("bank", "QUAY") == [answer]
    assert bank.search.find("bank", "vague") == [answer]  # a message comes once
    bank.ratings.add(answer, "ann", Verdict.UP)
    assert bank.search.find("bank", "quay") == []


def test_it_keeps_to_the_assistant_and_to_the_limit(bank: Store) -> None:
    bank.assistants.create("shop", "Shop", "exact")
    load_turns(bank, "shop", [ImportedTurn("s", "hours", "nine")])
    for number in range(5):
        ask(bank, f"hours {number}", at=float(number))
    assert texts(bank, "hours")[:2] == ["hours 4", "hours 3"] and len(texts(bank, "hours")) == 5
    (newest,) = bank.search.find("bank", "hours", limit=1)
    assert bank.messages.get(newest).text == "hours 4" and bank.search.find("nobody", "hours") == []


THERE = [
    *(
        'say "cheese',
        "cheese AND say",
        "chee*",
        "-cheese",
        "(cheese",
        "cheese\x00",
        "cheese \ud800",
        "^cheese",
    ),
    *("🧀 cheese", "שלום", "\u202eשל", "cheese " * 5000),
]
NOT_THERE = ["NOT cheese", "text:cheese", "NEAR(cheese say)", "🧀", "' OR 1=1; --", "", " \t\n", "%"]


@pytest.mark.parametrize("typed", [*THERE, *NOT_THERE])
def test_what_is_typed_is_words_and_never_syntax(bank: Store, typed: str) -> None:
    ask(bank, 'They say "cheese" and שלום')
    there = typed in THERE
    assert (len(bank.search.find("bank", typed)) == 1) is there
    assert (len(bank.conversations.all("bank", search=typed)) == 1) is (there or typed == "")


def test_of_many_words_the_first_ones_count(bank: Store) -> None:
    ask(bank, " ".join(f"w{number}" for number in range(MOST_WORDS)))
    assert len(bank.search.find("bank", " ".join(f"w{number}" for number in range(10_000)))) == 1


def test_an_answer_is_found_when_it_has_ended_however_it_ends(bank: Store) -> None:
    first = bank.conversations.create("bank")
    question = bank.messages.add(first.id, None, Role.USER, "q")
    for status in (MessageStatus.COMPLETE, MessageStatus.STOPPED, MessageStatus.FAILED):
        answer = bank.messages.add(first.id, question.id, Role.ASSISTANT, "", MessageStatus.STREAMING)
        bank.messages.finish(answer.id, f"{status}word so far", MessageStatus.STREAMING)
        assert texts(bank, f"{status}word") == []
        bank.messages.finish(answer.id, f"{status}word at last", status)
        assert texts(bank, f"{status}word") == [f"{status}word at last"]
    late = bank.messages.add(first.id, question.id, Role.ASSISTANT, "swept", MessageStatus.STREAMING)
    assert bank.messages.end_streaming() == 1 and texts(bank, "swept") == ["swept"]
    bank.messages.finish(late.id, "arrived", MessageStatus.COMPLETE)
    assert texts(bank, "swept") == [] and texts(bank, "arrived") == ["arrived"]
    assert bank.maintenance.check() == []


def test_every_way_of_writing_keeps_the_index_in_step(bank: Store, tmp_path: Path) -> None:
    load_turns(bank, "bank", [ImportedTurn("c", "first", "loaded", Verdict.DOWN, correction="better")])
    answer = ask(bank, "second", owner="ann")
    bank.ratings.add(answer, "bo", Verdict.DOWN, comment="commented", correction="corrected")
    with Store(tmp_path / "other.sqlite") as other:
        other.assistants.create("bank", "Bank", "exact")
        other.transfer.add("bank", list(bank.transfer.conversations("bank")))
        # A rating that came in late moves the one that was there to the end, and its number changes.
        other.ratings.add(answer, "bo", Verdict.DOWN, correction="laterone")
        bank.ratings.add(answer, "bo", Verdict.DOWN, correction="between")
        other.transfer.add("bank", list(bank.transfer.conversations("bank")))
        for word in ("first", "loaded", "better", "second"):
            assert len(other.search.find("bank", word)) == 1, word
        assert other.maintenance.check() == []
    bank.conversations.rename("c", "Holidays")
    assert [c.id for c in bank.conversations.all("bank", search="holi")] == ["c"]
    bank.conversations.delete("c")
    assert bank.conversations.all("bank", search="holi") == [] == bank.search.find("bank", "better")
    bank.erasure.erase("bo")
    assert bank.search.find("bank", "corrected") == [] and len(bank.search.find("bank", "second")) == 1
    bank.erasure.erase("ann")
    assert bank.search.find("bank", "second") == [] and bank.maintenance.check() == []


def test_nothing_of_an_erased_person_or_a_deleted_conversation_stays_in_the_index(bank: Store) -> None:
    for number in range(20):  # several writes, so that the index is in several pieces
        ask(bank, f"question {number}")
    decided = ask(bank, "How much is it?")
    bank.decisions.add(decided, "rev", Ruling.CORRECT, SECRET)
    assert in_file(bank, SECRET)
    bank.erasure.erase("rev")
    assert not in_file(bank, SECRET) and bank.maintenance.check() == []
    answer = ask(bank, f"my cat is called {SECRET}", owner="ann")
    other = ask(bank, "question")
    bank.ratings.add(other, "ann", Verdict.DOWN, comment=SECRET, correction=SECRET)
    bank.ratings.add(answer, "bo", Verdict.DOWN, correction=f"a nice name, {SECRET}")
    bank.conversations.rename(bank.messages.get(answer).conversation_id, SECRET)
    for number in range(20):
        ask(bank, f"question {number}")
    assert in_file(bank, SECRET)
    bank.erasure.erase("ann")
    assert not in_file(bank, SECRET) and len(bank.search.find("bank", "question", limit=100)) == 41
    deleted = bank.messages.get(ask(bank, f"my dog is called {SECRET}"))
    ask(bank, "question")
    assert in_file(bank, SECRET)
    bank.conversations.delete(deleted.conversation_id)
    assert not in_file(bank, SECRET) and bank.maintenance.check() == []


def test_an_index_that_does_not_fit_is_a_problem(bank: Store) -> None:
    ask(bank, "found")
    with closing(sqlite3.connect(bank.path, isolation_level=None)) as other:
        other.execute("DROP TRIGGER message_words_update")
        other.execute("UPDATE messages SET text = 'changed'")
    assert bank.maintenance.check() == [
        "the search index message_words does not fit the texts, so searches can miss some"
    ]


def test_titles_stay_found_after_the_file_was_compacted(bank: Store) -> None:
    ids = [bank.conversations.create("bank", title=f"title{number}").id for number in range(9)]
    for id in ids[::2]:
        bank.conversations.delete(id)
    with closing(sqlite3.connect(bank.path, isolation_level=None)) as other:
        other.execute("VACUUM")
    assert [c.id for c in bank.conversations.all("bank", search="title5")] == [ids[5]]
    assert bank.maintenance.check() == []


def test_what_a_reviewer_wrote_is_found_as_long_as_it_stands(bank: Store) -> None:
    answer = ask(bank, "How much is it?", "Nothing.")
    bank.decisions.add(answer, "rev", Ruling.CORRECT, "Seventeen doubloons.")
    assert bank.search.find("bank", "doubloon") == [answer]
    assert bank.search.find("shop", "doubloon") == []
    bank.decisions.add(answer, "rev", Ruling.CORRECT, "Eighteen guilders.")
    assert bank.search.find("bank", "doubloon") == [] and len(bank.search.find("bank", "guilders")) == 1
    bank.decisions.add(answer, "rev", Ruling.REJECT)
    assert bank.search.find("bank", "guilders") == [] and bank.maintenance.check() == []
