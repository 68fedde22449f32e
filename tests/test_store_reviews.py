"""Filters find what they say, newest first, without what was decided; every walk is along an index."""

import re

import pytest
from imported_turns import ImportedTurn, load_turns

from store import Store
from store.records import Ruling, Verdict
from store.reviews import ITEMS, NEWEST_QUESTIONS, ReviewFilter, ReviewKind, queries

UP, DOWN = Verdict.UP, Verdict.DOWN


@pytest.fixture
def desk(store: Store) -> Store:
    """Answers up, down, fixed, mixed, bare (nobody rated it) and cut (it failed), and another assistant's."""
    store.assistants.create("desk", "Desk", "exact")
    store.assistants.create("shop", "Shop", "exact")
    turns = [
        ImportedTurn("up", "Opening hours?", "At nine.", UP, rater="ann", created_at=100.0),
        ImportedTurn("down", "Parking?", "No idea.", DOWN, "wrong fact", "rude", None, "bo", 200.0),
        ImportedTurn("fixed", "Dogs?", "No.", DOWN, "", "", "Yes, leashed.", "ann", 300.0),
        ImportedTurn("mixed", "Price?", "Ten.", UP, rater="ann", created_at=400.0),
        ImportedTurn("bare", "Weather?", "Fine.", created_at=500.0),
        ImportedTurn("empty", "Hello?", "", DOWN, created_at=600.0),
    ]
    load_turns(store, "desk", turns)
    load_turns(store, "shop", [ImportedTurn("other", "Opening hours?", "Never.", DOWN, rater="bo")])
    store.ratings.add("mixed.1.assistant", "bo", DOWN, "too long")
    return store


def found(store: Store, **wanted: object) -> list[str]:
    items, _ = store.reviews.find("desk", ReviewFilter(**wanted))
    return [item.conversation_id for item in items]


def test_each_kind_finds_its_own(desk: Store) -> None:
    assert found(desk, show=ReviewKind.DOWN) == ["mixed", "fixed", "down"]
    assert found(desk, show=ReviewKind.UP) == ["mixed", "up"]
    assert found(desk, show=ReviewKind.CORRECTED) == ["fixed"]
    assert found(desk, show=ReviewKind.UNRATED) == ["bare"]
    assert found(desk, show=ReviewKind.UNDECIDED) == ["bare", "mixed", "fixed", "down", "up"]
    assert found(desk, show=ReviewKind.DECIDED) == []
    assert sorted(found(desk)) == ["bare", "down", "fixed", "mixed", "up"]


def test_filters_together_are_about_one_rating(desk: Store) -> None:
    assert found(desk, show=ReviewKind.DOWN, rater="bo") == ["mixed", "down"]
    assert found(desk, show=ReviewKind.UP, rater="bo") == []
    assert found(desk, show=ReviewKind.UNDECIDED, rater="ann") == ["mixed", "fixed", "up"]
    assert found(desk, show=ReviewKind.UNRATED, rater="ann") == []
    assert found(desk, reason="too long") == ["mixed"]
    assert found(desk, show=ReviewKind.UP, reason="too long") == []
    assert desk.reviews.raters() == ["ann", "bo", "sample"]
    assert desk.reviews.reasons() == ["too long", "wrong fact"]


def test_search_finds_answers_by_question_answer_comment_and_correction(desk: Store) -> None:
    assert found(desk, show=ReviewKind.UNDECIDED, text="opening") == ["up"]
    assert found(desk, show=ReviewKind.UNDECIDED, text="idea") == ["down"]
    assert found(desk, show=ReviewKind.UNDECIDED, text="rude") == ["down"]
    assert found(desk, show=ReviewKind.UNDECIDED, text="LEASHED") == ["fixed"]
    assert found(desk, show=ReviewKind.UP, text="price") == ["mixed"]
    assert found(desk, show=ReviewKind.UP, text="price", rater="bo") == []
    assert found(desk, text="nowhere") == []


