"""A person's browser without a browser: signs in, and calls the pages' events over HTTP with whatever it likes."""

from __future__ import annotations

import json
from typing import Any

import httpx


class PageClient:
    """One person. `session` is the tab's session hash, which a browser makes up."""

    def __init__(self, url: str, session: str = "a1b2c3d4e5f"):
        self.url, self.session = url, session
        self.http = httpx.Client(base_url=url, timeout=60.0, trust_env=False)

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
            return self.http.post("/gradio_api/run/predict", json=body).text
        joined = self.http.post("/gradio_api/queue/join", json=body)
        if joined.status_code != 200:
            return joined.text
        said = ""
        with self.http.stream(
            "GET", "/gradio_api/queue/data", params={"session_hash": self.session}
        ) as stream:
            for line in stream.iter_lines():
                said += line + "\n"
                if line.startswith("data: ") and json.loads(line[6:])["msg"] == "close_stream":
                    break
        return said

    def close(self) -> None:
        self.http.close()
