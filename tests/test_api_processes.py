"""A further process that answers programs, beside the app."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from waiting import PATIENCE_S, wait_for

from assistant.embedding import default_model
from assistant.serving import ServerAddress
from benchmarks.processes import AppProcess, FakeServer, answers
from store import Store
from store.accounts import UserRole

API = "-m", "assistant.api"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who is there?"}]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def asked(process: AppProcess) -> httpx.Response:
    return httpx.post(f"{process.url}/v1/chat/completions", json={"model": "base", "messages": MESSAGES})


def test_it_answers_from_the_same_store_and_goes_on_without_the_app(
    tmp_path: Path, fake: FakeServer, tiny_model: Path
) -> None:
    options = "--vllm-url", fake.url, "--model", str(tiny_model), "--no-trainer"
    with ExitStack() as stack:
        app = stack.enter_context(AppProcess(tmp_path, *options))
        app.wait_for_page()
        api = stack.enter_context(AppProcess(tmp_path, program=API))
        assert wait_for(lambda: answers(api.url, "/readyz")) and wait_for(lambda: answers(app.url, "/readyz"))
        first, second = asked(app).json(), asked(api).json()
        assert second["choices"] == first["choices"]
        # What the one found as a prompt, the other one knows.
        assert first["model"] == second["model"] != "base"
        page = httpx.get(api.url)
        assert page.status_code == 404 and "app's own port" in page.text
        app.stop()
        assert asked(api).status_code == 200
        with Store(tmp_path / "shorthand.sqlite") as store:
            kept = [one for full in store.transfer.conversations(first["model"]) for one in full.messages]
            assert len(kept) == 6 and {one.status for one in kept} == {"complete"}
            # A store that has users wants a key, from the next request on.
            store.users.add("ann", UserRole.ADMIN, "correct horse")
        assert asked(api).status_code == 401
        replace(ServerAddress.read(tmp_path), model_dir="another").write(tmp_path)
        assert api.process.wait(PATIENCE_S) == 2 and "Start this process again" in api.output()
    assert (tmp_path / "logs" / f"requests-{api.port}.log").read_text().count("/v1/chat/completions") == 3


@pytest.mark.parametrize("trouble", ["no app", "taken port", "open to others"])
def test_what_is_wrong_is_said_at_once(
    tmp_path: Path, fake: FakeServer, tiny_model: Path, trouble: str
) -> None:
    said = {
        "no app": "Start the app there first",
        "taken port": "is taken",
        "open to others": "would open the page",
    }
    Store(tmp_path / "shorthand.sqlite").close()
    if trouble != "no app":
        ServerAddress((fake.url,), None, str(tiny_model), 2048, str(default_model()), 256).write(tmp_path)
    options = {"open to others": ["--host", "0.0.0.0"], "taken port": ["--port", str(fake.port)]}
    with AppProcess(tmp_path, *options.get(trouble, ()), program=API) as api:
        assert api.process.wait(PATIENCE_S) == 2
        assert said[trouble] in " ".join(api.output().split())
