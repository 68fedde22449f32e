"""A conversation → the HTML of the chat: messages, what each answer cost, its ratings and what can be done
with it.

In: messages with what the store knows about them. Out: HTML in which everything that a person or a model
wrote is escaped: Markdown is rendered with raw HTML, images and unsafe links switched off. Pure; knows
neither Gradio nor the store. Buttons carry `data-event` (see `clicks`); the newest answer's carry the ids
that the tests use.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markdown_it import MarkdownIt

from assistant.web import words
from store.records import Deployment, Message, MessageStatus, Rating, Role, Verdict

REASONS = ("wrong fact", "too long", "wrong tone", "off topic", "other")


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # the name that MarkdownIt calls
        """To pages and addresses alone: a link without a scheme would lead to a route of this app."""
        return re.match(r"(https?://|mailto:)", url, re.IGNORECASE) is not None


_MARKDOWN = (
    _Markdown("commonmark", {"html": False, "breaks": True})
    .enable(["table", "strikethrough"])
    .disable("image")
)
_ICONS = {
    "copy": '<rect x="8" y="8" width="12" height="12" rx="2"/>'
    '<path d="M16 8V5a1 1 0 0 0-1-1H5a1 1 0 0 0-1 1v10a1 1 0 0 0 1 1h3"/>',
    "again": '<path d="M20 11a8 8 0 1 0-2.3 6.7M20 5v6h-6"/>',
    "up": '<path d="M7 11l4-8a2 2 0 0 1 2 2v4h5a2 2 0 0 1 2 2.4l-1.4 7A2 2 0 0 1 16.6 20H7zM7 11H4v9h3"/>',
    "down": '<path d="M17 13l-4 8a2 2 0 0 1-2-2v-4H6a2 2 0 0 1-2-2.4l1.4-7A2 2 0 0 1 7.4 4H17z'
    'M17 13h3V4h-3"/>',
    "pen": '<path d="M4 20l1-4L16.5 4.5l3 3L8 19zM14 7l3 3"/>',
    "left": '<path d="M14 6l-6 6 6 6"/>',
    "right": '<path d="M10 6l6 6-6 6"/>',
}


@dataclass(frozen=True)
class Turn:
    """A message and what belongs to it: its versions (oldest first), this person's rating, all ratings"""

    message: Message
    versions: tuple[str, ...] = ()
    rating: Rating | None = None
    ratings: int = 0
    served: Deployment | None = None


def transcript(conversation_id: str, turns: Sequence[Turn]) -> str:
    """The whole conversation; the newest answer gets the stable ids."""
    answers = [turn.message.id for turn in turns if turn.message.role is Role.ASSISTANT]
    newest = answers[-1] if answers else None
    parts = [
        _question(turn) if turn.message.role is Role.USER else _answer(turn, turn.message.id == newest)
        for turn in turns
    ]
    return f'<div class="turns" data-conversation="{escape(conversation_id)}">{"".join(parts)}</div>'


def streaming(text: str, not_saved: str = "") -> str:
    """The answer that is being written now, or is complete and could not be saved for this reason so far."""
    body = (
        _MARKDOWN.render(text)
        if text
        else '<p class="waiting"><i></i><i></i><i></i><span>reading the prompt</span></p>'
    )
    note = (
        '<p class="notice bad" id="not-saved" role="status">This answer is not saved yet; it is tried again every few '
        f"seconds. {escape(not_saved)}</p>"
        if not_saved
        else ""
    )
    return (
        f'<div class="turns"><article class="turn answer live" aria-label="Answer, being written">'
        f'<div class="prose-text">{body}</div>{note}</article></div>'
    )


def rendered(text: str) -> str:
    """Markdown as HTML in which nothing can run."""
    return str(_MARKDOWN.render(text))


def nothing_yet(may_begin: bool = True) -> str:
    """The very first screen, before there is an assistant; only who `may_begin` can make one."""
    if not may_begin:
        return empty("No assistant yet", "An admin makes the first one. Come back after that.", ())
    return (
        '<div class="empty" data-conversation=""><h2>Start with the sample</h2><p>A kayak hire’s front '
        "desk with a long "
        "prompt and hundreds of rated conversations: chat with it, train it, and see its prompt get "
        "shorter. Or write a "
        'prompt of your own on the Prompt page.</p><div class="row centred"><button type="button" '
        'class="small primary" '
        'id="chat-load-sample" data-event="sample">Load the sample</button></div></div>'
    )


