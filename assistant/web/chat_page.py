"""The Chat page: conversations on the left, one of them in the middle, streaming.

Every change goes to the store at once; the browser keeps nothing but the id of the conversation that was open.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio import EventData

from assistant.limits import MAX_MESSAGE_CHARACTERS
from assistant.web.access import QUIET, Id, Person, Services, Update
from assistant.web.answers import Answer, Answers
from assistant.web.markup import forward, render, script
from assistant.web.theme import bare
from assistant.web.user_conversations import UserConversations
from store import StoreError
from store.accounts import UserRole
from store.visible import is_blank, one_line

Updates = AsyncIterator[Update]

_MORE = 100  # conversations that are listed, and by how many more each time
_TWICE_S = 2.0  # what is sent again as it was within this time is a second press of the same button
_CLICKS = ("start", "resend", "regenerate", "resume", "show", "rate", "correct", "sample")


class TabState:
    """What one browser tab shows; it lives as long as the tab. Only the latest action may write to the conversation's
    pane: the one whose token is `owner`.
    """

    def __init__(self) -> None:
        self.owner: object = None
        self.conversation: Id = None
        self.sent: tuple[object, ...] = ()  # what was asked last, and where
        self.sent_at = 0.0
        self.search = ""
        self.most = _MORE  # conversations in the list
        self.samples = False  # list sample and imported conversations too

    def take_ownership(self, conversation: Id) -> object:
        self.owner, self.conversation = object(), conversation
        return self.owner

    @contextmanager
    def sending(self, conversation: Id, *what: object) -> Iterator[bool]:
        """False for a second press: of what was sent just now, or whose conversation the page has not shown yet."""
        sent, now = (conversation, *what), time.monotonic()
        late = now - self.sent_at > _TWICE_S and conversation == self.conversation
        is_new = sent != self.sent or late
        self.sent, self.sent_at = sent, now
        try:
            yield is_new
        except BaseException:  # nothing was sent: it may be pressed again at once
            self.sent = ()
            raise


class ChatPage:
    """Builds the components where it is made. `here` are the inputs of `show`, `shown` its outputs."""

    def __init__(self, services: Services, assistant: gr.Dropdown, conversation: gr.BrowserState):
        self._services = services
        self._store = services.store
        self._answers = Answers(services)
        self.assistant, self.conversation = assistant, conversation
        self.tab = gr.State(TabState())  # copied for every tab
        with gr.Row(elem_id="chat-page"):
            with gr.Column(elem_id="chat-sidebar", scale=0, min_width=270):
                self._build_sidebar()
            with gr.Column(elem_id="chat-main", scale=1):
                self._build_pane()
        self.here = [assistant, conversation, self.tab]
        self.shown = [self.log, self.live, self.list, conversation, self.box, self.send, self.stop, self.swap]
        self._wire()

    def _build_sidebar(self) -> None:
        self.new = gr.Button("New conversation", elem_id="chat-new", size="sm", variant="primary")
        options = {"placeholder": "Search titles and messages", "max_length": 1000}
        self.search = bare(gr.Textbox, "Search conversations", "chat-search", **options)
        self.samples = gr.Checkbox(
            label="Sample and imported ones too", elem_id="show-samples", container=False
        )
        clicks = forward("open", "rename", "remove", "more")
        self.list = gr.HTML(elem_id="conversation-list", js_on_load=clicks)

    def _build_pane(self) -> None:
        gr.Button("Conversations", elem_id="chat-list-toggle", size="sm")
        with gr.Column(elem_id="chat-scroll", elem_classes="scroll-pane"):
            self.log = gr.HTML(elem_id="chat-log", js_on_load=forward(*_CLICKS))
            self.live = gr.HTML(elem_id="chat-live", js_on_load=script("stick_to_end.js"))
        self.swap = gr.HTML(elem_id="chat-swap", js_on_load=forward("regenerate"))
        with gr.Column(elem_id="chat-foot"):
            self.hint = gr.HTML(elem_id="chat-hint")
            with gr.Row(elem_id="chat-bar"):
                options = {"placeholder": "Ask something", "max_length": MAX_MESSAGE_CHARACTERS, "scale": 1}
                self.box = bare(gr.Textbox, "Message", "chat-input", autofocus=True, max_lines=8, **options)
                size: dict[str, Any] = {"scale": 0, "min_width": 88}
                self.send = gr.Button("Send", variant="primary", elem_id="chat-send", **size)
                self.stop = gr.Button("Stop", variant="stop", elem_id="chat-stop", visible=False, **size)

    def _wire(self) -> None:
        def on(method: Callable[..., Any]) -> Callable[..., Any]:
            return self._services.access.event(UserRole.USER, method)

        log, listing = self.log, self.list
        streams: dict[str, Any] = {"outputs": self.shown, "trigger_mode": "multiple", **QUIET}
        gr.on([self.send.click, self.box.submit], on(self.ask), [self.box, *self.here], **streams)
        log.start(on(self.start), self.here, **streams)
        # `gr.on` takes no events of a gr.HTML's own
        for again in (log.regenerate, log.resend, log.resume, self.swap.regenerate):
            again(on(self.ask_again), self.here, **streams)
        log.show(on(self.show_version), self.here, **streams)
        listing.open(on(self.open), self.here, **streams)
        self.stop.click(on(self.end), self.conversation, None, **QUIET)
        self.new.click(on(self.begin), [self.assistant, self.tab], self.shown, **QUIET)
        for rated in (log.rate, log.correct):
            rated(on(self.rate), self.conversation, log, **QUIET)
        listing.rename(on(self.rename), self.here, listing, **QUIET)
        listing.more(on(self.list_more), self.here, listing, **QUIET)
        listing.remove(on(self.remove), self.here, self.shown, **QUIET)
        changes = [self.search.change, self.samples.input]  # `input` of a textbox says nothing of pasted text
        searched = [*self.here, self.search, self.samples]
        gr.on(changes, on(self.find), searched, listing, trigger_mode="always_last", **QUIET)

    def _own(self, person: Person) -> UserConversations:
        return UserConversations(self._store, person.name)

    # Streaming

    async def ask(self, person: Person, text: str, assistant: Id, talk: Id, tab: TabState) -> Updates:
        """Send what stands in the box; it is emptied once the message is stored."""
        if assistant is None:  # the page was opened this moment, and its picker is not filled yet
            assistant = await asyncio.to_thread(self._own(person).assistant, talk)
        with tab.sending(talk, text) as is_new:
            answer = await self._answers.ask(person, assistant, talk, text) if is_new else None
        async for update in self._follow(person, assistant, answer, tab, {self.box: ""}):
            yield update

    async def start(
        self, person: Person, assistant: Id, talk: Id, tab: TabState, event: EventData
    ) -> Updates:
        """A starter was clicked; it waits in the box until it is sent."""
        yield {self.box: str(event.text)}
        async for update in self.ask(person, str(event.text), assistant, talk, tab):
            yield update

    async def ask_again(
        self, person: Person, assistant: Id, talk: Id, tab: TabState, event: EventData
    ) -> Updates:
        """Another version beside what was clicked: of an answer, whole or cut off, or of a message that was edited."""
        again = str(event.id), event._data.get("text"), event._data.get("event") == "resume"
        with tab.sending(tab.conversation, *again) as is_new:
            answer = await self._answers.ask_again(person, *again) if is_new else None
        async for update in self._follow(person, assistant, answer, tab, {self.box: gr.skip()}):
            yield update

    async def _follow(
        self, person: Person, assistant: Id, answer: Answer | None, tab: TabState, first: Update
    ) -> Updates:
        """Show an answer as it grows, until it is finished or another action has taken the pane."""
        if answer is None:
            yield first
            return
        here = answer.question.conversation_id
        owner, seen = tab.take_ownership(here), answer.state
        begun = await asyncio.to_thread(self._pane, person, assistant, here, answer)
        if tab.owner is not owner:  # New was pressed meanwhile, and what is asked next belongs there
            yield first
            return
        yield first | begun
        shown = 0
        async for _ in answer.watch(seen):
            shown += 1
            # The list is most of what is sent, with 100 in it: the first words do not wait for it.
            more = await self._listed(person, assistant, here, tab) if shown == 2 else {}
            if tab.owner is not owner:
                return
            yield {self.live: _live(answer)} | more
        if tab.owner is owner:
            yield await asyncio.to_thread(self._page, person, assistant, here, tab)
        answer.raise_failure()

    async def end(self, person: Person, talk: Id) -> None:
        """Stop was pressed; the watcher sees the end and shows what is stored."""
        answer = self._answers.running(talk)
        if answer and answer.owner == person.name:
            await answer.stop()

    # Opening

    async def show(self, person: Person, assistant: Id, talk: Id, tab: TabState) -> Updates:
        """Show a conversation, and the answer that is on its way in it; an empty page when it is gone.

        The browser may not know yet which conversation a message that was sent at once has begun.
        """
        wanted = talk or tab.conversation
        talk = await asyncio.to_thread(self._existing, person, assistant, wanted)
        if answer := self._answers.running(talk):
            async for update in self._follow(person, assistant, answer, tab, {}):
                yield update
        else:
            tab.take_ownership(talk)
            yield await asyncio.to_thread(self._page, person, assistant, talk, tab)

    async def open(self, person: Person, assistant: Id, talk: Id, tab: TabState, event: EventData) -> Updates:
        """A conversation was clicked in the list."""
        async for update in self.show(person, assistant, str(event.id), tab):
            yield update

    async def show_version(
        self, person: Person, assistant: Id, talk: Id, tab: TabState, event: EventData
    ) -> Updates:
        """‹ or › was pressed: show the branch with that version."""
        own = self._own(person)
        wanted = await asyncio.to_thread(own.message, str(event.id))
        self._answers.refuse_while_busy(wanted.conversation_id)
        await asyncio.to_thread(own.show, wanted.id)
        async for update in self.show(person, assistant, talk, tab):
            yield update

    def begin(self, person: Person, assistant: Id, tab: TabState) -> Update:
        """An empty conversation; it is stored with its first message."""
        tab.take_ownership(None)
        return self._page(person, assistant, None, tab)

    def _existing(self, person: Person, assistant: Id, talk: Id) -> Id:
        """The id if it is this person's, with that assistant; the browser may remember a deleted one, or another's."""
        try:
            found = self._own(person).conversation(talk or "")
        except StoreError:
            return None
        return found.id if found.assistant_id == assistant else None

    def show_swap(self, person: Person, talk: Id) -> str:
        """A tick: an adapter may have been swapped in meanwhile."""
        return "" if self._answers.running(talk) else self._swapped(person, talk)

    def _swapped(self, person: Person, talk: Id) -> str:
        swap = self._own(person).swap(talk)
        return render("swap_banner.html", **swap) if swap else ""

    # The list

    def find(self, person: Person, assistant: Id, talk: Id, tab: TabState, search: str, samples: bool) -> str:
        tab.search, tab.samples, tab.most = search.strip(), samples, _MORE
        return self._listing(person, assistant, talk, tab)

    def list_more(self, person: Person, assistant: Id, talk: Id, tab: TabState) -> str:
        tab.most += _MORE
        return self._listing(person, assistant, talk, tab)

    def rename(self, person: Person, assistant: Id, talk: Id, tab: TabState, event: EventData) -> str:
        if not is_blank(title := one_line(str(event.title), 200)):
            self._own(person).rename(str(event.id), title)
        return self._listing(person, assistant, talk, tab)

    async def remove(
        self, person: Person, assistant: Id, talk: Id, tab: TabState, event: EventData
    ) -> Update:
        id = str(event.id)
        await self.end(person, id)
        await asyncio.to_thread(self._own(person).delete, id)
        if id == talk:
            return await asyncio.to_thread(self.begin, person, assistant, tab)
        return await self._listed(person, assistant, talk, tab)

    def rate(self, person: Person, talk: Id, event: EventData) -> str:
        """A thumb, a reason or a correction. What was typed stays when it could not be saved."""
        self._services.rates.count("ratings", person)
        self._own(person).rate(event._data)
        return self._log(person, None, talk)

    # HTML

    def _page(self, person: Person, assistant: Id, talk: Id, tab: TabState) -> Update:
        """Everything that is shown."""
        listing = self._listing(person, assistant, talk, tab)
        return {**self._pane(person, assistant, talk), self.list: listing}

    def _pane(self, person: Person, assistant: Id, talk: Id, answer: Answer | None = None) -> Update:
        """All but the list, and the answer that is being written."""
        return {
            self.log: self._log(person, assistant, talk, answer),
            self.live: _live(answer) if answer else "",
            self.conversation: talk,
            self.swap: "" if answer else self._swapped(person, talk),
            self.send: gr.update(visible=answer is None),
            self.stop: gr.update(visible=answer is not None),
        }

    async def _listed(self, person: Person, assistant: Id, talk: Id, tab: TabState) -> Update:
        return {self.list: await asyncio.to_thread(self._listing, person, assistant, talk, tab)}

    def _log(self, person: Person, assistant: Id, talk: Id, answer: Answer | None = None) -> str:
        """The shown branch, or that of the question; without a conversation, what to do first."""
        if talk:
            turns = self._own(person).turns(talk, answer.question if answer else None)
            return render("turns.html", conversation=talk, turns=turns)
        found = self._store.assistants.get(assistant) if assistant else None
        return render("empty_chat.html", assistant=found, is_admin=person.may(UserRole.ADMIN))

    def _listing(self, person: Person, assistant: Id, talk: Id, tab: TabState) -> str:
        """This person's conversations; samples only when asked for, or there would be nothing else to see."""
        if assistant is None:
            return ""
        source = None if tab.samples else "chat"
        found = self._own(person).newest(assistant, source, tab.search or None, tab.most + 1)
        values = {"current": talk, "search": tab.search, "more": len(found) > tab.most}
        return render("conversations.html", conversations=found[: tab.most], **values)


def _live(answer: Answer) -> str:
    return render("live_answer.html", text=answer.text, not_saved=answer.not_saved)
