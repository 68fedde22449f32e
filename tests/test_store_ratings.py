"""Ratings: nothing is forgotten, the latest of each rater counts; and rated, unrated and served answers."""

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from imported_turns import ImportedTurn, load_turns
from store_scene import answered, at_once

from store import Store
from store.errors import Conflict, NotFound
from store.records import MessageStatus, Role, Split, Usage, Verdict


@pytest.fixture
def rated(bank: Store) -> Store:
    """One conversation: q1 a1 q2 a2, with ids of the same names."""
    bank.conversations.create("bank", id="c")
    parent = None
    for at, id in enumerate(["q1", "a1", "q2", "a2"]):
        role = Role.ASSISTANT if at % 2 else Role.USER
        bank.messages.add("c", parent, role, f"text {id}", id=id, created_at=float(at))
        parent = id
    return bank


def test_history_is_kept_and_the_latest_of_each_rater_wins(rated: Store) -> None:
    first = rated.ratings.add("a1", "ann", Verdict.UP)
    bob = rated.ratings.add("a1", "bob", Verdict.DOWN, reason="wrong", comment="no", correction="better")
    last = rated.ratings.add("a1", "ann", None)

    assert rated.ratings.all("a1") == [first, bob, last]
    assert rated.ratings.latest(["a1", "a1", "a2"]) == {"a1": (bob, last)}
    assert bob.correction == "better" and last.verdict is None


def test_latest_is_by_order_not_by_a_clock_that_steps_back(tmp_path: Path) -> None:
    falling = itertools.count(1000, -1)
    with Store(tmp_path / "s.sqlite", clock=lambda: float(next(falling))) as store:
        store.assistants.create("bank", "Bank", "exact")
        load_turns(store, "bank", [ImportedTurn("c", "q", "a")])
        store.ratings.add("c.1.assistant", "ann", Verdict.UP)
        last = store.ratings.add("c.1.assistant", "ann", Verdict.DOWN)
        assert store.ratings.latest(["c.1.assistant"])["c.1.assistant"] == (last,)


def test_only_answers_that_exist_can_be_rated(rated: Store) -> None:
    with pytest.raises(Conflict, match="only answers"):
        rated.ratings.add("q1", "ann", Verdict.UP)
    with pytest.raises(NotFound, match="message 'x'"):
        rated.ratings.add("x", "ann", Verdict.UP)


def test_rated_answers_carry_their_path_ratings_and_split(rated: Store) -> None:
    two = rated.ratings.add("a2", "ann", Verdict.UP)
    one = rated.ratings.add("a1", "ann", Verdict.DOWN)
    rated.messages.add("c", "q2", Role.ASSISTANT, "regenerated", id="a2b", created_at=9.0)
    rated.messages.add("c", "q2", Role.ASSISTANT, "cut", MessageStatus.FAILED, id="a2c", created_at=10.0)
    other = rated.ratings.add("a2b", "bob", Verdict.UP)
    rated.ratings.add("a2c", "bob", Verdict.UP)  # failed answers are no answers
    rated.splits.record({"c": Split.GATE})

    answers = rated.answers.rated("bank")
    assert [(a.message_id, a.ratings) for a in answers] == [("a1", (one,)), ("a2", (two,)), ("a2b", (other,))]
    assert answers[2].context == ((Role.USER, "text q1"), (Role.ASSISTANT, "text a1"), (Role.USER, "text q2"))
    assert {answer.split for answer in answers} == {Split.GATE}
    rated.assistants.create("shop", "Shop", "exact")
    assert rated.answers.rated("shop") == []