def empty(title: str, text: str, starters: Sequence[str]) -> str:
    """What an empty conversation shows: what to do, and starters to click."""
    chips = "".join(
        '<button type="button" class="chip" data-event="start" '
        f'data-text="{escape(starter)}">{escape(starter)}</button>'
        for starter in starters
    )
    return (
        f'<div class="empty" data-conversation=""><h2>{escape(title)}</h2><p>{escape(text)}</p>'
        f'<div class="chips" id="starters">{chips}</div></div>'
    )


def _question(turn: Turn) -> str:
    message = turn.message
    panel = f"edit-{message.id}"
    return (
        f'<article class="turn question" data-message="{message.id}" aria-label="Your message">'
        f'<div class="bubble">{_plain(message.text)}</div>'
        f'<div class="tools">{_versions(turn)}{_copy(message.text)}'
        f"{_tool('pen', 'Edit and send again', toggle=panel)}</div>"
        f'<form class="panel" id="{panel}" data-panel hidden>'
        f'<textarea name="text" rows="3" aria-label="Your message, edited">{escape(message.text)}</textarea>'
        '<div class="row"><button type="submit" class="small primary" data-event="resend" '
        f'data-id="{message.id}">'
        'Send again</button><button type="button" class="small" '
        f'data-toggle="{panel}">Cancel</button></div></form>'
        "</article>"
    )


def _answer(turn: Turn, newest: bool) -> str:
    message, rating = turn.message, turn.rating
    correction = rating.correction if rating else None
    body = _MARKDOWN.render(message.text) if message.text else '<p class="none">No text arrived.</p>'
    corrected = (
        f'<div class="correction"><span class="badge">corrected</span>{_MARKDOWN.render(correction)}</div>'
        if correction
        else ""
    )
    return (
        f'<article class="turn answer" data-message="{message.id}" data-status="{message.status}" '
        f'aria-label="Answer"{_id("newest-answer", newest)}>'
        f'<div class="prose-text{" replaced" if correction else ""}">{body}</div>{corrected}'
        f'<p class="caption"{_id("answer-caption", newest)}>{_caption(turn)}</p>'
        f"{_answer_tools(turn, newest)}</article>"
    )


def _caption(turn: Turn) -> str:
    message, notes = turn.message, []
    if message.status is not MessageStatus.COMPLETE:
        word = {"failed": "failed: press regenerate", "streaming": "unfinished"}.get(
            message.status, message.status
        )
        notes.append(f'<span class="badge {message.status}">{escape(word)}</span>')
    if turn.rating and turn.rating.verdict is Verdict.DOWN and turn.rating.reason:
        notes.append(
            '<span class="badge down" '
            f'title="{escape(turn.rating.comment)}">{escape(turn.rating.reason)}</span>'
        )
    if message.usage:
        notes.append(escape(words.usage(message.usage)))
    if turn.served:
        notes.append(escape(words.deployment(turn.served)))
    elif not message.usage and message.status is MessageStatus.COMPLETE:
        notes.append("imported, not answered here")
    if turn.ratings > 1:
        notes.append(f"{words.count(turn.ratings, 'rating')}, the latest counts")
    return " · ".join(notes)


