"""Beside the chat: this person's conversations, searched, opened, renamed and deleted.

In: the services. Out: components and the events that change the list alone; what opens a conversation or takes the
shown one away is the chat page's. Does not know how a conversation is shown.

Ids for tests: #chat-new #chat-search #show-samples #conversation-list (button.open[data-id]).
"""

from __future__ import annotations

from html import escape

import gradio as gr

from assistant.web.access import Person
from assistant.web.conversation_list import conversation_list
from assistant.web.markup import forward
from assistant.web.own import OwnConversations
from assistant.web.services import Services
from assistant.web.view import View
from store import StoreError


class Sidebar:
    """Builds the components where it is made."""

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
        self,
        person: Person,
        assistant_id: str | None,
        conversation_id: str | None,
        view: View,
        search: str,
        samples: bool,
    ) -> str:
        view.search, view.samples = search.strip(), samples
        return self.listing(person, assistant_id, conversation_id, view)

    def rename(
        self,
        person: Person,
        assistant_id: str | None,
        conversation_id: str | None,
        view: View,
        event: gr.EventData,
    ) -> str:
        if title := " ".join(str(event.title).split())[:200]:
            try:
                OwnConversations(self._store, person.name).rename(str(event.id), title)
            except StoreError as error:
                gr.Warning(escape(str(error)))
        return self.listing(person, assistant_id, conversation_id, view)

    def listing(
        self, person: Person, assistant_id: str | None, conversation_id: str | None, view: View
    ) -> str:
        """The list's HTML; samples only when asked for, or there would be nothing else to see."""
        if assistant_id is None:
            return ""
        source = None if view.samples else "chat"
        own = OwnConversations(self._store, person.name)
        found = own.listed(assistant_id, source, view.search or None)
        return conversation_list(found, conversation_id, view.search)
