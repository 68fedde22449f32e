"""Who may do what through the API: every route, by keys of each scope and of people in each role, on another's things.

Nothing of another's may come back, and nothing of it may change.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_scene import Scene, api
from fake_vllm import FakeVllm
from page_client import GRADIO_WARNINGS, HTTP, cheap_passwords

from assistant.api.endpoint import Endpoint
from assistant.request_log import PROBES
from assistant.tokenizer import ChatTokenizer
from store import Store
from store.accounts import UserRole
from store.api_clients import USUAL, Scope
from store.sqlite import sqlite3

pytestmark = GRADIO_WARNINGS

SECRET = "zanzibar"  # in all that Ann sent, and in nothing else
ASKED = {"model": "bank", "messages": [{"role": "user", "content": f"Where is {SECRET}?"}], "store": True}
FILE = b'{"messages": [{"role": "user", "content": "zanzibar?"}, {"role": "assistant", "content": "zanzibar!"}]}\n'
PEOPLE = {"ann": UserRole.ADMIN, "mal": UserRole.ADMIN, "rev": UserRole.REVIEWER, "low": UserRole.USER}
HERS = ("conversations", "messages", "ratings", "api_files", "api_jobs")


class Matrix:
    """A running API, a key of each person and of an app for each scope, and what Ann made with hers."""

    def __init__(self, scene: Scene, routes: list[tuple[str, str, Scope]]):
        self.scene, self.store, self.routes = scene, scene.desk.store, routes
        keys = self.store.api_keys
        self.of_person = {name: keys.add(f"{name}-key", Scope, user=name)[1] for name in PEOPLE}
        self.of_app = {scope: keys.add(f"app-{scope}", [scope])[1] for scope in Scope}
        ann = self.scene.client(self.of_person["ann"])
        made = ann.chat.completions.create(**ASKED)
        file = ann.files.create(file=("zanzibar.jsonl", FILE), purpose="fine-tune").id
        job = ann.fine_tuning.jobs.create(training_file=file, model="bank").id
        self.answer, self.file, self.ids = made.id, file, (made.id, file, job)

    def call(self, method: str, path: str, key: str | None, body: Any = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.request(method, self.scene.url + path, headers=headers, json=body, **HTTP)

    def body(self, path: str) -> dict[str, Any]:
        """One that names what is Ann's, wherever a route takes an id."""
        named = {"inference_id": self.answer, "metric_name": "ok", "value": True, "metadata": {"a": "b"}}
        return named | {"traceId": self.answer, "name": "ok", "training_file": self.file, "model": "none"}

    def anns(self) -> dict[str, list[Any]]:
        with closing(sqlite3.connect(self.store.path)) as file:
            return {table: file.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in HERS}


