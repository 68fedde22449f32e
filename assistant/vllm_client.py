"""The HTTP client of one vLLM server, and the only place that knows its routes.

An address is `unix:PATH` for the Unix socket of our own vLLM, or the URL of one that runs elsewhere. Prompts are token
ids, so that no text in them can become a control token. A streamed token costs 40 to 60 µs of CPU here, and 260 to 290
with the `openai` client, on the cores that the engine needs.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

# vLLM reads for as long as it queues; a token every minute is the slowest that is still taken for alive.
READ_TIMEOUT_S = 60.0
_WHOLE_ANSWER = 10  # times as long
_UNIX = "unix:"
# vLLM closes a connection that was idle for 5 s, which is also httpx's own limit: a request that went out at that
# moment was lost.
_LIMITS = httpx.Limits(max_connections=512, keepalive_expiry=2.0)


class VllmError(Exception):
    """vLLM did not do what was asked; the message is written for a person.

    VllmError
    ├── VllmUnreachable   nothing answers at the address (starting, dead, or another address)
    ├── VllmRefused       it answered with an error: the request is wrong for this server
    └── UnknownModel      it does not have an adapter of that name loaded
    """


class VllmUnreachable(VllmError):
    """Nothing answers at the address."""


class VllmRefused(VllmError):
    """The server answered with an error."""


class UnknownModel(VllmRefused):
    """The server has no base model or adapter of that name."""


@dataclass(frozen=True)
class Delta:
    """A piece of text as it arrives."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The end of an answer: its cost in tokens, times in seconds since the request, and why it ended."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_s: float
    total_s: float
    reason: str  # stop, length or abort
    mean_ln_p: float | None = None  # of a token of the answer, in nats; None where the server does not say


@dataclass(frozen=True)
class Completion:
    """A whole answer."""

    text: str
    end: Finished


@dataclass(frozen=True)
class ServedModel:
    """A name that the server answers to; an adapter has the base model as its parent."""

    name: str
    root: str
    parent: str | None


class Choice(msgspec.Struct):
    """The text of an answer, or a piece of it, as the server sends it."""

    text: str = ""
    finish_reason: str | None = None
    logprobs: Any = None

    @property
    def ln_p(self) -> list[float]:
        """The log-probability of each token in it, in nats, as far as the server gives them."""
        found = self.logprobs.get("token_logprobs") if isinstance(self.logprobs, dict) else None
        if not isinstance(found, list):
            return []
        return [float(one) for one in found if isinstance(one, int | float) and math.isfinite(one)]


class Reply(msgspec.Struct):
    """The body of a completion, or one event of a streamed one."""

    choices: list[Choice] = []
    usage: dict[str, Any] | None = None
    error: Any = None


