"""What the Training page offers: the same as the commands can, and why a button is grey."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest
from review_scene import Words, services_of

from assistant.assistants import create_assistant, save_prompt
from assistant.prompt_text import parse
from assistant.web.access import Person
from assistant.web.training_page import PageState, TrainingPage
from store import Store
from store.errors import Conflict
from store.lock import WATCH, Lock
from store.records import Deployment, RunStatus

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


def edit(store: Store) -> None:
    save_prompt(store, WORDS, "desk", parse("Be very brief."))


def roll_back(store: Store) -> None:
    store.deployments.rollback("desk", "test")


def shown(page: TrainingPage) -> dict[str, Any]:
    update = page._update("desk", PageState(), forced=True)
    return {str(part.elem_id): value for part, value in update.items() if hasattr(part, "elem_id")}


@pytest.mark.parametrize(
    "acts",
    [
        [],
        [promote],
        [promote, edit],
        [edit],
        [promote, roll_back],
        [promote, promote, roll_back],
        [promote, edit, roll_back],
        [promote, edit, promote, roll_back, edit],
    ],
)
def test_the_page_offers_a_rollback_whenever_the_command_can(
    desk: Store, page: TrainingPage, acts: list[Callable[[Store], object]]
) -> None:
    for act in acts:
        act(desk)
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
    first, second = promote(desk), promote(desk)
    roll_back(desk)
    edit(desk)
    other = create_assistant(desk, WORDS, "Other", "exact", parse("Hi."), (), "other")
    html = shown(page)["rollback-bar"]
    assert f'data-id="{second.id}"' in html and "Roll back to desk-v1" in html
    served = desk.deployments.active(other.id)
    with pytest.raises(Exception, match="cannot serve again"):
        page.serve(Person(), "desk", PageState(), cast(Any, SimpleNamespace(id=served.id if served else 0)))
    page.serve(Person(), "desk", PageState(), cast(Any, SimpleNamespace(id=str(second.id))))
    active = desk.deployments.active("desk")
    assert active is not None and active.id == second.id and first.id != second.id


def watching(store: Store) -> None:
    """Said here; the test holds the lock."""


def ask(store: Store) -> None:
    store.runs.request("desk", "button")


def begin(store: Store) -> None:
    store.runs.start("desk", {}, "button")


def announce(store: Store) -> None:
    store.runs.announce("desk", time.time() + 240, "31 new rated answers")


def forbid(store: Store) -> None:
    store.runs.allow_automatic("desk", False)


@pytest.mark.parametrize(
    ("acts", "button", "works", "why"),
    [
        ([], "Train now", True, "The app runs without a trainer"),
        ([ask], "Waiting…", False, "Your request waits. The app runs without a trainer"),
        ([watching], "Train now", True, "trainer is watching"),
        ([watching, ask], "Waiting…", False, "The trainer begins in some seconds"),
        ([watching, begin], "Training…", False, "works again when this run ends"),
        ([watching, announce], "Train now", True, "31 new rated answers"),
        ([watching, announce, forbid], "Train now", True, "not by itself"),
        ([watching, forbid], "Train now", True, "not by itself"),
        ([watching, announce, begin], "Training…", False, "works again when this run ends"),
    ],
)
def test_train_now_works_or_says_why_it_does_not(
    desk: Store, page: TrainingPage, acts: list[Callable[[Store], None]], button: str, works: bool, why: str
) -> None:
    for act in acts:
        act(desk)
    with Lock(desk.path.parent, WATCH) if watching in acts else nullcontext():
        parts = shown(page)
    assert (parts["train-now"].value, parts["train-now"].interactive) == (button, works)
    assert why in parts["trainer-state"]
    if announce in acts and works and forbid not in acts:
        assert "in 4 min" in parts["trainer-state"]


def test_the_switch_is_kept_and_takes_back_what_was_announced(desk: Store, page: TrainingPage) -> None:
    announce(desk)
    page.switch(Person(), "desk", PageState(), False)
    with Store(Path(desk.path)) as again:
        assert again.runs.automatic("desk").allowed is False
        assert again.runs.automatic("desk").starts_at is None
    assert shown(page)["retrain-automatically"].value is False
    begin(desk)
    desk.runs.finish(1, RunStatus.FAILED, "", {})
    assert desk.runs.automatic("desk").allowed is False
