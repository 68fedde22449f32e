"""What an import did → the lines that say so.

In: an `ImportSummary`. Out: sentences. Pure. Does not know the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

from store.importing import ImportSummary


def sentences(summary: ImportSummary, assistant_id: str) -> Iterator[str]:
    """First what came in, then what did not and what to do about it."""
    yield (
        f"Imported {_count(summary.conversations, 'conversation')}, {_count(summary.messages, 'message')} and "
        f"{_count(summary.ratings, 'rating')} into {assistant_id} (format: {summary.format})."
    )
    if summary.decisions:
        yield f"{_count(summary.decisions, 'decision')} of reviewers came along."
    if summary.proposals:
        yield f"{_count(summary.proposals, 'decided proposal')} came along."
    if summary.known:
        yield (
            f"{_count(summary.known, 'conversation')} {_were(summary.known)} there already; "
            "of them only what is new came in."
        )
    for what, rows in summary.without.items():
        yield f"{_count(rows, 'row')} came in without {what}."
    if summary.unrated:
        yield (
            f"{_count(summary.unrated, 'answer')} {'has' if summary.unrated == 1 else 'have'} no rating, so nothing "
            "is learned from "
            f"{'it' if summary.unrated == 1 else 'them'}. If you know that they are good, import the file again with "
            "--approve, which rates them up in the name of --rater; nothing comes in twice."
        )
    if summary.refused:
        refused = f"{_count(summary.refused, 'row')} {_were(summary.refused)} refused."
        yield f"{refused} Correct the file and import it again; nothing comes in twice."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
