"""What the Training and Savings pages say of a run: its steps, the verdict with its answers, and what it saves."""

import re
from dataclasses import replace
from typing import Any

import pytest
from recorded_run import EARLIER, ENDED, SIZES, recorded
from review_scene import text_of

from assistant.web import plots, run_report, words
from assistant.web.markup import render
from assistant.web.run_estimate import estimate
from assistant.web.run_report import funnel
from store import Store
from store.records import RunEvent, RunStatus, TrainingRun
from store.runs import SideBySide, Tally
from trainer.evaluation.scorers import right_or_wrong

pytestmark = pytest.mark.usefixtures("event_loops")

PRIVATE_WORDS = ("variant", "rung", "nats", "probe", "hearing", "performance index", "base_full")


def passed(
    number: int, segments: str, tokens: int, mean: float, **against: tuple[float, float]
) -> dict[str, Any]:
    """A variant that passed; against each reference the difference and its lower bound."""
    comparisons = [
        {"reference": name, "difference": difference, "lower": lower, "passed": True}
        for name, (difference, lower) in against.items()
    ]
    shown = {"variant": number, "segment_ids": [*segments], "prompt_tokens": tokens, "score": {"mean": mean}}
    return {**shown, "comparisons": comparisons, "passed": True, "tested": True}


REPORT: dict[str, Any] = {
    "gate": {
        "promoted": True,
        "margin": 0.05,
        "examples": 90,
        "scorer": "chrf",
        "scores": {"base_full": {"mean": 0.2, "prompt_tokens": 592}},
        "shown": "variant 1",
        "chosen_variant": 1,
        "reasons": ["<b>why</b>"],
        "more_examples": None,
        "variants": [
            passed(0, "ab", 592, 0.6, base_full=(0.4, 0.36)),
            passed(1, "a", 16, 0.59, base_full=(0.39, 0.3), active=(-0.01, -0.04)),
            {"variant": 2, "segment_ids": ["b"], "tested": False},
            {"variant": 3, "segment_ids": [], "tested": False},
        ],
        "guards": [{"name": "length", "passed": True, "detail": "fine"}],
    },
    "dataset": {"train": 30, "dev": 10, "gate": 20, "dropped": {"rated down": 30}, "replaced": {"EMAIL": 2}},
    "training": {
        "steps": 12,
        "seconds": 61.0,
        "tokens_per_s": 240.4,
        "first_dev_loss": 2.0,
        "dev_loss": 1.25,
        "peak_memory_mib": 900,
    },
    "seconds": {"train": 61.0},
    "before": {"prompt_tokens": 592, "quality": {"mean": 0.2}},
    "after": {"prompt_tokens": 16, "quality": {"mean": 0.59}},
    "probe": {"full": {"cold": {"median_s": 3.4, "n": 12}}, "short": {"cold": {"median_s": 0.3, "n": 12}}},
}


def run(status: RunStatus = RunStatus.RUNNING, message: str = "") -> TrainingRun:
    finished = None if status is RunStatus.RUNNING else 161.0
    return TrainingRun(7, "desk", status, 100.0, {}, "button", finished_at=finished, message=message)


def events(*phases: str, **data: Any) -> list[RunEvent]:
    return [RunEvent(7, float(n), phase, data) for n, phase in enumerate(phases)]


# Steps


def steps(run: TrainingRun, *phases: str) -> list[str]:
    html = run_report.run_status(run, events(*phases), [], 200.0)
    return re.findall(r'<li class="(\w+)"', html)


def test_a_run_shows_its_steps_also_where_it_was_resumed_or_cut_short() -> None:
    for phases in (("dataset", "environment", "train", "resume"), ("dataset", "resume", "environment")):
        assert steps(run(), *phases) == ["done", "now", "ahead", "ahead", "ahead"]
    assert steps(run(), "resume")[0] == "now"
    assert steps(run(RunStatus.FAILED), "dataset", "train") == ["done", "done", *["skipped"] * 3]
    assert steps(run(RunStatus.PROMOTED), "dataset") == []
    ended = run(RunStatus.FAILED, "<i>no</i>")
    assert "&lt;i&gt;no" in run_report.run_status(ended, [], [], 900.0)
    rows = render("run_choice.html", runs=[ended, run()], shown=7)
    assert rows.count('aria-current="true"') == 2 and "running" in rows


