"""How far a review is, and what it has made of the dataset → the HTML beside and above the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from assistant.web import words
from assistant.web.dataset_funnel import funnel
from assistant.web.review_order import Ranked, reason_counts
from store.records import Ruling

LEGEND = (
    ("A", "approve"),
    ("R", "reject"),
    ("C", "correct; Ctrl Enter saves, Esc leaves"),
    ("S →", "skip, decide later"),
    ("Z U", "undo"),
    ("/", "search"),
)
_BULK = {Ruling.APPROVE: ("Approve", "primary"), Ruling.REJECT: ("Reject", "danger")}


def progress(today: int, left: int, more: bool) -> str:
    """“37 of 212 today”, with a bar; `more` says that there are still others behind those."""
    whole = today + left
    width = 100 * today / whole if whole else 0
    return (
        f'<p class="review-count" id="review-count"><strong>{today:,}</strong> of {whole:,}{"+" if more else ""} today'
        f'</p><div class="bar wide"><i style="width:{width:.1f}%"></i></div>'
    )


def waiting(found: Sequence[Ranked]) -> str:
    """How many are left of each reason."""
    rows = "".join(
        f'<li><span>{escape(why)}</span><b class="num">{n:,}</b></li>'
        for why, n in reason_counts(found).items()
    )
    return f'<ul class="review-left">{rows}</ul>' if rows else ""


def legend() -> str:
    rows = "".join(
        f"<dt>{''.join(f'<kbd>{key}</kbd>' for key in keys.split())}</dt><dd>{escape(what)}</dd>"
        for keys, what in LEGEND
    )
    return f'<dl class="review-legend" aria-label="Keys">{rows}</dl>'


def bulk(count: int, more: bool) -> str:
    """What can be done with everything that was found, each asked again with the number; one answer has its keys."""
    if count < 2:
        return ""
    answers = words.count(count, "answer")
    opens, panels = "", ""
    for ruling, (label, kind) in _BULK.items():
        panel = f"bulk-{ruling}"
        opens += (
            f'<button type="button" class="small" id="{panel}-open" data-toggle="{panel}">'
            f"{label} all {count:,}…</button>"
        )
        panels += (
            f'<div class="panel" id="{panel}" data-panel hidden><p>{label} {answers} at once? '
            "Corrections that people wrote are approved where there are any. One Undo takes all of it back.</p>"
            if ruling is Ruling.APPROVE
            else f'<div class="panel" id="{panel}" data-panel hidden><p>{label} {answers} at once? '
            "None of them will be an example. One Undo takes all of it back.</p>"
        ) + (
            f'<div class="row"><button type="button" class="small {kind}" id="{panel}-confirm" data-event="bulk" '
            f'data-do="{ruling}" data-count="{count}">{label} {answers}</button>'
            f'<button type="button" class="small" data-toggle="{panel}">Cancel</button></div></div>'
        )
    found = f"{answers} found" + (", and there are more" if more else "")
    return f'<div class="row review-bulk"><span class="dim">{found}</span>{opens}</div>{panels}'


def dataset(counts: Mapping[str, Any]) -> str:
    """What a retrain would learn from now."""
    picture = funnel(counts, "review-funnel")
    if not picture:
        return '<p class="none">Nothing is rated yet.</p>'
    examples = sum(_number(counts.get(split)) for split in ("train", "dev", "gate"))
    numbers = (
        ("examples", examples),
        ("corrected", _number(counts.get("corrected"))),
        ("reviewed", _number(counts.get("reviewed"))),
        ("questions with answers that differ", _number(counts.get("contradictions"))),
    )
    cells = "".join(f"<div><b>{number:,}</b><span>{label}</span></div>" for label, number in numbers)
    short = counts.get("shortage")
    note = f'<p class="small-print">{escape(str(short))}</p>' if short else ""
    return f'<div class="review-numbers">{cells}</div>{picture}{note}'


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
