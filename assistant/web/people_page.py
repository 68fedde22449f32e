"""The People page, for admins: who may sign in, and the audit log.

In: the services. Out: components and their events. Shows; people are made, changed and removed on the command line of
the machine, where whoever may do that is known already.

Ids for tests: #people-users #people-audit.
"""

from __future__ import annotations

import time
from html import escape

import gradio as gr

from assistant.web.access import Person, Update
from assistant.web.services import Services
from store.audit import Entry, Outcome
from store.users import User

_SHOWN = 200
_COMMANDS = """<details class="rules"><summary>How to change it</summary><ul>
<li><code>python -m store user add NAME --role user</code> makes somebody who may sign in; also <code>reviewer</code>,
<code>admin</code>.</li>
<li><code>python -m store user role NAME reviewer</code> changes what they may do, from the next click on.</li>
<li><code>python -m store user password NAME</code> and <code>python -m store user remove NAME</code> end their
sessions.</li></ul></details>"""


class PeoplePage:
    """Builds the components where it is made."""

    def __init__(self, services: Services):
        self._store = services.store
        with gr.Column(elem_id="people-page"):
            self.users = gr.HTML(elem_id="people-users", elem_classes="panel-html")
            self.audit = gr.HTML(elem_id="people-audit", elem_classes="panel-html")
        self.shown = [self.users, self.audit]

    def show(self, person: Person) -> Update:
        """Both, as they are now."""
        return {
            self.users: _users(self._store.users.all()) + _COMMANDS,
            self.audit: _audit(self._store.audit.entries(_SHOWN)),
        }


def _users(users: list[User]) -> str:
    rows = "".join(
        f"<tr><td>{escape(user.name)}</td><td><span class='badge'>{user.role}</span></td>"
        f"<td>{_at(user.created_at)}</td><td>{_at(user.changed_at)}</td></tr>"
        for user in users
    )
    return (
        '<h3>Who may sign in</h3><div class="table"><table><thead><tr><th>Name</th><th>Role</th><th>Added</th>'
        f"<th>Password of</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _audit(entries: list[Entry]) -> str:
    rows = "".join(_line(entry) for entry in entries)
    more = f'<p class="small-print">The newest {_SHOWN} lines; all of them: <code>python -m store audit</code></p>'
    return (
        '<h3>What was done</h3><div class="table"><table><thead><tr><th>When</th><th>Who</th><th>What</th><th>To</th>'
        f"<th>Outcome</th><th>More</th></tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _line(entry: Entry) -> str:
    kind = "good" if entry.outcome is Outcome.DONE else "bad"
    told = ", ".join(f"{key} {value}" for key, value in entry.detail.items() if value not in (None, ""))
    return (
        f"<tr><td>{_at(entry.at)}</td><td>{escape(entry.actor)}</td><td>{escape(entry.action)}</td>"
        f"<td>{escape(entry.subject)}</td><td><span class='badge {kind}'>{entry.outcome}</span></td>"
        f"<td class='dim'>{escape(told)}</td></tr>"
    )


def _at(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
