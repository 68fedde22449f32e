"""Imports a file of conversations: what can be imported is saved, each other row is refused with its line.

Memory is bounded by two batches, however large the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import msgspec

from store.audit import Deed
from store.errors import BadRow, StoreError
from store.io import table
from store.io.formats import CSV
from store.io.reading import FileFormat, find_file_format
from store.io.records import FullConversation, ImportedConversation
from store.io.stable_ids import ImportOptions, with_ids
from store.io.transfer import Refused
from store.records import Role
from store.store import Store

# Records that are saved in one transaction, which takes tenths of a second: a rating given meanwhile waits for it.
# With half as many an import takes a third longer, since every transaction touches most pages of the indexes.
_BATCH = 10_000

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


@dataclass(frozen=True)
class Refusal:
    """A row that was not imported. `number` is the line of the file, or the place in its list."""

    number: int
    reason: str


@dataclass
class ImportResult:
    """What became of the file's rows; it is counted on while they are read."""

    format: str
    unit: str  # what a row's number counts: “line” or “item”
    refused: int = 0
    # New conversations, messages, ratings, decisions and (decided) proposals; conversations that were there: “known”.
    counts: Counter[str] = field(default_factory=Counter)
    unrated: int = 0  # answers that count for nothing until somebody rates them
    left_out: Counter[str] = field(default_factory=Counter)  # what was left out -> of how many rows

    def sentences(self, assistant_id: str) -> Iterator[str]:
        """First what was imported, then what was not and what to do about it."""
        counts = self.counts
        yield (
            f"Imported {_count(counts['conversations'], 'conversation')}, {_count(counts['messages'], 'message')} and "
            f"{_count(counts['ratings'], 'rating')} into {assistant_id} (format: {self.format})."
        )
        if counts["decisions"]:
            yield f"Imported {_count(counts['decisions'], 'decision')} of reviewers."
        if counts["proposals"]:
            yield f"Imported {_count(counts['proposals'], 'decided proposal')}."
        if known := counts["known"]:
            were = "was" if known == 1 else "were"
            yield f"{_count(known, 'conversation')} {were} there already; of them only what is new was imported."
        for what, rows in self.left_out.items():
            yield f"{_count(rows, 'row')} imported without {what}."
        if self.unrated:
            has, them = ("has", "it") if self.unrated == 1 else ("have", "them")
            yield (
                f"{_count(self.unrated, 'answer')} {has} no rating, so nothing is learned from {them}. If you know "
                "that they are good, import the file again with --approve, which rates them up in the name of "
                "--rater; nothing is imported twice."
            )
        if self.refused:
            yield (
                f"{_count(self.refused, 'row')} {'was' if self.refused == 1 else 'were'} refused. Correct the file and "
                "import it again; nothing is imported twice."
            )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def import_file(
    store: Store,
    path: Path,
    options: ImportOptions,
    wanted: str | None = None,
    *,
    refuse: Callable[[Refusal], None] = lambda refusal: None,
    progress: Callable[[int], None] = lambda position: None,
) -> ImportResult:
    """Import a file; `progress` gets how many bytes were read. Raises StoreError when none of it can be imported."""
    file_format = find_file_format(path, wanted)
    name = file_format.format.name
    if options.approve and name == "shorthand":
        raise StoreError(
            f"{path} is Shorthand's own export and has its ratings with it. Import it without --approve."
        )
    result = ImportResult(name, file_format.unit)
    noting = store.noting(Deed.IMPORTED, options.assistant_id, {"file": path.name, "format": name})
    with noting as detail, file_format.open(path) as file, ThreadPoolExecutor(1, "saving") as saving:
        importing = _Import(store, options, result, refuse, saving)
        for number, imported in _conversations(file, file_format):
            if importing.add(number, imported):
                progress(file.buffer.tell())
        importing.finish()
        progress(file.buffer.tell())
        counts = ("conversations", "ratings", "decisions")
        detail |= {"refused": result.refused, **{kind: result.counts[kind] for kind in counts}}
    return result


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


class _Import:
    """The batch that is being filled, the one before it that is being saved, and the result.

    SQLite waits for the disk and needs no interpreter, so that reading goes on meanwhile.
    """

    def __init__(
        self,
        store: Store,
        options: ImportOptions,
        result: ImportResult,
        refuse: Callable[[Refusal], None],
        saving: ThreadPoolExecutor,
    ) -> None:
        self._store = store
        self._options = options
        self._result = result
        self._refuse = refuse
        self._saving = saving
        self._batch: list[tuple[int, FullConversation]] = []
        self._records = 0  # in the batch
        self._saved_numbers: list[int] = []  # of the rows that are being saved
        self._saved: Future[tuple[Counter[str], Refused]] | None = None

    def add(self, number: int, imported: Imported) -> bool:
        """Whether a batch is full and is being saved."""
        try:
            full = self._with_ids(imported)
        except BadRow as error:
            self._refused(number, str(error))
            return False
        self._batch.append((number, full))
        self._records += (
            1 + len(full.messages) + len(full.ratings) + len(full.decisions) + len(full.proposals)
        )
        if self._records < _BATCH:
            return False
        self._save()
        return True

    def finish(self) -> None:
        self._save()
        self._count_saved()

    def _with_ids(self, imported: Imported) -> FullConversation:
        if isinstance(imported, BadRow):
            raise imported
        if isinstance(imported, FullConversation):
            owned = replace(imported.conversation, assistant_id=self._options.assistant_id)
            return replace(imported, conversation=owned)
        full = with_ids(imported, self._options)
        if imported.left_out:
            self._result.left_out[imported.left_out] += 1
        if not self._options.approve:
            answers = [m for m in imported.messages if m.role is Role.ASSISTANT and not m.is_context]
            self._result.unrated += sum(not answer.ratings for answer in answers)
        return full

    def _save(self) -> None:
        """Begin to save the batch, when the one before it is saved."""
        self._count_saved()
        if self._batch:
            self._saved_numbers = [number for number, _ in self._batch]
            conversations = [full for _, full in self._batch]
            save = self._store.bring_in
            self._saved = self._saving.submit(save, self._options.assistant_id, conversations)
            self._batch, self._records = [], 0

    def _count_saved(self) -> None:
        if self._saved is None:
            return
        counts, refused = self._saved.result()
        self._saved = None
        self._result.counts += counts
        for place, reason in refused:
            self._refused(self._saved_numbers[place], reason)

    def _refused(self, number: int, reason: str) -> None:
        self._result.refused += 1
        self._refuse(Refusal(number, reason))
