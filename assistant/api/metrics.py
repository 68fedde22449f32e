"""Counts what is served, for Prometheus: answers, tokens sent and saved, time to first token, and what serves now."""

from functools import lru_cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Receive, Scope, Send

from store import Store
from store.records import Deployment, Message

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """Of one running app: totals begin at its start, as Prometheus expects."""

    def __init__(self, store: Store):
        self._store, self._registry = store, CollectorRegistry()
        self._full_tokens = lru_cache(maxsize=256)(self._full_tokens_of)
        shared: dict[str, Any] = {"namespace": "shorthand", "registry": self._registry}
        self._answers = Counter("answers", "Answers, by how they ended.", ["assistant", "status"], **shared)
        self._tokens = Counter(
            "prompt_tokens", "Tokens of requests, by part, and those saved.", ["assistant", "part"], **shared
        )
        self._written = Counter("completion_tokens", "Tokens of answers.", ["assistant"], **shared)
        self._first = Histogram(
            "first_token_seconds", "Time to the first token.", ["assistant"], buckets=_SECONDS, **shared
        )
        self._requests = Counter(
            "requests", "Requests of programs, by how they were answered.", ["route", "status"], **shared
        )
        self._waiting = Gauge("answers_waiting", "Answers that have no token yet.", **shared)
        self._streaming = Gauge("answers_streaming", "Answers that are being written.", **shared)
        self._active = Gauge("active_deployment", "Its number.", ["assistant", "adapter"], **shared)
        self._sent = Gauge("active_prompt_tokens", "What it sends of the prompt.", ["assistant"], **shared)
        self._runs = Gauge("runs", "Training runs, by the gate's verdict.", ["assistant", "status"], **shared)

    def counted(self, app: ASGIApp) -> ASGIApp:
        """The same app, whose requests are counted."""

        async def counting(scope: Scope, receive: Receive, send: Send) -> None:
            status = 500

            async def sending(message: Any) -> None:
                nonlocal status
                status = message.get("status", status)
                await send(message)

            try:
                await app(scope, receive, sending)
            finally:  # by the route's pattern: anybody may send any path
                route = scope.get("route")
                self._requests.labels(route.path if route else "none", status).inc()

        return counting

    def answered(self, deployment: Deployment, message: Message) -> None:
        """Count an answer that has ended."""
        name, usage = deployment.assistant_id, message.usage
        self._answers.labels(name, message.status.value).inc()
        if usage is None:
            return
        sent = usage.prompt_part_tokens + usage.demonstration_tokens
        parts = {
            "prompt": usage.prompt_part_tokens,
            "demonstrations": usage.demonstration_tokens,
            "conversation": usage.prompt_tokens - sent,
            "saved": max(0, self._full_tokens(deployment) - sent),
        }
        for part, tokens in parts.items():
            self._tokens.labels(name, part).inc(max(0, tokens))
        self._written.labels(name).inc(usage.completion_tokens)
        self._first.labels(name).observe(usage.first_token_s)

    def _full_tokens_of(self, deployment: Deployment) -> int:
        return self._store.deployments.without_adapter(deployment).prompt_tokens

    def text(self, waiting: int) -> bytes:
        """Return all of it in Prometheus' text format."""
        self._waiting.set(waiting)
        self._streaming.set(self._store.messages.streaming_count())
        for gauge in (self._active, self._sent, self._runs):
            gauge.clear()
        for assistant in self._store.assistants.all():
            if active := self._store.deployments.active(assistant.id):
                self._active.labels(assistant.id, active.adapter or "").set(active.id)
                self._sent.labels(assistant.id).set(active.prompt_tokens)
            for status, count in self._store.runs.counts(assistant.id).items():
                self._runs.labels(assistant.id, status).set(count)
        return generate_latest(self._registry)
