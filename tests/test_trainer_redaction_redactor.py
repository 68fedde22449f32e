"""Placeholders: consistent in one example, never one that somebody typed, and none for what is the team's own."""

import pytest

from store.records import RedactionAction, RedactionRule
from trainer.redaction.entities import RedactionError
from trainer.redaction.redactor import Redactor, Replacement


def rule(
    pattern: str, kind: str = "", literal: bool = False, action: RedactionAction | None = None
) -> RedactionRule:
    wanted = action or (RedactionAction.REPLACE if kind else RedactionAction.KEEP)
    return RedactionRule(1, "bank", wanted, kind, pattern, literal, "ann", 0.0)


def test_one_value_has_one_placeholder_in_all_texts_of_an_example() -> None:
    done = Redactor().redact(
        ["I am ann@example.com, he is bo@example.com", "Hello Ann@Example.com", "both of bo@example.com", "x"]
    )
    assert done.texts == ("I am <EMAIL_1>, he is <EMAIL_2>", "Hello <EMAIL_1>", "both of <EMAIL_2>", "x")
    assert done.replacements[2] == Replacement(1, "EMAIL", "<EMAIL_1>", "Ann@Example.com")


def test_another_example_starts_to_count_anew() -> None:
    redactor = Redactor()
    assert redactor.redact(["b@example.com"]).texts == ("<EMAIL_1>",)
    assert redactor.redact(["a@example.com"]).texts == ("<EMAIL_1>",)


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
