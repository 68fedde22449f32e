"""An answer to review → its HTML: what was said before, the answer, what people made of it, and the keys.

In: a `Ranked`, the turns before it, where it came from. Out: HTML in which everything that a person or a model wrote is
escaped. Pure. Buttons are as `clicks` describes; `data-key` is the key that presses them (see `review_keys`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from assistant.web import words
from assistant.web.judgement_requests import is_proposal
from assistant.web.markup import diff, markdown
from assistant.web.review_order import Ranked, Why
from assistant.web.review_queue import proposed
from store.records import Decision, Message, Rating, Role, Ruling, Verdict

_SHOWN_TURNS = 2  # before the question; earlier ones are folded
_RULED = {Ruling.APPROVE: "approved", Ruling.REJECT: "rejected", Ruling.CORRECT: "corrected"}
_ALARMING = (Why.DISAGREE, Why.DIFFER)  # something is wrong with what people said


@dataclass(frozen=True)
class Card:
    """What one showing needs. `typed` is a correction that could not be saved, `notice` says why."""

    ranked: Ranked
    branch: Sequence[Message]  # from the first message to the answer
    served: str  # what gave the answer
    can_undo: bool
    typed: str | None = None
    notice: str = ""


def page(turn: int, message_id: str, shown: str, following: str | None) -> str:
    """A card, and behind it the one that follows: it is shown while the decision is on its way (see `review_keys`)."""
    behind = f"<template>{following}</template>" if following else ""
    return (
        f'<article class="review" data-turn="{turn}" data-message="{escape(message_id)}">'
        f'<div class="review-card">{shown}</div>{behind}</article>'
    )


def card(shown: Card) -> str:
    item = shown.ranked.item
    correction = proposed(item)
    notes = [f'<span class="caption">{escape(shown.served)} · {words.moment(item.at)}</span>']
    if item.decision is not None:
        notes.insert(0, _decided(item.decision))
    judgement_request = is_proposal(item.message_id)
    return (
        f'<div class="review-why">{_reasons(shown.ranked)}{"".join(notes)}</div>'
        f'<div class="review-text">{_before(shown.branch)}'
        f'<div class="question"><div class="bubble">{_plain(item.question)}</div></div>'
        f'<div class="answer"><div class="prose-text">{markdown(item.answer)}</div></div>'
        f"{_correction(item.answer, correction, item.ratings)}{_others(shown.ranked.others)}"
        f"{'' if judgement_request else _ratings(item.ratings)}</div>"
        f"{'' if judgement_request else _editor(shown, correction)}"
        f"{_buttons(shown, correction is not None)}"
    )


def finished(title: str, text: str, turn: int, can_undo: bool, notice: str = "") -> str:
    """What is shown when nothing is left."""
    return (
        f'<article class="review" data-turn="{turn}"><div class="review-card"><div class="review-text">'
        f'<div class="empty"><h2>{escape(title)}</h2><p>{escape(text)}</p></div></div>'
        f"{_foot(_undo(can_undo), notice)}</div></article>"
    )


def _reasons(one: Ranked) -> str:
    return "".join(
        f'<span class="badge{" bad" if why in _ALARMING else ""}">{escape(why)}</span>' for why in one.reasons
    )


def _decided(decision: Decision) -> str:
    kind = "bad" if decision.ruling is Ruling.REJECT else "good"
    who = f"{_RULED.get(decision.ruling, decision.ruling)} by {decision.reviewer}"
    return f'<span class="badge {kind}">{escape(who)}, {words.ago(decision.created_at)}</span>'


def _before(branch: Sequence[Message]) -> str:
    """The turns before the question, the latest ones open."""
    turns = [_turn(message) for message in branch[:-2]]
    earlier, latest = turns[:-_SHOWN_TURNS], turns[-_SHOWN_TURNS:]
    folded = (
        f"<details><summary>{words.count(len(earlier), 'earlier turn')}</summary>{''.join(earlier)}</details>"
        if earlier
        else ""
    )
    return f'<div class="review-before">{folded}{"".join(latest)}</div>' if turns else ""


def _turn(message: Message) -> str:
    if message.role is Role.USER:
        return f'<div class="question"><div class="bubble">{_plain(message.text)}</div></div>'
    return f'<div class="answer"><div class="prose-text">{markdown(message.text)}</div></div>'


def _correction(answer: str, correction: str | None, ratings: Sequence[Rating]) -> str:
    if correction is None:
        return ""
    authors = [rating.rater for rating in ratings if rating.correction == correction]
    by = f" by {escape(authors[-1])}" if authors else ""
    return (
        f'<div class="correction"><span class="badge">corrected{by}</span>'
        f'<div class="diff" id="review-diff">{diff(answer, correction)}</div></div>'
    )


def _others(others: Sequence[str]) -> str:
    if not others:
        return ""
    rows = "".join(f"<li>{_plain(text)}</li>" for text in others[:3])
    more = f"<li>and {len(others) - 3:,} more</li>" if len(others) > 3 else ""
    return (
        '<div class="review-others"><p>Approved as the answer to this question:</p>'
        f"<ul>{rows}{more}</ul></div>"
    )


def _ratings(ratings: Sequence[Rating]) -> str:
    rows = "".join(_rating(rating) for rating in ratings)
    return f'<ul class="review-ratings">{rows}</ul>' if rows else '<p class="none">Nobody has rated it.</p>'


def _rating(rating: Rating) -> str:
    verdicts = {
        Verdict.UP: '<span class="badge good">up</span>',
        Verdict.DOWN: '<span class="badge bad">down</span>',
    }
    verdict = verdicts.get(rating.verdict) if rating.verdict else None
    if verdict is None:
        verdict = "" if rating.correction is not None else '<span class="badge">taken back</span>'
    corrected = '<span class="badge">corrected</span>' if rating.correction is not None else ""
    reason = f"<span>{escape(rating.reason)}</span>" if rating.reason else ""
    comment = f"<q>{escape(rating.comment)}</q>" if rating.comment else ""
    return (
        f"<li>{verdict}{corrected}<b>{escape(rating.rater)}</b>{reason}{comment}"
        f'<span class="dim">{words.ago(rating.created_at)}</span></li>'
    )


def _editor(shown: Card, correction: str | None) -> str:
    item = shown.ranked.item
    text = shown.typed if shown.typed is not None else correction if correction is not None else item.answer
    hidden = " hidden" if shown.typed is None else ""
    original = (
        f'<button type="button" class="small" data-fill="{escape(item.answer)}">Begin with the answer</button>'
        if correction is not None
        else ""
    )
    return (
        f'<form class="panel" id="review-editor" data-panel{hidden}><label>The answer as it should have been. '
        "Shorthand learns from exactly this text."
        f'<textarea name="text" id="review-correction" rows="6">{_area(text)}</textarea></label>'
        '<div class="row"><button type="submit" class="small primary" id="review-save" data-key="save" '
        f'data-event="act" data-do="correct" data-id="{escape(item.message_id)}">Save correction '
        "<kbd>Ctrl Enter</kbd></button>"
        f'{original}<button type="button" class="small" data-toggle="review-editor">Leave <kbd>Esc</kbd></button>'
        "</div></form>"
    )


def _buttons(shown: Card, corrected: bool) -> str:
    id = shown.ranked.item.message_id
    approve = "Approve correction" if corrected else "Approve"
    correct = (
        '<button type="button" class="small" data-key="c" data-toggle="review-editor">Correct '
        "<kbd>C</kbd></button>"
    )
    return _foot(
        _button("a", approve, "approve", id, "primary")
        + _button("r", "Reject", "reject", id, "danger")
        + ("" if is_proposal(id) else correct)
        + _button("s", "Skip", "skip", id)
        + _undo(shown.can_undo),
        shown.notice,
    )


def _undo(can: bool) -> str:
    return _button("z", "Undo", "undo", "", off=not can)


def _button(key: str, label: str, do: str, id: str, kind: str = "", off: bool = False) -> str:
    return (
        f'<button type="button" class="small {kind}" id="review-{do}" data-key="{key}" data-event="act" '
        f'data-do="{do}" data-id="{escape(id)}"{" disabled" if off else ""}>{label} <kbd>{key.upper()}</kbd></button>'
    )


def _foot(buttons: str, notice: str) -> str:
    said = f'<p class="notice bad">{escape(notice)}</p>' if notice else ""
    return (
        f'<div class="review-notice" role="status">{said}</div><div class="review-keys row">{buttons}</div>'
    )


def _area(text: str) -> str:
    # A browser drops the first line end in a textarea.
    return f"\n{escape(text)}" if text.startswith("\n") else escape(text)


def _plain(text: str) -> str:
    return escape(text).replace("\n", "<br>")
