"""The HTTP client of one vLLM server, and the only place that knows its routes.

Prompts are token ids, so that no text in them can become a control token. A streamed token costs 40 to 60 µs of CPU
here, and 260 to 290 with the `openai` client, on the cores that the engine needs.
"""

import math
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import msgspec

from assistant.sampling import GREEDY, Sampling
from assistant.vllm_connection import async_client

READ_TIMEOUT_S = 60.0
# So many times as long may an answer be silent: questions are read in turn, and of 24 at once, of 450 tokens each, 11
# waited for more than a minute on two busy cores. One of our own that hangs is started again before (`vllm_server`).
_QUEUED = 3
_WHOLE_ANSWER = 10  # and so many times an answer that comes in one piece
_COMPLETIONS = "/v1/completions"


class VllmError(Exception):
    """vLLM did not do what was asked; the message is written for a person."""


class VllmUnreachable(VllmError):
    """Nothing answers at the address: it is starting, dead, or another address."""


class VllmRefused(VllmError):
    """The server answered with an error: the request is wrong for this server."""


class UnknownModel(VllmRefused):
    """The server has no base model or adapter of that name."""


@dataclass(frozen=True)
class Token:
    """A token of an answer, its log-probability in nats, and the likeliest others with theirs."""

    text: str
    ln_p: float
    others: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Completion:
    """A whole answer: its cost in tokens, and times in seconds since the request."""

    text: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_s: float
    total_s: float
    mean_ln_p: float | None = None  # of a token of the answer, in nats; None where the server does not say
    finish_reason: str | None = None  # stop, length or abort; None where the server does not say
    tokens: tuple[Token, ...] = ()  # where they were asked for


class ServedModel(msgspec.Struct):
    """A name (`id`) that the server answers to; an adapter has the base model as its parent."""

    id: str
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[ServedModel]


_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Cached(msgspec.Struct):
    cached_tokens: _Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: _Count = 0
    completion_tokens: _Count | None = None
    prompt_tokens_details: _Cached | None = None

    @property
    def counts(self) -> tuple[int, int, int]:
        """Of a completion: tokens of the prompt, those of them that were cached, and of the answer."""
        cached = self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens
        return self.prompt_tokens, cached or 0, self.completion_tokens or 0


class _LogProbabilities(msgspec.Struct):
    token_logprobs: list[float | None] = []
    tokens: list[str] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(msgspec.Struct):
    text: str = ""
    finish_reason: str | None = None
    logprobs: _LogProbabilities | None = None
    token_ids: list[int] | None = None

    @property
    def ln_p(self) -> list[float]:
        """The log-probability of each token, in nats, as far as the server gives them."""
        return [one for one in self.logprobs.token_logprobs if one is not None] if self.logprobs else []

    @property
    def tokens(self) -> list[Token]:
        found = self.logprobs
        if found is None or not found.tokens:
            return []
        others = found.top_logprobs or [None] * len(found.tokens)
        return [
            Token(text, -math.inf if ln_p is None else ln_p, tuple((more or {}).items()))
            for text, ln_p, more in zip(found.tokens, found.token_logprobs, others, strict=False)
        ]


