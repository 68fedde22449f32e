"""What the Review page shows as HTML: the answer with its keys, how far the review is, and the dataset it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.web.dataset_funnel import SPLITS, funnel
from assistant.web.judgement_requests import is_judgement_request
from assistant.web.markup import render
from assistant.web.review_order import Ranked, Why, reason_counts
from assistant.web.review_queue import shown_correction
from store.records import Message, Rating

_SHOWN_TURNS = 2  # before the question; earlier ones are folded
_ALARMING = (Why.DISAGREE, Why.DIFFER)  # something is wrong with what people said


@dataclass(frozen=True)
class Card:
    """What one showing needs. `typed` is a correction that could not be saved, `notice` says why."""

    ranked: Ranked
    branch: Sequence[Message]  # from the first message to the answer
    answered_by: str
    can_undo: bool
    typed: str | None = None
    notice: str = ""


def page(turn: int, shown: Card, following: Card | None) -> str:
    """A card, and behind it the one that follows: it is shown while the decision is on its way (`review_keys.js`)."""
    cards = [_values(card) for card in (shown, following) if card]
    return render("review_card.html", turn=turn, cards=cards, alarming=_ALARMING)


def finished(title: str, text: str, turn: int, can_undo: bool, notice: str = "") -> str:
    """What is shown when nothing is left."""
    return render("review_finished.html", title=title, text=text, turn=turn, can_undo=can_undo, notice=notice)


def progress(today: int, left: int, more: bool, found: Sequence[Ranked]) -> str:
    """“37 of 212 today”, and how many are left of each reason; `more` says that others are behind those."""
    return render(
        "review_progress.html", today=today, whole=today + left, more=more, reasons=reason_counts(found)
    )


def bulk(count: int, more: bool) -> str:
    """What can be done with everything that was found, each asked again with the number; one answer has its keys."""
    return render("review_bulk.html", count=count, more=more) if count > 1 else ""


def dataset(counts: Mapping[str, Any]) -> str:
    """What a retrain would learn from now."""
    numbers = {
        "examples": sum(counts.get(split, 0) for split in SPLITS),
        "corrected": counts.get("corrected", 0),
        "reviewed": counts.get("reviewed", 0),
        "questions with answers that differ": counts.get("contradictions", 0),
    }
    picture = funnel(counts, "review-funnel")
    return render("review_dataset.html", picture=picture, numbers=numbers, shortage=counts.get("shortage"))


def _values(card: Card) -> dict[str, Any]:
    item = card.ranked.item
    correction = shown_correction(item)
    before = card.branch[:-2]
    return {
        "card": card,
        "item": item,
        "asks_judgement": is_judgement_request(item.message_id),
        "earlier": before[:-_SHOWN_TURNS],
        "latest": before[-_SHOWN_TURNS:],
        "correction": correction,
        "corrected_by": _author(item.ratings, correction),
        "draft": next(text for text in (card.typed, correction, item.answer) if text is not None),
    }


def _author(ratings: Sequence[Rating], correction: str | None) -> str:
    authors = [rating.rater for rating in ratings if rating.correction == correction]
    return authors[-1] if correction is not None and authors else ""
