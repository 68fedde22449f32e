"""What the Savings page draws and counts."""

import re
from typing import Any

import pytest
from review_scene import services_of, text_of
from test_web_runs import REPORT

from assistant.web import plots
from assistant.web.access import Person
from assistant.web.app import build
from assistant.web.markup import render
from assistant.web.savings_page import served
from store import Store
from store.answers import RequestTokens
from store.records import (
    Activation,
    Deployment,
    DeploymentStatus,
    MessageStatus,
    Role,
    RunStatus,
    Segment,
    SegmentKind,
    Usage,
)
from store.runs import AutomaticRetrains

pytestmark = pytest.mark.usefixtures("event_loops")


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
