"""Who is heard, how much one rater may bring, and what people disagree about."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retrain_scene import SETTINGS, Scene
from typer.testing import CliRunner

from store import Store
from store.records import (
    Decision,
    Example,
    ImportedTurn,
    RatedAnswer,
    Rating,
    Role,
    Ruling,
    Segment,
    SegmentKind,
    Split,
    Verdict,
)
from trainer.__main__ import app
from trainer.examples.agreement import agree
from trainer.examples.contradictions import contradictions, in_words
from trainer.examples.intake import take_in
from trainer.examples.raters import heard, largest_cap
from trainer.examples.selection import Drop, select
from trainer.examples.thinning import thin
from trainer.freezing import Unfrozen
from trainer.redaction.examples import RedactedIntake
from trainer.settings import BadSetting, TrainerSettings, override

UP, DOWN = Verdict.UP, Verdict.DOWN


def rated(number: int, *ratings: tuple[str, Verdict | None, str | None]) -> RatedAnswer:
    """An answer to a question of its own; the later its number, the later its ratings."""
    given = tuple(
        Rating(f"r{number}.{place}", f"m{number}", rater, verdict, float(number), correction=correction)
        for place, (rater, verdict, correction) in enumerate(ratings)
    )
    context = ((Role.USER, f"question {number}"),)
    return RatedAnswer(f"m{number}", f"c{number}", context, f"answer {number}", given, None)


def example(question: str, completion: str, id: str, approved: bool = True) -> Example:
    return Example(
        id,
        id,
        ((Role.USER, question),),
        completion,
        False,
        Split.TRAIN,
        approved=approved,
        from_teacher=not approved,
    )


def test_a_rater_who_is_left_out_neither_approves_nor_objects_nor_corrects() -> None:
    answers = [
        rated(1, ("ann", UP, None), ("mal", DOWN, None)),
        rated(2, ("mal", UP, None)),
        rated(3, ("ann", UP, None), ("mal", None, "spam")),
    ]
    approved, dropped = select(answers, 100)
    assert [item.completion for item in approved] == ["answer 2", "spam"]
    approved, dropped = select(heard(answers, {"mal"}), 100)
    assert [item.completion for item in approved] == ["answer 1", "answer 3"] and not dropped


def test_of_a_rater_with_more_than_the_share_the_oldest_are_left_out() -> None:
    ann = [rated(number, ("ann", UP, None)) for number in range(8)]
    others = [rated(10, ("bo", UP, None)), rated(11, ("cy", UP, None))]
    approved, dropped = select([*ann, *others], 100, 0.5)
    assert [item.answer.message_id for item in approved] == ["m6", "m7", "m10", "m11"]
    assert set(dropped.values()) == {Drop.ONE_RATER} and len(dropped) == 6


def test_what_was_reviewed_is_beside_the_share_and_a_reviewer_can_be_left_out() -> None:
    ann = [rated(number, ("ann", UP, None)) for number in range(8)]
    others = [rated(10, ("bo", UP, None)), rated(11, ("cy", UP, None))]
    reviewed = [
        replace(rated(20 + n), decision=Decision(f"d{n}", f"m{20 + n}", "rev", Ruling.APPROVE, 0.0))
        for n in range(8)
    ]
    approved, dropped = select([*ann, *others, *reviewed], 100, 0.5)
    assert len([item for item in approved if item.reviewed]) == 8 and len(dropped) == 6
    assert heard(reviewed, {"rev"}) == []
    assert [item.rater for item in select(heard([*ann, *reviewed], {"rev"}), 100)[0]] == ["ann"] * 8


def test_where_too_few_rate_for_everybody_to_be_under_the_share_nothing_is_left_out() -> None:
    answers = [rated(number, ("ann", UP, None)) for number in range(5)]
    assert len(select(answers, 100, 0.5)[0]) == 5
    answers += [rated(9, ("bo", UP, None))]
    assert len(select(answers, 100, 0.4)[0]) == 6
    assert select([], 100, 0.4) == ([], {})


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.floats(0.2, 0.9))
def test_the_cap_is_the_largest_that_keeps_everybody_under_the_share(counts: list[int], share: float) -> None:
    if len(counts) * share < 1:
        return

    def fits(cap: int) -> bool:
        segment_ids = [min(count, cap) for count in counts]
        return max(segment_ids) <= share * sum(segment_ids)

    cap = largest_cap(counts, share)
    assert fits(cap) or cap == 1
    assert not any(fits(larger) for larger in range(cap + 1, max(counts) + 1))


def test_the_settings_reach_what_is_taken_in(store: Store) -> None:
    store.assistants.create("bank", "Bank", "exact")
    store.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    store.transfer.load("bank", [ImportedTurn(f"c{n}", f"{n}?", "yes", UP) for n in range(3)])
    rater = store.answers.rated("bank")[0].ratings[0].rater
    assert len(take_in(store, "bank", SETTINGS).approved) == 3
    without = override(SETTINGS, [f"without_raters={rater},other"])
    assert without.without_raters == (rater, "other")
    assert take_in(store, "bank", without).approved == []
    assert TrainerSettings.from_record(without.as_record()) == without
    with pytest.raises(BadSetting, match="rater_share lies between"):
        override(SETTINGS, ["rater_share=0"])


def test_questions_with_answers_that_disagree_are_named() -> None:
    found = contradictions(
        [
            example("When do you open?", "At nine.", "m1"),
            example("when do you open", "At ten.", "m2"),
            example("Where?", "Here.", "m3"),
            example("Where?", "here", "m4"),
            example("Is it +1?", "+1", "m5"),
            example("Is it +1?", "-1", "m6"),
            example("Why?", "So.", "m7"),
            example("Why?", "The teacher's.", "m8", approved=False),
        ]
    )
    ids = [[example.message_id for example in one.examples] for one in found]
    assert ids == [["m1", "m2"], ["m5", "m6"]] and found[0].question == "When do you open?"
    assert in_words(2)[0].startswith("2 questions have") and in_words(1)[0].startswith("A question has")
    assert in_words(0) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Refund_not_showing_up", "refund_not_showing_up", True),
        ("card_arrival", "card_linking", False),
        ("At nine.", "At ten.", False),
        (
            "A single kayak costs $14 for one hour or $38 for a full day.",
            "Each single kayak is $14 for the hour, and a full day costs $38.",
            True,
        ),
        (
            "A single kayak costs $14 for one hour or $38 for a full day.",
            "A single kayak costs $14 for one hour or $40 for a full day.",
            False,
        ),
        (
            "Dogs are allowed in canoes with a life jacket.",
            "Dogs aren't allowed in canoes with a life jacket.",
            False,
        ),
        (
            "We are open every day from April to October.",
            "We are open every day from April to November.",
            False,
        ),
        (
            "We hire out kayaks, canoes and paddleboards.",
            "Lockers and parking are free for all our guests.",
            False,
        ),
    ],
)
def test_two_answers_agree_where_they_say_the_same(one: str, other: str, expected: bool) -> None:
    assert agree(one, other) is agree(other, one) is expected


def test_reworded_questions_with_answers_that_disagree_come_after_those_of_the_same_words() -> None:
    found = contradictions(
        [
            example("How do I change my pin?", "In the app.", "m1"),
            example("could you tell me how to change my pin please", "At a machine.", "m2"),
            example("When do you open?", "At nine.", "m3"),
            example("when do you open", "At ten.", "m4"),
            example("At what time do you open?", "At nine.", "m5"),
            example("Where is my card?", "On its way to you, it takes three working days.", "m6"),
            example(
                "Please tell me where my card is", "It is on its way to you and takes 3 working days.", "m7"
            ),
        ]
    )
    assert [([e.message_id for e in one.examples], one.exact) for one in found] == [
        (["m3", "m4"], True),
        (["m1", "m2"], False),
        (["m3", "m4", "m5"], False),
    ]


def test_disagreements_are_shown_with_who_approved_of_what(scene: Scene) -> None:
    data_dir = str(scene.workshop.data_dir)
    shown = CliRunner().invoke(app, ["disagreements", "--data-dir", data_dir])
    assert shown.exit_code == 0 and "No question has" in shown.output
    turns = [
        ImportedTurn("c1", "Where?", "Here.", UP),
        ImportedTurn("c2", "where", "There.", DOWN, correction="Far."),
    ]
    scene.store.transfer.load("bank", turns)
    shown = CliRunner().invoke(app, ["disagreements", "--data-dir", data_dir]).output
    assert "Where?" in shown and "rated up: Here." in shown and "corrected to: Far." in shown
    assert "There." not in shown
    scene.store.transfer.load("bank", [ImportedTurn("c3", "Tell me where please", "Here.", UP)])
    shown = CliRunner().invoke(app, ["disagreements", "--data-dir", data_dir]).output
    assert "(and reworded)" in shown and "asked “Tell me where please”" in shown


def test_only_the_newest_rated_answers_are_looked_at_and_the_older_ones_are_counted(store: Store) -> None:
    store.assistants.create("bank", "Bank", "exact")
    store.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    store.transfer.load("bank", [ImportedTurn(f"c{n}", f"{n}?", "yes", UP) for n in range(5)])
    for n in (1, 3):
        store.ratings.add(f"c{n}.1.assistant", "ann", UP)
    taken = take_in(store, "bank", override(SETTINGS, ["newest_answers=2"]))
    assert [item.answer.conversation_id for item in taken.approved] == ["c1", "c3"] and taken.older == 3
    rules = Unfrozen(RedactedIntake(taken), thin(taken, 0, 0), []).rules
    assert rules == {Drop.OLDER.value: 3}
    assert take_in(store, "bank", override(SETTINGS, ["newest_answers=5"])).older == 0
    only = take_in(store, "bank", override(SETTINGS, ["newest_answers=1", "without_raters=sample"]))
    assert [item.answer.conversation_id for item in only.approved] == ["c3"] and only.older == 1
