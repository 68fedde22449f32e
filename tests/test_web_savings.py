"""What the Savings page draws and counts."""

import re
from typing import Any

import gradio as gr
import pytest
from review_scene import services_of, text_of
from test_web_runs import REPORT

from assistant.web import plots
from assistant.web.access import Person
from assistant.web.savings_page import SavingsPage, served
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

pytestmark = pytest.mark.usefixtures("event_loops")


def test_the_step_line_says_what_served_when() -> None:
    known = [
        Deployment(1, "a", 1, None, (), 0, 592, DeploymentStatus.RETIRED, 0.0),
        Deployment(2, "a", 1, "desk-v0001", (), 4, 16, DeploymentStatus.ACTIVE, 0.0),
    ]
    times = [Activation(1, 0.0, "first"), Activation(2, 5.0, "run"), Activation(1, 9.0, "rollback: x")]
    steps = served(times, known)
    base, short = "base model: 592 tokens", "desk-v0001: 16 tokens"
    assert [step["label"] for step in steps] == [base, short, f"{base} (rollback)"]
    html = plots.tokens_over_time(steps, 100.0)
    assert html.count(short) == 2, "at its mark and in the list"
    assert [float(left) for left in re.findall(r'class="dot" style="left:([\d.]+)%', html)] == [0, 5, 9]
    tops = re.findall(r"top:calc\(([\d.]+)% - (\d+)px\)", html)
    assert [lift for _, lift in tops] == ["0", "0", "0"] and tops[0] == tops[2] != tops[1]


def test_what_requests_cost_stands_behind_the_step_line_by_part() -> None:
    steps = [{"at": 0.0, "tokens": 592, "label": "base model"}, {"at": 48.0, "tokens": 16, "label": "v1"}]
    costs = [(1.0, 592, 0, 8), (1.5, 592, 0, 12), (95.0, 16, 84, 10), (200.0, 9, 9, 9)]
    requests = [RequestTokens(*cost) for cost in costs]
    html = plots.tokens_over_time(steps, 96.0, requests, [2.0, 2.1, 50.0, 300.0])
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
def page(store: Store) -> SavingsPage:
    """Of an assistant that a run has made shorter."""
    store.assistants.create("desk", "Desk", "chrf")
    prompt = store.prompts.add("desk", [Segment("a", SegmentKind.INSTRUCTION, text="be brief " * 200)])
    started = store.runs.start("desk", {}, "button")
    store.runs.finish(started.id, RunStatus.PROMOTED, "", REPORT)
    short = store.deployments.add("desk", prompt.id, "desk-v0001", (), 1, 16, started.id)
    store.deployments.activate(short.id)
    with gr.Blocks():
        return SavingsPage(services_of(store), gr.Dropdown())


def test_costs_are_at_the_prices_in_the_boxes_when_the_tab_opens(page: SavingsPage) -> None:
    assert [one.elem_id for one in page.here[1:]] == ["price-uncached", "price-cached"]
    usual, dear = (
        text_of(page.show(Person(), "desk", *prices)[page.cost]) for prices in ((0.5, 0.05), (100, 10))
    )
    assert "0.008" in usual and "1.60" in dear and "1.60" not in usual
    assert dear == text_of(page.price(Person(), "desk", 100, 10))


def test_after_a_second_saving_all_is_compared_with_the_whole_prompt(page: SavingsPage, store: Store) -> None:
    """As the tokens are: what the first saving left is a row of the table."""
    second, prompt = store.runs.start("desk", {}, "button"), store.prompts.latest("desk")
    report = REPORT | {"before": {"prompt_tokens": 203, "quality": {"mean": 0.49}}}
    store.runs.finish(second.id, RunStatus.PROMOTED, "", report)
    shorter = store.deployments.add("desk", prompt.id, "desk-v0002", (), 1, 16, second.id)
    store.deployments.activate(shorter.id)
    shown = page.show(Person(), "desk", 0.5, 0.05)
    assert "20 → 59 points" in text_of(shown[page.numbers])
    assert "203 → 16 49 points 59 points" in text_of(shown[page.runs])


def test_what_is_answered_without_the_model_is_said_and_has_no_times(page: SavingsPage, store: Store) -> None:
    run, prompt = store.runs.start("desk", {}, "button"), store.prompts.latest("desk")
    store.runs.finish(run.id, RunStatus.PROMOTED, "", {**REPORT, "probe": None})
    copies = store.deployments.add("desk", prompt.id, None, ("a",), 1, 9, run.id, copy_at=0.6)
    store.deployments.activate(copies.id)
    shown = text_of(page.show(Person(), "desk", 0.5, 0.05)[page.numbers])
    assert "→ 9 tokens" in shown and "takes no tokens at all" in shown and "3.40 s" not in shown


def test_savings_show_tokens_quality_and_times_and_are_live(page: SavingsPage, store: Store) -> None:
    """A tick sends everything anew once something was answered, swapped or trained, and nothing otherwise."""
    seen: list[Any] = [None]

    def tick() -> str:
        update = page.refresh(Person(), "desk", 0.5, 0.05, seen[-1])
        seen.append(update.get(page.state, seen[-1]))
        return text_of(update.get(page.numbers, "") + update.get(page.runs, ""))

    shown = tick()
    assert "→ 16 tokens" in shown and "20 → 59 points" in shown and "3.40 s → 0.30 s −91 %" in shown
    assert "moved into the adapter desk-v0001" in shown
    assert "592 → 16" in shown and "at 95 % confidence" in shown and "median of 12 requests" in shown
    assert tick() == ""
    asked, active = store.conversations.start("desk", "When?"), store.deployments.active("desk")
    usage = Usage(50, 16, 0, 9, 0.25, 1.0)
    given = MessageStatus.COMPLETE, active and active.id, usage
    store.messages.add(asked.conversation_id, asked.id, Role.ASSISTANT, "At nine.", *given)
    assert "less in 1 answer so far" in tick() and tick() == ""
    store.runs.start("desk", {}, "button")
    assert tick() != ""
