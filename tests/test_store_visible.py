"""What cannot be seen is empty, and no title has it."""

import pytest

from store.visible import is_blank, one_line

UNSEEN = [
    "",
    " \t\n",
    "\u200b\u200d\ufeff",
    "\u2060 \u00ad",
    "\x00\x1b",
    "\u202e\ufe0f",
    *"\u200b\u3164\u2800\u034f",
]


@pytest.mark.parametrize("text", UNSEEN)
def test_a_text_of_which_nothing_can_be_seen_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello  there\nyou", "Hello there you"),
        ("\u200bHi\u200b \u202etxet", "Hi txet"),
        ("a\x1b[31mred", "a[31mred"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("?", "?"),
        ("x" * 100, "x" * 60),
    ],
)
def test_a_title_has_what_can_be_seen(text: str, title: str) -> None:
    assert not is_blank(text) and one_line(text, 60) == title
