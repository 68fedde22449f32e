"""Imports a file of conversations: what can be imported is saved, each other row is refused with its line.

Memory is bounded by one batch and one row, however large the file; one JSON list is read whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import msgspec

from store.audit import AuditAction
from store.errors import BadRow, StoreError, Unstorable
from store.io import table
from store.io.formats import CSV, SHORTHAND
from store.io.reading import FileFormat, find_file_format, open_text
from store.io.records import FullConversation, ImportedConversation
from store.io.stable_ids import ImportOptions, with_ids
from store.store import Store

# Records that are saved in one transaction, which takes tenths of a second: a rating given meanwhile waits for it.
# With half as many an import takes a third longer, since every transaction touches most pages of the indexes.
_BATCH = 10_000
_LISTED_REFUSALS = 20
_KINDS = ("conversations", "messages", "ratings", "decisions", "judgement_requests")

IMPORT_HELP = "\n\n".join(
    [
        "Import conversations and ratings from a file, also while the product is running.",
        "Rated answers and corrections are there to be learned from at once. Answers that the file does not rate stay "
        "unrated unless you say --approve. What is there already is not imported twice. A row that cannot be imported "
        "is named with its line and the others are imported; the exit code is then 1.",
        "Formats: shorthand (what export writes), openai (chat JSONL with messages), trl-completion (prompt and "
        "completion; a label is a rating), trl-preference (chosen is the correction of rejected), sharegpt, open-webui "
        "(its feedback export) and csv (columns question and answer, and where there are any conversation, turn, "
        "verdict, correction, reason, comment, rater and times). JSON may be a row a line or one list. System messages "
        "are left out: an assistant's prompt is written on the page.",
    ]
)


@dataclass
class ImportResult:
    """What became of the file's rows; it is counted on while they are read."""

    format: str
    unit: str  # what a row's number counts: “line” or “item”
    # New conversations, messages, ratings, decisions and decided judgement requests; “known”: conversations that were
    # there.
    counts: Counter[str] = field(default_factory=Counter)
    unrated: int = 0  # answers that count for nothing until somebody rates them
    refused: int = 0  # rows
    refusals: dict[int, str] = field(default_factory=dict)  # the first of them: number -> reason

    def refuse(self, number: int, reason: str) -> None:
        self.refused += 1
        if self.refused <= _LISTED_REFUSALS:
            self.refusals[number] = reason

    def summary(self) -> Iterator[str]:
        """What was imported, what was not, and what to do about it."""
        counts = ", ".join(f"{kind.replace('_', ' ')} {self.counts[kind]:,}" for kind in _KINDS)
        yield f"Imported (format: {self.format}): {counts}."
        if known := self.counts["known"]:
            yield f"Conversations that were there already: {known:,}; of them only what is new was imported."
        if self.unrated:
            yield (
                f"Answers without a rating: {self.unrated:,}. Nothing is learned there. If you know that they are "
                "good, import the file again with --approve, which rates them up in the name of --rater."
            )
        if self.refused:
            yield (
                f"Refused rows: {self.refused:,}. Correct the file and import it again; nothing is imported twice."
            )


def import_file(
    store: Store,
    path: Path,
    options: ImportOptions,
    wanted: str | None = None,
    on_progress: Callable[[int], None] = lambda position: None,
) -> ImportResult:
    """Import a file; `on_progress` gets how many bytes were read. Raises StoreError when none of it can be imported."""
    file_format = find_file_format(path, wanted)
    result = ImportResult(file_format.format.name, file_format.unit)
    if options.approve and file_format.format is SHORTHAND:
        raise StoreError(
            f"{path} is Shorthand's own export and has its ratings with it. Import it without --approve."
        )
    audited = store.audit.audited(
        AuditAction.IMPORTED, options.assistant_id, {"file": path.name, "format": result.format}
    )
    with audited as detail, open_text(path) as file:
        for batch in _batches(_conversations(file, file_format, options, result)):
            counts, refused = store.transfer.add(options.assistant_id, [full for _, full in batch])
            result.counts += counts
            for place, reason in refused:
                result.refuse(batch[place][0], reason)
            on_progress(file.buffer.tell())
        counted = ("conversations", "ratings", "decisions")
        detail |= {"refused": result.refused, **{kind: result.counts[kind] for kind in counted}}
    return result


Numbered = tuple[int, FullConversation]  # with the number of its row


def _batches(conversations: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    batch: list[Numbered] = []
    records = 0
    for number, full in conversations:
        batch.append((number, full))
        records += full.record_count
        if records >= _BATCH:
            yield batch
            batch, records = [], 0
    yield batch


def _conversations(
    file: TextIO, file_format: FileFormat, options: ImportOptions, result: ImportResult
) -> Iterator[Numbered]:
    """Return what can be imported; what cannot is refused."""
    rows, format = file_format.rows(file), file_format.format
    for number, row in table.read(rows) if format is CSV else rows:
        try:
            if isinstance(row, BadRow):
                raise row
            found = row if format is CSV else format.read(row)
            if isinstance(found, ImportedConversation):
                yield number, with_ids(found, options)
                result.unrated += 0 if options.approve else found.unrated_count
            elif found is not None:
                yield number, found.of_assistant(options.assistant_id)
        except (BadRow, Unstorable) as error:
            result.refuse(number, str(error))
        except (msgspec.ValidationError, UnicodeEncodeError) as error:  # a key may be half a character
            result.refuse(number, f"it is not of this format: {error}.")
