"""Prompts with lines that differ from request to request: which are one prompt, and what varies in it."""

import pytest

from assistant.prompt_text import VARIES, parse, to_text
from assistant.rendering import prompt_tokens
from assistant.tokenizer import ChatTokenizer
from assistant.varying import as_segments, common_template, comparable, group_forms, varying_lines
from store.records import SegmentKind

DATED = """You are the desk of a hotel.

Today is {}.
The guest is called {}.

Answer in one sentence.
  - Never name a price."""
MONDAY, TUESDAY = (comparable(DATED.format(*given)) for given in (("Monday", "Ann"), ("Tuesday", "Bo")))
TEMPLATE = ("You are the desk of a hotel.", VARIES, "Answer in one sentence.", "  - Never name a price.")


def test_what_two_forms_have_in_common_is_the_prompt() -> None:
    assert common_template(MONDAY, TUESDAY) == TEMPLATE == common_template(TEMPLATE, TUESDAY)
    assert common_template(MONDAY, MONDAY) == MONDAY
    assert common_template(MONDAY, comparable("You write poems.\nRhyme.")) is None
    assert common_template(("Today is Monday.",), ("Today is Tuesday.",)) is None, "nothing is left of it"
    searched = comparable(DATED.format("Monday", "Ann") + "\nFound:\n" + "\n".join(map(str, range(40))))
    assert common_template(TEMPLATE, searched) == (*TEMPLATE, VARIES)


@pytest.mark.parametrize(
    ("template", "lines", "found"),
    [
        (TEMPLATE, MONDAY, ("Today is Monday.", "The guest is called Ann.")),
        (TEMPLATE, (*TEMPLATE[:1], *TEMPLATE[2:]), ()),
        (TEMPLATE, MONDAY[:-1], None),
        (TEMPLATE, (*MONDAY, "And one more."), None),
        ((VARIES, "a", VARIES, "b", VARIES), ("1", "a", "2", "b", "3"), ("1", "2", "3")),
        ((VARIES, "a", VARIES, "b", VARIES), ("b", "a"), None),
        (("a", VARIES, "a"), ("a",), None),
        (("a", "b"), ("a", "b"), ()),
        (("a", "b"), ("a", "c"), None),
    ],
)
def test_what_stands_in_the_places_of_a_template(
    template: tuple[str, ...], lines: tuple[str, ...], found: tuple[str, ...] | None
) -> None:
    assert varying_lines(template, lines) == found


def test_forms_of_a_prompt_are_put_together_in_any_order() -> None:
    texts = {n: DATED.format(n, f"guest {n}") for n in "abc"} | {"poet": "You are a poet.\n\nRhyme."}
    for order in ("abc", "cab"):
        [hotel, poet] = group_forms((id, texts[id]) for id in (order[0], "poet", *order[1:]))
        assert hotel.ids == tuple(order) and hotel.lines == TEMPLATE and poet.ids == ("poet",)


def test_the_segments_are_the_paragraphs_and_the_varying_place_costs_nothing(
    tokenizer: ChatTokenizer,
) -> None:
    segments = as_segments(DATED.format("Monday", "Ann"), TEMPLATE)
    assert [one.text for one in segments] == [
        "You are the desk of a hotel.",
        VARIES,
        "Answer in one sentence.\n  - Never name a price.",
    ]
    assert [one.kind for one in segments].count(SegmentKind.VARYING) == 1 and segments[1].protected
    assert prompt_tokens(tokenizer, segments) == prompt_tokens(tokenizer, [segments[0], segments[2]])
    assert parse(to_text(segments), segments) == segments, "people can edit it on the Prompt page"
