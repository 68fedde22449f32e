"""Conversations → the HTML of the list beside the chat, each with its menu to rename and delete.

In: conversations, newest first. Out: HTML, titles escaped; buttons as `clicks` describes. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from assistant.web import words
from store.records import Conversation


def conversation_list(conversations: Sequence[Conversation], current: str | None, searched: str = "") -> str:
    if not conversations:
        text = (
            f"Nothing contains “{searched}”."
            if searched
            else "No conversations yet. Ask something to start one."
        )
        return f'<p class="none">{escape(text)}</p>'
    return f'<nav aria-label="Conversations">{"".join(_item(item, current) for item in conversations)}</nav>'


def _item(item: Conversation, current: str | None) -> str:
    title = escape(item.title or "Untitled")
    is_current = item.id == current
    key = escape(item.id)
    menu, confirm = f"menu-{key}", f"confirm-{key}"
    note = words.ago(item.updated_at) + ("" if item.source == "chat" else f" · {item.source}")
    return (
        f'<div class="conversation{" current" if is_current else ""}">'
        f'<button type="button" class="open" data-event="open" data-id="{key}"'
        f"{' aria-current=true' if is_current else ''}><span>{title}</span>"
        f"<small>{escape(note)}</small></button>"
        f'<button type="button" class="tool" data-toggle="{menu}" title="Rename or delete" '
        f'aria-label="Rename or delete {title}">⋯</button></div>'
        f'<form class="panel" id="{menu}" data-panel hidden>'
        f'<input name="title" value="{title}" maxlength="200" aria-label="Title" autocomplete="off">'
        '<div class="row"><button type="submit" class="small primary" data-event="rename" '
        f'data-id="{key}">Rename'
        f'</button><button type="button" class="small danger" data-toggle="{confirm}">Delete…</button></div>'
        f'<div id="{confirm}" data-panel hidden><p>Delete this conversation, its answers and their '
        "ratings?</p>"
        f'<div class="row"><button type="button" class="small danger" data-event="remove" data-id="{key}">'
        'Delete for good</button><button type="button" class="small" '
        f'data-toggle="{menu}">Keep</button></div></div>'
        "</form>"
    )
