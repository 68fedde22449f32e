"""Rules: which patterns are refused before they can do harm, and the limit on the rest."""

import pytest
import regex

from trainer.redaction.entities import RedactionError
from trainer.redaction.rules import Pattern, checked_pattern, kind_name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(", "no regular expression.*add --text"),
        (" ", "empty"),
        ("x" * 501, "501 characters; 500 are allowed"),
        ("(a+)+b", "for ever.*Bound its repetitions"),
        (r"(\w+\s?)*$", "matches nothing at all"),
        ("(?:a|aa)+x", "takes longer than"),
        ("((ab)+)+c", "takes longer than"),
        ("a*", "matches nothing at all"),
        ("x?", "matches nothing at all"),
        (r"\d+\d+\d+\d+x", "takes longer than"),
        ("a.*a.*a.*a.*b", "takes longer than"),
    ],
)
def test_bad_and_dangerous_patterns_are_refused(text: str, words: str) -> None:
    with pytest.raises(RedactionError, match=words):
        checked_pattern(text, literal=False)


@pytest.mark.parametrize(
    "text",
    [
        "ORD-[0-9]{6}",
        r"(?i)case\s{1,3}\d{4,9}",
        "(?:AB|CD)-[0-9]+",
        r"[+*(]x",
        r"\(a+\)+",
        "(ab){1,20}",
        "C[0-9]+",
    ],
)
def test_ordinary_patterns_are_taken(text: str) -> None:
    assert checked_pattern(text, literal=False).compiled.pattern == text


def test_a_literal_stands_alone() -> None:
    found = checked_pattern("C++ (v2)", literal=True)
    assert list(found.spans("C++ (v2), xC++ (v2) and C++ (v2)x")) == [(0, 8)]


def test_a_pattern_that_does_not_finish_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.redaction.rules._LIMIT_S", 0.05)
    slow = Pattern(regex.compile(r"\d+\d+\d+\d+x"))
    with pytest.raises(RedactionError, match=r"did not finish.*Nothing was trained.*privacy remove"):
        list(slow.spans("0" * 5000 + "!x"))


def test_kinds_become_what_placeholders_can_show() -> None:
    assert kind_name(" order-number ") == "ORDER_NUMBER"
    for text in ("", "1A", "a" * 25, "<X>", "ordér"):
        with pytest.raises(RedactionError, match="is no kind"):
            kind_name(text)
