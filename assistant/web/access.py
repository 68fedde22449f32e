"""Who asks, and whether that person may: the one way from Gradio's events to the pages' methods.

In: a request that the door let in (see `door`), the role that an event needs. Out: the method called with a `Person`
first, or nothing done and a message. Place in the flow: every event of every page is registered through
`Access.event`; `check` refuses a page with one that is not. Does not know which conversation is whose: that is `own`.

What a browser sends may be made up: state, ids, choices of a list. Only the person is certain, because the door took it
from the session. The role is read anew for each event, so that a change holds from the next click on.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from store import Store
from store.audit import Deed, Outcome, acting
from store.errors import NotFound, StoreError
from store.users import LOCAL, UserRole

SIGNED_OUT = "You are signed out. Reload the page to sign in; what you typed stays here until then."


@dataclass(frozen=True)
class Person:
    """Who acts. `signed_in` is False for the one person of a product without users."""

    name: str = LOCAL
    role: UserRole = UserRole.ADMIN
    signed_in: bool = False

    def may(self, least: UserRole) -> bool:
        return self.role.includes(least)


class Access:
    """For one running page. `always` asks everybody to sign in, for an address that others reach."""

    def __init__(self, store: Store, always: bool = False) -> None:
        self._store = store
        self._required = always
        self._events: set[Any] = set()

    def sign_in_required(self) -> bool:
        """Once true it stays true: that the last user was removed opens nothing."""
        self._required = self._required or self._store.has_users()
        return self._required

    def person(self, name: str | None) -> Person | None:
        """With the role of this moment; None for nobody. Raises StoreError when that cannot be read."""
        if not self.sign_in_required():
            return Person() if name == LOCAL else None
        try:
            return Person(name, self._store.user(name).role, signed_in=True) if name else None
        except NotFound:
            return None

    def event(self, least: UserRole, method: Callable[..., Any], quiet: bool = False) -> Callable[..., Any]:
        """`method` as an event for those who have at least this role.

        It gets the Person, then the event's inputs, and `event` where it asks for that. `quiet` is for what happens by
        itself, such as a tick: who may not see it sees nothing, without a message.
        """
        wants_event = "event" in inspect.signature(method).parameters

        def allowed(request: gr.Request | None) -> Person | str:
            try:
                person = self.person(request.username if request else None)
            except StoreError as error:
                return str(error)
            if person is None:
                return SIGNED_OUT
            if person.may(least):
                return person
            if not quiet:
                self._refused(person, method.__name__, least)
            return f"This needs the role {least}; you are {person.role}."

        def given(person: Person, inputs: tuple[Any, ...], event: gr.EventData) -> tuple[Any, ...]:
            return (person, *inputs, event) if wants_event else (person, *inputs)

        def denied(why: str) -> Any:
            if not quiet:
                gr.Warning(escape(why))
            return gr.skip()

        # Gradio looks at the annotations, and at whether it is a coroutine or gives several values.
        if inspect.isasyncgenfunction(method):

            async def stream(request: gr.Request, event: gr.EventData, *inputs: Any) -> AsyncIterator[Any]:
                who = await asyncio.to_thread(allowed, request)
                if isinstance(who, str):
                    yield denied(who)
                    return
                async for update in method(*given(who, inputs, event)):
                    yield update

            return self._registered(stream, method, least)
        if inspect.iscoroutinefunction(method):

            async def later(request: gr.Request, event: gr.EventData, *inputs: Any) -> Any:
                who = await asyncio.to_thread(allowed, request)
                if isinstance(who, str):
                    return denied(who)
                with acting(who.name):
                    return await method(*given(who, inputs, event))

            return self._registered(later, method, least)
        if inspect.isgeneratorfunction(method):
            raise TypeError(f"{method.__name__} gives several values: make it async, or nobody can be noted.")

        def at_once(request: gr.Request, event: gr.EventData, *inputs: Any) -> Any:
            who = allowed(request)
            if isinstance(who, str):
                return denied(who)
            with acting(who.name):
                return method(*given(who, inputs, event))

        return self._registered(at_once, method, least)

    def check(self, page: gr.Blocks) -> None:
        """Raises TypeError when a function of the page can be reached in another way than through `event`."""
        for function in page.fns.values():
            if function.fn is not None and function.fn not in self._events:
                raise TypeError(f"The event {function.name!r} is not registered through Access.event.")

    def _registered(
        self, wrapper: Callable[..., Any], method: Callable[..., Any], least: UserRole
    ) -> Callable[..., Any]:
        wrapper.__name__ = method.__name__
        wrapper.method, wrapper.least = method, least  # type: ignore[attr-defined]
        self._events.add(wrapper)
        return wrapper

    def _refused(self, person: Person, event: str, least: UserRole) -> None:
        try:
            told = {"needs": str(least)}
            self._store.note(Deed.REFUSED, event, told, outcome=Outcome.REFUSED, actor=person.name)
        except StoreError:
            return  # it was refused all the same
