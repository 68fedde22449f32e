"""What the Training page offers: the same as the commands can, and why a button is grey."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest
from review_scene import Words, services_of, text_of

from assistant.assistants import create_assistant, save_prompt
from assistant.prompt_text import parse
from assistant.web.access import Person
from assistant.web.markup import render
from assistant.web.training_page import PageState, TrainingPage
from store import Store
from store.errors import Conflict
from store.lock import WATCH, Lock
from store.records import Deployment
from store.runs import AutomaticRetrains

pytestmark = pytest.mark.usefixtures("event_loops")

WORDS = cast(Any, Words())


@pytest.fixture
def desk(store: Store) -> Store:
    create_assistant(store, WORDS, "Desk", "exact", parse("Be brief."), (), "desk")
    return store


@pytest.fixture
def page(desk: Store) -> TrainingPage:
    """This page alone; all of them take a second to build."""
    with gr.Blocks():
        return TrainingPage(services_of(desk), gr.Dropdown())


def promote(store: Store) -> Deployment:
    prompt = store.prompts.latest("desk")
    number = len(store.deployments.all("desk"))
    made = store.deployments.add("desk", prompt.id, f"desk-v{number}", (), variant=1, prompt_tokens=0)
    return store.deployments.activate(made.id)


ACTS: dict[str, Callable[[Store], object]] = {
    "promote": promote,
    "edit": lambda store: save_prompt(store, WORDS, "desk", parse("Be very brief.")),
    "rollback": lambda store: store.deployments.rollback("desk", "test"),
    "watch": lambda store: None,  # the test holds the lock
    "ask": lambda store: store.runs.request("desk", "button"),
    "begin": lambda store: store.runs.start("desk", {}, "button"),
    "announce": lambda store: store.runs.announce("desk", time.time() + 240, "31 new rated answers"),
    "forbid": lambda store: store.runs.allow_automatic("desk", False),
}


def shown(page: TrainingPage) -> dict[str, Any]:
    update = page._update("desk", PageState(), forced=True)
    return {str(part.elem_id): value for part, value in update.items() if hasattr(part, "elem_id")}


@pytest.mark.parametrize(
    "acts",
    [
        "",
        "promote",
        "promote edit",
        "edit",
        "promote rollback",
        "promote promote rollback",
        "promote edit rollback",
        "promote edit promote rollback edit",
    ],
)
def test_the_page_offers_a_rollback_whenever_the_command_can(
    desk: Store, page: TrainingPage, acts: str
) -> None:
    for act in acts.split():
        ACTS[act](desk)
    html = shown(page)["rollback-bar"]
    expected = desk.deployments.replaced("desk")
    assert ('id="rollback-confirm"' in html) is (expected is not None)
    if expected is None:
        with pytest.raises(Conflict):
            desk.deployments.rollback("desk", "as the command")
    else:
        assert desk.deployments.rollback("desk", "as the command").id == expected.id


def test_what_served_before_can_serve_again(desk: Store, page: TrainingPage) -> None:
    """Also after a rollback and after a saved prompt; not what was refused, or another assistant's."""
    _, second = promote(desk), promote(desk)
    ACTS["rollback"](desk)
    ACTS["edit"](desk)
    other = create_assistant(desk, WORDS, "Other", "exact", parse("Hi."), (), "other")
    html = shown(page)["rollback-bar"]
    assert f'data-id="{second.id}"' in html and "Roll back to desk-v1, no prompt" in html
    served = desk.deployments.active(other.id)
    with pytest.raises(Exception, match="cannot serve again"):
        page.serve(Person(), "desk", PageState(), cast(Any, SimpleNamespace(id=served and served.id)))
    page.serve(Person(), "desk", PageState(), cast(Any, SimpleNamespace(id=str(second.id))))
    active = desk.deployments.active("desk")
    assert active is not None and active.id == second.id


@pytest.mark.parametrize(
    ("acts", "button", "why"),
    [
        ("", "Train now", "The app runs without a trainer"),
        ("ask", "Waiting…", "Your request waits. The app runs without a trainer"),
        ("watch", "Train now", "trainer is watching"),
        ("watch ask", "Waiting…", "The trainer begins in some seconds"),
        ("watch begin", "Training…", "works again when this run ends"),
        ("watch announce", "Train now", "in 4 min 31 new rated answers"),
        ("watch announce forbid", "Train now", "not by itself"),
        ("watch forbid", "Train now", "not by itself"),
        ("watch announce begin", "Training…", "works again when this run ends"),
    ],
)
def test_train_now_works_or_says_why_it_does_not(
    desk: Store, page: TrainingPage, acts: str, button: str, why: str
) -> None:
    for act in acts.split():
        ACTS[act](desk)
    with Lock(desk.path.parent, WATCH) if "watch" in acts else nullcontext():
        parts = shown(page)
    train = parts["train-now"]
    assert (train.value, train.interactive) == (button, button == "Train now")
    assert why in text_of(parts["trainer-state"])


def test_the_switch_is_kept_and_takes_back_what_was_announced(desk: Store, page: TrainingPage) -> None:
    ACTS["announce"](desk)
    page.switch(Person(), "desk", PageState(), False)
    with Store(desk.path) as again:
        kept = again.runs.automatic("desk")
    assert (kept.allowed, kept.starts_at) == (False, None)
    assert shown(page)["retrain-automatically"].value is False


def test_what_cannot_be_trained_is_said_where_training_starts() -> None:
    seen = SimpleNamespace(busy=False, watching=True, waiting=False, automatic=AutomaticRetrains())
    problems = ["its weights are <quantised>", None]
    said, nothing = (
        render("trainer_state.html", seen=seen, services=SimpleNamespace(model_problem=lambda one=one: one))
        for one in problems
    )
    assert "This model cannot be trained: its weights are &lt;quantised&gt;" in said and "--model" in said
    assert "cannot be trained" not in nothing


def test_what_the_trainer_said_last_is_shown_where_it_does_not_answer(
    desk: Store, page: TrainingPage
) -> None:
    assert "The app runs without a trainer. Start" in text_of(shown(page)["trainer-state"])
    page._services = replace(page._services, trainer_expected=True)
    assert "The trainer does not answer. Start" in text_of(shown(page)["trainer-state"])
    page._services.trainer_lines.append("<b>no memory</b>")
    assert "not answer; it said last: “&lt;b&gt;no memory&lt;/b&gt;”. Start" in shown(page)["trainer-state"]
