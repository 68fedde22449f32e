"""What the Training and Savings pages say of a run: its steps, the verdict with its answers, and what it saves."""

import re
from dataclasses import replace
from typing import Any

import pytest
from recorded_run import EARLIER, ENDED, SIZES, recorded
from review_scene import services_of

from assistant.web import plots, run_report, words
from assistant.web.access import Person
from assistant.web.app import build
from assistant.web.markup import render
from assistant.web.run_estimate import estimate
from assistant.web.run_report import funnel
from assistant.web.savings_page import served
from store import Store
from store.answers import RequestTokens
from store.records import (
    Activation,
    Deployment,
    DeploymentStatus,
    MessageStatus,
    Role,
    RunEvent,
    RunStatus,
    Segment,
    SegmentKind,
    TrainingRun,
    Usage,
)
from store.runs import AutomaticRetrains, SideBySide, Tally

pytestmark = pytest.mark.usefixtures("event_loops")

PRIVATE_WORDS = (
    "variant",
    "rung",
    "nats",
    "probe",
    "hearing",
    "performance index",
    "base_full",
)
REPORT: dict[str, Any] = {
    "gate": {
        "promoted": True,
        "margin": 0.05,
        "confidence": 0.975,
        "examples": 90,
        "scorer": "chrf",
        "scores": {"base_full": {"mean": 0.2, "low": 0.1, "high": 0.3, "prompt_tokens": 592}},
        "shown": "variant 1",
        "chosen_variant": 1,
        "reasons": ["<b>why</b>"],
        "more_examples": None,
        "variants": [
            {
                "variant": 0,
                "segment_ids": ["a", "b"],
                "prompt_tokens": 592,
                "score": {"mean": 0.6, "low": 0.5, "high": 0.7},
                "comparisons": [{"reference": "base_full", "difference": 0.4, "lower": 0.36, "passed": True}],
                "passed": True,
                "tested": True,
            },
            {
                "variant": 1,
                "segment_ids": ["a"],
                "prompt_tokens": 16,
                "score": {"mean": 0.59, "low": 0.5, "high": 0.7},
                "comparisons": [
                    {"reference": "base_full", "difference": 0.39, "lower": 0.3, "passed": True},
                    {"reference": "active", "difference": -0.01, "lower": -0.04, "passed": True},
                ],
                "passed": True,
                "tested": True,
            },
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
        "stopped_early": True,
        "peak_memory_mib": 900,
    },
    "seconds": {"train": 61.0},
    "before": {"prompt_tokens": 592, "quality": {"mean": 0.2}},
    "after": {"prompt_tokens": 16, "quality": {"mean": 0.59}},
    "probe": {"full": {"cold": {"median_s": 3.4, "n": 12}}, "short": {"cold": {"median_s": 0.3, "n": 12}}},
}


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def run(status: RunStatus = RunStatus.RUNNING, message: str = "") -> TrainingRun:
    finished = None if status is RunStatus.RUNNING else 161.0
    return TrainingRun(7, "desk", status, 100.0, {}, "button", finished_at=finished, message=message)


def events(*phases: str, **data: Any) -> list[RunEvent]:
    return [RunEvent(7, float(n), phase, data) for n, phase in enumerate(phases)]


# Steps


def step_states(html: str) -> list[str]:
    return re.findall(r'<li class="(\w+)"', html)


def test_a_resumed_run_highlights_the_step_at_which_it_goes_on() -> None:
    for phases in (("dataset", "environment", "train", "resume"), ("dataset", "resume", "environment")):
        html = run_report.run_status(run(), events(*phases), [], 200.0)
        assert step_states(html) == ["done", "now", "ahead", "ahead", "ahead"]
    html = run_report.run_status(run(), events("resume"), [], 200.0)
    assert step_states(html)[0] == "now"


def test_a_run_says_in_plain_words_what_happens_and_when_all_of_it_will_be_over() -> None:
    counted = RunEvent(7, 100.5, "dataset", {"train": 149, "dev": 31, "gate": 135})
    began = RunEvent(7, 159.0, "train", {"step": 2, "steps": 20, "tokens_per_s": 240.0, "eta_s": 540})
    seen = [counted, began, RunEvent(7, 160.0, "train", {"dev_loss": 1.5})]
    html = run_report.run_status(run(), seen, [], 161.0)
    assert "Learning from 149 answers about 10 min left" in text_of(html)
    assert "button · started" in text_of(html) and "1 min 1 s" in html and "tokens/s" not in html
    assert run_report.technical(seen) == "train · step 2 of 20 · 240 tokens/s"
    asked = events("gate", what="base_full", done=3, total=9)
    assert run_report.technical(asked) == "gate · base model, full prompt · 3 of 9"
    assert run_report.technical([]) == ""


def test_a_run_that_ended_shows_its_message_and_which_steps_were_left_out() -> None:
    ended = run(RunStatus.FAILED, "<i>no</i>")
    html = run_report.run_status(ended, events("dataset", "train"), [], 900.0)
    assert step_states(html) == ["done", "done", *["skipped"] * 3] and "&lt;i&gt;no" in html
    assert 'id="run-phases"' not in run_report.run_status(run(RunStatus.PROMOTED), events("dataset"), [], 1.0)
    rows = render("run_choice.html", runs=[ended, run()], shown=7)
    assert rows.count('aria-current="true"') == 2 and "running" in rows


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
    noted = [
        RunEvent(7, 1.0, "train", {"step": 5, "loss": 2.0}),
        RunEvent(7, 2.0, "train", {"dev_loss": 1.5}),
    ]
    losses = run_report.losses([*noted, *events("gate")])
    assert [tuple(row.values()) for row in losses] == [(5, 2.0, "train"), (5, 1.5, "dev")]
    html = plots.loss_curve(losses)
    assert 'class="train" points="100.0,' in html and 'class="dev" points="100.0,' in html


# Verdict


def test_a_verdict_names_prompts_and_references_and_one_confidence() -> None:
    html = run_report.verdict(REPORT)
    text = text_of(html)
    assert "promoted It answers with prompt of 16 tokens" in text
    assert "90 questions, scorer chrf" in text
    assert "Against base model, full prompt" in text and "Against what served before" in text
    assert "+39.0, at worst +30.0" in text and "−1.0, at worst −4.0" in text
    assert "prompt of 1 segment 1" in text and "no prompt 0" in text and "not tested" in text
    assert re.findall(r"[\d.]+ % ", text) == ["95 % "] and "No more than 5 points may be lost" in text
    assert "&lt;b&gt;why&lt;/b&gt;" in html and "<b>why" not in html


def test_pages_of_a_run_use_no_word_of_the_trainers_own() -> None:
    pairs = [SideBySide("When?", "At nine.", "Nine.", 0.4, "At nine.", 0.9)]
    shown = (
        run_report.verdict(REPORT, Tally(0, 1, 1), pairs, [])
        + run_report.details(REPORT)
        + run_report.run_status(run(), events(*run_report.STEPS, what="variant 2", done=1, total=2), [], 1.0)
    )
    assert [word for word in PRIVATE_WORDS if word in shown] == []


def test_a_report_without_a_gate_is_shown_as_far_as_it_goes() -> None:
    for report in ({}, {"gate": None}, {"dataset": {}, "training": None}):
        assert run_report.compared(report) is None
        assert isinstance(run_report.verdict(report) + run_report.details(report), str)
        assert words.first_token(report, "full", "cold") is None


def test_details_say_what_stands_behind_it() -> None:
    text = text_of(run_report.details(REPORT))
    for line in (
        "ok length fine",
        "base model, full prompt 592 tokens 20 points",
        "dev loss 2.000 → 1.250",
    ):
        assert line in text
    failed = {"gate": {"guards": [{"name": "length", "passed": False, "detail": "too long"}]}}
    assert "<details open>" in run_report.details(failed)


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


def test_answers_that_are_right_or_wrong_are_counted() -> None:
    gate = REPORT["gate"] | {"scorer": "exact"}
    pair = SideBySide("When?", "Nine.", "Nine.", 1.0, "Ten.", 0.0)
    text = text_of(run_report.verdict(REPORT | {"gate": gate}, Tally(1, 0, 1), [], [pair]))
    assert "(53 of 90 right) against" in text and "wrong Ten. right Nine." in text


def test_long_answers_are_cut_off_and_a_run_without_answers_shows_none() -> None:
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


# Savings


def test_the_step_line_says_what_served_when() -> None:
    known = [
        Deployment(1, "a", 1, None, (), 0, 592, DeploymentStatus.RETIRED, 0.0),
        Deployment(2, "a", 1, "desk-v0001", (), 4, 16, DeploymentStatus.ACTIVE, 0.0),
    ]
    steps = served(
        [Activation(1, 0.0, "first"), Activation(2, 5.0, "run"), Activation(1, 9.0, "rollback: x")], known
    )
    assert [step["label"] for step in steps] == [
        "base model: 592 tokens",
        "desk-v0001: 16 tokens",
        "base model: 592 tokens (rollback)",
    ]
    html = plots.tokens_over_time(steps, 100.0)
    assert html.count("desk-v0001: 16 tokens") == 2, "at its mark and in the list"
    assert [float(left) for left in re.findall(r'class="dot" style="left:([\d.]+)%', html)] == [0, 5, 9]
    tops = re.findall(r"top:calc\(([\d.]+)% - (\d+)px\)", html)
    assert [lift for _, lift in tops] == ["0", "0", "0"] and tops[0] == tops[2] != tops[1]


def test_what_requests_cost_stands_behind_the_step_line_by_part() -> None:
    steps = [{"at": 0.0, "tokens": 592, "label": "base model"}, {"at": 48.0, "tokens": 16, "label": "v1"}]
    requests = [
        RequestTokens(1.0, 592, 0, 8),
        RequestTokens(1.5, 592, 0, 12),
        RequestTokens(95.0, 16, 84, 10),
    ]
    html = plots.tokens_over_time(
        steps, 96.0, [*requests, RequestTokens(200.0, 9, 9, 9)], [2.0, 2.1, 50.0, 300.0]
    )
    assert re.findall(r"<title>(.*?)</title>", html) == [
        "2 requests: 592 prompt, 0 approved answers, 10 conversation",
        "1 request: 16 prompt, 84 approved answers, 10 conversation",
    ]
    first, second = html.split("</g>")[:2]
    heights = [float(height) for height in re.findall(r'height="([\d.]+)"', second)]
    assert heights[1] > 5 * heights[0] and len(re.findall("<rect", first)) == 3
    assert re.findall(r'title="(\d corrections?)"', html) == ["2 corrections", "1 correction"]
    assert all(f">{name}</span>" in html for name in ("prompt", "approved answers", "conversation"))
    assert "<rect" not in plots.tokens_over_time(steps, 96.0), "nobody has asked anything yet"


@pytest.mark.parametrize("span", [1, 90, 3000, 86400, 40 * 86400, 3 * 365 * 86400])
def test_marks_of_deployments_that_are_close_do_not_cover_each_other(span: float) -> None:
    """However long the line is: they stand above each other, and the axis has few labels."""
    steps = [{"at": 1e9 + n, "tokens": 16, "label": f"v{n}"} for n in range(4)]
    html = plots.tokens_over_time(steps, 1e9 + 4 + span * 100)
    assert re.findall(r"% - (\d+)px", html) == ["0", "22", "44", "66"]
    assert len(re.findall(r'class="tick"', html)) <= 6 and html.count("<time ") >= 4


@pytest.fixture
def savings(store: Store) -> Any:
    """The Savings page of an assistant that a run has made shorter."""
    services = services_of(store)
    store.assistants.create("desk", "Desk", "chrf")
    segments = [Segment("a", SegmentKind.INSTRUCTION, text="be brief " * 200)]
    prompt = store.prompts.add("desk", segments)
    started = store.runs.start("desk", {}, "button")
    store.runs.finish(started.id, RunStatus.PROMOTED, "", REPORT)
    short = store.deployments.add(
        "desk", prompt.id, "desk-v0001", (), variant=1, prompt_tokens=16, run_id=started.id
    )
    store.deployments.activate(short.id)
    page = build(services)
    shows = {fn.fn.method.__self__.__class__.__name__: fn for fn in page.fns.values() if fn.name == "show"}
    return shows["SavingsPage"]


def test_costs_are_at_the_prices_in_the_boxes_when_the_tab_opens(savings: Any) -> None:
    page = savings.fn.method.__self__
    assert [one.elem_id for one in savings.inputs[1:]] == ["price-uncached", "price-cached"]
    costs = {
        prices: text_of(page.show(Person(), "desk", *prices)[page.cost])
        for prices in ((0.5, 0.05), (100, 10))
    }
    assert "0.008" in costs[0.5, 0.05] and "1.60" in costs[100, 10] and "1.60" not in costs[0.5, 0.05]
    assert costs[100, 10] == text_of(page.price(Person(), "desk", 100, 10))


def test_savings_show_tokens_quality_and_times(savings: Any) -> None:
    page = savings.fn.method.__self__
    update = page.show(Person(), "desk", 0.5, 0.05)
    numbers, runs = text_of(update[page.numbers]), text_of(update[page.runs])
    assert "→ 16 tokens" in numbers and "20 → 59 points" in numbers and "3.40 s → 0.30 s −91 %" in numbers
    assert "moved into the adapter desk-v0001" in numbers
    assert "592 → 16" in runs and "at 95 % confidence" in runs and "median of 12 requests" in runs


def test_savings_are_live(savings: Any, store: Store) -> None:
    """A tick sends everything anew once something was answered, swapped or trained, and nothing otherwise."""
    page, seen = savings.fn.method.__self__, [None]

    def tick() -> dict[Any, Any]:
        update = page.refresh(Person(), "desk", 0.5, 0.05, seen[-1])
        seen.append(update.get(page.state, seen[-1]))
        return update

    assert page.numbers in tick() and page.numbers not in tick()
    active = store.deployments.active("desk")
    talk = store.conversations.create("desk")
    asked = store.messages.add(talk.id, None, Role.USER, "When?")
    usage = Usage(50, 16, 0, 9, 0.25, 1.0)
    complete = MessageStatus.COMPLETE
    store.messages.add(talk.id, asked.id, Role.ASSISTANT, "At nine.", complete, active and active.id, usage)
    assert "less in 1 answer so far" in text_of(tick()[page.numbers]) and page.numbers not in tick()
    store.runs.start("desk", {}, "button")
    assert page.numbers in tick()


def test_what_cannot_be_trained_is_said_where_training_starts() -> None:
    shown = {"busy": False, "watching": True, "waiting": False, "automatic": AutomaticRetrains()}
    said = render("trainer_state.html", **shown, problem="its weights are <quantised>")
    assert "This model cannot be trained: its weights are &lt;quantised&gt;" in said and "--model" in said
    assert "cannot be trained" not in render("trainer_state.html", **shown, problem=None)
