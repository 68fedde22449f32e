"""Prompts as people edit them: what is written is what is read, and a segment's history goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.prompt_text import PromptTextError, parse, to_text
from store.records import Segment, SegmentKind


def instruction(text: str, protected: bool = False) -> Segment:
    return Segment("", SegmentKind.INSTRUCTION, text=text, protected=protected)


def example(user: str, assistant: str, protected: bool = False) -> Segment:
    return Segment("", SegmentKind.EXAMPLE, user=user, assistant=assistant, protected=protected)


def contents(segments: tuple[Segment, ...] | list[Segment]) -> list[tuple[object, ...]]:
    return [(s.kind, s.text, s.user, s.assistant, s.protected) for s in segments]


LINES = st.sampled_from(
    [
        "Answer politely.",
        "- a list item",
        "  - an indented one",
        "\ta tab",
        "---",
        " --- ",
        "--",
        "User: who?",
        "Assistant: me",
        "[keep] this",
        "# A heading",
        "## Another",
        "```",
        "```python",
        "x = 1",
        "",
        "émoji 🙂",
    ]
)


@given(st.lists(LINES, max_size=9))
def test_what_was_read_is_written_so_that_it_is_read_again(lines: list[str]) -> None:
    try:
        segments = parse("\n".join(lines))
    except PromptTextError:
        return
    assert len({segment.id for segment in segments}) == len(segments)
    assert parse(to_text(segments), segments) == segments
    assert contents(parse(to_text(segments))) == contents(segments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One.\n\nTwo,\nstill two.", [instruction("One."), instruction("Two,\nstill two.")]),
        ("# Rules\n\nBe brief.", [instruction("# Rules\n\nBe brief.")]),
        ("[keep] Never lie.", [instruction("Never lie.", protected=True)]),
        ("User: Hi\nAssistant: Hello.", [example("Hi", "Hello.")]),
        ("User: a\nb\nAssistant: c\n\td", [example("a\nb", "c\n\td")]),
        ("a\n\nb\n\n---\n\nUser: c\n\nd\nAssistant: e\n---", [instruction("a\n\nb"), example("c\n\nd", "e")]),
        ("[keep] # Rules\n\nBe brief.", [instruction("# Rules\n\nBe brief.", protected=True)]),
        ("[keep] ```\na\n\nb\n```", [instruction("```\na\n\nb\n```", protected=True)]),
        ("```\na\n\nb\n```", [instruction("```\na\n\nb\n```")]),
        (
            "User: Code?\nAssistant:\n```\ndef f():\n    return 1\n```",
            [example("Code?", "```\ndef f():\n    return 1\n```")],
        ),
        ("User: Sort.\nAssistant: ```\na\n\nb\n```", [example("Sort.", "```\na\n\nb\n```")]),
        ("a\r\n\r\nb", [instruction("a"), instruction("b")]),
        ("", []),
    ],
)
def test_the_rules_that_the_page_states(text: str, expected: list[Segment]) -> None:
    assert contents(parse(text)) == contents(expected)


@pytest.mark.parametrize("text", ["```\nall:\n\tmake x\n```", "code\tname\n17\tdogs", "- a\n\t- b"])
def test_a_tab_stays_a_tab(text: str) -> None:
    assert parse(text)[0].text == text


def test_lines_of_dashes_are_written_where_blank_lines_would_not_do() -> None:
    one, other = instruction("Be brief.\n\nBe kind."), instruction("Stop.")
    assert to_text([other, other]) == "Stop.\n\nStop."
    assert to_text([one, other]) == "Be brief.\n\nBe kind.\n\n---\n\nStop.\n\n---"
    assert contents(parse(to_text([one]))) == contents([one])
    assert to_text([instruction("User: who?")]).startswith("User: who?")  # of a task file


def test_an_unchanged_segment_keeps_its_id_when_it_moves() -> None:
    before = parse("Be brief.\n\nBe kind.\n\nUser: a\nAssistant: b")
    after = parse("User: a\nAssistant: b\n\nSomething new.\n\nBe brief.", before)
    known = {segment.text or segment.user: segment.id for segment in before}
    assert [segment.id for segment in after] == [known["a"], "something-new", known["Be brief."]]


def test_a_new_segment_does_not_take_the_id_of_an_old_one_that_stays() -> None:
    before = parse("Be brief and kind.")
    after = parse("Be brief and rude.\n\nBe brief and kind.", before)
    assert after[1].id == before[0].id != after[0].id


@pytest.mark.parametrize("text", ["User: only a question", "User: \nAssistant: x", "User: a\nAssistant:  "])
def test_half_an_example_is_refused_with_the_paragraph(text: str) -> None:
    with pytest.raises(PromptTextError, match=r"(?s)The worked example “User:.*Assistant"):
        parse(f"Fine.\n\n{text}")


def test_a_lone_keep_is_refused() -> None:
    with pytest.raises(PromptTextError, match=r"\[keep\]"):
        parse("[keep]\n\nBe brief.")


def test_of_paragraphs_that_are_alike_each_keeps_its_id() -> None:
    segments = parse("Be short.\n\nStop.\n\nBe short.")
    assert len({segment.id for segment in segments}) == 3
    assert parse(to_text(segments), segments) == segments


@pytest.mark.parametrize(
    "answer", ["\n```\na\n\nb\n```", " ```\na\n\nb\n```\nc", "\nUser: ```\na\n\nb\n```", " x\n```\na\n```"]
)
def test_what_follows_an_example_of_code_stays_a_segment(answer: str) -> None:
    segments = parse(f"User: Sort.\nAssistant:{answer}\n\nLast.")
    assert [segment.text for segment in segments] == ["", "Last."]
    assert parse(to_text(segments), segments) == segments
