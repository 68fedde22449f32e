"""Placeholders: consistent in one example, never one that somebody typed; and which rules of people are refused."""

import pytest
import regex

from store.records import RedactionAction, RedactionRule
from trainer.redaction.entities import RedactionError
from trainer.redaction.redactor import Redactor, Replacement
from trainer.redaction.rules import Pattern, checked_pattern, kind_name


def rule(
    pattern: str, kind: str = "", literal: bool = False, action: RedactionAction | None = None
) -> RedactionRule:
    wanted = action or (RedactionAction.REPLACE if kind else RedactionAction.KEEP)
    return RedactionRule(1, "bank", wanted, kind, pattern, literal, "ann", 0.0)


def test_one_value_has_one_placeholder_in_all_texts_of_an_example() -> None:
    redactor = Redactor()
    done = redactor.redact(
        ["I am ann@example.com, he is bo@example.com", "Hello Ann@Example.com", "both of bo@example.com", "x"]
    )
    assert done.texts == ("I am <EMAIL_1>, he is <EMAIL_2>", "Hello <EMAIL_1>", "both of <EMAIL_2>", "x")
    assert done.replacements[2] == Replacement(1, "EMAIL", "<EMAIL_1>", "Ann@Example.com")
    assert redactor.redact(["bo@example.com"]).texts == ("<EMAIL_1>",), "another example counts anew"


def test_a_placeholder_that_somebody_typed_is_skipped_in_all_texts() -> None:
    done = Redactor(prompt_texts=["Use <EMAIL_3> in letters."]).redact(
        ["a@example.com and <EMAIL_1>", "b@example.com", "＜EMAIL_4＞ c@example.com"]
    )
    assert done.texts == ("<EMAIL_2> and <EMAIL_1>", "<EMAIL_5>", "＜EMAIL_4＞ <EMAIL_6>")


def test_what_a_word_gave_away_is_replaced_where_the_word_is_missing() -> None:
    done = Redactor().redact(
        [
            "My PESEL is 44051401359, call me on 5551234567.",
            "44051401359 noted, 555 123 4567 too",
            "15551234567",
        ]
    )
    assert done.texts[1] == "<NATIONAL_ID_1> noted, <PHONE_1> too"
    assert "5551234567" not in done.texts[0]


def test_a_part_of_a_longer_word_is_not_a_repetition() -> None:
    done = Redactor([rule("Bluebird", "PROJECT", literal=True)]).redact(
        ["Bluebird", "Bluebirds fly", "Bluebird?"]
    )
    assert done.texts == ("<PROJECT_1>", "Bluebirds fly", "<PROJECT_1>?")


def test_what_stands_in_the_prompt_is_kept_however_it_is_written() -> None:
    redactor = Redactor(prompt_texts=["Support: help@bank.example.com or +1 212 555 0100, ref AB-12."])
    texts = ["Write to Help@bank.example.com", "or call (212) 555-0100."]
    assert redactor.redact(texts).texts == tuple(texts)
    assert redactor.redact(["xhelp@bank.example.com"]).texts == ("<EMAIL_1>",)


def test_people_add_patterns_and_mark_false_alarms() -> None:
    redactor = Redactor(
        [
            rule("ORD-[0-9]{6}", "ORDER"),
            rule("help@shop.example.com", literal=True),
            rule(r".*@shop\.example\.org"),
        ]
    )
    done = redactor.redact(
        ["ORD-123456 ORD-123456 ORD-654321", "ＯＲＤ－123456 help@shop.example.com b@shop.example.org"]
    )
    assert done.texts == (
        "<ORDER_1> <ORDER_1> <ORDER_2>",
        "<ORDER_1> help@shop.example.com b@shop.example.org",
    )
    assert redactor.redact(["c@example.com"]).texts == ("<EMAIL_1>",)


def test_an_own_pattern_never_tears_apart_what_is_found_without_it() -> None:
    done = Redactor([rule("[0-9]{5}", "ZIP")]).redact(["4111111111111111 in 12345"])
    assert done.texts == ("<CARD_1> in <ZIP_1>",)


def test_an_old_rule_that_is_no_pattern_stops_everything() -> None:
    with pytest.raises(RedactionError, match="no regular expression"):
        Redactor([rule("(", "ORDER")])


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


def test_ordinary_patterns_are_taken() -> None:
    ordinary = ["ORD-[0-9]{6}", r"(?i)case\s{1,3}\d{4,9}", "(?:AB|CD)-[0-9]+", r"[+*(]x", r"\(a+\)+"]
    for text in [*ordinary, "(ab){1,20}", "C[0-9]+"]:
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
