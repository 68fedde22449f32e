"""The People page, for admins: who may sign in, API keys, and the audit log."""

import time
from typing import Any

import gradio as gr
from gradio import EventData

from assistant.web.access import QUIET, Person, Refused, Services
from assistant.web.markup import forward, render
from store.accounts import MIN_LENGTH, UserRole
from store.api_clients import USUAL, Scope

_AUDIT_LINES = 200


class PeoplePage:
    """Builds the component where it is made. A change that is refused leaves what was typed in its form."""

    def __init__(self, services: Services):
        self._services = services
        self._users = services.store.users
        self._keys = services.store.api_keys
        changes = (self.make, self.role, self.password, self.remove, self.add_key, self.revoke_key)
        names = [change.__name__ for change in changes]
        self.page = gr.HTML(elem_id="people-page", elem_classes="panel-html", js_on_load=forward(*names))
        for change in changes:
            event = getattr(self.page, change.__name__)
            event(services.access.event(UserRole.ADMIN, change), None, self.page, **QUIET)

    def show(self, person: Person, new_key: str = "") -> str:
        return render(
            "people.html",
            keys=self._keys.all(),
            scopes=list(Scope),
            usual=USUAL,
            new_key=new_key,
            users=self._users.all(),
            roles=list(UserRole),
            entries=self._services.store.audit.entries(_AUDIT_LINES),
            most=_AUDIT_LINES,
            shortest=MIN_LENGTH,
            at=_at,
        )

    def make(self, person: Person, event: EventData) -> str:
        name, role = _field(event, "name").strip(), _role(event)
        self._users.check_new(name, role)
        user = self._users.add(name, role, _field(event, "password"))
        return self._done(person, f"{user.name} may sign in, as {user.role}.")

    def role(self, person: Person, event: EventData) -> str:
        user = self._users.change_role(_field(event, "id"), _role(event))
        return self._done(person, f"{user.name} is {user.role} now.")

    def password(self, person: Person, event: EventData) -> str:
        user = self._users.change_password(_field(event, "id"), _field(event, "password"))
        return self._done(person, f"{user.name} has a new password and has to sign in again.")

    def remove(self, person: Person, event: EventData) -> str:
        name = _field(event, "id")
        self._users.remove(name)
        return self._done(person, f"{name} is removed. What {name} wrote and rated is still there.")

    def add_key(self, person: Person, event: EventData) -> str:
        """Make a key, and show it this once."""
        scopes = [scope for scope in Scope if _field(event, scope) == "on"]
        made, text = self._keys.add(_field(event, "name").strip(), scopes, user=_field(event, "user") or None)
        gr.Info(f"The key {made.name} is made. Copy it now: it is not shown again.")
        return self.show(person, text)

    def revoke_key(self, person: Person, event: EventData) -> str:
        return self._done(person, f"{self._keys.revoke(_field(event, 'id')).name} is revoked.")

    def _done(self, person: Person, message: str) -> str:
        gr.Info(message)
        return self.show(person)


def _field(event: EventData, name: str) -> str:
    """Of what a browser sent, which may be anything."""
    data: Any = event._data
    return str(data.get(name, "")) if isinstance(data, dict) else ""


def _role(event: EventData) -> UserRole:
    try:
        return UserRole(_field(event, "role"))
    except ValueError as error:
        raise Refused(f"Choose a role: {', '.join(UserRole)}.") from error


def _at(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
