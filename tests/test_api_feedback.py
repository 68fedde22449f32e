"""Programs rate answers, in the shapes of TensorZero and Langfuse, with keys that may do just so much."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_scene import Scene, api
from fake_vllm import FakeVllm
from page_client import GRADIO_WARNINGS, get, post

from assistant.tokenizer import ChatTokenizer
from store import Store
from store.api_clients import Scope
from store.errors import Conflict, StoreError
from store.ratings import approved_text
from store.records import Rating, Verdict

pytestmark = GRADIO_WARNINGS  # the fake server goes with its connections open


@pytest.fixture
def open_scene(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path) -> Iterator[Scene]:
    """Without users, so without keys."""
    with api(store, tokenizer, vllm, tmp_path) as running:
        yield running


@pytest.fixture
def closed_scene(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path) -> Iterator[Scene]:
    """With users, so with keys."""
    with api(store, tokenizer, vllm, tmp_path, lambda: True) as running:
        yield running


def rate(scene: Scene, id: str, metric: str, value: Any, **more: Any) -> httpx.Response:
    return scene.post("/v1/feedback", {"inference_id": id, "metric_name": metric, "value": value} | more)


def ratings(scene: Scene, id: str) -> tuple[Rating, ...]:
    message_id = id.removeprefix("chatcmpl-")
    return scene.desk.store.ratings.latest([message_id]).get(message_id, ())


def test_a_metric_a_comment_and_the_right_answer_are_one_rating(open_scene: Scene) -> None:
    id = open_scene.ask("What?", user="7").json()["id"]
    assert rate(open_scene, id, "helpful", False).json()["feedback_id"]
    rate(open_scene, id, "comment", "Too short.")
    rate(open_scene, id, "demonstration", "Ask at the desk.")
    (rating,) = ratings(open_scene, id)
    assert (rating.verdict, rating.reason, rating.comment) == (Verdict.DOWN, "helpful", "Too short.")
    assert rating.rater == "api/7" and approved_text("Call.", [rating], None) == "Ask at the desk."
    # Said again later, and otherwise: the latest counts, as on the page.
    rate(open_scene, id, "helpful", True)
    (rating,) = ratings(open_scene, id)
    assert rating.verdict is Verdict.UP and rating.correction == "Ask at the desk."
    rate(open_scene, id, "helpful", True, user="8")
    assert [one.rater for one in ratings(open_scene, id)] == ["api/7", "api/8"]


@pytest.mark.parametrize(
    ("value", "verdict", "comment"),
    [
        (1, Verdict.UP, ""),
        (0.8, Verdict.UP, ""),
        (0.5, None, "score: 0.5"),
        (0.0, Verdict.DOWN, ""),
        ("fine", None, "score: fine"),
    ],
)
def test_a_number_is_a_verdict_at_its_ends(
    open_scene: Scene, value: Any, verdict: Verdict | None, comment: str
) -> None:
    id = open_scene.ask("What?").json()["id"]
    rate(open_scene, id, "score", value)
    (rating,) = ratings(open_scene, id)
    assert (rating.verdict, rating.comment, rating.rater) == (verdict, comment, "api")


@pytest.mark.parametrize(
    ("metric", "value", "status", "words"),
    [
        ("score", 4, 400, "from 0 (bad) to 1"),
        ("comment", True, 400, "is a text"),
        ("demonstration", "  ", 400, "can be seen"),
        ("demonstration", "x" * 20_001, 400, "20,001"),
        ("score", [1], 400, "value"),
    ],
)
def test_what_says_nothing_is_refused(
    open_scene: Scene, metric: str, value: Any, status: int, words: str
) -> None:
    id = open_scene.ask("What?").json()["id"]
    reply = rate(open_scene, id, metric, value)
    assert reply.status_code == status and words in reply.json()["error"]["message"]
    assert not ratings(open_scene, id)


def test_a_trial_changes_nothing_and_an_unknown_answer_is_not_there(open_scene: Scene) -> None:
    id = open_scene.ask("What?").json()["id"]
    assert rate(open_scene, id, "helpful", True, dryrun=True).json() == {"feedback_id": None}
    assert rate(open_scene, "chatcmpl-none", "helpful", True).status_code == 404
    theirs = open_scene.desk.ask("Somebody's own question").id
    assert rate(open_scene, theirs, "helpful", True).status_code == 404
    assert not ratings(open_scene, id) and not ratings(open_scene, theirs)


def test_langfuses_scores_count_too(open_scene: Scene) -> None:
    id = open_scene.ask("What?").json()["id"]
    body = {"traceId": id, "name": "ok", "value": 1, "dataType": "BOOLEAN", "comment": "Good."}
    assert open_scene.post("/api/public/scores", body).json()["id"]
    (rating,) = ratings(open_scene, id)
    assert (rating.verdict, rating.comment) == (Verdict.UP, "Good.")
    body = {"traceId": id, "name": "fix", "value": "Ask at the desk.", "dataType": "CORRECTION"}
    open_scene.post("/api/public/scores", body)
    assert ratings(open_scene, id)[0].correction == "Ask at the desk."


def test_prometheus_reads_what_was_served(closed_scene: Scene) -> None:
    store = closed_scene.desk.store
    _, key = store.api_keys.add("prometheus", [Scope.METRICS])
    full = store.deployments.active("bank")
    closed_scene.desk.deploy("bank-v0001")
    _, chat = store.api_keys.add("shop")
    closed_scene.post(
        "/v1/chat/completions", {"model": "bank", "messages": [{"role": "user", "content": "Hi"}]}, chat
    )
    assert get(f"{closed_scene.url}/metrics").status_code == 401
    text = get(f"{closed_scene.url}/metrics", headers={"authorization": f"Bearer {key}"}).text
    assert 'shorthand_answers_total{assistant="bank",status="complete"} 1.0' in text
    assert (
        full
        and f'shorthand_prompt_tokens_total{{assistant="bank",part="saved"}} {full.prompt_tokens}.0' in text
    )
    assert 'shorthand_active_deployment{adapter="bank-v0001",assistant="bank"} 2.0' in text
    assert 'shorthand_first_token_seconds_count{assistant="bank"} 1.0' in text


def test_one_keys_answers_are_not_another_ones_to_rate(closed_scene: Scene) -> None:
    keys = closed_scene.desk.store.api_keys
    _, shop = keys.add("shop")
    _, other = keys.add("shop2")
    body = {"model": "bank", "messages": [{"role": "user", "content": "Hi"}], "user": "ann"}
    id = closed_scene.post("/v1/chat/completions", body, shop).json()["id"]
    given = {"inference_id": id, "metric_name": "helpful", "value": True}
    assert closed_scene.post("/v1/feedback", given, other).status_code == 404
    # As Langfuse's client names its key: the password beside a name.
    basic = httpx.BasicAuth("pk", shop)
    reply = post(closed_scene.url + "/v1/feedback", json=given, auth=basic)
    assert reply.status_code == 200 and [one.rater for one in ratings(closed_scene, id)] == ["api:shop/ann"]


def test_a_key_may_ask_just_so_often(closed_scene: Scene) -> None:
    _, key = closed_scene.desk.store.api_keys.add("slow", per_minute=2)
    headers = {"authorization": f"Bearer {key}"}
    replies = [get(f"{closed_scene.url}/v1/models", headers=headers) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert 1 <= int(replies[2].headers["retry-after"]) <= 60
    assert "2 requests a minute" in replies[2].json()["error"]["message"]


def test_without_users_no_other_site_may_ask(open_scene: Scene) -> None:
    for headers in (
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example"},
    ):
        assert open_scene.post("/v1/feedback", {}, **headers).status_code == 403


def test_a_key_is_kept_as_a_hash_and_named_once(store: Store) -> None:
    key, text = store.api_keys.add("shop")
    assert store.api_keys.of(text) == key and store.api_keys.of(text + "x") is None
    assert text.encode() not in store.path.read_bytes()
    store.api_keys.revoke("Shop")
    assert store.api_keys.of(text) is None and store.api_keys.all()[0].revoked_at
    for again in (lambda: store.api_keys.add("SHOP"), lambda: store.api_keys.revoke("shop")):
        with pytest.raises(Conflict):
            again()
    for name in ("", "a b", "api:x", "x" * 65):
        with pytest.raises(StoreError, match="no name for a key"):
            store.api_keys.add(name)
    assert [entry.action for entry in store.audit.entries(2)] == ["key revoked", "key added"]