def _answer_tools(turn: Turn, newest: bool) -> str:
    message, rating = turn.message, turn.rating
    verdict = rating.verdict if rating else None
    up, down = verdict is Verdict.UP, verdict is Verdict.DOWN
    rate, correct = f"rate-{message.id}", f"correct-{message.id}"
    tools = [
        _versions(turn, "answer" if newest else ""),
        _copy(message.text, "copy-answer" if newest else ""),
        _tool("again", "Regenerate", "regenerate" if newest else "", event="regenerate", id=message.id),
        _tool(
            "up",
            "Take the thumbs up back" if up else "Good answer",
            "rate-up" if newest else "",
            up,
            event="rate",
            id=message.id,
            verdict="" if up else "up",
        ),
        _tool(
            "down",
            "Take the thumbs down back",
            "rate-down" if newest else "",
            True,
            event="rate",
            id=message.id,
            verdict="",
        )
        if down
        else _tool("down", "Bad answer", "rate-down" if newest else "", toggle=rate),
        _tool("pen", "Correct this answer", "correct" if newest else "", toggle=correct, label="Correct"),
    ]
    if message.status is MessageStatus.FAILED and not message.text:
        tools = [tools[0], tools[2]]
    chips = "".join(
        f'<button type="button" class="chip"{_id("reason-" + reason.replace(" ", "-"), newest)} '
        'data-event="rate" '
        f'data-id="{message.id}" data-verdict="down" data-reason="{reason}">{reason.capitalize()}</button>'
        for reason in REASONS
    )
    remove = (
        f'<button type="button" class="small" data-event="correct" data-id="{message.id}" data-remove="yes">'
        "Remove correction</button>"
        if rating and rating.correction
        else ""
    )
    text = (rating.correction if rating else None) or message.text
    return (
        f'<div class="tools">{"".join(tools)}</div>'
        f'<form class="panel" id="{rate}" data-panel hidden><label>What was wrong with it? '
        f'<input name="comment" maxlength="1000" placeholder="Comment, if you like; then pick a reason"'
        f'{_id("rate-comment", newest)} autocomplete="off"></label><div class="chips">{chips}</div></form>'
        f'<form class="panel" id="{correct}" data-panel hidden><label>The answer as it should have been. '
        'Shorthand learns from exactly this text.<textarea name="text" '
        f'rows="4"{_id("correction-text", newest)}>'
        f'{escape(text)}</textarea></label><div class="row"><button type="submit" class="small primary" '
        f'data-event="correct" data-id="{message.id}"{_id("correction-save", newest)}>Save '
        f"correction</button>{remove}"
        f'<button type="button" class="small" data-toggle="{correct}">Cancel</button></div></form>'
    )


def _versions(turn: Turn, name: str = "") -> str:
    """“‹ 2 of 3 ›”, when there is more than one version."""
    ids = turn.versions
    if len(ids) < 2:
        return ""
    at = ids.index(turn.message.id)
    previous = _tool(
        "left",
        "Previous version",
        f"{name}-previous" if name else "",
        event="show",
        id=ids[at - 1] if at else "",
        off=not at,
    )
    following = _tool(
        "right",
        "Next version",
        f"{name}-next" if name else "",
        event="show",
        id=ids[at + 1] if at + 1 < len(ids) else "",
        off=at + 1 == len(ids),
    )
    return f'<span class="versions">{previous}<span>{at + 1} of {len(ids)}</span>{following}</span>'


def _copy(text: str, name: str = "") -> str:
    return (
        f'<button type="button" class="tool" title="Copy" aria-label="Copy"{_id(name, bool(name))} '
        f'data-copy="{escape(text)}">{_icon("copy")}</button>'
    )


def _tool(
    icon: str,
    title: str,
    name: str = "",
    on: bool = False,
    *,
    toggle: str = "",
    event: str = "",
    label: str = "",
    off: bool = False,
    **data: str,
) -> str:
    attributes = "".join(
        f' data-{key}="{escape(value)}"' for key, value in {"toggle": toggle, "event": event}.items() if value
    )
    attributes += "".join(f' data-{key}="{escape(value)}"' for key, value in data.items())
    return (
        f'<button type="button" class="tool{f" on {icon}" if on else ""}" title="{title}" '
        f'aria-label="{title}"'
        f"{' aria-pressed=true' if on else ''}{_id(name, bool(name))}"
        f"{' disabled' if off else ''}{attributes}>"
        f"{_icon(icon)}{f'<span>{label}</span>' if label else ''}</button>"
    )


def _icon(name: str) -> str:
    return f'<svg viewBox="0 0 24 24" aria-hidden="true">{_ICONS[name]}</svg>'


def _id(name: str, wanted: bool) -> str:
    return f' id="{name}"' if wanted else ""


def _plain(text: str) -> str:
    """What a person typed is shown as typed."""
    return escape(text).replace("\n", "<br>")