def test_what_is_decided_is_found_as_such_until_it_is_taken_back(desk: Store) -> None:
    made = desk.decisions.add("down.1.assistant", "rev", Ruling.REJECT)
    assert found(desk, show=ReviewKind.DOWN) == ["mixed", "fixed"]
    assert (
        found(desk, show=ReviewKind.DECIDED)
        == ["down"]
        == found(desk, show=ReviewKind.DECIDED, text="parking")
    )
    ((item,), _) = desk.reviews.find("desk", ReviewFilter(ReviewKind.DECIDED))
    assert item.decision == made and item.question == "Parking?" and item.opens
    desk.decisions.undo([made.id])
    assert found(desk, show=ReviewKind.DECIDED) == [] and "down" in found(desk, show=ReviewKind.DOWN)


def test_the_newest_questions_are_those_of_the_conversations_that_changed_last(desk: Store) -> None:
    assert desk.reviews.newest_questions("desk", 2) == ["Hello?", "Weather?"]
    assert len(desk.reviews.newest_questions("desk")) == 6


def test_a_rating_that_was_replaced_no_longer_finds_its_answer(desk: Store) -> None:
    desk.ratings.add("down.1.assistant", "bo", UP)
    assert found(desk, show=ReviewKind.DOWN) == ["mixed", "fixed"]
    assert found(desk, reason="wrong fact") == []


def test_a_limit_that_is_reached_is_said(desk: Store) -> None:
    two, more = desk.reviews.find("desk", ReviewFilter(ReviewKind.UNDECIDED), limit=2)
    assert len(two) == 2 and more
    assert not desk.reviews.find("desk", ReviewFilter(ReviewKind.UNDECIDED), limit=50)[1]


def test_an_item_is_read_anew_and_gone_when_it_was_deleted(desk: Store) -> None:
    item = desk.reviews.item("mixed.1.assistant")
    assert item is not None and [rating.rater for rating in item.ratings] == ["ann", "bo"]
    desk.conversations.delete("mixed")
    assert desk.reviews.item("mixed.1.assistant") is None


EVERYTHING = [
    ReviewFilter(),
    *(ReviewFilter(show) for show in ReviewKind if show is not ReviewKind.WORTH),
    ReviewFilter(ReviewKind.UNDECIDED, rater="ann"),
    ReviewFilter(ReviewKind.UNDECIDED, reason="too long"),
    ReviewFilter(ReviewKind.DOWN, rater="ann", reason="too long"),
    ReviewFilter(ReviewKind.UP, text="word", rater="ann"),
    ReviewFilter(ReviewKind.DECIDED, text="word"),
]


def plan(store: Store, sql: str, values: list) -> list[str]:
    with store._file.reading() as transaction:
        return [row["detail"] for row in transaction.rows(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.mark.parametrize("wanted", EVERYTHING, ids=repr)
def test_every_walk_is_along_an_index_and_sorts_nothing(store: Store, wanted: ReviewFilter) -> None:
    for sql in queries(wanted):
        steps = plan(store, sql, ["desk", "ann", "wrong", ["m"], 10])
        # Decisions are read from the newest back; `wanted` is a list of ids.
        allowed = "wanted" if wanted.text else "d"
        scans = [step for step in steps if step.startswith("SCAN") and step.split()[1] != allowed]
        scans = [step for step in scans if "ratings_" not in step]  # a partial index of just what is wanted
        assert scans == [], steps
        of_ratings = [step for step in steps if "SEARCH r USING" in step]
        assert not wanted.text or all("ratings_of_message" in step for step in of_ratings), steps
        assert wanted.text or not any("TEMP B-TREE FOR ORDER" in step for step in steps), steps


def test_items_are_read_by_their_ids(store: Store) -> None:
    assert not [step for step in plan(store, ITEMS, [["m"]]) if re.match("SCAN (?!wanted)", step)]
    steps = plan(store, NEWEST_QUESTIONS, ["desk", 10])
    assert not [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step]
