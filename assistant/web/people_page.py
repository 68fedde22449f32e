"""The People page, for admins: who may sign in, and the audit log.

It shows; people are made, changed and removed on the command line of the machine, where whoever may do that is known.
"""

from __future__ import annotations

import time

import gradio as gr

from assistant.web.access import Person, Update
from assistant.web.markup import render
from assistant.web.services import Services

_MOST = 200  # lines of the log


class PeoplePage:
    """Builds the components where it is made."""

    def __init__(self, services: Services):
        self._store = services.store
        self.html = gr.HTML(elem_id="people-page", elem_classes="panel-html")
        self.shown = [self.html]

    def show(self, person: Person) -> Update:
        """Both, as they are now."""
        users, entries = self._store.users.all(), self._store.audit.entries(_MOST)
        return {self.html: render("people.html", users=users, entries=entries, most=_MOST, at=_at)}


def _at(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