@pytest.fixture(scope="module")
def matrix(tokenizer: ChatTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    folder, vllm = tmp_path_factory.mktemp("matrix"), FakeVllm()
    with cheap_passwords(), vllm.serving(), Store(folder / "shorthand.sqlite") as store:
        for name, role in PEOPLE.items():
            store.users.add(name, role, f"password of {name}")
        with api(store, tokenizer, vllm, Path(folder), key_required=lambda: True) as scene:
            open_to_all = [one.path for one in scene.routes if not isinstance(one.endpoint, Endpoint)]
            assert open_to_all == list(PROBES)
            routes = [
                (method, one.path.replace(":path", ""), one.endpoint.scope)
                for one in scene.routes
                if isinstance(one.endpoint, Endpoint)
                for method in sorted({*(one.methods or ["GET"])} - {"HEAD"})
            ]
            assert len(routes) > 25 and {scope for *_, scope in routes} == {*Scope}
            yield Matrix(scene, routes)


def test_every_route_needs_a_key_that_may(matrix: Matrix) -> None:
    for method, path, needed in matrix.routes:
        where = (method, path.format(id="none", name="none"))
        for key in (None, "sh-made-up"):
            reply = matrix.call(*where, key)
            assert reply.status_code == 401 and reply.json()["error"]["code"] == "invalid_api_key", where
        for scope, key in matrix.of_app.items():
            assert (matrix.call(*where, key).status_code in (401, 403)) is (scope is not needed), (
                where,
                scope,
            )


def test_a_persons_key_may_at_most_what_the_role_may(matrix: Matrix) -> None:
    for method, path, needed in matrix.routes:
        for name, role in PEOPLE.items():
            reply = matrix.call(method, path.format(id="none", name="none"), matrix.of_person[name])
            may = role is UserRole.ADMIN or needed in USUAL
            assert (reply.status_code == 403) is not may, (method, path, name)
    # A new role holds from the next request on, and a key ends with its person.
    users, key = matrix.store.users, matrix.of_person["low"]
    users.change_role("low", UserRole.ADMIN)
    assert matrix.call("GET", "/v1/files", key).status_code == 200
    users.remove("low")
    assert matrix.call("GET", "/v1/models", key).status_code == 401
    matrix.store.users.add("low", UserRole.USER, "password of low")
    assert matrix.call("GET", "/v1/models", key).status_code == 401


def test_the_owner_gets_all_of_it_through_the_same_calls(matrix: Matrix) -> None:
    """Or that others get nothing would prove nothing."""
    key = matrix.of_person["ann"]
    shown = [
        matrix.call(method, path.format(id=id, name="x"), key)
        for method, path, _ in matrix.routes
        for id in matrix.ids
        if method == "GET" and "{id}" in path
    ]
    assert sum(reply.status_code == 200 for reply in shown) == 7
    assert sum(SECRET in reply.text for reply in shown) >= 3
    assert matrix.call("POST", "/v1/feedback", key, matrix.body("")).status_code == 200


@pytest.mark.parametrize("attacker", ["mal", "rev", *Scope])
def test_no_route_shows_or_changes_what_is_anothers(matrix: Matrix, attacker: str) -> None:
    key = matrix.of_person[attacker] if attacker in PEOPLE else matrix.of_app[Scope(attacker)]
    before = matrix.anns()
    for method, path, _ in matrix.routes:
        if path == "/v1/keys":
            continue  # an admin's own work
        for id in matrix.ids if "{id}" in path else ("",):
            reply = matrix.call(method, path.format(id=id, name="none"), key, matrix.body(path))
            assert SECRET not in reply.text, (method, path, attacker)
            assert "{id}" not in path or reply.status_code in (400, 403, 404), (method, path, attacker)
            assert matrix.anns() == before, (method, path, attacker)


def test_what_a_person_asks_through_the_api_is_that_persons(matrix: Matrix) -> None:
    asked = {"model": "bank", "messages": [{"role": "user", "content": "Hi"}], "user": "4711"}
    id = matrix.call("POST", "/v1/chat/completions", matrix.of_person["rev"], asked).json()["id"]
    body = {"inference_id": id, "metric_name": "ok", "value": True, "user": "4712"}
    assert matrix.call("POST", "/v1/feedback", matrix.of_person["rev"], body).status_code == 200
    message = matrix.store.messages.get(id.removeprefix("chatcmpl-"))
    assert (
        matrix.store.conversations.get(message.conversation_id).owner == "rev"
    )  # one rater, whatever is said
    assert [one.rater for one in matrix.store.ratings.all(message.id)] == ["rev"]


def test_an_admins_program_makes_and_revokes_keys(matrix: Matrix) -> None:
    admin = matrix.of_app[Scope.ADMIN]
    made = matrix.call("POST", "/v1/keys", admin, {"name": "till", "scopes": ["chat"], "user": "Rev"}).json()
    assert made["user"] == "rev" and made["scopes"] == ["chat"]
    assert matrix.call("GET", "/v1/models", made["value"]).status_code == 200
    listed = matrix.call("GET", "/v1/keys", admin)
    assert "till" in [one["name"] for one in listed.json()["data"]] and made["value"] not in listed.text
    assert matrix.call("DELETE", "/v1/keys/till", admin).json()["revoked_at"]
    assert matrix.call("GET", "/v1/models", made["value"]).status_code == 401
    entries = [(one.actor, one.action) for one in matrix.store.audit.entries(2)]
    assert entries == [("api:app-admin", "key revoked"), ("api:app-admin", "key added")]
    for body, status in (
        ({"name": "till"}, 400),
        ({"name": "x", "user": "nobody"}, 404),
        ({"name": "a b"}, 400),
    ):
        assert matrix.call("POST", "/v1/keys", admin, body).status_code == status, body
