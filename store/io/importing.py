"""Imports a file of conversations: what can be imported is saved, each other row is refused with its line.

Memory is bounded by one batch, however large the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import msgspec

from store.audit import AuditAction
from store.errors import BadRow, StoreError, Unstorable
from store.io import table
from store.io.formats import CSV
from store.io.reading import FileFormat, find_file_format, open_text
from store.io.records import FullConversation, ImportedConversation
from store.io.stable_ids import ImportOptions, with_ids
from store.records import Role
from store.store import Store

# Records that are saved in one transaction, which takes tenths of a second: a rating given meanwhile waits for it.
# With half as many an import takes a third longer, since every transaction touches most pages of the indexes.
_BATCH = 10_000
_LISTED_REFUSALS = 20

IMPORT_HELP = "\n\n".join(
    [
        "Import conversations and ratings from a file, also while the product is running.",
        "Rated answers and corrections are there to be learned from at once. Answers that the file does not rate stay "
        "unrated unless you say --approve. What is there already is not imported twice. A row that cannot be imported "
        "is named with its line and the others are imported; the exit code is then 1.",
        "Formats: shorthand (what export writes), openai (chat JSONL with messages), trl-completion (prompt and "
        "completion; a label is a rating), trl-preference (chosen is the correction of rejected), sharegpt, open-webui "
        "(its feedback export) and csv (columns question and answer, and where there are any conversation, turn, "
        "verdict, correction, reason, comment, rater and times). JSON may be a row a line or one list.",
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
    left_out: Counter[str] = field(default_factory=Counter)  # what was left out -> of how many rows
    refused: int = 0  # rows
    refusals: dict[int, str] = field(default_factory=dict)  # the first of them: number -> reason

    def refuse(self, number: int, reason: str) -> None:
        self.refused += 1
        if self.refused <= _LISTED_REFUSALS:
            self.refusals[number] = reason

    def sentences(self, assistant_id: str) -> Iterator[str]:
        """First what was imported, then what was not and what to do about it."""
        new = {kind: _count(self.counts[kind + "s"], kind) for kind in ("conversation", "message", "rating")}
        yield (
            f"Imported {new['conversation']}, {new['message']} and {new['rating']} into {assistant_id} "
            f"(format: {self.format})."
        )
        nouns = {"decisions": "reviewer's decision", "judgement_requests": "decided judgement request"}
        for kind, noun in nouns.items():
            if self.counts[kind]:
                yield f"Imported {_count(self.counts[kind], noun)}."
        if known := self.counts["known"]:
            yield (
                f"{_count(known, 'conversation')} {_were(known)} there already; of them only what is new was imported."
            )
        for what, rows in self.left_out.items():
            yield f"{_count(rows, 'row')} {_were(rows)} imported without {what}."
        if self.unrated:
            yield (
                f"{_count(self.unrated, 'answer')} {'has' if self.unrated == 1 else 'have'} no rating, so nothing is "
                "learned there. If you know that they are good, import the file again with --approve, which rates "
                "them up in the name of --rater; nothing is imported twice."
            )
        if self.refused:
            yield (
                f"{_count(self.refused, 'row')} {_were(self.refused)} refused. Correct the file and import it again; "
                "nothing is imported twice."
            )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


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
    if options.approve and result.format == "shorthand":
        raise StoreError(
            f"{path} is Shorthand's own export and has its ratings with it. Import it without --approve."
        )
    audited = store.audit.audited(
        AuditAction.IMPORTED, options.assistant_id, {"file": path.name, "format": result.format}
    )
    with audited as detail, open_text(path) as file:
        for numbers, batch in _batches(file, file_format, options, result):
            counts, refused = store.transfer.add(options.assistant_id, batch)
            result.counts += counts
            for place, reason in refused:
                result.refuse(numbers[place], reason)
            on_progress(file.buffer.tell())
        counted = ("conversations", "ratings", "decisions")
        detail |= {"refused": result.refused, **{kind: result.counts[kind] for kind in counted}}
    return result


def _batches(
    file: TextIO, file_format: FileFormat, options: ImportOptions, result: ImportResult
) -> Iterator[tuple[list[int], list[FullConversation]]]:
    """Conversations to be saved in one transaction, with the number of each; what cannot be is refused."""
    numbers: list[int] = []
    batch: list[FullConversation] = []
    records = 0
    for number, imported in _conversations(file, file_format):
        try:
            full = _with_ids(imported, options, result)
        except (BadRow, Unstorable) as error:
            result.refuse(number, str(error))
            continue
        numbers.append(number)
        batch.append(full)
        records += full.record_count
        if records >= _BATCH:
            yield numbers, batch
            numbers, batch, records = [], [], 0
    yield numbers, batch


Imported = ImportedConversation | FullConversation | BadRow


def _conversations(file: TextIO, file_format: FileFormat) -> Iterator[tuple[int, Imported]]:
    """Each row's number, with what is in it or why it cannot be imported."""
    rows = file_format.rows(file)
    if file_format.format is CSV:
        yield from table.read(rows)
        return
    for number, row in rows:
        found: Imported | None
        try:
            found = row if isinstance(row, BadRow) else file_format.format.read(row)
        except BadRow as error:
            found = error
        except msgspec.ValidationError as error:
            found = BadRow(f"it is not of this format: {error}.")
        if found is not None:
            yield number, found


def _with_ids(imported: Imported, options: ImportOptions, result: ImportResult) -> FullConversation:
    if isinstance(imported, BadRow):
        raise imported
    if isinstance(imported, FullConversation):
        owned = replace(imported.conversation, assistant_id=options.assistant_id)
        return replace(imported, conversation=owned)
    full = with_ids(imported, options)
    if imported.left_out:
        result.left_out[imported.left_out] += 1
    if not options.approve:
        for message in imported.messages:
            is_answer = message.role is Role.ASSISTANT and not message.is_context
            result.unrated += is_answer and not message.ratings
    return full