def async_client(
    address: str,
    key: str | None,
    timeout: httpx.Timeout | float,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """Connections to a server for the running event loop."""
    through = transport or async_transport(address)
    return httpx.AsyncClient(**_client_options(address, key), transport=through, timeout=timeout)


def async_transport(address: str) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(**_transport_options(address), limits=_LIMITS)


def blocking_client(address: str, key: str | None, timeout_s: float) -> httpx.Client:
    """The same for a thread without an event loop."""
    through = httpx.HTTPTransport(**_transport_options(address))
    return httpx.Client(**_client_options(address, key), transport=through, timeout=timeout_s)


def _client_options(address: str, key: str | None) -> dict[str, Any]:
    return {
        "base_url": "http://localhost" if address.startswith(_UNIX) else address,
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "trust_env": False,
    }


def _transport_options(address: str) -> dict[str, Any]:
    return {
        "uds": address.removeprefix(_UNIX) if address.startswith(_UNIX) else None,
        # Where nothing is encrypted, the machine's certificates are not read: that took 56 ms of every new client.
        "verify": address.startswith("https:"),
        "trust_env": False,
    }


class VllmClient:
    """One vLLM server; a server that is silent for `read_timeout_s` counts as dead.

    A whole answer in one piece may take ten times as long. `transport` stands in for the network in tests.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        read_timeout_s: float = READ_TIMEOUT_S,
    ):
        self.url = url.rstrip("/")
        self._read_timeout_s = read_timeout_s
        self._http = async_client(self.url, key, httpx.Timeout(10.0, read=read_timeout_s), transport)
        self.in_flight = 0

    async def close(self) -> None:
        await self._http.aclose()

    async def models(self) -> list[ServedModel]:
        """The base model and every adapter that is loaded now."""
        body = await self._send("GET", "/v1/models")
        return [ServedModel(m["id"], m.get("root") or "", m.get("parent")) for m in body["data"]]

    async def load_adapter(self, name: str, path: str) -> None:
        """Load a published adapter under a name that was never used before."""
        await self._send("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})

    async def has(self, name: str, path: str) -> bool:
        """Whether the adapter is loaded; raises VllmRefused where another one is, under that name."""
        for model in await self.models():
            if model.name == name and Path(model.root).resolve() != Path(path).resolve():
                # To unload it and load ours would not do: what vLLM keeps of prompts is kept by the name.
                raise VllmRefused(
                    f"vLLM at {self.url} serves “{name}” from {model.root}, not from {path}: somebody else loaded it. "
                    "Start that server again without it."
                )
            if model.name == name:
                return True
        return False

    async def unload_adapter(self, name: str) -> None:
        """Unload an adapter; one that is not there counts as unloaded."""
        try:
            await self._send("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        except UnknownModel:
            return

    async def stream(
        self,
        model: str,
        ids: Sequence[int],
        *,
        max_tokens: int,
        end_ids: Sequence[int],
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta | Finished, None]:
        """Stream an answer to token ids. The last item is Finished; raises VllmError."""
        request = _request(model, ids, max_tokens, end_ids) | {
            "temperature": temperature,
            "seed": seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            "logprobs": 0,  # of the token itself, and of no other
        }
        started = time.monotonic()
        first: float | None = None
        usage: dict[str, Any] = {}
        reason = "abort"
        ln_p: list[float] = []
        self.in_flight += 1
        try:
            async with aclosing(self._events(request)) as events:
                async for event in events:
                    if event.error is not None:
                        raise VllmRefused(f"vLLM broke off the answer: {_message({'error': event.error})}")
                    usage = event.usage or usage
                    for choice in event.choices:
                        first = first or time.monotonic()
                        reason = choice.finish_reason or reason
                        ln_p += choice.ln_p
                        if choice.text:
                            yield Delta(choice.text)
        except httpx.HTTPError as error:
            raise VllmUnreachable(_unreachable(self.url, error)) from error
        finally:
            self.in_flight -= 1
        if not usage:
            raise VllmUnreachable(f"The connection to {self.url} ended in the middle of an answer.")
        now = time.monotonic()
        yield _finished(usage, reason, (first or now) - started, now - started, ln_p)

    async def _events(self, request: dict[str, Any]) -> AsyncGenerator[Reply, None]:
        """The events of a streamed completion; raises VllmRefused, httpx.HTTPError."""
        async with self._http.stream("POST", "/v1/completions", json=request) as response:
            if response.status_code != 200:
                await response.aread()
                raise _refusal(response, request["model"])
            async for line in response.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    yield self._parse(line.removeprefix("data: "))

    def _parse(self, body: str | bytes) -> Reply:
        try:
            return msgspec.json.decode(body, type=Reply)
        except (ValueError, RecursionError) as error:
            raise VllmRefused(
                f"What {self.url} answers is no vLLM's: {str(body[:80])!r} ({error})."
            ) from error

    async def complete(
        self,
        model: str,
        ids: Sequence[int],
        *,
        max_tokens: int,
        end_ids: Sequence[int],
        cache_salt: str | None = None,
    ) -> Completion:
        """A whole greedy answer to token ids, in one piece; raises VllmError.

        Not streamed: parsing an event per token took half a core from the engine while the gate ran on two. The time
        to the first token is therefore known only for `max_tokens=1`, where it is the whole time. A `cache_salt` of
        its own keeps a request from reusing cached prefixes (a cold start, for measuring).
        """
        request = _request(model, ids, max_tokens, end_ids)
        if cache_salt is not None:
            request["cache_salt"] = cache_salt
        started = time.monotonic()
        self.in_flight += 1
        try:
            read_s = _WHOLE_ANSWER * self._read_timeout_s
            response = await self._respond("POST", "/v1/completions", request, read_s)
        finally:
            self.in_flight -= 1
        reply = self._parse(response.content)
        if len(reply.choices) != 1:
            raise VllmRefused(
                f"What {self.url} answers is no vLLM's: {len(reply.choices)} answers to one prompt."
            )
        [choice] = reply.choices
        seconds = time.monotonic() - started
        reason = choice.finish_reason or "abort"
        return Completion(choice.text, _finished(reply.usage or {}, reason, seconds, seconds))

    async def greedy(self, model: str, ids: Sequence[int], count: int) -> list[tuple[int, float]]:
        """The next tokens, greedily, with ln p of each as the server computes it.

        Not with `prompt_logprobs`: vLLM 0.32 on CPU dies of it when an adapter's request shares the batch.
        """
        request = _request(model, ids, count) | {"logprobs": 1, "return_token_ids": True, "ignore_eos": True}
        body = await self._send("POST", "/v1/completions", request)
        choice = body["choices"][0]
        return list(zip(choice["token_ids"], choice["logprobs"]["token_logprobs"], strict=True))

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        response = await self._respond(method, path, body, self._read_timeout_s)
        try:
            return response.json()
        except ValueError:  # the adapter routes answer with a sentence
            return response.text

    async def _respond(
        self, method: str, path: str, body: dict[str, Any] | None, read_s: float
    ) -> httpx.Response:
        """The response with status 200; raises VllmError for any other."""
        timeout = httpx.Timeout(10.0, read=read_s)
        try:
            response = await self._http.request(method, path, json=body, timeout=timeout)
        except httpx.HTTPError as error:
            raise VllmUnreachable(_unreachable(self.url, error)) from error
        if response.status_code != 200:
            raise _refusal(response, str((body or {}).get("lora_name") or (body or {}).get("model") or path))
        return response


def _request(model: str, ids: Sequence[int], max_tokens: int, end_ids: Sequence[int] = ()) -> dict[str, Any]:
    return {
        "model": model,
        "prompt": list(ids),
        "max_tokens": max_tokens,
        "temperature": 0,
        "stop_token_ids": list(end_ids),
    }


def _finished(
    usage: dict[str, Any], reason: str, first_token_s: float, total_s: float, ln_p: Sequence[float] = ()
) -> Finished:
    return Finished(
        prompt_tokens=_count(usage, "prompt_tokens"),
        cached_tokens=_count(usage.get("prompt_tokens_details"), "cached_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        first_token_s=first_token_s,
        total_s=total_s,
        reason=reason,
        mean_ln_p=math.fsum(ln_p) / len(ln_p) if ln_p else None,
    )


def _count(usage: object, name: str) -> int:
    """Tokens of one kind; 0 where the server does not say."""
    value = usage.get(name) if isinstance(usage, dict) else None
    return max(0, value) if isinstance(value, int) else 0


def _refusal(response: httpx.Response, subject: str) -> VllmRefused:
    try:
        text = _message(response.json())
    except ValueError:
        text = response.text
    if response.status_code == 404:
        return UnknownModel(f"vLLM does not know “{subject}”: {text}")
    return VllmRefused(f"vLLM refused “{subject}” with status {response.status_code}: {text[:500]}")


def _message(body: object) -> str:
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def _unreachable(url: str, error: Exception) -> str:
    return (
        f"No answer from vLLM at {url} ({type(error).__name__}). If it is still loading, wait; otherwise check "
        "the address and the server's log."
    )