class _Reply(msgspec.Struct):
    """The body of a completion, or one event of a streamed one."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_Body = TypeVar("_Body")


class VllmClient:
    """One vLLM server; a server that is silent for `read_timeout_s` counts as dead.

    An answer may take three times as long, ten times where it comes in one piece. `transport` stands in for the network
    in tests.
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
        return self._decoded((await self._request("GET", "/v1/models")).content, _Models).data

    async def load_adapter(self, name: str, path: str) -> None:
        """Load a published adapter under a name that was never used before."""
        await self._request("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})

    async def has(self, name: str, path: str) -> bool:
        """Whether the adapter is loaded; raises VllmRefused where another one is, under that name."""
        loaded = next((model for model in await self.models() if model.id == name), None)
        if loaded is not None and Path(loaded.root or "").resolve() != Path(path).resolve():
            # To unload it and load ours would not do: what vLLM keeps of prompts is kept by the name.
            raise VllmRefused(
                f"vLLM at {self.url} serves “{name}” from {loaded.root}, not from {path}: somebody else loaded it. "
                "Start that server again without it."
            )
        return loaded is not None

    async def unload_adapter(self, name: str) -> None:
        """Unload an adapter; one that is not there counts as unloaded."""
        with suppress(UnknownModel):
            await self._request("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    async def stream(
        self,
        model: str,
        ids: Sequence[int],
        *,
        max_tokens: int,
        end_ids: Sequence[int],
        sampling: Sampling = GREEDY,
    ) -> AsyncGenerator[str | Completion, None]:
        """Stream an answer to token ids: pieces of text, at last the whole. Raises VllmError."""
        body = _completion(model, ids, max_tokens, end_ids) | {
            "logprobs": 0,  # of the token itself, and of no other
            **sampling.more,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        started = time.monotonic()
        first: float | None = None
        usage: _Usage | None = None
        text, ln_p, reason, tokens = "", list[float](), None, list[Token]()
        with self._counted():
            async with aclosing(self._events(body)) as events:
                async for event in events:
                    usage = event.usage or usage
                    for choice in event.choices:
                        first = first or time.monotonic()
                        ln_p += choice.ln_p
                        tokens += choice.tokens if "logprobs" in sampling.more else ()
                        text += choice.text
                        reason = choice.finish_reason or reason
                        if choice.text:
                            yield choice.text
        if usage is None:
            raise VllmUnreachable(f"The connection to {self.url} ended in the middle of an answer.")
        now = time.monotonic()
        mean = math.fsum(ln_p) / len(ln_p) if ln_p else None
        seconds = (first or now) - started, now - started
        yield Completion(text, *usage.counts, *seconds, mean, reason, tuple(tokens))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Around a request that is in flight; no answer from the network is VllmUnreachable."""
        self.in_flight += 1
        try:
            yield
        except httpx.HTTPError as error:
            raise VllmUnreachable(
                f"No answer from vLLM at {self.url} ({type(error).__name__}). If it is still loading, wait; otherwise "
                "check the address and the server's log."
            ) from error
        finally:
            self.in_flight -= 1

    async def _events(self, body: dict[str, Any]) -> AsyncGenerator[_Reply, None]:
        """The events of a streamed completion; raises VllmRefused, httpx.HTTPError."""
        timeout = httpx.Timeout(10.0, read=_QUEUED * self._read_timeout_s)
        async with self._http.stream("POST", _COMPLETIONS, json=body, timeout=timeout) as response:
            if response.status_code != 200:
                await response.aread()
                raise _refusal(response, body["model"])
            rest = b""
            async for piece in response.aiter_bytes():
                # Not `aiter_lines`, which also ends a line at characters that may stand in a text, such as U+2028.
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: ") and not line.startswith(b"data: [DONE]"):
                        event = self._decoded(line.removeprefix(b"data: "), _Reply)
                        if event.error is not None:
                            raise VllmRefused(
                                f"vLLM broke off the answer: {_message({'error': event.error})}"
                            )
                        yield event

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
        body = _completion(model, ids, max_tokens, end_ids) | (
            {"cache_salt": cache_salt} if cache_salt else {}
        )
        started = time.monotonic()
        choice, usage = await self._one_answer(body, _WHOLE_ANSWER * self._read_timeout_s)
        seconds = time.monotonic() - started
        return Completion(choice.text, *usage.counts, seconds, seconds, finish_reason=choice.finish_reason)

    async def greedy(self, model: str, ids: Sequence[int], count: int) -> list[tuple[int, float]]:
        """The next tokens, greedily, with ln p of each as the server computes it.

        Not with `prompt_logprobs`: vLLM 0.32 on CPU dies of it when an adapter's request shares the batch.
        """
        body = _completion(model, ids, count) | {"logprobs": 1, "return_token_ids": True, "ignore_eos": True}
        choice, _ = await self._one_answer(body)
        return list(zip(choice.token_ids or (), choice.ln_p, strict=True))

    async def _one_answer(self, body: dict[str, Any], read_s: float | None = None) -> tuple[_Choice, _Usage]:
        reply = self._decoded((await self._request("POST", _COMPLETIONS, body, read_s)).content, _Reply)
        if len(reply.choices) != 1:
            text = f"{len(reply.choices)} answers to one prompt"
            raise VllmRefused(f"What {self.url} answers is no vLLM's: {text}.")
        return reply.choices[0], reply.usage or _Usage()

    async def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None, read_s: float | None = None
    ) -> httpx.Response:
        """The response with status 200; raises VllmError for any other."""
        timeout = httpx.Timeout(10.0, read=read_s or self._read_timeout_s)
        with self._counted():
            response = await self._http.request(method, path, json=body, timeout=timeout)
        if response.status_code != 200:
            body = body or {}
            raise _refusal(response, str(body.get("lora_name") or body.get("model") or path))
        return response

    def _decoded(self, body: str | bytes, type: type[_Body]) -> _Body:
        try:
            return msgspec.json.decode(body, type=type)
        except (ValueError, RecursionError) as error:
            raise VllmRefused(
                f"What {self.url} answers is no vLLM's: {str(body[:80])!r} ({error})."
            ) from error


def _completion(
    model: str, ids: Sequence[int], max_tokens: int, end_ids: Sequence[int] = ()
) -> dict[str, Any]:
    return {
        "model": model,
        "prompt": list(ids),
        "max_tokens": max_tokens,
        "temperature": 0,
        "stop_token_ids": list(end_ids),
    }


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
