"""Programs find again what they were answered, by model and metadata, page by page."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from api_scene import Scene, api
from fake_vllm import FakeVllm
from page_client import GRADIO_WARNINGS, get

from assistant.tokenizer import ChatTokenizer
from store import Store
from store.api_clients import Scope

pytestmark = GRADIO_WARNINGS


@pytest.fixture
def scene(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path) -> Iterator[Scene]:
    with api(store, tokenizer, vllm, tmp_path) as running:
        yield running


def ask(client: openai.OpenAI, text: str, metadata: dict[str, str] | None = None, n: int = 1) -> str:
    messages = [{"role": "user", "content": text}]
    made = client.chat.completions.create(model="bank", messages=messages, metadata=metadata, store=True, n=n)
    return str(made.id)


def test_a_stored_completion_has_its_answer_its_cost_and_its_turns(scene: Scene) -> None:
    client = scene.client()
    id = ask(client, "What do I do?", {"ticket": "7"})
    found = client.chat.completions.retrieve(id)
    assert found.choices[0].message.content == "Call the front desk." and found.model == "bank"
    assert found.metadata == {"ticket": "7"} and found.usage and found.usage.prompt_tokens > 0
    turns = list(client.chat.completions.messages.list(id))
    assert [(one.role, one.content) for one in turns] == [("user", "What do I do?")]


def test_they_are_listed_page_by_page_in_either_order(scene: Scene) -> None:
    client = scene.client()
    ids = [ask(client, f"Question {n}") for n in range(3)]
    client.chat.completions.create(
        model="bank", messages=[{"role": "user", "content": "Several"}], store=True, n=3
    )
    client.chat.completions.create(
        model="bank", messages=[{"role": "user", "content": "Not kept"}], store=False
    )
    everything = [one.id for one in client.chat.completions.list(limit=2)]  # the client asks for all pages
    assert everything[:3] == ids and len(everything) == len(set(everything)) == 6
    assert [one.id for one in client.chat.completions.list(limit=4, order="desc")] == everything[::-1]


def test_metadata_and_model_choose_among_them_and_can_be_changed(scene: Scene) -> None:
    client = scene.client()
    first = ask(client, "One", {"ticket": "7", "team": 'a"b'})
    second = ask(client, "Two", {"ticket": "8"})
    ask(client, "Three")

    def found(**wanted: str) -> list[str]:
        return [one.id for one in client.chat.completions.list(metadata=wanted)]

    assert found(ticket="7") == found(team='a"b') == found(ticket="7", team='a"b') == [first]
    assert found(ticket="8") == [second] and found(ticket="7", team="c") == found(other="7") == []
    assert client.chat.completions.update(second, metadata={"ticket": "7"}).metadata == {"ticket": "7"}
    assert found(ticket="7") == [first, second]
    assert not list(client.chat.completions.list(model="another"))
    assert len(list(client.chat.completions.list(model="bank"))) == 3


def test_a_key_sees_what_its_users_asked(
    store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path
) -> None:
    with api(store, tokenizer, vllm, tmp_path, key_required=lambda: True) as scene:
        mine = scene.client(store.api_keys.add("shop", (Scope.CHAT,))[1])
        id = ask(mine, "Mine")
        made = mine.chat.completions.create(
            model="bank", messages=[{"role": "user", "content": "Of a user"}], user="ann", store=True
        )
        assert [one.id for one in mine.chat.completions.list()] == [id, made.id]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("order=up", "order"),
        ("&".join(f"metadata[{n}]=x" for n in range(17)), "metadata"),
    ],
)
def test_a_page_that_cannot_be_is_refused(scene: Scene, query: str, field: str) -> None:
    reply = get(f"{scene.url}/v1/chat/completions?{query}")
    assert reply.status_code == 400 and reply.json()["error"]["param"] == field


@pytest.mark.parametrize(
    "metadata", [{"a": 1}, {"k" * 65: "v"}, {"k": "v" * 513}, {str(n): "v" for n in range(17)}, "text"]
)
def test_metadata_out_of_bounds_is_refused(scene: Scene, metadata: object) -> None:
    reply = scene.ask("Hi", metadata=metadata)
    assert reply.status_code == 400 and reply.json()["error"]["param"].startswith("metadata")
