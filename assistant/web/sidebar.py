"""Beside the chat: this person's conversations, searched, opened, renamed and deleted.

Ids for tests: #chat-new #chat-search #show-samples #conversation-list (button.open[data-id]).
"""

from __future__ import annotations

import gradio as gr

from assistant.web.access import Person
from assistant.web.markup import forward, render
from assistant.web.services import Services
from assistant.web.user_conversations import UserConversations

Id = str | None  # of an assistant or a conversation; None for none


class TabState:
    """What one browser tab shows; it lives as long as the tab. Only the latest action may write to the conversation's
    pane: the one whose token is `owner`.
    """

    def __init__(self) -> None:
        self.owner: object = None
        self.search = ""
        self.samples = False  # list sample and imported conversations too

    def take_ownership(self) -> object:
        self.owner = object()
        return self.owner


class Sidebar:
    """Builds the components where it is made. What opens a conversation is the chat page's."""

    def __init__(self, services: Services):
        self._store = services.store
        with gr.Column(elem_id="chat-sidebar", scale=0, min_width=270):
            self.new = gr.Button("New conversation", elem_id="chat-new", size="sm", variant="primary")
            self.search = gr.Textbox(
                placeholder="Search titles and messages",
                show_label=False,
                label="Search conversations",
                container=False,
                elem_id="chat-search",
                max_length=1000,
            )
            self.samples = gr.Checkbox(
                label="Sample and imported ones too", elem_id="show-samples", container=False
            )
            self.list = gr.HTML(elem_id="conversation-list", js_on_load=forward("open", "rename", "remove"))

    def find(
        self, person: Person, assistant: Id, conversation: Id, tab: TabState, search: str, samples: bool
    ) -> str:
        tab.search, tab.samples = search.strip(), samples
        return self.listing(person, assistant, conversation, tab)

    def rename(
        self, person: Person, assistant: Id, conversation: Id, tab: TabState, event: gr.EventData
    ) -> str:
        if title := " ".join(str(event.title).split())[:200]:
            UserConversations(self._store, person.name).rename(str(event.id), title)
        return self.listing(person, assistant, conversation, tab)

    def listing(self, person: Person, assistant: Id, conversation: Id, tab: TabState) -> str:
        """The list's HTML; samples only when asked for, or there would be nothing else to see."""
        if assistant is None:
            return ""
        source = None if tab.samples else "chat"
        found = UserConversations(self._store, person.name).newest(assistant, source, tab.search or None)
        return render("conversations.html", conversations=found, current=conversation, search=tab.search)
