"""Imports a file of conversations, which is read as a whole first: what it is, and what would be learned from it.

What can be imported is saved, each other row is refused with its line. Memory is bounded by one batch and the largest
row, however large the file.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from store.audit import AuditAction
from store.errors import BadRow, StoreError
from store.io import table
from store.io.formats import CSV, FORMATS, NAMES, RECORDS, SHORTHAND, Format, Found, find_format
from store.io.left_out import without_left_out
from store.io.meaning import Meaning, Profile, find_meaning, is_table
from store.io.reading import Container, find_container
from store.io.records import FullConversation, ImportedConversation, ImportOptions, ratings_of, with_ids
from store.ratings import Approval, NotApproved, approval
from store.records import MessageStatus, Rating, Role, Split, Verdict, is_whole
from store.store import Store
from store.visible import is_blank

# Records that are saved in one transaction, which takes tenths of a second: a rating given meanwhile waits for it.
# With half as many an import takes a third longer, since every transaction touches most pages of the indexes.
_BATCH = 10_000
_LISTED_REFUSALS = 20
_SHOWN = 3  # examples of what would be learned
_SHOWN_CHARACTERS = 200
# Characters of an answer that a retrain takes, by the default of its max_answer_tokens.
LONGEST_LEARNED = 1024
_KINDS = ("conversations", "messages", "ratings", "decisions")

Conversation = ImportedConversation | FullConversation


@dataclass
class ImportResult:
    """What becomes of the file's rows; it is counted on while they are read."""

    format: str
    unit: str  # what a row's number counts: “line” or “item”
    # New conversations, messages, ratings and decisions; “known”: conversations that were there.
    counts: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)  # approved, corrected, too long to be learned
    left_out: Counter[str] = field(default_factory=Counter)  # of what is imported: kind -> how many
    unrated: int = 0  # answers that count for nothing until somebody rates them
    refused: int = 0  # rows
    refusals: dict[int, str] = field(default_factory=dict)  # the first of them: number -> reason
    examples: list[tuple[str, str]] = field(default_factory=list)  # questions and what would be learned
    longest: int = 0  # characters of what would be learned

    def refuse(self, number: int, reason: str) -> None:
        self.refused += 1
        if len(self.refusals) < _LISTED_REFUSALS:
            self.refusals[number] = reason

    def take(self, found: Conversation, options: ImportOptions) -> None:
        for question, ratings, approved in _rated(found, options):
            self.answers["rated down"] += sum(rating.verdict is Verdict.DOWN for rating in ratings)
            if not isinstance(approved, Approval) or is_blank(approved.text):
                continue
            if not question.strip():
                self.answers["to an empty question"] += 1
                continue
            self.answers["corrected" if approved.corrected else "rated up"] += 1
            self.answers["too long"] += len(approved.text) > LONGEST_LEARNED
            self.longest = max(self.longest, len(approved.text))
            if len(self.examples) < _SHOWN:
                self.examples.append((_shown(question), _shown(approved.text)))

    def forecast(self) -> Iterator[str]:
        """What would be learned and what is left out."""
        kinds = [kind for kind in ("rated up", "corrected") if self.answers[kind]]
        learned = ", ".join(f"{self.answers[kind]:,} {kind}" for kind in kinds)
        others = f"rated down: {self.answers['rated down']:,}; without a rating: {self.unrated:,}"
        yield f"Answers to learn from: {learned or 'none'}; {others}."
        for question, answer in self.examples:
            yield f"  for example: {question} → {answer}"
        if count := self.answers["to an empty question"]:
            yield f"Not learned, since the question is empty: {count:,}."
        if self.answers["too long"]:
            yield (
                f"{self.answers['too long']:,} of them are longer than the {LONGEST_LEARNED:,} characters that a "
                "retrain takes, and would be left out of it. To take all: --set max_answer_tokens="
                f"{-(-self.longest // 4)} for python -m trainer, or the same in SHORTHAND_SET for the app."
            )
        if self.left_out:
            left_out = ", ".join(f"{kind} {count:,}" for kind, count in self.left_out.items())
            yield f"Left out of what is imported: {left_out}."
        if self.refused:
            yield f"Rows that are left behind: {self.refused:,}."

    def summary(self) -> Iterator[str]:
        """What was imported, what was not, and what to do about it."""
        counts = ", ".join(f"{kind} {self.counts[kind]:,}" for kind in _KINDS)
        yield f"Imported (format: {self.format}): {counts}."
        if known := self.counts["known"]:
            yield (
                f"Conversations that were there already: {known:,} (or came in several rows); of them only what is "
                "new was imported."
            )
        if self.unrated:
            yield (
                f"Answers without a rating: {self.unrated:,}. They are not learned; their questions are traffic. If "
                "you know that they are good, import the file again with --approve, which rates them up in the name of "
                "--rater."
            )
        if self.refused:
            yield (
                f"Refused rows: {self.refused:,}. Correct the file and import it again; nothing is imported twice."
            )


def _rated(
    found: Conversation, options: ImportOptions
) -> Iterator[tuple[str, Sequence[Rating], Approval | NotApproved]]:
    """Questions, the ratings of their answers and the text to learn; it takes no ids, which cost most."""
    if isinstance(found, FullConversation):
        yield from ((answer.question, answer.ratings, answer.approval) for answer in found.answers())
        return
    question = ""
    for message in found.messages:
        if message.role is Role.USER:
            question = message.text
        elif latest := {rating.rater: rating for rating in ratings_of(message, "", options)}:
            ratings = [*latest.values()]
            whole = is_whole(MessageStatus.COMPLETE, message.finish_reason)
            yield question, ratings, approval(message.text, ratings, None, whole)


