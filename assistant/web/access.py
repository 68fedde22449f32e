"""Decides who acts, whether that person may, and how often: every event of every page is registered through
`Access.event`. Also what every page needs to work.

What a browser sends may be made up: state, ids, choices of a list. Only the person is certain, because the session
says who it is. The session and its role are read for each event, and while one streams, so that a change holds at once.
"""

import inspect
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import gradio as gr
from starlette.concurrency import run_in_threadpool

from assistant.chat import Chat
from assistant.incoming import MinuteWindow, place
from assistant.limits import ChatError
from assistant.prompt_text import PromptTextError
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_health import ServerState
from store import Store
from store.accounts import LOCAL, UserRole
from store.audit import AuditAction, Outcome, acting
from store.errors import StoreError

SIGNED_OUT = "You are signed out. Reload the page to sign in; what you typed stays here until then."

RECHECK_S = 1.0  # how often a stream looks whether its person is still signed in and may see it
_AT_ONCE = 100  # events of one person

Id = str | None  # of an assistant or a conversation; None for none
Update = dict[Any, Any]  # component → its new value
# How every event is registered: without a name in Gradio's API, and a tab may have several at once.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}


class Refused(Exception):
    """An event changed nothing; the message, for the person, says why and what to do."""


_SHOWN = (Refused, ChatError, PromptTextError, StoreError)


@dataclass(frozen=True)
class Person:
    """Who acts. `signed_in` is False for the one person of a product without users."""

    name: str = LOCAL
    role: UserRole = UserRole.ADMIN
    signed_in: bool = False

    def may(self, least: UserRole) -> bool:
        return self.role.includes(least)


@dataclass(frozen=True)
class RateLimits:
    """Of each person who is signed in: messages and ratings in any minute, and answers that are written at once.

    Counts for everybody, in memory: a restart forgets. Safe to use from any thread.
    """

    messages: int
    ratings: int
    streams: int
    _window: MinuteWindow = field(default_factory=MinuteWindow, init=False, compare=False)

    def count(self, what: Literal["messages", "ratings"], person: Person) -> None:
        """One more. Raises Refused for more than a minute allows somebody who is signed in."""
        most: int = getattr(self, what)
        if person.signed_in and (wait := self._window.wait_s(most, what, person.name)):
            raise Refused(
                f"At most {most} {what} a minute: wait {wait} s. What you typed stays here until then."
            )


class Access:
    """For one running page. `always` asks everybody to sign in, for an address that others reach."""

    def __init__(self, store: Store, always: bool = False) -> None:
        self._store = store
        self._required = always
        self._events: set[Any] = set()
        self._under_way: Counter[str] = Counter()

    def sign_in_required(self) -> bool:
        """Once true it stays true: removing the last user opens nothing."""
        self._required = self._required or self._store.users.any()
        return self._required

    def event(self, least: UserRole, method: Callable[..., Any], quiet: bool = False) -> Callable[..., Any]:
        """`method` as an event for those who have at least this role.

        It gets the Person, then the event's inputs, and `event` where it asks for that. What it raises for the person
        is shown as a warning, and the page stays as it is. `quiet` is for what happens by itself, such as a tick: who
        may not see it sees nothing, without a message.
        """
        wants_event = "event" in inspect.signature(method).parameters

        async def admitted(request: gr.Request) -> Person:
            return await run_in_threadpool(self._admitted, request, least, method.__name__, quiet)

        # Gradio reads the annotations, and whether a function gives several values.
        async def stream(request: gr.Request, event: gr.EventData, *inputs: Any) -> AsyncIterator[Any]:
            given = (*inputs, event) if wants_event else inputs
            try:
                with self._place(person := await admitted(request)):
                    async with aclosing(method(person, *given)) as updates:
                        checked_at = time.monotonic()
                        async for update in updates:
                            if time.monotonic() - checked_at >= RECHECK_S:
                                await admitted(request)
                                checked_at = time.monotonic()
                            yield update
            except _SHOWN as error:
                yield _warned(error)

        async def single(request: gr.Request, event: gr.EventData, *inputs: Any) -> Any:
            given = (*inputs, event) if wants_event else inputs
            try:
                with self._place(person := await admitted(request)), acting(person.name):
                    if inspect.iscoroutinefunction(method):
                        return await method(person, *given)
                    return await run_in_threadpool(method, person, *given)
            except _SHOWN as error:
                return _warned(error)

        wrapper: Any = stream if inspect.isasyncgenfunction(method) else single
        wrapper.__name__, wrapper.method, wrapper.least = method.__name__, method, least
        self._events.add(wrapper)
        return wrapper  # type: ignore[no-any-return]

    def _place(self, person: Person) -> AbstractContextManager[None]:
        refusal = Refused("Too much is under way for you at once. Close some tabs.")
        return place(self._under_way, person.name, _AT_ONCE, refusal)

    def check(self, page: gr.Blocks) -> None:
        """Raises TypeError when a function of the page can be reached in another way than through `event`."""
        for function in page.fns.values():
            if function.fn is not None and function.fn not in self._events:
                raise TypeError(f"The event {function.name!r} is not registered through Access.event.")

    def _admitted(self, request: gr.Request | None, least: UserRole, event: str, quiet: bool) -> Person:
        """Raises Refused, which is audited, both without a word where the event is quiet."""
        visitor = request.request.scope.get("user") if request and request.request else None
        person = self.person(getattr(visitor, "token", ""))
        # Without users nobody has a session, and what went around the middleware has no name.
        if person and not person.signed_in and not (request and request.username == LOCAL):
            person = None
        if person and person.may(least):
            return person
        if quiet:
            raise Refused("")
        if person is None:
            raise Refused(SIGNED_OUT)
        with acting(person.name):
            self._store.audit.record(
                AuditAction.REFUSED, event, {"needs": str(least)}, outcome=Outcome.REFUSED
            )
        raise Refused(f"This needs the role {least}; you are {person.role}.")

    def person(self, token: str) -> Person | None:
        """Whose session it is, with the role of this moment; None where somebody has to sign in first."""
        if not self.sign_in_required():
            return Person()
        user = self._store.sessions.user(token) if token else None
        return Person(user.name, user.role, signed_in=True) if user else None


@dataclass(frozen=True)
class Services:
    """What the pages need. `trainer_expected` is False when the app was started without a trainer on purpose;
    `trainer_lines` has the last line that it wrote.

    `dataset_now` counts what the dataset of an assistant would have now, as a run's report does; it raises StoreError.
    `model_problem` says why the model cannot be trained; nothing where it can, or is not tried yet.
    """

    store: Store
    access: Access
    tokenizer: ChatTokenizer
    chat: Chat
    server_state: Callable[[], ServerState]
    trainer_expected: bool
    dataset_now: Callable[[str], Mapping[str, Any]]
    rates: RateLimits
    model_problem: Callable[[], str | None] = lambda: None
    trainer_lines: deque[str] = field(default_factory=lambda: deque(maxlen=1))


def _warned(error: Exception) -> Any:
    if text := str(error):
        gr.Warning(escape(text))
    return gr.skip()