def test_a_run_says_in_plain_words_what_happens_and_when_all_of_it_will_be_over() -> None:
    counted = RunEvent(7, 100.5, "dataset", {"train": 149, "dev": 31, "gate": 135})
    began = RunEvent(7, 159.0, "train", {"step": 2, "steps": 20, "tokens_per_s": 240.0, "eta_s": 540})
    seen = [counted, began, RunEvent(7, 160.0, "train", {"dev_loss": 1.5})]
    html = run_report.run_status(run(), seen, [], 161.0)
    assert re.search(r"Learning from 149 answers about \d+ min left", text_of(html))
    assert "button · started" in text_of(html) and "1 min 1 s" in html and "tokens/s" not in html
    assert run_report.technical(seen) == "train · step 2 of 20 · 240 tokens/s"
    asked = events("gate", what="base_full", done=3, total=9)
    assert run_report.technical(asked) == "gate · base model, full prompt · 3 of 9"
    assert run_report.technical([]) == ""


@pytest.mark.parametrize("earlier", [[], EARLIER])
def test_the_estimate_of_the_whole_run_is_within_a_third_from_the_second_minute_on(
    earlier: list[Any],
) -> None:
    """By a recorded first retrain of the sample, with and without one before it; the last minute is left out."""
    before = [
        replace(run(RunStatus.PROMOTED), report={"seconds": seconds, "dataset": SIZES}) for seconds in earlier
    ]
    for now in range(60, int(ENDED) - 60, 10):
        heard = [event for event in recorded() if event.at <= now]
        found = estimate(replace(run(), started_at=0.0), heard, before, float(now))
        assert found is not None and 0 < found.share < 1
        assert abs(found.left_s - (ENDED - now)) <= (ENDED - now) / 3, (now, found)


@pytest.mark.parametrize("seconds", [5.0, 50.0, 500.0, 5000.0])
def test_an_estimate_never_says_less_than_nothing_or_stands_still(seconds: float) -> None:
    """A run that takes longer than anybody expected, whatever its phase."""
    told = recorded()
    for number in range(1, len(told)):
        found = estimate(replace(run(), started_at=0.0), told[:number], [], told[number - 1].at + seconds)
        assert found is not None and found.left_s >= 5.0 and 0 < found.share < 1


def test_the_header_shows_a_running_retrain(store: Store) -> None:
    assert run_report.pill(store) == ""
    store.assistants.create("desk", "Desk", "chrf")
    started = store.runs.start("desk", {}, "button")
    assert "Training</button>" in run_report.pill(store).replace("\n", "")
    store.runs.add_event(started.id, "dataset", {"train": 149, "dev": 31, "gate": 135})
    assert re.search(r"Training 0 % · about \d+ min left", text_of(run_report.pill(store)))
    store.runs.finish(started.id, RunStatus.FAILED, "", {})
    assert run_report.pill(store) == ""


def test_a_dev_loss_belongs_to_the_step_before_it() -> None:
    said = [RunEvent(7, 1.0, "train", {"step": 5, "loss": 2.0}), RunEvent(7, 2.0, "train", {"dev_loss": 1.5})]
    losses = run_report.losses([*said, *events("gate")])
    assert losses == {"train": [(5, 2.0)], "dev": [(5, 1.5)]}
    html = plots.loss_curve(losses)
    assert 'class="train" points="100.0,' in html and 'class="dev" points="100.0,' in html
    assert plots.loss_curve({"train": [(5, 2.0)], "dev": []}) == "", "one value is no curve"


# Verdict


def test_a_verdict_names_prompts_and_references_and_one_confidence() -> None:
    html = run_report.verdict(REPORT)
    text = text_of(html)
    assert "promoted It answers with a prompt of 16 tokens" in text
    assert "90 questions, scorer chrf" in text
    assert "Against base model, full prompt" in text and "Against what served before" in text
    assert "+39.0, at worst +30.0" in text and "−1.0, at worst −4.0" in text
    assert "prompt of 1 segment 1" in text and "no prompt 0" in text and "not tested" in text
    assert re.findall(r"[\d.]+ % ", text) == ["95 % "] and "No more than 5 points may be lost" in text
    assert "&lt;b&gt;why&lt;/b&gt;" in html and "<b>why" not in html


