"""The Chat page: conversations on the left, one of them in the middle, streaming.

In: the services. Out: components and their events. Every change goes to the store at once; the browser
keeps nothing but the id of the conversation that was open. Does not know HTTP or how an answer is
generated.

Ids for tests: #chat-input #chat-send #chat-stop #chat-hint #chat-log #chat-live #chat-load-sample #starters
#chat-new #chat-search #show-samples #conversation-list #chat-list-toggle; on the newest answer
#newest-answer #answer-caption #copy-answer #regenerate #answer-previous #answer-next #rate-up #rate-down
#rate-comment #reason-wrong-fact #reason-too-long #reason-wrong-tone #reason-off-topic #reason-other
#correct #correction-text #correction-save. Messages carry data-message and data-status; conversations are
button.open[data-id].
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from html import escape
from typing import Any

import gradio as gr

from assistant.chat import ChatError
from assistant.vllm_server import Phase
from assistant.web import transcript, words
from assistant.web.answering import Answering, Answers
from assistant.web.clicks import STICK_TO_END, forward
from assistant.web.conversation_list import conversation_list
from assistant.web.services import PERSON, Services
from assistant.web.thread import EmptyCorrection, Threads
from store import StoreError

Update = dict[Any, Any]  # component → its new value
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}


class View:
    """What one browser tab watches; the latest action owns the pane, earlier ones stop writing to it."""

    def __init__(self) -> None:
        self.owner: object = None
        self.search = ""
        self.samples = False  # list sample and imported conversations too

    def take(self) -> object:
        self.owner = object()
        return self.owner


class ChatPage:
    """Builds the components where it is made. `here` are the inputs of `show`, `shown` its outputs."""

    def __init__(self, services: Services, assistant: gr.Dropdown, conversation: gr.BrowserState):
        self._services = services
        self._store = services.store
        self._threads = Threads(services.store)
        self._answers = Answers(services.chat)
        self.assistant = assistant
        self.conversation = conversation
        self.view = gr.State(View())  # copied for every tab
        with gr.Row(elem_id="chat-page"):
            self._build_sidebar()
            self._build_main()
        self.here = [self.assistant, self.conversation, self.view]
        self.shown = [self.log, self.live, self.list, self.conversation, self.box, self.send, self.stop]
        self._wire()

    def _build_sidebar(self) -> None:
        with gr.Column(elem_id="chat-sidebar", scale=0, min_width=270):
            self.new = gr.Button("New conversation", elem_id="chat-new", size="sm", variant="primary")
            self.search = gr.Textbox(
                placeholder="Search titles and messages",
                show_label=False,
                label="Search conversations",
                container=False,
                elem_id="chat-search",
            )
            self.samples = gr.Checkbox(
                label="Sample and imported ones too", elem_id="show-samples", container=False
            )
            self.list = gr.HTML(elem_id="conversation-list", js_on_load=forward("open", "rename", "remove"))

    def _build_main(self) -> None:
        clicks = forward("start", "resend", "regenerate", "show", "rate", "correct", "sample")
        with gr.Column(elem_id="chat-main", scale=1):
            self.toggle = gr.Button("Conversations", elem_id="chat-list-toggle", size="sm")
            with gr.Column(elem_id="chat-scroll", elem_classes="scroll-pane"):
                self.log = gr.HTML(elem_id="chat-log", js_on_load=clicks)
                self.live = gr.HTML(elem_id="chat-live", js_on_load=STICK_TO_END)
            with gr.Column(elem_id="chat-foot"):
                self.hint = gr.HTML(self.hint_text(), elem_id="chat-hint")
                with gr.Row(elem_id="chat-bar"):
                    self.box = gr.Textbox(
                        placeholder="Ask something",
                        show_label=False,
                        label="Message",
                        container=False,
                        lines=1,
                        max_lines=8,
                        autofocus=True,
                        elem_id="chat-input",
                        scale=1,
                    )
                    self.send = gr.Button(
                        "Send", variant="primary", elem_id="chat-send", scale=0, min_width=88
                    )
                    self.stop = gr.Button(
                        "Stop", variant="stop", elem_id="chat-stop", visible=False, scale=0, min_width=88
                    )

    def _wire(self) -> None:
        streams: dict[str, Any] = {"outputs": self.shown, "trigger_mode": "multiple", **QUIET}
        gr.on([self.send.click, self.box.submit], self.ask, [self.box, *self.here], **streams)
        self.log.start(self.start, self.here, **streams)
        self.log.regenerate(self.regenerate, self.here, **streams)
        self.log.resend(self.resend, self.here, **streams)
        self.log.show(self.show_version, self.here, **streams)
        self.list.open(self.open, self.here, **streams)
        self.stop.click(self.end, self.conversation, None, **QUIET)
        self.new.click(self.begin, [self.assistant, self.view], self.shown, **QUIET)
        self.log.rate(self.rate, self.conversation, self.log, **QUIET)
        self.log.correct(self.correct, self.conversation, self.log, **QUIET)
        self.list.rename(self.rename, self.here, self.list, **QUIET)
        self.list.remove(self.remove, self.here, self.shown, **QUIET)
        gr.on(
            [self.search.input, self.samples.input],
            self.find,
            [*self.here, self.search, self.samples],
            self.list,
            trigger_mode="always_last",
            **QUIET,
        )
        sidebar = "() => { document.querySelector('#chat-sidebar').classList.%s('open'); }"
        self.toggle.click(None, js=sidebar % "toggle", api_visibility="private")
        self.list.open(None, js=sidebar % "remove", api_visibility="private")
        self.new.click(None, js=sidebar % "remove", api_visibility="private")

    # Streaming. A generator that yields nothing would empty every output, hence `_refused`.

    async def ask(
        self, text: str, assistant_id: str | None, conversation_id: str | None, view: View
    ) -> AsyncIterator[Update]:
        """Send what stands in the box; it is emptied once the message is stored."""
        try:
            self._refuse_until_ready(assistant_id)
            self._answers.refuse_while_busy(conversation_id)
            question = await asyncio.to_thread(
                self._services.chat.ask, str(assistant_id), conversation_id or None, text, PERSON
            )
            answering = self._answers.start(question)
        except (ChatError, StoreError) as error:
            yield self._refused(error)
            return
        stored = {self.box: ""}
        async for update in self._follow(answering, view):
            yield update | stored
            stored = {}

    async def start(
        self, assistant_id: str | None, conversation_id: str | None, view: View, event: gr.EventData
    ) -> AsyncIterator[Update]:
        """A starter was clicked; it waits in the box when it cannot be sent yet."""
        if self._services.server_state().phase is not Phase.READY:
            yield {self.box: str(event.text)}
        async for update in self.ask(str(event.text), assistant_id, conversation_id, view):
            yield update

    async def regenerate(
        self, assistant_id: str | None, conversation_id: str | None, view: View, event: gr.EventData
    ) -> AsyncIterator[Update]:
        """A sampled version beside the answer that was clicked."""
        try:
            self._refuse_until_ready(assistant_id)
            answer = await asyncio.to_thread(self._store.message, str(event.id))
            question = await asyncio.to_thread(self._store.message, str(answer.parent_id))
            answering = self._answers.start(question, vary=True)
        except (ChatError, StoreError) as error:
            yield self._refused(error)
            return
        async for update in self._follow(answering, view):
            yield update

    async def resend(
        self, assistant_id: str | None, conversation_id: str | None, view: View, event: gr.EventData
    ) -> AsyncIterator[Update]:
        """An edited message beside the one that was clicked, and its answer."""
        try:
            self._refuse_until_ready(assistant_id)
            self._answers.refuse_while_busy(conversation_id)
            question = await asyncio.to_thread(self._services.chat.edit, str(event.id), str(event.text))
            answering = self._answers.start(question)
        except (ChatError, StoreError) as error:
            yield self._refused(error)
            return
        async for update in self._follow(answering, view):
            yield update

    async def _follow(self, answering: Answering, view: View) -> AsyncIterator[Update]:
        """Show an answer as it grows, until it is finished or another action has taken the pane."""
        owner = view.take()
        question = answering.question
        here = question.conversation_id
        assistant_id = (await asyncio.to_thread(self._store.conversation, here)).assistant_id
        yield {
            self.log: await asyncio.to_thread(self._threads.html, assistant_id, here, question),
            self.live: transcript.streaming(answering.text),
            self.list: await asyncio.to_thread(self.listing, assistant_id, here, view),
            self.conversation: here,
            **self._buttons(busy=True),
        }
        try:
            async for text in answering.watch():
                if view.owner is not owner:
                    return
                yield {self.live: transcript.streaming(text)}
        except (ChatError, StoreError) as error:
            gr.Warning(escape(str(error)))
        if view.owner is owner:
            log = await asyncio.to_thread(self._threads.html, assistant_id, here)
            yield {self.log: log, self.live: "", **self._buttons(busy=False)}

    async def end(self, conversation_id: str | None) -> None:
        """Stop was pressed; the watcher sees the end and shows what is stored."""
        if answering := self._answers.running(conversation_id):
            await answering.stop()

    # Opening

    async def show(
        self, assistant_id: str | None, conversation_id: str | None, view: View
    ) -> AsyncIterator[Update]:
        """Show a conversation, and the answer that is on its way in it; an empty page when it is gone."""
        conversation_id = await asyncio.to_thread(self._threads.existing, assistant_id, conversation_id)
        if answering := self._answers.running(conversation_id):
            async for update in self._follow(answering, view):
                yield update
            return
        view.take()
        yield await asyncio.to_thread(self._still, assistant_id, conversation_id, view)

    async def open(
        self, assistant_id: str | None, conversation_id: str | None, view: View, event: gr.EventData
    ) -> AsyncIterator[Update]:
        """A conversation was clicked in the list."""
        async for update in self.show(assistant_id, str(event.id), view):
            yield update

    async def show_version(
        self, assistant_id: str | None, conversation_id: str | None, view: View, event: gr.EventData
    ) -> AsyncIterator[Update]:
        """‹ or › was pressed: show the branch with that version."""
        try:
            self._answers.refuse_while_busy(conversation_id)
            await asyncio.to_thread(self._store.show, str(event.id))
        except (ChatError, StoreError) as error:
            yield self._refused(error)
            return
        async for update in self.show(assistant_id, conversation_id, view):
            yield update

    def begin(self, assistant_id: str | None, view: View) -> Update:
        """An empty conversation; it is stored with its first message."""
        view.take()
        return self._still(assistant_id, None, view)

    def _still(self, assistant_id: str | None, conversation_id: str | None, view: View) -> Update:
        return {
            self.log: self._threads.html(assistant_id, conversation_id),
            self.live: "",
            self.list: self.listing(assistant_id, conversation_id, view),
            self.conversation: conversation_id,
            **self._buttons(busy=False),
        }

    # The list

    def find(
        self, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool
    ) -> str:
        view.search, view.samples = search.strip(), samples
        return self.listing(assistant_id, conversation_id, view)

    def listing(self, assistant_id: str | None, conversation_id: str | None, view: View) -> str:
        """The list's HTML; samples only when asked for, or there would be nothing else to see."""
        if assistant_id is None:
            return ""
        source = None if view.samples else "chat"
        found = self._store.conversations(assistant_id, PERSON, source, view.search or None)
        return conversation_list(found, conversation_id, view.search)

    def rename(
        self, assistant_id: str | None, conversation_id: str | None, view: View, event: gr.EventData
    ) -> str:
        if title := " ".join(str(event.title).split())[:200]:
            try:
                self._store.rename_conversation(str(event.id), title)
            except StoreError as error:
                gr.Warning(escape(str(error)))
        return self.listing(assistant_id, conversation_id, view)

    async def remove(
        self, assistant_id: str | None, conversation_id: str | None, view: View, event: gr.EventData
    ) -> Update:
        await self.end(str(event.id))
        try:
            await asyncio.to_thread(self._store.delete_conversation, str(event.id))
        except StoreError as error:
            gr.Warning(escape(str(error)))
        if event.id == conversation_id:
            return await asyncio.to_thread(self.begin, assistant_id, view)
        return {self.list: await asyncio.to_thread(self.listing, assistant_id, conversation_id, view)}

    # Ratings

    def rate(self, conversation_id: str | None, event: gr.EventData) -> str:
        """A thumb or a reason was clicked."""
        try:
            self._threads.rate(event._data)
        except StoreError as error:
            gr.Warning(escape(str(error)))
        return self._threads.html(None, conversation_id)

    def correct(self, conversation_id: str | None, event: gr.EventData) -> Any:
        """Save correction, or Remove correction; the typed text stays when it could not be saved."""
        try:
            self._threads.correct(event._data)
        except (StoreError, EmptyCorrection) as error:
            gr.Warning(escape(str(error)))
            return gr.skip()
        return self._threads.html(None, conversation_id)

    # What is said about the server

    def hint_text(self) -> str:
        """Above the input while the server is not ready."""
        state = self._services.server_state()
        if state.phase is Phase.READY:
            return ""
        return f'<p class="notice">{escape(words.server(state))}. What you type stays here until then.</p>'

    def _refuse_until_ready(self, assistant_id: str | None) -> None:
        if assistant_id is None:
            raise ChatError("There is no assistant yet. Load the sample, or write a prompt on its page.")
        state = self._services.server_state()
        if state.phase is not Phase.READY:
            raise ChatError(f"{words.server(state)}. Your message stays in the box until then.")

    def _refused(self, error: Exception) -> Update:
        gr.Warning(escape(str(error)))
        return {self.live: gr.skip()}

    def _buttons(self, *, busy: bool) -> Update:
        return {self.send: gr.Button(visible=not busy), self.stop: gr.Button(visible=busy)}