def _shown(text: str) -> str:
    line = " ".join(text.encode(errors="backslashreplace").decode().split())  # also half characters
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]} …"


@dataclass(frozen=True)
class ImportPlan:
    """How a file is to be read, and what came of reading it without saving anything."""

    options: ImportOptions
    format: Format
    container: Container
    meaning: Meaning
    unused: tuple[str, ...]  # columns of a table
    found: ImportResult

    def sentences(self) -> Iterator[str]:
        yield f"{self.container.path.name} is read as {self.format.tool} (format: {self.format.name})."
        if columns := self.meaning.columns:
            pairs = ", ".join(f"{ours} = {theirs}" for ours, theirs in columns.items())
            unused = ", ".join(self.unused) if "turn" in self.format.columns else ""
            yield _shown(f"Columns: {pairs}{unused and f'; not used: {unused}'}.")
        yield from self.found.forecast()


def plan_import(path: Path, options: ImportOptions, wanted: str | None = None) -> ImportPlan:
    """Read all of the file and save nothing. Raises StoreError for no such file, or where a person has to say how."""
    asked = find_format(wanted) if wanted else None
    container = find_container(path, options, None if asked is None else asked is CSV)
    profile, format = _detect_format(container, options, asked)
    if options.approve and format is SHORTHAND:
        raise StoreError(
            f"{path} is Shorthand's own export and has its ratings with it. Import it without --approve."
        )
    meaning = find_meaning(profile, options, format.columns)
    unused = tuple(name for name in profile.filled if name not in meaning.columns.values())
    result = ImportResult(format.name, container.unit)
    plan = ImportPlan(options, format, container, meaning, unused, result)
    for _, found in _conversations(plan, result):
        result.take(found, options)
    return plan


def _detect_format(
    container: Container, options: ImportOptions, asked: Format | None
) -> tuple[Profile, Format]:
    """What all rows have, and the format that was `asked` for or that most rows are of."""
    asked = asked or (CSV if container.delimiter else None)
    profile, votes = Profile(options.columns), Counter[str]()
    for _, row in container.rows():
        if isinstance(row, dict):
            profile.add(row)
            if asked is None and (format := _format_of(row, options)) is not None:
                votes[format.name] += 1
    if asked is None and not votes:
        raise StoreError(
            f"{container.path} is in none of the formats that can be imported ({', '.join(NAMES)}). Write every "
            "conversation as JSON on a line of its own or in one list, or a table with the columns question and answer."
        )
    # Of as many rows the format that holds more.
    return profile, asked or max(FORMATS, key=lambda one: votes[one.name])


def _format_of(row: Mapping[str, Any], options: ImportOptions) -> Format | None:
    found = next((format for format in FORMATS if format.matches(row)), None)
    return RECORDS if found is None and is_table(row, options.columns) else found


def import_planned(store: Store, plan: ImportPlan, split: Split | None = None) -> ImportResult:
    """Import what was planned; conversations that have no split yet get this one."""
    options, container = plan.options, plan.container
    result = ImportResult(plan.format.name, container.unit)
    about = {"file": container.path.name, "format": result.format}
    with store.audit.audited(AuditAction.IMPORTED, options.assistant_id, about) as detail:
        for batch in _batches(_conversations(plan, result), options):
            counts, refused = store.transfer.add(options.assistant_id, [full for _, full in batch])
            result.counts += counts
            if split is not None:
                bad = {place for place, _ in refused}
                ids = [full.conversation.id for n, (_, full) in enumerate(batch) if n not in bad]
                store.splits.record(dict.fromkeys(ids, split))
            for place, reason in refused:
                result.refuse(batch[place][0], reason)
        counted = ("conversations", "ratings", "decisions")
        detail |= {"refused": result.refused, **{kind: result.counts[kind] for kind in counted}}
    return result


def _batches(
    conversations: Iterable[tuple[int, Conversation]], options: ImportOptions
) -> Iterator[list[tuple[int, FullConversation]]]:
    batch: list[tuple[int, FullConversation]] = []
    records = 0
    for number, found in conversations:
        if isinstance(found, ImportedConversation):
            full = with_ids(found, options)
        else:
            full = found.of_assistant(options.assistant_id)
        batch.append((number, full))
        records += 1 + len(full.messages) + len(full.about_answers)
        if records >= _BATCH:
            yield batch
            batch, records = [], 0
    yield batch


def _conversations(plan: ImportPlan, result: ImportResult) -> Iterator[tuple[int, Conversation]]:
    """Return what can be imported, with the number of its row; what cannot is refused."""
    for number, found in _found(plan):
        try:
            if isinstance(found, BadRow):
                raise found
            if isinstance(found, ImportedConversation):
                found, left_out = without_left_out(found)
                found.check()
                result.left_out.update(left_out)
                result.unrated += 0 if plan.options.approve else found.unrated_count
            yield number, found
        except BadRow as error:
            result.refuse(number, str(error))


def _found(plan: ImportPlan) -> Iterator[tuple[int, Found]]:
    """What the rows hold, in the order of the file."""
    rows, format = plan.container.rows(), plan.format
    if format in (CSV, RECORDS):
        yield from table.read(rows, plan.meaning)
        return
    for number, row in rows:
        try:
            if isinstance(row, BadRow):
                raise row
            if not isinstance(row, dict) or not format.matches(row):
                raise BadRow(f"it is no row of {format.tool} (format: {format.name}).")
            for one in format.read(row, plan.meaning):
                yield number, one
        except BadRow as error:
            yield number, error
        except (msgspec.ValidationError, UnicodeEncodeError) as error:  # a key may be half a character
            yield number, BadRow(f"it is not of this format: {error}.")
