"""Task files: a prompt, questions to learn from and questions to be measured on.

Ids that are numbers, missing or repeated are mended; everything else that is wrong is named with its field.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.assistants import segments_from
from store.records import Segment, SegmentKind
from trainer.evaluation.scorers import UnknownScorer, scorer


class TaskError(Exception):
    """The file is no task; the message names the file, the field and what it should be."""


@dataclass(frozen=True)
class Item:
    """A question with one or several right answers; `id` is unique within its list."""

    id: str
    user: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """`scorer` is a name as an assistant has it; `left_out` train questions are also test questions."""

    name: str
    source: str
    license: str
    scorer: str
    prompt: tuple[Segment, ...]
    train: tuple[Item, ...]
    test: tuple[Item, ...]
    left_out: int
    sha256: str

    @property
    def id(self) -> str:
        """The name as an assistant's id, and as the start of its adapters' names."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-") or "task"


def load(path: Path) -> Task:
    """Raises TaskError."""
    try:
        raw = path.read_bytes()
        body = json.loads(raw)
    except OSError as error:
        raise TaskError(f"{path} cannot be read ({error.strerror}). Give the path of a task file.") from error
    except ValueError as error:
        raise TaskError(f"{path} is not JSON ({error}).") from error
    if not isinstance(body, dict):
        raise TaskError(f"{path} holds a JSON {type(body).__name__}; a task is an object.")
    file = _File(path, body)
    test = file.items("test")
    asked = {_bare(item.user) for item in test}
    train = file.items("train")
    # What is measured must never be trained on, so a question that stands on both sides is a test question.
    trainable = tuple(item for item in train if _bare(item.user) not in asked)
    if not trainable:
        raise TaskError(
            f"{path}: every question in `train` is also in `test`; nothing is left to learn from."
        )
    return Task(
        name=file.text("name", path.stem),
        source=file.text("source", "not stated"),
        license=file.text("license", "not stated"),
        scorer=file.scorer(),
        prompt=file.prompt(),
        train=trainable,
        test=test,
        left_out=len(train) - len(trainable),
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def _bare(question: str) -> str:
    """Case, spaces and punctuation do not make another question; the trainer's splits see it the same way."""
    return " ".join(re.findall(r"\w+", question.casefold())) or question


@dataclass(frozen=True)
class _File:
    """The parsed file; each method reads one field."""

    path: Path
    body: dict[str, Any]

    def text(self, name: str, default: str) -> str:
        value = self.body.get(name, default)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(name, "a text", value)
        return value

    def scorer(self) -> str:
        name = self.text("scorer", "")
        if name == "sql":
            name = f"sql:{self._database()}"
        try:
            scorer(name)
        except UnknownScorer as error:
            raise TaskError(f"{self.path}: field `scorer`: {error}") from error
        return name

    def _database(self) -> Path:
        value = self.body.get("database")
        if not isinstance(value, str) or not value:
            raise self._wrong(
                "database", "the name of a SQLite file beside the task, since the scorer is sql", value
            )
        database = (self.path.parent / value).resolve()
        if not database.is_file():
            raise TaskError(
                f"{self.path}: field `database` names {value!r}, but there is no file {database}. Put the database "
                "beside the task file."
            )
        return database

    def prompt(self) -> tuple[Segment, ...]:
        rows = self._list("prompt")
        ids = _unique([row.get("id") if isinstance(row, dict) else None for row in rows], "segment")
        return segments_from(
            [self._segment(n, row, id) for n, (row, id) in enumerate(zip(rows, ids, strict=True))]
        )

    def _segment(self, number: int, row: Any, id: str) -> dict[str, Any]:
        where = f"prompt[{number}]"
        if not isinstance(row, dict):
            raise self._wrong(where, "an object", row)
        kinds = [kind.value for kind in SegmentKind]
        if row.get("kind") not in kinds:
            raise self._wrong(f"{where}.kind", f"one of {', '.join(kinds)}", row.get("kind"))
        fields = ("text",) if row["kind"] == SegmentKind.INSTRUCTION else ("user", "assistant")
        for name in fields:
            if not isinstance(row.get(name), str) or not row[name].strip():
                raise self._wrong(f"{where}.{name}", "a text", row.get(name))
        protected = row.get("protected") or False
        if not isinstance(protected, bool):
            raise self._wrong(f"{where}.protected", "true or false", protected)
        return {"id": id, "kind": row["kind"], "protected": protected} | {name: row[name] for name in fields}

    def items(self, name: str) -> tuple[Item, ...]:
        rows = self._list(name)
        ids = _unique([row.get("id") if isinstance(row, dict) else None for row in rows], name)
        return tuple(
            self._item(f"{name}[{n}]", row, id) for n, (row, id) in enumerate(zip(rows, ids, strict=True))
        )

    def _item(self, where: str, row: Any, id: str) -> Item:
        if not isinstance(row, dict):
            raise self._wrong(where, "an object", row)
        user, references = row.get("user"), row.get("references")
        if not isinstance(user, str) or not user.strip():
            raise self._wrong(f"{where}.user", "a text", user)
        if not isinstance(references, list):
            references = [references] if references else []
        # A JSON task may give its right answers as values.
        texts = tuple(r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in references)
        if not texts or not all(text.strip() for text in texts):
            raise self._wrong(f"{where}.references", "a list of right answers", row.get("references"))
        return Item(id, user, texts)

    def _list(self, name: str) -> list[Any]:
        value = self.body.get(name)
        if not isinstance(value, list) or not value:
            raise self._wrong(name, "a list that is not empty", value)
        return value

    def _wrong(self, field: str, expected: str, value: Any) -> TaskError:
        found = "is missing" if value is None else f"is {json.dumps(value, ensure_ascii=False)[:80]}"
        return TaskError(f"{self.path}: field `{field}` {found}; it should be {expected}.")


def _unique(ids: Sequence[Any], what: str) -> list[str]:
    """Ids as texts that differ: one that is missing is made from its place, one that comes again gets a number."""
    texts = [f"{what}-{n}" if id is None or id == "" else _as_text(id) for n, id in enumerate(ids)]
    counts, taken, found = Counter(texts), set(texts), []
    for number, text in enumerate(texts):
        if counts[text] > 1:
            counts[text] -= 1
            text = f"{text}~{number}"
            while text in taken:
                text += "~"
            taken.add(text)
        found.append(text)
    return found


def _as_text(id: Any) -> str:
    return id if isinstance(id, str) else json.dumps(id)