def test_what_a_deployment_answered_in_chat_with_what_people_think_of_it(bank: Store) -> None:
    prompt = bank.prompts.add("bank", [])
    for _ in range(2):
        bank.deployments.add("bank", prompt.id, None, (), variant=0, prompt_tokens=0)

    def answer(at: float, status: MessageStatus = MessageStatus.COMPLETE, by: int = 1, **more: str) -> str:
        usage = None if status is MessageStatus.FAILED else Usage(50, 40, 32, 9, 0.25, 1.0)
        given = {"status": status, "deployment_id": by, "usage": usage, **more}
        return answered(bank, owner="ann", at=at, **given).id

    first = answer(2.0)
    failed, stopped = answer(1.0, MessageStatus.FAILED), answer(3.0, MessageStatus.STOPPED)
    answer(4.0, source="import")
    answer(5.0, by=2)
    answer(6.0, MessageStatus.STREAMING)
    for verdict in Verdict:
        bank.ratings.add(first, "ann", verdict)
    found = bank.answers.served(1, 10)
    assert [(a.message_id, a.owner, a.status) for a in found] == [
        (failed, "ann", MessageStatus.FAILED),
        (first, "ann", MessageStatus.COMPLETE),
        (stopped, "ann", MessageStatus.STOPPED),
    ]
    assert [[r.verdict for r in a.ratings] for a in found] == [[], [Verdict.DOWN], []]
    assert [a.message_id for a in bank.answers.served(1, 2)] == [first, stopped]


def test_unrated_answers_are_the_newest_whole_ones_of_what_served_last(bank: Store) -> None:
    store = bank
    edited, prompt = store.prompts.add("bank", []), store.prompts.add("bank", [])
    served = {
        name: store.deployments.add("bank", version.id, None, (), variant=variant, prompt_tokens=9)
        for name, version, variant in (("old", prompt, 0), ("new", prompt, 1), ("edited", edited, 0))
    }
    for name in ("edited", "old", "new"):
        store.deployments.activate(served[name].id)

    def ask(
        name: str, by: str, status: str = "complete", ln_p: float | None = -0.5, sent: tuple = ()
    ) -> None:
        talk = store.conversations.create("bank", id=name).id
        question = store.messages.add(talk, None, Role.USER, f"q {name}").id
        usage = Usage(50, 40, 32, 9, 0.25, 1.0, ln_p, demonstrations=sent)
        store.messages.add(name, question, Role.ASSISTANT, f"a {name}", status, served[by].id, usage, name)

    for name in ("old1", "new1", "edited1", "new2"):
        ask(name, name[:-1])
    ask("rated", "new")
    ask("cut", "new", "failed")
    ask("unknown", "new", ln_p=None)
    ask("saw the gate", "new", sent=("old1", "rated"))
    store.splits.record({"rated": Split.GATE, "old1": Split.TRAIN})
    store.ratings.add("rated", "ann", Verdict.UP)
    found = store.answers.unrated(prompt.id, 10)
    assert [(a.message_id, a.answer, a.ratings) for a in found] == [
        (name, f"a {name}", ()) for name in ("old1", "new1", "edited1", "new2", "saw the gate")
    ]
    assert [a.mean_ln_p is None for a in found] == [False, False, True, False, True], (
        "one answers another text, one says what the gate knows"
    )
    assert found[1].context == ((Role.USER, "q new1"),)
    assert (found[1].deployment_id, found[1].mean_ln_p) == (served["new"].id, -0.5)
    costs = store.answers.request_tokens("bank", 100)
    assert len(costs) == 8 and {(c.prompt, c.demonstrations, c.conversation) for c in costs} == {(40, 0, 10)}
    assert [c.at for c in costs] == sorted(c.at for c in costs)
    assert len(store.answers.request_tokens("bank", 3)) == 3
    assert [a.message_id for a in store.answers.unrated(prompt.id, 1)] == ["saw the gate"]
    assert [a.message_id for a in store.answers.unrated(prompt.id, 2)] == ["new2", "saw the gate"]
    assert [store.answers.has_unrated(prompt.id, count) for count in (1, 5, 6)] == [True, True, False]
    [rated] = store.answers.rated("bank")
    assert (rated.message_id, rated.deployment_id) == ("rated", served["new"].id)
    for name in ("import1", "import2"):
        talk = store.conversations.create("bank", id=name, source="import").id
        question = store.messages.add(talk, None, Role.USER, f"q {name}").id
        store.messages.add(talk, question, Role.ASSISTANT, f"a {name}", id=name)
    store.ratings.add("import2", "ann", Verdict.UP)
    everything = store.answers.unrated(prompt.id, 10)
    assert [a.message_id for a in everything if a.mean_ln_p is None and not a.deployment_id] == ["import1"]
    assert len(everything) == 6 and len(store.answers.unrated(prompt.id, 5)) == 5, "what served comes first"
    assert [store.answers.has_unrated(prompt.id, count) for count in (6, 7)] == [True, False]
    talk = store.conversations.create("bank", id="copied").id
    question = store.messages.add(talk, None, Role.USER, "q copied").id
    usage = Usage(0, 0, 0, 0, 0.0, 0.0, demonstrations=("rated",))
    store.messages.add(talk, question, Role.ASSISTANT, "a rated", "complete", served["new"].id, usage, "copy")
    copied = {a.message_id: a.mean_ln_p for a in store.answers.unrated(prompt.id, 10)}
    assert copied["copy"] is None, "an approved answer that was given again: its question counts"
    assert store.answers.correction_times("bank", 9) == []
    corrected = store.ratings.add("new1", "ann", Verdict.DOWN, correction="better")
    assert store.answers.correction_times("bank", 9) == [corrected.created_at]


