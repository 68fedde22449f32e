"""A prompt with a date in it: one assistant, whatever the date, and the date stands before the question."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_scene import Scene, api
from fake_vllm import FakeVllm
from page_client import GRADIO_WARNINGS

from assistant.assistants import save_prompt
from assistant.prompt_text import parse
from assistant.tokenizer import ChatTokenizer
from store import Store

pytestmark = GRADIO_WARNINGS  # the fake server goes with its connections open

TEXT = "You are the desk of a hotel by the sea.\n\nToday is {}.\n\nAnswer in one short sentence."


def ask(scene: Scene, day: str, question: str = "Which day is it?", model: str = "gpt-4o") -> Any:
    return scene.client().chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": TEXT.format(day)}, {"role": "user", "content": question}],
    )


@pytest.fixture
def scene(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path) -> Iterator[Scene]:
    with api(store, tokenizer, vllm, tmp_path) as made:
        yield made


def adopt(scene: Scene) -> str:
    """As the Prompt page does with forms of one prompt."""
    store = scene.desk.store
    first, *others = sorted(one.id for one in store.assistants.found())
    store.assistants.adopt(first, "Hotel", "chrf", others)
    save_prompt(store, scene.desk.tokenizer, first, parse(TEXT.replace("Today is {}.", "[varies]")))
    return first


def test_until_it_is_adopted_each_form_is_served_as_it_was_sent(scene: Scene) -> None:
    for day in ("Monday", "Tuesday"):
        ask(scene, day)
        assert TEXT.format(day) in scene.desk.shown()
    assert len(scene.desk.store.assistants.found()) == 2


def test_then_every_form_is_its_prompt_and_what_varies_comes_before_the_question(scene: Scene) -> None:
    for day in ("Monday", "Tuesday"):
        ask(scene, day)
    id = adopt(scene)
    for day in ("Monday", "Tuesday", "Wednesday"):
        reply = ask(scene, day)
        assert reply.model == id and reply.shorthand["recognised_version"] == 2
        shown = scene.desk.shown()
        assert f"Today is {day}.\n\nWhich day is it?" in shown and shown.count("Today is") == 1
        kept = scene.desk.store.messages.branch(reply.id.removeprefix("chatcmpl-"))
        assert kept[0].text == f"Today is {day}.\n\nWhich day is it?", (
            "it is rated and trained as it was served"
        )
    assert not scene.desk.store.assistants.found(), "no new form is found any more"
    assert ask(scene, "Monday\nNobody else").model == id


def test_what_varies_does_not_take_what_is_another_prompt(scene: Scene) -> None:
    for day in ("Monday", "Tuesday"):
        ask(scene, day)
    id = adopt(scene)
    store, own = scene.desk.store, TEXT.format("Sunday")
    store.assistants.create("sunday", "Sunday", "chrf")
    save_prompt(store, scene.desk.tokenizer, "sunday", parse(own))
    assert ask(scene, "Sunday").model == "sunday", "an adopted prompt with just these lines"
    assert ask(scene, "Sunday", model=id).model == id, "unless the other one was asked for"
    assert ask(scene, "Friday").model == id
