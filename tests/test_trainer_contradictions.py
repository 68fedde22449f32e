"""Questions whose approved answers disagree, and whether two answers say the same."""

import pytest
from imported_turns import ImportedTurn, load_turns
from retrain_scene import Scene
from typer.testing import CliRunner

from store.records import Role, Verdict
from trainer.__main__ import app
from trainer.examples.dataset import notices
from trainer.examples.selection import CollectedAnswer
from trainer.examples.similar import agree, contradictions, grouped, question_of

UP, DOWN = Verdict.UP, Verdict.DOWN


def answer(question: str, completion: str, id: str, approved: bool = True) -> CollectedAnswer:
    context = ((Role.USER, question),)
    return CollectedAnswer(id, id, context, completion, question, approved=approved)


def found_in(answers: list[CollectedAnswer]) -> list[list[str]]:
    found = contradictions(answers, grouped(question_of(one.context) for one in answers))
    return [[one.message_id for one in same] for same in found]


def test_questions_with_answers_that_disagree_are_named_in_whatever_words_they_are_asked() -> None:
    asked = {
        "m1": ("When do you open?", "At nine."),
        "m2": ("when do you open", "At ten."),
        "m3": ("Where?", "Here."),
        "m4": ("Where?", "here"),
        "m5": ("Is it +1?", "+1"),
        "m6": ("Is it +1?", "-1"),
        "m7": ("Why?", "So."),
        "m8": ("At what time do you open?", "At nine."),
        "m9": ("Where is my card?", "On its way to you, it takes three working days."),
        "m10": ("Please tell me where my card is", "It is on its way to you and takes 3 working days."),
    }
    answers = [answer(*texts, id) for id, texts in asked.items()]
    found = found_in([*answers, answer("Why?", "The teacher's.", "unrated", approved=False)])
    assert found == [["m1", "m2", "m8"], ["m5", "m6"]]
    assert not notices({"contradictions": 0}) and "A question has" in notices({"contradictions": 1})[0]
    assert "2 questions have" in notices({"contradictions": 2})[0]


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


def test_disagreements_are_shown_with_who_approved_of_what(scene: Scene) -> None:
    data_dir = str(scene.context.data_dir)
    shown = CliRunner().invoke(app, ["disagreements", "--data-dir", data_dir])
    assert shown.exit_code == 0 and "No question has" in shown.output
    turns = [
        ImportedTurn("c1", "Where?", "Here.", UP),
        ImportedTurn("c2", "where", "There.", DOWN, correction="Far."),
    ]
    load_turns(scene.store, "bank", turns)
    shown = CliRunner().invoke(app, ["disagreements", "--data-dir", data_dir]).output
    assert "Where?" in shown and "rated up: Here." in shown and "corrected to: Far." in shown
    assert "There." not in shown
    load_turns(scene.store, "bank", [ImportedTurn("c3", "Tell me where please", "Here.", UP)])
    shown = CliRunner().invoke(app, ["disagreements", "--data-dir", data_dir]).output
    assert "asked “Tell me where please”" in shown
