"""A person's browser without a browser: signs in, and calls the pages' events over HTTP with whatever it likes."""

import inspect
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import gradio as gr
import httpx
import pytest
from argon2 import PasswordHasher
from waiting import PATIENCE_S

from store import accounts

# Gradio leaves sockets open with which it looked for its port, and its queue uses what pandas gives up.
GRADIO_WARNINGS = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]

# Where nothing is encrypted, the machine's certificates need not be read: 40 ms of every call.
HTTP: dict[str, Any] = {
    "timeout": PATIENCE_S,
    "trust_env": False,
    "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
}
get, post = partial(httpx.get, **HTTP), partial(httpx.post, **HTTP)


class PageClient:
    """One person. `session` is the tab's session hash, which a browser makes up."""

    def __init__(self, url: str, session: str = "a1b2c3d4e5f"):
        self.url, self.session = url, session
        self.statuses: list[int] = []  # of every call
        self.http = httpx.Client(base_url=url, **HTTP)

    def sign_in(self, name: str, password: str) -> httpx.Response:
        return self.http.post("/sign-in", data={"name": name, "password": password})

    def call(self, function: Any, data: list[Any], event: Any = None) -> str:
        """All that the app says to one event, as it was sent."""
        body = {
            "data": data,
            "fn_index": function._id,
            "session_hash": self.session,
            "event_data": event,
            "trigger_id": function.targets[0][0] if function.targets else None,
        }
        if not function.queue:
            return self._post("/gradio_api/run/predict", body).text
        joined = self._post("/gradio_api/queue/join", body)
        if joined.status_code != 200:
            return joined.text
        said = ""
        with self.http.stream(
            "GET", "/gradio_api/queue/data", params={"session_hash": self.session}
        ) as stream:
            for line in _lines(stream):
                said += line + "\n"
                if line.startswith("data: ") and json.loads(line[6:])["msg"] == "close_stream":
                    break
        return said

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            content = json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # half a character: JSON can name what UTF-8 cannot hold
            content = json.dumps(body).encode()
        response = self.http.post(path, content=content, headers={"content-type": "application/json"})
        self.statuses.append(response.status_code)
        return response

    def close(self) -> None:
        self.http.close()


def _lines(stream: httpx.Response) -> Iterator[str]:
    """As a browser reads them: httpx ends a line at U+2028 and U+0085 too."""
    rest = b""
    for piece in stream.iter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode()


def events_of(page: gr.Blocks) -> list[Any]:
    """Every event of every page that runs here, not in the browser."""
    return [function for function in page.fns.values() if function.fn is not None]


def value_of(component: Any, conversation_id: str, words: str) -> Any:
    """What a caller may send for an input: the conversation where an id fits, the words where a text does."""
    if isinstance(component, gr.BrowserState):
        return conversation_id
    if isinstance(component, gr.Dropdown):
        return "desk" if component.elem_id == "assistant-picker" else component.value
    if isinstance(component, gr.Textbox):
        return words
    if isinstance(component, gr.Checkbox):
        return True
    return 1 if isinstance(component, gr.Number) else None


def page_name(function: Any) -> str:
    """The class of pages that an event belongs to."""
    return type(getattr(function.fn.method, "__self__", None)).__name__


def takes_event(function: Any) -> bool:
    """Whether it is told what was pressed, such as the id of a message."""
    return "event" in inspect.signature(function.fn.method).parameters


@contextmanager
def cheap_passwords() -> Iterator[None]:
    """Hashes that take no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "_hasher", PasswordHasher(1, 64, 1))
        accounts._dummy_hash.cache_clear()
        yield
    accounts._dummy_hash.cache_clear()
