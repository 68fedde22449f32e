"""Token ids to streamed text, over HTTP: the one place that knows vLLM's routes.

In: token ids, an adapter's name. Out: text deltas, usage, log-probabilities. Knows nothing of prompts,
conversations or deployments. `vllm` itself is never imported: it is a process.
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

from assistant.vllm_reply import Reply, count, read_event, read_whole

# vLLM reads for as long as it queues; a token every minute is the slowest that is still taken for alive.
PATIENCE_S = 60.0
_WHOLE_ANSWER = 10  # times as long
# A header of vLLM's. Not the field `priority`, which servers without priorities may refuse.
CAN_WAIT = {"X-Vllm-Priority": "1"}
# Of a server that does not know a field of the request, or does not allow it.
_REFUSES_A_FIELD = (400, 403, 422, 501)


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
    max_tokens: int | None


class VllmClient:
    """One vLLM server. `transport` lets tests put a fake server behind the same code.

    What says nothing for `patience_s` seconds is taken for dead; a whole answer in one piece may take ten times as
    long.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        patience_s: float = PATIENCE_S,
    ):
        self.url = url.rstrip("/")
        self._key, self._transport, self._patience_s = key, transport, patience_s
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(10.0, read=patience_s),
            transport=transport,
            trust_env=False,
            # vLLM closes a connection that was idle for 5 s, which is also httpx's own limit: a request that went out
            # at that moment was lost.
            limits=httpx.Limits(max_connections=512, keepalive_expiry=2.0),
        )
        self.in_flight = 0
        self._says_how_sure = True  # until it has refused to

    def again(self) -> VllmClient:
        """A client of the same server with connections of its own, for another event loop."""
        return VllmClient(self.url, self._key, self._transport, self._patience_s)

    async def close(self) -> None:
        await self._http.aclose()

    async def is_ready(self) -> bool:
        """True when the server answers /health; never raises."""
        try:
            return (await self._http.get("/health", timeout=5.0)).status_code == 200
        except httpx.HTTPError:
            return False

    async def models(self) -> list[ServedModel]:
        """The base model and every adapter that is loaded now."""
        body = await self._send("GET", "/v1/models")
        return [
            ServedModel(m["id"], m.get("root") or "", m.get("parent"), m.get("max_model_len"))
            for m in body["data"]
        ]

    async def load_adapter(self, name: str, path: str) -> None:
        """Load a published adapter under a name that was never used before; loaded already is fine."""
        if await self.has(name, path):
            return
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
        cache_salt: str | None = None,
    ) -> AsyncGenerator[Delta | Finished, None]:
        """Stream an answer to token ids. The last item is Finished; raises VllmError.

        The server is asked how likely each token was. One that refuses that is asked again without, and not any more.
        A `cache_salt` of its own keeps a request from reusing cached prefixes (a cold start, for measuring).
        """
        request = {
            "model": model,
            "prompt": list(ids),
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stop_token_ids": list(end_ids),
            "seed": seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            "skip_special_tokens": True,
        }
        if cache_salt is not None:
            request["cache_salt"] = cache_salt
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
        yield Finished(
            prompt_tokens=count(usage, "prompt_tokens"),
            cached_tokens=count(usage.get("prompt_tokens_details"), "cached_tokens"),
            completion_tokens=count(usage, "completion_tokens"),
            first_token_s=(first or now) - started,
            total_s=now - started,
            reason=reason,
            mean_ln_p=math.fsum(ln_p) / len(ln_p) if ln_p else None,
        )

    async def _events(self, request: dict[str, Any]) -> AsyncGenerator[Reply, None]:
        """What the server sends for a streamed request; raises VllmRefused before the first one."""
        ways = (
            [request | {"logprobs": 0}, request] if self._says_how_sure else [request]
        )  # 0: no other tokens
        for way in ways:
            async with self._http.stream("POST", "/v1/completions", json=way) as response:
                if response.status_code == 200:
                    self._says_how_sure = "logprobs" in way
                    async for line in response.aiter_lines():
                        if line.startswith("data: ") and line != "data: [DONE]":
                            yield self._event(line.removeprefix("data: "))
                    return
                await response.aread()
            if response.status_code not in _REFUSES_A_FIELD:
                break
        raise _refusal(response, request["model"])

    def _event(self, line: str) -> Reply:
        try:
            return read_event(line)
        except ValueError as error:
            raise self._no_vllms(line, error) from error

    def _no_vllms(self, said: object, error: ValueError) -> VllmRefused:
        return VllmRefused(f"What {self.url} answers is no vLLM's: {str(said)[:80]!r} ({error}).")

    async def complete(
        self,
        model: str,
        ids: Sequence[int],
        *,
        max_tokens: int,
        end_ids: Sequence[int],
        cache_salt: str | None = None,
        can_wait: bool = False,
    ) -> Completion:
        """A whole greedy answer to token ids, in one piece; raises VllmError. `can_wait`: people's questions go first.

        Not streamed: parsing an event per token took half a core from the engine while the gate ran on two. The time
        to the first token is therefore known only for `max_tokens=1`, where it is the whole time.
        """
        request: dict[str, object] = {
            "model": model,
            "prompt": list(ids),
            "max_tokens": max_tokens,
            "temperature": 0,
            "stop_token_ids": list(end_ids),
        }
        if cache_salt is not None:
            request["cache_salt"] = cache_salt
        started = time.monotonic()
        self.in_flight += 1
        try:
            body = await self._send(
                "POST",
                "/v1/completions",
                request,
                _WHOLE_ANSWER * self._patience_s,
                CAN_WAIT if can_wait else None,
            )
        finally:
            self.in_flight -= 1
        try:
            choice, usage = read_whole(body)
        except ValueError as error:
            raise self._no_vllms(body, error) from error
        seconds = time.monotonic() - started
        return Completion(
            choice.text,
            Finished(
                prompt_tokens=count(usage, "prompt_tokens"),
                cached_tokens=count(usage.get("prompt_tokens_details"), "cached_tokens"),
                completion_tokens=count(usage, "completion_tokens"),
                first_token_s=seconds,
                total_s=seconds,
                reason=choice.finish_reason or "abort",
            ),
        )

    async def greedy(self, model: str, ids: Sequence[int], count: int) -> list[tuple[int, float]]:
        """The next tokens, greedily, with ln p of each as the server computes it; people's questions go first.

        Not with `prompt_logprobs`: vLLM 0.32 on CPU dies of it when an adapter's request shares the batch.
        """
        body = await self._send(
            "POST",
            "/v1/completions",
            {
                "model": model,
                "prompt": list(ids),
                "max_tokens": count,
                "temperature": 0,
                "logprobs": 1,
                "return_token_ids": True,
                "ignore_eos": True,
            },
            headers=CAN_WAIT,
        )
        choice = body["choices"][0]
        return list(zip(choice["token_ids"], choice["logprobs"]["token_logprobs"], strict=True))

    async def _send(
        self,
        method: str,
        path: str,
        body: dict[str, object] | None = None,
        read_s: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        timeout = httpx.Timeout(10.0, read=read_s or self._patience_s)
        try:
            response = await self._http.request(method, path, json=body, timeout=timeout, headers=headers)
        except httpx.HTTPError as error:
            raise VllmUnreachable(_unreachable(self.url, error)) from error
        if response.status_code != 200:
            raise _refusal(response, str((body or {}).get("lora_name") or (body or {}).get("model") or path))
        try:
            return response.json()
        except ValueError:  # the adapter routes answer with a sentence
            return response.text


def _refusal(response: httpx.Response, subject: str) -> VllmRefused:
    try:
        text = _message(response.json())
    except ValueError:
        text = response.text
    if response.status_code == 404:
        return UnknownModel(f"vLLM does not know “{subject}”: {text}")
    return VllmRefused(f"vLLM refused “{subject}” with status {response.status_code}: {text[:500]}")


def _message(body: dict[str, object]) -> str:
    error = body.get("error", body)
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def _unreachable(url: str, error: Exception) -> str:
    return (
        f"No answer from vLLM at {url} ({type(error).__name__}). If it is still loading, wait; otherwise check "
        "the address and the server's log."
    )
