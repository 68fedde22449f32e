"""How ratings became examples, as a picture."""

import re

from assistant.web.funnel import funnel


def widths(html: str) -> list[float]:
    return [float(width) for width in re.findall(r"width:([\d.]+)%", html)]


def test_every_rule_takes_its_share_away_until_the_examples_are_left() -> None:
    html = funnel(
        {"train": 30, "dev": 10, "gate": 20, "dropped": {"rated down": 30, "repeated": 10, "never": 0}}
    )
    assert re.findall(r"<span>(.*?)</span><b>(.*?)</b>", html) == [
        ("Answers that people rated", "100"),
        ("− rated down", "30"),
        ("− repeated", "10"),
        ("Examples", "60"),
        ("train: to train on", "30"),
        ("dev: to know when to stop", "10"),
        ("gate: to prove it on", "20"),
    ]
    assert widths(html) == [100, 30, 10, 60, 30, 10, 20]
    starts = [float(start) for start in re.findall(r"margin-left:([\d.]+)%", html)]
    assert starts == [0, 70, 60, 0, 0, 30, 40]
    assert 'aria-label="Of 100 rated answers 60 became examples."' in html


def test_topics_stand_beside_what_is_trained_on() -> None:
    counted = {"train": 30, "topics": 12, "largest_topic": 0.25}
    assert "<span>train: to train on (12 topics, the largest 25%)</span>" in funnel(counted)
    assert "topics" not in funnel({**counted, "topics": 0}) + funnel({**counted, "largest_topic": None})


def test_what_was_never_counted_has_no_picture_and_rules_are_escaped() -> None:
    assert funnel({}) == funnel({"dropped": None, "train": True}) == ""
    assert "<script>" not in funnel({"train": 1, "dropped": {"<script>": 1}})