def newest(store: Store, number: int, without: tuple[str, ...] = ()) -> list[str]:
    return [answer.message_id for answer in store.answers.rated("bank", number, without)]


def test_the_newest_rated_answers_are_those_that_were_rated_last(rated: Store) -> None:
    rated.ratings.add("a2", "ann", Verdict.UP)
    rated.ratings.add("a1", "bo", Verdict.UP)
    assert newest(rated, 1) == ["a1"] and newest(rated, 2) == ["a1", "a2"] == newest(rated, 9)
    rated.ratings.add("a2", "ann", None)  # taken back: it is still the last thing that was said
    assert newest(rated, 1) == ["a2"] and rated.answers.rated_count("bank") == 2
    assert newest(rated, 1, ("ann",)) == ["a1"] and rated.answers.rated_count("bank", ("ann",)) == 1
    assert newest(rated, 9, ("ann", "bo")) == [] and rated.answers.rated_count("shop") == 0


def test_rated_answers_follow_what_is_deleted_and_what_comes_in_late(rated: Store, tmp_path: Path) -> None:
    rated.ratings.add("a1", "ann", Verdict.UP)
    rated.ratings.add("a2", "ann", Verdict.UP)
    rated.ratings.add("a1", "bo", Verdict.DOWN)
    with Store(tmp_path / "other.sqlite") as other:
        other.assistants.create("bank", "Bank", "exact")
        other.transfer.add("bank", list(rated.transfer.conversations("bank")))
        assert newest(other, 1) == ["a1"]
        other.ratings.add("a2", "cy", Verdict.DOWN)
        rated.ratings.add("a1", "dan", Verdict.UP)
        other.transfer.add("bank", list(rated.transfer.conversations("bank")))
        assert newest(other, 1) == ["a1"] and other.answers.rated_count("bank") == 2
    rated.conversations.create("bank", id="anns", owner="ann")
    rated.erasure.erase("ann")
    assert newest(rated, 9) == ["a1"]
    rated.erasure.erase("dan")
    rated.erasure.erase("bo")
    assert newest(rated, 9) == [] and rated.answers.rated_count("bank") == 0
    rated.ratings.add("a1", "eve", Verdict.UP)
    rated.conversations.delete("c")
    assert rated.answers.rated_count("bank") == 0 and rated.maintenance.check() == []


def test_changes_at_the_same_moment_are_all_kept(bank: Store) -> None:
    answer = answered(bank)

    def mark(letter: str) -> None:
        bank.ratings.change(answer.id, "ann", lambda before: replace(before, comment=before.comment + letter))

    at_once(*(partial(mark, letter) for letter in "abcdefghijklmnop"))
    (rating,) = bank.ratings.latest([answer.id])[answer.id]
    assert sorted(rating.comment) == list("abcdefghijklmnop")
    bank.ratings.change(answer.id, "ann", lambda before: before)  # what changes nothing is no new rating
    assert len(bank.ratings.all(answer.id)) == 16
