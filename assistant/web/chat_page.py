"""The Chat page: conversations on the left, one of them in the middle, streaming.

In: the services. Out: components and their events. Every change goes to the store at once; the browser keeps
nothing but the id of the conversation that was open. Does not know HTTP or how an answer is generated.

Ids for tests: #chat-input #chat-send #chat-stop #chat-hint #chat-log #chat-live #starters #chat-new #chat-search
#show-samples #conversation-list #chat-list-toggle; on the newest answer #newest-answer #answer-caption #copy-answer
#regenerate #answer-previous #answer-next #rate-up #rate-down #rate-comment #reason-wrong-fact #reason-too-long
#reason-wrong-tone #reason-off-topic #reason-other #correct #correction-text #correction-save. Messages carry
data-message and data-status, conversations button.open[data-id].
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
from assistant.web.transcript import Turn
from store import StoreError
from store.records import Message, Rating, Verdict

Update = dict[Any, Any]  # component → its new value
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}


class View:
    """What one browser tab watches; the latest action owns the pane, earlier ones stop writing to it."""

    def __init__(self) -> None:
        self.owner: object = None

    def take(self) -> object:
        self.owner = object()
        return self.owner


class ChatPage:
    """Builds the components where it is made; `wire` adds the events once all pages exist."""

    def __init__(self, services: Services, assistant: gr.Dropdown, conversation: gr.BrowserState):
        self._services = services
        self._store = services.store
        self._answers = Answers(services.chat)
        self.assistant = assistant
        self.conversation = conversation
        self.view = gr.State(View)
        with gr.Row(elem_id="chat-page"):
            self._build_sidebar()
            self._build_main()
        self.shown = [self.log, self.live, self.list, self.conversation, self.box, self.send, self.stop]
        self._wire()

    def _build_sidebar(self) -> None:
        with gr.Column(elem_id="chat-sidebar", scale=0, min_width=270):
            self.new = gr.Button("New conversation", elem_id="chat-new", size="sm", variant="primary")
            self.search = gr.Textbox(
                placeholder="Search titles and messages", show_label=False, label="Search conversations",
                container=False, elem_id="chat-search",
            )
            self.samples = gr.Checkbox(
                label="Sample and imported ones too", elem_id="show-samples", container=False
            )
            self.list = gr.HTML(elem_id="conversation-list", js_on_load=forward("open", "rename", "remove"))

    def _build_main(self) -> None:
        with gr.Column(elem_id="chat-main", scale=1):
            self.toggle = gr.Button("Conversations", elem_id="chat-list-toggle", size="sm")
            with gr.Column(elem_id="chat-scroll", elem_classes="scroll-pane"):
                self.log = gr.HTML(
                    elem_id="chat-log",
                    js_on_load=forward("start", "resend", "regenerate", "show", "rate", "correct"),
                )
                self.live = gr.HTML(elem_id="chat-live", js_on_load=STICK_TO_END)
            with gr.Column(elem_id="chat-foot"):
                self.hint = gr.HTML(self.hint_text(), elem_id="chat-hint")
                with gr.Row(elem_id="chat-bar"):
                    self.box = gr.Textbox(
                        placeholder="Ask something", show_label=False, label="Message", container=False, lines=1,
                        max_lines=8, max_length=20_000, autofocus=True, elem_id="chat-input", scale=1,
                    )
                    self.send = gr.Button("Send", variant="primary", elem_id="chat-send", scale=0, min_width=88)
                    self.stop = gr.Button(
                        "Stop", variant="stop", elem_id="chat-stop", visible=False, scale=0, min_width=88
                    )

    def _wire(self) -> None:
        here = [self.assistant, self.conversation, self.view, self.search, self.samples]
        streams = {"outputs": self.shown, "trigger_mode": "multiple", **QUIET}
        gr.on([self.send.click, self.box.submit], self.ask, [self.box, *here], **streams)
        self.log.start(self.start, [*here], **streams)
        self.log.regenerate(self.regenerate, here, **streams)
        self.log.resend(self.resend, here, **streams)
        self.log.show(self.show_version, here, **streams)
        self.list.open(self.open, here, **streams)
        self.stop.click(self.end, self.conversation, None, **QUIET)
        self.new.click(self.begin, here, self.shown, **QUIET)
        self.log.rate(self.rate, self.conversation, self.log, **QUIET)
        self.log.correct(self.correct, self.conversation, self.log, **QUIET)
        self.list.rename(self.rename, [*here], self.list, **QUIET)
        self.list.remove(self.remove, [*here], self.shown, **QUIET)
        gr.on(
            [self.search.input, self.samples.input], self.listing,
            [self.assistant, self.conversation, self.search, self.samples], self.list,
            trigger_mode="always_last", **QUIET,
        )
        close = "() => { document.querySelector('#chat-sidebar').classList.remove('open'); }"
        self.toggle.click(
            None, js="() => { document.querySelector('#chat-sidebar').classList.toggle('open'); }",
            api_visibility="private",
        )
        self.list.open(None, js=close, api_visibility="private")
        self.new.click(None, js=close, api_visibility="private")

    # Streaming

    async def ask(
        self, text: str, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool
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
            gr.Warning(str(error))
            yield {self.live: gr.skip()}  # a generator that yields nothing would empty every output
            return
        stored = {self.box: ""}
        async for update in self._follow(answering, view, search, samples):
            yield update | stored
            stored = {}

    async def start(
        self, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool,
        event: gr.EventData,
    ) -> AsyncIterator[Update]:
        """A starter was clicked."""
        text = str(event.text)
        if self._services.server_state().phase is not Phase.READY:
            yield {self.box: text}  # it waits in the box, with the hint above it
        async for update in self.ask(text, assistant_id, conversation_id, view, search, samples):
            yield update

    async def regenerate(
        self, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool,
        event: gr.EventData,
    ) -> AsyncIterator[Update]:
        """A sampled version beside the answer that was clicked."""
        try:
            self._refuse_until_ready(assistant_id)
            answer = await asyncio.to_thread(self._store.message, str(event.id))
            question = await asyncio.to_thread(self._store.message, str(answer.parent_id))
            answering = self._answers.start(question, vary=True)
        except (ChatError, StoreError) as error:
            gr.Warning(str(error))
            yield {self.live: gr.skip()}  # a generator that yields nothing would empty every output
            return
        async for update in self._follow(answering, view, search, samples):
            yield update

    async def resend(
        self, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool,
        event: gr.EventData,
    ) -> AsyncIterator[Update]:
        """An edited message beside the one that was clicked, and its answer."""
        try:
            self._refuse_until_ready(assistant_id)
            self._answers.refuse_while_busy(conversation_id)
            question = await asyncio.to_thread(self._services.chat.edit, str(event.id), str(event.text))
            answering = self._answers.start(question)
        except (ChatError, StoreError) as error:
            gr.Warning(str(error))
            yield {self.live: gr.skip()}  # a generator that yields nothing would empty every output
            return
        async for update in self._follow(answering, view, search, samples):
            yield update

    async def _follow(self, answering: Answering, view: View, search: str, samples: bool) -> AsyncIterator[Update]:
        """Show an answer as it grows, until it is finished or another action has taken the pane."""
        owner = view.take()
        question = answering.question
        assistant_id = (await asyncio.to_thread(self._store.conversation, question.conversation_id)).assistant_id
        yield {
            self.log: await asyncio.to_thread(self._log, assistant_id, question.conversation_id, question),
            self.live: transcript.streaming(answering.text),
            self.list: await asyncio.to_thread(
                self.listing, assistant_id, question.conversation_id, search, samples
            ),
            self.conversation: question.conversation_id,
            **self._buttons(busy=True),
        }
        try:
            async for text in answering.watch():
                if view.owner is not owner:
                    return
                yield {self.live: transcript.streaming(text)}
        except ChatError as error:
            gr.Warning(str(error))
        if view.owner is owner:
            yield {
                self.log: await asyncio.to_thread(self._log, assistant_id, question.conversation_id),
                self.live: "",
                **self._buttons(busy=False),
            }

    async def end(self, conversation_id: str | None) -> None:
        """Stop was pressed; the watcher sees the end and shows what is stored."""
        if answering := self._answers.running(conversation_id):
            await answering.stop()

    # Opening

    async def open(
        self, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool,
        event: gr.EventData,
    ) -> AsyncIterator[Update]:
        """A conversation was clicked in the list."""
        async for update in self.show(assistant_id, str(event.id), view, search, samples):
            yield update

    async def show_version(
        self, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool,
        event: gr.EventData,
    ) -> AsyncIterator[Update]:
        """‹ or › was pressed: show the branch with that version."""
        try:
            self._answers.refuse_while_busy(conversation_id)
            await asyncio.to_thread(self._store.show, str(event.id))
        except (ChatError, StoreError) as error:
            gr.Warning(str(error))
        async for update in self.show(assistant_id, conversation_id, view, search, samples):
            yield update

    async def show(
        self, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool
    ) -> AsyncIterator[Update]:
        """Show a conversation, and the answer that is on its way in it; an empty page when it is gone."""
        if answering := self._answers.running(conversation_id):
            async for update in self._follow(answering, view, search, samples):
                yield update
            return
        view.take()
        conversation_id = await asyncio.to_thread(self._existing, assistant_id, conversation_id)
        yield {
            self.log: await asyncio.to_thread(self._log, assistant_id, conversation_id),
            self.live: "",
            self.list: await asyncio.to_thread(self.listing, assistant_id, conversation_id, search, samples),
            self.conversation: conversation_id,
            **self._buttons(busy=False),
        }

    def begin(
        self, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool
    ) -> Update:
        """An empty conversation; it is stored with its first message."""
        view.take()
        return {
            self.log: self._log(assistant_id, None),
            self.live: "",
            self.list: self.listing(assistant_id, None, search, samples),
            self.conversation: None,
            **self._buttons(busy=False),
        }

    # The list

    def listing(self, assistant_id: str | None, conversation_id: str | None, search: str, samples: bool) -> str:
        """The list's HTML; samples only when asked for, or there would be nothing else to see."""
        if assistant_id is None:
            return ""
        found = self._store.conversations(
            assistant_id, owner=PERSON, source=None if samples else "chat", search=search.strip() or None
        )
        return conversation_list(found, conversation_id, search.strip())

    def rename(
        self, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool,
        event: gr.EventData,
    ) -> str:
        title = " ".join(str(event.title).split())[:200]
        if title:
            self._try(self._store.rename_conversation, str(event.id), title)
        return self.listing(assistant_id, conversation_id, search, samples)

    async def remove(
        self, assistant_id: str | None, conversation_id: str | None, view: View, search: str, samples: bool,
        event: gr.EventData,
    ) -> Update:
        await self.end(str(event.id))
        await asyncio.to_thread(self._try, self._store.delete_conversation, str(event.id))
        if event.id == conversation_id:
            return await asyncio.to_thread(self.begin, assistant_id, None, view, search, samples)
        return {self.list: await asyncio.to_thread(self.listing, assistant_id, conversation_id, search, samples)}

    # Ratings

    def rate(self, conversation_id: str | None, event: gr.EventData) -> str:
        """One click, one rating. A correction that was made earlier stays with it."""
        data = _fields(event)
        verdict = Verdict(data["verdict"]) if data.get("verdict") else None
        correction = self._correction(data["id"])
        self._try(
            self._store.rate, data["id"], PERSON, verdict, data.get("reason", ""),
            data.get("comment", "").strip() if verdict is Verdict.DOWN else "", correction,
        )
        return self._log(None, conversation_id)

    def correct(self, conversation_id: str | None, event: gr.EventData) -> str:
        """Save or remove a correction. An answer that had to be corrected counts as bad unless it was rated up."""
        data = _fields(event)
        latest = self._latest(data["id"])
        verdict, reason, comment = (
            (latest.verdict, latest.reason, latest.comment) if latest else (None, "", "")
        )
        text = data.get("text", "").strip()
        if data.get("remove"):
            self._try(self._store.rate, data["id"], PERSON, verdict, reason, comment, None)
        elif not text:
            gr.Warning("The correction is empty. Write the answer as it should have been.")
        else:
            self._try(self._store.rate, data["id"], PERSON, verdict or Verdict.DOWN, reason, comment, text)
        return self._log(None, conversation_id)

    def _correction(self, message_id: str) -> str | None:
        latest = self._latest(message_id)
        return latest.correction if latest else None

    def _latest(self, message_id: str) -> Rating | None:
        mine = [r for r in self._store.latest_ratings([message_id]).get(message_id, ()) if r.rater == PERSON]
        return mine[-1] if mine else None

    # What is shown

    def hint_text(self) -> str:
        """Above the input while the server is not ready."""
        state = self._services.server_state()
        if state.phase is Phase.READY:
            return ""
        return f'<p class="notice">{escape(words.server(state))}. What you type stays here until then.</p>'

    def _log(self, assistant_id: str | None, conversation_id: str | None, up_to: Message | None = None) -> str:
        try:
            if conversation_id:
                messages = self._store.branch(up_to.id) if up_to else self._store.thread(conversation_id)
                return transcript.transcript(conversation_id, self._turns(conversation_id, messages))
        except StoreError as error:
            return transcript.empty("This conversation is gone", str(error), ())
        if assistant_id is None:
            return transcript.empty(
                "No assistant yet",
                "Open the Prompt page: load the sample with one click, or write a prompt of your own.", (),
            )
        assistant = self._store.assistant(assistant_id)
        return transcript.empty(
            assistant.name, "Ask something, then rate the answer or correct it: that is what Shorthand learns from.",
            assistant.starters,
        )

    def _turns(self, conversation_id: str, messages: list[Message]) -> list[Turn]:
        ratings = self._store.latest_ratings(message.id for message in messages)
        assistant_id = self._store.conversation(conversation_id).assistant_id
        served = {deployment.id: deployment for deployment in self._store.deployments(assistant_id)}
        turns = []
        for message in messages:
            mine = [rating for rating in ratings.get(message.id, ()) if rating.rater == PERSON]
            others = list(ratings.get(message.id, ()))
            turns.append(
                Turn(
                    message,
                    tuple(version.id for version in self._store.siblings(message.id)),
                    (mine or others or [None])[-1],
                    len(self._store.ratings(message.id)) if others else 0,
                    served.get(message.deployment_id or 0),
                )
            )
        return turns

    def _existing(self, assistant_id: str | None, conversation_id: str | None) -> str | None:
        try:
            found = self._store.conversation(conversation_id or "")
        except StoreError:
            return None
        return found.id if found.assistant_id == assistant_id else None

    def _buttons(self, *, busy: bool) -> Update:
        return {self.send: gr.Button(visible=not busy), self.stop: gr.Button(visible=busy)}

    def _refuse_until_ready(self, assistant_id: str | None) -> None:
        if assistant_id is None:
            raise ChatError("There is no assistant yet. Load the sample or write a prompt on the Prompt page.")
        state = self._services.server_state()
        if state.phase is not Phase.READY:
            raise ChatError(f"{words.server(state)}. Your message stays in the box; send it when the server is ready.")

    def _try(self, change, *values) -> None:  # type: ignore[no-untyped-def]
        try:
            change(*values)
        except StoreError as error:
            gr.Warning(str(error))


def _fields(event: gr.EventData) -> dict[str, str]:
    return {key: str(value) for key, value in event._data.items()}
