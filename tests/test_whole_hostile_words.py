"""Words that no keyboard types and words without end, through every event of every page: kept as they are, or refused.

Each event is called over HTTP with the text wherever it takes one, as somebody who may do everything. Nothing may fail
without a message (an answer of status 500, which Gradio also sends as `"success":false` without a reason), the store
stays sound, and memory bounded.
"""

import ctypes
import gc
import json
from collections.abc import Iterator
from typing import Any

import gradio as gr
import psutil
import pytest
from fake_vllm import FakeVllm
from page_client import GRADIO_WARNINGS, PageClient, events_of, page_name, value_of
from review_scene import answering

from assistant.limits import MAX_MESSAGE_CHARACTERS
from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import Role

pytestmark = GRADIO_WARNINGS

STRANGE = {
    "half a character": "one \ud83d half",
    "NUL": "before\x00after",
    "right-to-left marks": "\u202egnp.exe\u202c and \u2067left\u2069 \u200f",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028\ufeff\ufffe",
    "combining marks": "e" + "\u0301" * 500,
}
ENDLESS = {
    "a million combining marks": "e" + "\u0301" * 1_000_000,
    "3 MB of words": "word " * 600_000,
    "10 MB": "x" * 10_000_000,
}
EVERYWHERE = {
    "all of it at once": " ".join(text for kind, text in STRANGE.items() if kind != "NUL"),
    "NUL": STRANGE["NUL"],  # which is refused, and would hide what becomes of the others
}
UNSTORABLE = {"NUL": "a NUL character"}  # and how that is said
_MOST_MIB = 300  # that memory may grow by, over all the events that a text is given to


class Scene:
    """A page for local use, a conversation with an answer, and a client."""

    def __init__(self, store: Store, url: str, page: gr.Blocks):
        self.store, self.page, self.client = store, page, PageClient(url)
        self.asked = store.conversations.start("desk", "Where is it?")
        self.answer = store.messages.add(self.asked.conversation_id, self.asked.id, Role.ASSISTANT, "Here.")
        welcome = next(f for f in self.functions() if f.name == "welcome")
        assert "desk" in self.client.call(welcome, [None])  # gives the tab its choice of assistants

    def functions(self) -> list[Any]:
        return events_of(self.page)

    def ask(self, text: str) -> str:
        ask = next(f for f in self.functions() if (page_name(f), f.name) == ("ChatPage", "ask"))
        return self.client.call(ask, [text, "desk", None, None])

    def call(self, function: Any, text: str, everywhere: bool) -> str:
        """What comes back of the text in every box and field of the event, or in one: the door lets 4 MiB in."""
        data, free = [], True
        for component in function.inputs:
            is_box = isinstance(component, gr.Textbox)
            words = text if free else "typed words"
            data.append(value_of(component, self.asked.conversation_id, words))
            free = everywhere or (free and not is_box)
        one = "title" if function.name == "rename" else "text"
        fields = (
            ("text", "title", "comment", "correction", "reason", "name", "query") if everywhere else (one,)
        )
        hostile = dict.fromkeys(fields, text) if free else {}
        in_list = function.name in ("open", "rename", "remove")
        event = {"id": self.asked.conversation_id if in_list else self.answer.id, "verdict": "down"}
        return self.client.call(function, data, event | {"do": "correct", "count": 1, **hostile})


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, tokenizer: ChatTokenizer) -> Iterator[Scene]:
    vllm = FakeVllm(answer=lambda model, ids: "an answer of few words")
    path = tmp_path_factory.mktemp("words") / "shorthand.sqlite"
    with Store(path) as store, answering(store, tokenizer, vllm) as (url, page):
        made = Scene(store, url, page)
        yield made
        made.client.close()


@pytest.mark.parametrize("kind", ["all of it at once", "NUL", "a million combining marks"])
def test_no_event_fails_without_a_message(scene: Scene, kind: str) -> None:
    gc.collect()
    before, process = psutil.Process().memory_info().rss, psutil.Process()
    failed, functions = [], scene.functions()
    for function in functions:
        said = scene.call(function, EVERYWHERE.get(kind) or ENDLESS[kind], everywhere=kind in EVERYWHERE)
        if any(status >= 500 for status in scene.client.statuses) or _without_a_message(said):
            failed.append((page_name(function), function.name, said[-600:]))
        scene.client.statuses.clear()
    assert not failed and len(functions) > 35
    gc.collect()
    # What was freed and is kept for later is no growth: without this 236 MiB, beside other tests 309; with it 84.
    ctypes.CDLL(None).malloc_trim(0)
    assert (process.memory_info().rss - before) / 2**20 < _MOST_MIB
    assert scene.store.maintenance.check() == []


@pytest.mark.parametrize("kind", [kind for kind in STRANGE if kind not in UNSTORABLE])
def test_strange_words_are_kept_and_shown_as_they_are(scene: Scene, kind: str) -> None:
    text = f"{STRANGE[kind]} {kind}"
    scene.ask(text)
    newest = scene.store.conversations.all("desk", source="chat")[0]
    question, answer = scene.store.messages.thread(newest.id)
    whole = text.replace("\ud83d", "\ufffd")  # as a browser's forms send it
    assert question.text == whole and answer.text == "an answer of few words"


@pytest.mark.parametrize("kind", [*UNSTORABLE, *ENDLESS])
def test_what_cannot_be_kept_is_refused_and_leaves_no_trace(scene: Scene, kind: str) -> None:
    before = scene.store.conversations.all("desk", source="chat")
    said = scene.ask((STRANGE | ENDLESS)[kind])
    if kind in UNSTORABLE:
        assert UNSTORABLE[kind] in said
    else:
        assert f"at most {MAX_MESSAGE_CHARACTERS:,} fit" in said or scene.client.statuses == [413]
    assert scene.store.conversations.all("desk", source="chat") == before
    scene.client.statuses.clear()


def _without_a_message(said: str) -> bool:
    """Gradio hides what it did not expect: an event that failed, and no reason."""
    events = [json.loads(line[6:]) for line in said.split("\n") if line.startswith("data: ")]
    ends = [event for event in events if event["msg"] == "process_completed"]
    return any(not end["success"] and not end["output"].get("error") for end in ends)
