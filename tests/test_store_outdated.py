"""Approved answers that say what was taken out of the prompt since."""

import pytest
from imported_turns import ImportedTurn, load_turns

from store import Store
from store.outdated import OutdatedFacts, outdated_answers
from store.records import Prompt, Ruling, Segment, SegmentKind, Verdict


def version(number: int, text: str, answer: str = "") -> Prompt:
    segments = [Segment("a", SegmentKind.INSTRUCTION, text=text)]
    segments += [Segment("b", SegmentKind.EXAMPLE, user="How much?", assistant=answer)] if answer else []
    return Prompt(number, "desk", number, tuple(segments), float(number))


@pytest.mark.parametrize(
    ("before", "now", "answer", "expected"),
    [
        ("A kayak costs $14.", "A kayak costs $15.", "It is $14 an hour.", True),
        ("A kayak costs $14.", "A kayak costs $15.", "It is $15 an hour.", False),
        ("A kayak costs $14, from age 14.", "A kayak costs $15, from age 14.", "From 14 years on.", False),
        ("We open at 9:30.", "We open at ten.", "At 9:30!", True),
        ("We are closed on Monday.", "We are closed on Tuesday.", "Not on MONDAY.", True),
        ("Answer briefly. Be kind.", "Write short texts and be kind.", "Answer: briefly", False),
        ("Ask for Ann.", "Ask for her, not for ann.", "Ann will help.", False),
        ("Lunch is 12.50 €.", "Lunch is 13 €.", "It is 12.50.", True),
    ],
)
def test_numbers_and_names_that_are_gone_count(before: str, now: str, answer: str, expected: bool) -> None:
    facts = OutdatedFacts([version(1, before), version(2, now)])
    assert facts.mentions_any(answer, 1.5) is expected
    assert facts.mentions_any(answer, 0.0) is expected, "older than the first version, as imported ones are"
    assert not facts.mentions_any(answer, 2.5), "it was judged under the present one"


def test_the_version_counts_under_which_an_answer_was_judged() -> None:
    facts = OutdatedFacts([version(n, f"It costs ${13 + n}.") for n in (1, 2, 3)])
    assert [facts.mentions_any("$15", at) for at in (1.0, 2.0, 3.0)] == [False, True, False]
    assert facts.mentions_any("$14", 1.0) and not facts.mentions_any("$14", 2.0)
    example = OutdatedFacts([version(1, "a", "It is $9."), version(2, "a", "It is $8.")])
    assert example.mentions_any("$9 each", 1.0)
    assert not OutdatedFacts([]).mentions_any("$9", 1.0)


def test_they_are_found_until_somebody_judges_them_again(store: Store) -> None:
    store.assistants.create("desk", "Desk", "exact")
    store.prompts.add("desk", version(1, "A kayak costs $14.").segments)
    given = [(f"c{n}", f"It is ${14 + n % 2}.", Verdict.UP) for n in range(6)] + [
        ("down", "It is $14.", Verdict.DOWN)
    ]
    turns = [ImportedTurn(id, "q", answer, verdict, created_at=1.0) for id, answer, verdict in given]
    load_turns(store, "desk", turns)
    assert outdated_answers(store, "desk") == []
    store.prompts.add("desk", version(1, "A kayak costs $15.").segments)
    old = [f"c{n}.1.assistant" for n in (0, 2, 4)]
    assert [one.message_id for one in outdated_answers(store, "desk")] == old
    store.ratings.add(old[0], "ann", Verdict.UP)
    store.decisions.add_all("bo", Ruling.APPROVE, {old[1]: "It is $15."})
    assert [one.message_id for one in outdated_answers(store, "desk")] == old[2:]
