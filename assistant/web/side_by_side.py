"""What a candidate and what it was to replace answered at the gate → both side by side, as HTML.

In: questions with two answers and their scores, and how often either did better. Out: HTML, texts escaped. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from assistant.web import words
from store.gate_answers import SideBySide, Tally

SHOWN = 5  # of those it lost most on, and as many of those it won most on
_LONGEST = 600  # characters of an answer; the whole of it is in the store


def side_by_side(
    tally: Tally, lost: Sequence[SideBySide], won: Sequence[SideBySide], name: str, other: str
) -> str:
    """Empty where the gate kept no answers. `name` and `other` are what the two systems are called on the page."""
    if not tally.asked:
        return ""
    alike = tally.asked - tally.better - tally.worse
    said = (
        f"Answers side by side: better on {tally.better:,}, worse on {tally.worse:,} and alike on {alike:,} of "
        f"{words.count(tally.asked, 'question')}"
    )
    groups = _group("Lost most", [pair for pair in lost if pair.score < pair.other_score], name, other)
    groups += _group("Won most", [pair for pair in won if pair.score > pair.other_score], name, other)
    return f'<details id="gate-answers"><summary>{escape(said)}</summary>{groups}</details>'


def _group(title: str, pairs: Sequence[SideBySide], name: str, other: str) -> str:
    if not pairs:
        return ""
    rows = "".join(
        f"<tr><td>{_text(pair.question)}</td><td>{_text(pair.approved)}</td>"
        f"<td>{_answer(pair.other_text, pair.other_score, pair.score)}</td>"
        f"<td>{_answer(pair.text, pair.score, pair.other_score)}</td></tr>"
        for pair in pairs
    )
    return (
        f'<h4>{title}</h4><div class="table side-by-side"><table><thead><tr><th>Question</th><th>Approved answer</th>'
        f"<th>{escape(other)}</th><th>{escape(name)}</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _answer(text: str, score: float, against: float) -> str:
    css = "good" if score > against else "bad"
    return f'<span class="badge {css}">{words.number(score, 2)}</span> {_text(text)}'


def _text(text: str) -> str:
    if not text.strip():
        return '<span class="dim">nothing</span>'
    short = text if len(text) <= _LONGEST else text[:_LONGEST].rstrip() + " …"
    return escape(short).replace("\n", "<br>")
