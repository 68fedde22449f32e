"""The Chat page: conversations on the left, one of them in the middle, streaming.

In: the services. Out: components and their events. Every change goes to the store at once; the browser
keeps nothing but the id of the conversation that was open. Does not know HTTP or how an answer is
generated.

Ids for tests: #chat-input #chat-send #chat-stop #chat-hint #chat-log #chat-live #chat-load-sample #starters
#chat-list-toggle, those of `sidebar`; on the newest answer
#newest-answer #answer-caption #copy-answer #regenerate #answer-previous #answer-next #rate-up #rate-down
#rate-comment #reason-wrong-fact #reason-too-long #reason-wrong-tone #reason-off-topic #reason-other
#correct #correction-text #correction-save. Messages carry data-message and data-status; conversations are
button.open[data-id].
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from html import escape
from typing import Any

import gradio as gr

from assistant.chat import ChatError
from assistant.web import transcript
from assistant.web.access import QUIET, Person, Update
from assistant.web.answering import Answering, Answers
from assistant.web.asking import Asking
from assistant.web.chat_pane import ChatPane
from assistant.web.own import OwnConversations
from assistant.web.rates import RateLimiter, TooMany
from assistant.web.readiness import Readiness
from assistant.web.services import Services
from assistant.web.sidebar import Sidebar
from assistant.web.thread import EmptyCorrection, Threads
from assistant.web.view import View
from store import StoreError
from store.users import UserRole


class ChatPage:
    """Builds the components where it is made. `here` are the inputs of `show`, `shown` its outputs."""

    def __init__(self, services: Services, assistant: gr.Dropdown, conversation: gr.BrowserState):
        self._services = services
        self._store = services.store
        self._limiter = RateLimiter(services.rates)
        self._answers = Answers(services.chat)
        self._readiness = Readiness(services.server_state)
        self._asking = Asking(services.store, services.chat, self._answers, self._readiness, self._limiter)
        self.assistant = assistant
        self.conversation = conversation
        self.view = gr.State(View())  # copied for every tab
        with gr.Row(elem_id="chat-page"):
            self.sidebar = Sidebar(services)
            pane = ChatPane(self._readiness.hint())
        self.log, self.live, self.hint, self.box = pane.log, pane.live, pane.hint, pane.box
        self.send, self.stop, self._toggle = pane.send, pane.stop, pane.toggle
        self._unchanged: Update = {self.live: gr.skip()}
        self.here = [self.assistant, self.conversation, self.view]
        self.shown = [
            self.log,
            self.live,
            self.sidebar.list,
            self.conversation,
            self.box,
            self.send,
            self.stop,
        ]
        self._wire()

    def _wire(self) -> None:
        def on(method: Callable[..., Any]) -> Callable[..., Any]:
            return self._services.access.event(UserRole.USER, method)

        side = self.sidebar
        streams: dict[str, Any] = {"outputs": self.shown, "trigger_mode": "multiple", **QUIET}
        gr.on([self.send.click, self.box.submit], on(self.ask), [self.box, *self.here], **streams)
        self.log.start(on(self.start), self.here, **streams)
        self.log.regenerate(on(self.regenerate), self.here, **streams)
        self.log.resend(on(self.resend), self.here, **streams)
        self.log.show(on(self.show_version), self.here, **streams)
        side.list.open(on(self.open), self.here, **streams)
        self.stop.click(on(self.end), self.conversation, None, **QUIET)
        side.new.click(on(self.begin), [self.assistant, self.view], self.shown, **QUIET)
        self.log.rate(on(self.rate), self.conversation, self.log, **QUIET)
        self.log.correct(on(self.correct), self.conversation, self.log, **QUIET)
        side.list.rename(on(side.rename), self.here, side.list, **QUIET)
        side.list.remove(on(self.remove), self.here, self.shown, **QUIET)
        gr.on(
            [side.search.input, side.samples.input],
            on(side.find),
            [*self.here, side.search, side.samples],
            side.list,
            trigger_mode="always_last",
            **QUIET,
        )
        opens = "() => { document.querySelector('#chat-sidebar').classList.%s('open'); }"
        self._toggle.click(None, js=opens % "toggle", api_visibility="private")
        side.list.open(None, js=opens % "remove", api_visibility="private")
        side.new.click(None, js=opens % "remove", api_visibility="private")

    def _own(self, person: Person) -> OwnConversations:
        return OwnConversations(self._store, person.name)

    def _threads(self, person: Person) -> Threads:
        return Threads(self._store, self._own(person), person.may(UserRole.ADMIN))

    # Streaming. A generator that yields nothing would empty every output, hence `_unchanged`.

    async def ask(
        self, person: Person, text: str, assistant_id: str | None, conversation_id: str | None, view: View
    ) -> AsyncIterator[Update]:
        """Send what stands in the box; it is emptied once the message is stored."""
        asking = self._asking.ask(person, assistant_id, conversation_id, text)
        stored = {self.box: ""}
        async for update in self._answer(person, asking, view):
            yield update if update == self._unchanged else update | stored
            stored = {}

    async def start(
        self,
        person: Person,
        assistant_id: str | None,
        conversation_id: str | None,
        view: View,
        event: gr.EventData,
    ) -> AsyncIterator[Update]:
        """A starter was clicked; it waits in the box until it is sent."""
        yield {self.box: str(event.text)}
        async for update in self.ask(person, str(event.text), assistant_id, conversation_id, view):
            yield update

    async def regenerate(
        self,
        person: Person,
        assistant_id: str | None,
        conversation_id: str | None,
        view: View,
        event: gr.EventData,
    ) -> AsyncIterator[Update]:
        """A sampled version beside the answer that was clicked."""
        asking = self._asking.again(person, assistant_id, str(event.id))
        async for update in self._answer(person, asking, view):
            yield update

    async def resend(
        self,
        person: Person,
        assistant_id: str | None,
        conversation_id: str | None,
        view: View,
        event: gr.EventData,
    ) -> AsyncIterator[Update]:
        """An edited message beside the one that was clicked, and its answer."""
        asking = self._asking.edited(person, assistant_id, str(event.id), str(event.text))
        async for update in self._answer(person, asking, view):
            yield update

    async def _answer(
        self, person: Person, asking: Awaitable[Answering], view: View
    ) -> AsyncIterator[Update]:
        try:
            answering = await asking
        except (ChatError, StoreError, TooMany) as error:
            gr.Warning(escape(str(error)))
            yield self._unchanged
            return
        async for update in self._follow(person, answering, view):
            yield update

    async def _follow(self, person: Person, answering: Answering, view: View) -> AsyncIterator[Update]:
        """Show an answer as it grows, until it is finished or another action has taken the pane."""
        owner = view.take()
        question = answering.question
        here = question.conversation_id
        assistant_id = (await asyncio.to_thread(self._store.conversations.get, here)).assistant_id
        threads = self._threads(person)
        yield {
            self.log: await asyncio.to_thread(threads.html, assistant_id, here, question),
            self.live: transcript.streaming(answering.text, answering.not_saved),
            self.sidebar.list: await asyncio.to_thread(
                self.sidebar.listing, person, assistant_id, here, view
            ),
            self.conversation: here,
            **self._buttons(busy=True),
        }
        try:
            async for text, not_saved in answering.watch():
                if view.owner is not owner:
                    return
                yield {self.live: transcript.streaming(text, not_saved)}
        except (ChatError, StoreError) as error:
            gr.Warning(escape(str(error)))
        if view.owner is owner:
            log = await asyncio.to_thread(threads.html, assistant_id, here)
            yield {self.log: log, self.live: "", **self._buttons(busy=False)}

    async def end(self, person: Person, conversation_id: str | None) -> None:
        """Stop was pressed; the watcher sees the end and shows what is stored."""
        answering = self._answers.running(conversation_id)
        if answering and answering.owner == person.name:
            await answering.stop()

    # Opening

    async def show(
        self, person: Person, assistant_id: str | None, conversation_id: str | None, view: View
    ) -> AsyncIterator[Update]:
        """Show a conversation, and the answer that is on its way in it; an empty page when it is gone."""
        existing = self._threads(person).existing
        conversation_id = await asyncio.to_thread(existing, assistant_id, conversation_id)
        if answering := self._answers.running(conversation_id):
            async for update in self._follow(person, answering, view):
                yield update
            return
        view.take()
        yield await asyncio.to_thread(self._still, person, assistant_id, conversation_id, view)

    async def open(
        self,
        person: Person,
        assistant_id: str | None,
        conversation_id: str | None,
        view: View,
        event: gr.EventData,
    ) -> AsyncIterator[Update]:
        """A conversation was clicked in the list."""
        async for update in self.show(person, assistant_id, str(event.id), view):
            yield update

    async def show_version(
        self,
        person: Person,
        assistant_id: str | None,
        conversation_id: str | None,
        view: View,
        event: gr.EventData,
    ) -> AsyncIterator[Update]:
        """‹ or › was pressed: show the branch with that version."""
        own = self._own(person)
        try:
            wanted = await asyncio.to_thread(own.message, str(event.id))
            self._answers.refuse_while_busy(wanted.conversation_id)
            await asyncio.to_thread(own.show, wanted.id)
        except (ChatError, StoreError) as error:
            gr.Warning(escape(str(error)))
            yield self._unchanged
            return
        async for update in self.show(person, assistant_id, conversation_id, view):
            yield update

    def begin(self, person: Person, assistant_id: str | None, view: View) -> Update:
        """An empty conversation; it is stored with its first message."""
        view.take()
        return self._still(person, assistant_id, None, view)

    def _still(
        self, person: Person, assistant_id: str | None, conversation_id: str | None, view: View
    ) -> Update:
        return {
            self.log: self._threads(person).html(assistant_id, conversation_id),
            self.live: "",
            self.sidebar.list: self.sidebar.listing(person, assistant_id, conversation_id, view),
            self.conversation: conversation_id,
            **self._buttons(busy=False),
        }

    async def remove(
        self,
        person: Person,
        assistant_id: str | None,
        conversation_id: str | None,
        view: View,
        event: gr.EventData,
    ) -> Update:
        await self.end(person, str(event.id))
        try:
            await asyncio.to_thread(self._own(person).delete, str(event.id))
        except StoreError as error:
            gr.Warning(escape(str(error)))
        if event.id == conversation_id:
            return await asyncio.to_thread(self.begin, person, assistant_id, view)
        listing = self.sidebar.listing
        return {
            self.sidebar.list: await asyncio.to_thread(listing, person, assistant_id, conversation_id, view)
        }

    # Ratings. What was typed stays when it could not be saved.

    def rate(self, person: Person, conversation_id: str | None, event: gr.EventData) -> Any:
        """A thumb or a reason was clicked."""
        return self._judge(person, conversation_id, self._threads(person).rate, event)

    def correct(self, person: Person, conversation_id: str | None, event: gr.EventData) -> Any:
        """Save correction, or Remove correction."""
        return self._judge(person, conversation_id, self._threads(person).correct, event)

    def _judge(
        self,
        person: Person,
        conversation_id: str | None,
        save: Callable[[Any], None],
        event: gr.EventData,
    ) -> Any:
        try:
            if person.signed_in:
                self._limiter.count_rating(person.name)
            save(event._data)
        except (StoreError, EmptyCorrection, TooMany) as error:
            gr.Warning(escape(str(error)))
            return gr.skip()
        return self._threads(person).html(None, conversation_id)

    def _buttons(self, *, busy: bool) -> Update:
        return {self.send: gr.Button(visible=not busy), self.stop: gr.Button(visible=busy)}
