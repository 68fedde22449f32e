"""A model behind an OpenAI-style API of the team's choice, which judges answers or teaches."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import httpx

_TIMEOUT = httpx.Timeout(10.0, read=120.0)
_TRIES = 3
_FIRST_PAUSE_S = 1.0


class NoReply(Exception):
    """The model gave no reply; the message names it and says what happened and what to do."""


@dataclass(frozen=True)
class ChatModel:
    """`key` is the environment variable that holds the API key, where the server wants one."""

    url: str
    model: str
    key: str

    @classmethod
    def at(cls, address: str, key: str) -> Self:
        """Raises ValueError where the address is not `<base url>#<model>`."""
        url, _, model = address.partition("#")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not model:
            raise ValueError(
                f"{address!r} is no <base url>#<model> (the key comes from the environment variable {key})."
            )
        return cls(url.rstrip("/").removesuffix("/v1"), model, key)

    def __str__(self) -> str:
        return f"{self.model} at {self.url}"

    def ask(self, messages: Sequence[Mapping[str, str]], max_tokens: int) -> str:
        """The reply's text; a server that is busy or away is asked three times. Raises NoReply."""
        request = {"model": self.model, "temperature": 0, "max_tokens": max_tokens, "messages": [*messages]}
        key = os.environ.get(self.key)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        failure = ""
        for attempt in range(_TRIES):
            time.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1) if attempt else 0.0)
            try:
                response = httpx.post(
                    f"{self.url}/v1/chat/completions",
                    json=request,
                    headers=headers,
                    timeout=_TIMEOUT,
                    trust_env=False,
                )
                if response.status_code == 200:
                    return str(response.json()["choices"][0]["message"]["content"] or "")
                failure = (
                    f"answered with status {response.status_code}: {response.text[:200]}. "
                    f"Check model and {self.key}"
                )
                if response.status_code < 500 and response.status_code != 429:
                    break
            except httpx.HTTPError as error:
                failure = f"does not answer ({type(error).__name__}). Start it, or check the address"
            except (ValueError, LookupError, TypeError):
                failure = f"sent no chat completion: {response.text[:200]!r}. Is it an OpenAI-style server?"
                break
        raise NoReply(f"{self} {failure}.")
