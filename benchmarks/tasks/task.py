"""Task files: a prompt, questions to learn from and questions to be measured on.

Ids may be missing or numbers; everything that is wrong is named with its field.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from assistant.assistants import segments_from
from benchmarks.record import fail
from store.records import Segment
from trainer.evaluation.scorers import UnknownScorer, scorer


class TaskError(Exception):
    """The file is no task; the message names the file, the field and what is wrong with it."""


@dataclass(frozen=True)
class Item:
    """A question with one or several right answers."""

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


_Text = Annotated[str, msgspec.Meta(pattern=r"\S")]


class _Instruction(msgspec.Struct, tag_field="kind", tag="instruction"):
    text: _Text
    id: Any = None
    protected: bool = False


class _Example(msgspec.Struct, tag_field="kind", tag="example"):
    user: _Text
    assistant: _Text
    id: Any = None
    protected: bool = False


class _Item(msgspec.Struct):
    user: _Text
    references: Annotated[list[Any], msgspec.Meta(min_length=1)] | _Text
    id: Any = None

    def texts(self) -> tuple[str, ...]:
        """A JSON task may give its right answers as values."""
        found = self.references if isinstance(self.references, list) else [self.references]
        return tuple(_as_text(one) for one in found)


_Items = Annotated[list[_Item], msgspec.Meta(min_length=1)]


class _File(msgspec.Struct):
    scorer: _Text
    prompt: Annotated[list[_Instruction | _Example], msgspec.Meta(min_length=1)]
    train: _Items
    test: _Items
    name: _Text | None = None
    source: _Text = "not stated"
    license: _Text = "not stated"
    database: _Text | None = None


def load_all(paths: Sequence[Path]) -> list[Task]:
    """For commands: ends with the message where one is no task."""
    try:
        return [load(path) for path in paths]
    except TaskError as error:
        fail(str(error))


def load(path: Path) -> Task:
    """Raises TaskError."""
    try:
        raw = path.read_bytes()
        file = msgspec.json.decode(raw, type=_File)
    except OSError as error:
        raise TaskError(f"{path} cannot be read ({error.strerror}). Give the path of a task file.") from error
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path} is no task: {error}.") from error
    test, train = _items(path, "test", file.test), _items(path, "train", file.train)
    # What is measured must never be trained on, so a question that stands on both sides is a test question.
    asked = {_bare(item.user) for item in test}
    trainable = tuple(item for item in train if _bare(item.user) not in asked)
    if not trainable:
        raise TaskError(
            f"{path}: every question in `train` is also in `test`; nothing is left to learn from."
        )
    return Task(
        name=file.name or path.stem,
        source=file.source,
        license=file.license,
        scorer=_scorer(path, file),
        prompt=segments_from(
            [msgspec.to_builtins(row) | {"id": _id(row, "segment", n)} for n, row in enumerate(file.prompt)]
        ),
        train=trainable,
        test=test,
        left_out=len(train) - len(trainable),
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def _bare(question: str) -> str:
    """Case, spaces and punctuation do not make another question; the trainer's splits see it the same way."""
    return " ".join(re.findall(r"\w+", question.casefold())) or question


def _scorer(path: Path, file: _File) -> str:
    name = file.scorer
    if name == "sql":
        database = (path.parent / (file.database or "")).resolve()
        if not database.is_file():
            raise TaskError(
                f"{path}: the scorer is sql, but `database` is {file.database!r}, and there is no file {database}. Put "
                "the database beside the task file."
            )
        name = f"sql:{database}"
    try:
        scorer(name)
    except UnknownScorer as error:
        raise TaskError(f"{path}: field `scorer`: {error}") from error
    return name


def _items(path: Path, name: str, rows: Sequence[_Item]) -> tuple[Item, ...]:
    items = tuple(Item(_id(row, name, n), row.user, row.texts()) for n, row in enumerate(rows))
    for place, item in enumerate(items):
        if not all(text.strip() for text in item.references):
            raise TaskError(f"{path}: `{name}[{place}].references` has an empty answer.")
    return items


def _id(row: _Instruction | _Example | _Item, what: str, place: int) -> str:
    """As a text; one that is missing is made from its place."""
    return f"{what}-{place}" if row.id in (None, "") else _as_text(row.id)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
