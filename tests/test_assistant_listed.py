"""Which answers a prompt lists: found by those that people have approved, and nothing else is taken for one."""

from collections.abc import Sequence

import pytest

from assistant.listed import listed_answers
from store.records import Segment, SegmentKind

INTENTS = ("card_lost", "card_stolen", "top_up", "pay", "rate", "limit")
APPROVED = ("card_lost", "card_lost", "limit", "pay", "card_lost")


def listed(text: str, approved: Sequence[str] = APPROVED) -> list[str]:
    found = listed_answers([Segment("a", SegmentKind.INSTRUCTION, text=text)], set(approved))
    assert not any(one.message_id for one in found)
    return [one.answer for one in found]


@pytest.mark.parametrize(
    "text",
    [
        f"The intents are: {', '.join(INTENTS)}.",
        f"Be brief, and friendly.\nIntents: {', '.join(INTENTS)}. Answer with one of them, and nothing else.",
        "\n".join(f"- {one}" for one in INTENTS),
        "\n".join(f"{n}. `{one}`: what a customer says, mostly" for n, one in enumerate(INTENTS, start=1)),
        "\n".join(f"* **{one}** - some other words (and more)" for one in INTENTS),
        " | ".join(INTENTS),
        f"Choose from [{'; '.join(repr(one) for one in INTENTS)}]",
    ],
    ids=["commas", "prose around it", "lines", "with meanings", "Markdown", "bars", "quotes"],
)
def test_a_list_is_found_from_its_first_known_answer_to_its_last(text: str) -> None:
    assert listed(text) == [*INTENTS]
    assert listed(text, ("card_stolen", "top_up", "rate")) == [*INTENTS[1:5]]


def test_the_line_of_an_answer_is_its_question() -> None:
    text = "pay: how to send money\nrate: exchange rates\nlimit: how much at once"
    found = listed_answers([Segment("a", SegmentKind.INSTRUCTION, text=text)], {"pay", "rate", "limit"})
    assert [(one.question, one.answer) for one in found][0] == ("pay: how to send money", "pay")


@pytest.mark.parametrize(
    ("text", "approved"),
    [
        ("We sell bread, rolls, cake.", ("We open at nine.", "We do.", "Yes.")),
        ("card_lost, pay", ("card_lost", "pay", "pay")),
        (f"Ask: {', '.join(INTENTS)}", (*INTENTS[:3], *(f"answer {n}" for n in range(9)))),
        (
            "Say yes, no, or, well, " + ", ".join(f"word{n}" for n in range(40)) + ", maybe",
            ("yes", "no", "maybe"),
        ),
        ("", APPROVED),
        ("card_lost, pay, limit", ()),
    ],
    ids=[
        "sentences",
        "two are no list",
        "mostly other answers",
        "mostly other words",
        "no text",
        "none approved",
    ],
)
def test_what_is_no_list_of_answers_gives_none(text: str, approved: Sequence[str]) -> None:
    assert listed(text, approved) == []


def test_words_between_answers_are_no_answers() -> None:
    text = "card_lost, which is bad, pay, the customer has a long story to tell, limit,, rate"
    assert listed(text, ("card_lost", "pay", "limit", "rate")) == ["card_lost", "pay", "limit", "rate"]
