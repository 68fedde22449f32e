"""What the columns, ratings and times of a file mean, decided from all of its rows before any of them is read.

A wrong column, scale or unit would be learned from without a word: what can be read in two ways is refused, with the
option that says which it is.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from store.errors import BadRow, StoreError
from store.io.records import ImportOptions
from store.io.values import BLANK, Scale, find_scale, is_verdict, parse_time
from store.records import Verdict

# Our columns, and what other tools call the same one.
_NAMES = {
    "conversation": ("conversation_id", "chat_id", "session_id", "thread_id"),
    "turn": (),
    "question": ("prompt", "input", "user", "instruction", "query"),
    "asked_at": (),
    "answer": ("response", "output", "completion", "assistant", "reply"),
    "answered_at": ("created_at", "timestamp", "time", "date"),
    "verdict": (
        *("rating", "ratings", "stars", "score", "thumb", "thumbs"),
        *("vote", "label", "feedback", "kto_tag"),
    ),
    "correction": ("corrected", "corrected_answer", "ideal", "ideal_answer", "expected"),
    "reason": (),
    "comment": ("comments", "note", "notes"),
    "rater": ("rated_by", "annotator", "reviewer"),
    "rated_at": (),
    "finish_reason": ("stop_reason", "done_reason"),
}
COLUMNS = tuple(_NAMES)
# What stands beside a question and belongs to it.
_MATERIAL = {"instruction": ("input", "context"), "question": ("context",), "prompt": ("context",)}
_MAYBE_VERDICTS, _MAYBE_TIMES = {"label", "feedback", "kto_tag"}, {"timestamp", "time", "date"}
_SCALES = {"stars", "score"}  # never just 0 and 1
_HARMLESS = ("comment", "reason", "answered_at")  # of several such columns the first is taken
_MOST_VALUES = 1000  # different ones that are counted of a column; no scale has as many


@lru_cache(maxsize=1000)
def plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


@dataclass(frozen=True)
class Meaning:
    """`columns`: our name -> the file's; `material` stands beside a question. No time is after `latest`."""

    latest: float
    columns: Mapping[str, str] = field(default_factory=dict)
    scale: Scale = Scale()
    day_first: bool | None = None

    def cells(self, row: Mapping[str, Any]) -> dict[str, str]:
        """The texts of a row by our names; a column that it does not have is not there. Raises BadRow."""
        named = {plain(name): value for name, value in row.items()}
        found = {}
        for column, name in self.columns.items():
            if name in named:
                value = named[name]
                if isinstance(value, (list, dict)):
                    raise BadRow(f"its {name} is not a text.")
                found[column] = "" if value is None else str(value)
        if "question" in found and (material := found.get("material", "")).strip():
            found["question"] = f"{found['question']}\n\n{material}".strip()
        return found

    def verdict(self, row: Mapping[str, Any]) -> Verdict | None:
        return self.scale.verdict(self.cells(row).get("verdict", ""))

    def time(self, value: object, name: str) -> float | None:
        return parse_time(value, name, self.latest, self.day_first)


class Profile:
    """What all rows of a file have in the columns whose meaning depends on it; bounded, however many rows."""

    def __init__(self, asked: Mapping[str, str]):
        self.asked = {column: plain(name) for column, name in asked.items()}
        self.filled: dict[str, bool] = {}  # column -> whether there is something in it
        self.values: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._verdicts = {"verdict", *_NAMES["verdict"], self.asked.get("verdict", "")}
        self._known: set[str] = set()  # names of columns of which no cell tells anything more

    def add(self, row: Mapping[str, Any]) -> None:
        for given, value in row.items():
            if given not in self._known and not isinstance(value, (list, dict)):
                self._add(given, plain(given), "" if value is None else str(value).strip())

    def _add(self, given: str, name: str, text: str) -> None:
        is_filled = text.casefold() not in BLANK
        if len(self.filled) < _MOST_VALUES or name in self.filled:
            self.filled[name] = is_filled or self.filled.get(name, False)
        if not is_filled:
            return
        if name in self._verdicts:
            counted = self.values[name]
            counted[text[:100] if len(counted) < _MOST_VALUES else "…"] += 1
        elif name in _MAYBE_TIMES and not self.values[name]:
            with suppress(BadRow):
                parse_time(text, name, float("inf"), day_first=True)
                self.values[name]["a time"] += 1
        elif name in self.filled:
            self._known.add(given)

    def choose(self, column: str, is_a_table: bool) -> str:
        """The file's name for our column, empty for none. Raises StoreError where several could be meant."""
        if column in self.asked:
            name = self.asked[column]
            if name and name not in self.filled:
                raise StoreError(
                    f"There is no column {name!r}. There are: {', '.join(map(repr, self.filled))}."
                )
            return name
        left = [name for name in (column, *_NAMES[column]) if name not in self.asked.values()]
        there = [name for name in left if name in self.filled and self._fits(column, name)]
        there = [name for name in there if self.filled[name]] or there
        if column == "verdict" and not is_a_table:
            there = [name for name in there if name not in _SCALES]  # of rows of chats the score is a model's
        if column == "question":
            beside = {name for other in there for name in _MATERIAL.get(other, ())}
            there = [name for name in there if name not in beside]
        if len(there) > 1 and column not in _HARMLESS:
            raise StoreError(
                f"Several columns could be the {column}: {', '.join(there)}. Say which one is, such as --column "
                f"{column}={there[0]}, or rename the others in the file. Nothing was imported."
            )
        return there[0] if there else ""

    def _fits(self, column: str, name: str) -> bool:
        """Columns of these names often hold something else."""
        if name in _MAYBE_VERDICTS:
            return bool(self.values[name]) and all(map(is_verdict, self.values[name]))
        return name not in _MAYBE_TIMES or bool(self.values[name])


def is_table(names: Iterable[str], asked: Mapping[str, str]) -> bool:
    """Whether there is a question and an answer, by the names that are `asked` for or by usual ones."""
    there = set(map(plain, names))
    return all(
        there.intersection([plain(asked[column])] if column in asked else (column, *_NAMES[column]))
        for column in ("question", "answer")
    )


def find_meaning(profile: Profile, options: ImportOptions, columns: Collection[str]) -> Meaning:
    """Only `columns` are looked for. Raises StoreError for what a person has to say."""
    is_a_table = "turn" in columns
    found = {column: name for column in columns if (name := profile.choose(column, is_a_table))}
    for name in _MATERIAL.get(found.get("question", ""), ()):
        if profile.filled.get(name):
            found.setdefault("material", name)
    name = found.get("verdict", "")
    scale = find_scale(name, profile.values[name], options.up_from, options.down_to, name in _SCALES)
    return Meaning(options.at, found, scale, options.day_first)