@pytest.mark.parametrize(
    ("chosen", "title"),
    [
        (0, "It answers with the full prompt"),
        (1, "It answers with a prompt of 16 tokens"),
        (2, "It answers with a prompt of 1 segment"),
        (3, "It answers with no prompt"),
        (None, "What served before stays"),
    ],
)
def test_the_title_of_a_verdict_is_a_sentence(chosen: int | None, title: str) -> None:
    gate = REPORT["gate"] | {"chosen_variant": chosen}
    assert f"</span> {title}</h3>" in run_report.verdict({**REPORT, "gate": gate})


def test_pages_of_a_run_use_no_word_of_the_trainers_own() -> None:
    pairs = [SideBySide("When?", "At nine.", "Nine.", 0.4, "At nine.", 0.9)]
    shown = (
        run_report.verdict(REPORT, Tally(0, 1, 1), pairs, [])
        + run_report.details(REPORT)
        + run_report.run_status(run(), events(*run_report.STEPS, what="variant 2", done=1, total=2), [], 1.0)
    )
    assert [word for word in PRIVATE_WORDS if word in shown] == []


# Answers side by side


def test_the_evidence_stands_first_and_open() -> None:
    lost = SideBySide("When?", "At <nine>.", "Nine.", 0.4, "At nine.", 0.95)
    won = SideBySide("Where?", "By the quay.", "By the quay.", 1.0, "", 0.0)
    html = run_report.verdict(REPORT, Tally(3, 2, 9), [lost, won], [won, lost])
    evidence = html[: html.index("<details")]
    assert "Better on 3 , worse on 2 and the same on 4 of 9 questions" in text_of(evidence)
    assert re.findall(r"<h4>(.*?)</h4>", evidence) == ["Where it won most", "Where it lost most"]
    assert evidence.count("<tr><td>") == 2, "what was won is not shown among what was lost"
    assert "At &lt;nine&gt;." in html and "<nine>" not in html
    assert "40 Nine." in text_of(html) and "95 At nine." in text_of(html) and ">nothing<" in html
    assert html.index("<th>Base model, full prompt</th>") < html.index(
        "<th>Candidate, prompt of 16 tokens</th>"
    )
    assert "badge bad" not in html and "fails" not in html, "success does not look like failure"


def test_answers_that_are_right_or_wrong_are_counted_and_long_ones_cut_off() -> None:
    gate = REPORT["gate"] | {"scorer": "exact"}
    pair = SideBySide("When?", "Nine.", "Nine.", 1.0, "Ten.", 0.0)
    text = text_of(run_report.verdict(REPORT | {"gate": gate}, Tally(1, 0, 1), [], [pair]))
    assert "(53 of 90 right) against" in text and "wrong Ten. right Nine." in text
    long = SideBySide("q", "word " * 1000, "x", 0.0, "y", 1.0)
    html = run_report.verdict(REPORT, Tally(0, 1, 1), [long], [])
    assert " …" in html and "word " * 200 not in html and "Where it won most" not in html
    assert 'id="gate-answers"' not in run_report.verdict(REPORT, Tally(0, 0, 0), [], [])


# The funnel


def test_every_rule_takes_its_share_away_until_the_examples_are_left() -> None:
    dropped = {"rated down": 30, "<i>repeated</i>": 10, "never": 0}
    counts = {"train": 30, "dev": 10, "gate": 20, "dropped": dropped}
    html = funnel(counts, "funnel")
    assert re.findall(r"<span>(.*?)</span><b>(.*?)</b>", html) == [
        ("Answers that people rated", "100"),
        ("− rated down", "30"),
        ("− &lt;i&gt;repeated&lt;/i&gt;", "10"),
        ("Examples", "60"),
        ("train: to train on", "30"),
        ("dev: to know when to stop", "10"),
        ("gate: to test it on", "20"),
    ]
    bars = re.findall(r"margin-left:([\d.]+)%;width:([\d.]+)%", html)
    assert [float(width) for _, width in bars] == [100, 30, 10, 60, 30, 10, 20]
    assert [float(start) for start, _ in bars] == [0, 70, 60, 0, 0, 30, 40]
    assert 'aria-label="Of 100 rated answers 60 became examples."' in html and funnel({}, "funnel") == ""


@pytest.mark.parametrize("scorer", ["exact", "json", "sql", "chrf", "bleu"])
def test_the_pages_count_answers_where_the_gate_calls_them_right_or_wrong(scorer: str) -> None:
    shown = words.quality({"mean": 1.0}, {"scorer": scorer, "examples": 2})
    assert (shown == "2 of 2 right") is right_or_wrong(scorer)
