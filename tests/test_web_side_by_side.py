"""Two systems' answers beside each other, as people read them."""

import re

from assistant.web.side_by_side import side_by_side
from assistant.web.verdict import compared
from store.gate_answers import SideBySide, Tally

PAIR = SideBySide("When?", "At <nine>.", "Nine.", 0.4, "At nine.", 0.95)


def test_it_says_how_many_and_shows_lost_before_won() -> None:
    won = SideBySide("Where?", "By the quay.", "By the quay.", 1.0, "", 0.0)
    html = side_by_side(Tally(3, 2, 9), [PAIR, won], [won, PAIR], "candidate, variant 2", "base, full prompt")
    assert "better on 3, worse on 2 and alike on 4 of 9 questions" in html
    assert re.findall(r"<h4>(.*?)</h4>", html) == ["Lost most", "Won most"]
    assert html.count("<tr><td>") == 2, "what was won is not shown among what was lost"
    assert "At &lt;nine&gt;." in html and "<nine>" not in html
    assert '<span class="badge bad">0.40</span> Nine.' in html
    assert '<span class="badge good">0.95</span> At nine.' in html
    assert '<span class="dim">nothing</span>' in html
    assert html.index("<th>base, full prompt</th>") < html.index("<th>candidate, variant 2</th>")


def test_long_answers_are_cut_off_and_nothing_is_shown_of_an_old_run() -> None:
    long = SideBySide("q", "word " * 1000, "x", 0.0, "y", 1.0)
    html = side_by_side(Tally(0, 1, 1), [long], [], "a", "b")
    assert len(html) < 2000 and "word …" in html and "Won most" not in html
    assert side_by_side(Tally(0, 0, 0), [], [], "a", "b") == ""


def test_a_report_names_what_is_compared() -> None:
    scores = {"base_full": {}, "candidate_full": {}}
    assert compared({"gate": {"shown": "variant 3", "scores": scores}}) == ("variant 3", "base_full")
    assert compared({"gate": {"shown": "variant 3", "scores": {**scores, "active": {}}}}) == (
        "variant 3",
        "active",
    )
    assert compared({"gate": {"scores": scores}}) is None and compared({}) is None
