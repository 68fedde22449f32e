"""What differs between two versions of a dataset: examples added, removed (and why), changed, or in another split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from store.records import Dataset, DatasetVersion, Example, Split

GONE = "no reason recorded: taken back or erased"


@dataclass(frozen=True)
class Change:
    """One example that differs; `before` and `after` are its completion or split, empty where there is none."""

    message_id: str
    question: str
    before: str
    after: str
    rule: str = ""  # why it went


@dataclass(frozen=True)
class Comparison:
    """What datasets `old` and `new` do not share; examples are told apart by their messages."""

    old: int
    new: int
    same: int
    added: tuple[Change, ...]
    removed: tuple[Change, ...]
    changed: tuple[Change, ...]
    moved: tuple[Change, ...]

    def lines(self) -> Iterator[str]:
        """For people; texts are cut to a line."""
        yield (
            f"From dataset {self.old} to {self.new}: {len(self.added):,} added, {len(self.removed):,} removed, "
            f"{len(self.changed):,} with another answer, {len(self.moved):,} moved, {self.same:,} the same."
        )
        for name in ("added", "removed", "changed", "moved"):
            for change in getattr(self, name):
                yield f"{name}  {_short(change.question)}  (message {change.message_id})"
                if name == "changed":
                    yield f"    {_short(change.before)} → {_short(change.after)}"
                elif name == "moved":
                    yield f"    {change.before} → {change.after}"
                elif name == "removed":
                    yield f"    {change.rule}"


def compare(old: Dataset, new: Dataset, rules: Mapping[str, str]) -> Comparison:
    """`rules` are why messages are not in `new`: what it recorded, and what is known today."""
    before = {example.message_id: example for example in old.examples}
    after = {example.message_id: example for example in new.examples}
    both = [(before[id], after[id]) for id in before if id in after]
    return Comparison(
        old.id,
        new.id,
        sum(a.completion == b.completion and a.split is b.split for a, b in both),
        tuple(_change(e, "", e.completion) for id, e in after.items() if id not in before),
        tuple(
            _change(e, e.completion, "", rules.get(id, GONE)) for id, e in before.items() if id not in after
        ),
        tuple(_change(b, a.completion, b.completion) for a, b in both if a.completion != b.completion),
        tuple(_change(b, a.split.value, b.split.value) for a, b in both if a.split is not b.split),
    )


def version_lines(versions: Sequence[DatasetVersion]) -> list[str]:
    """A line a version: number, time (UTC), sizes, hash, and the adapters that learned it."""
    return [
        f"{one.id:>4}  {datetime.fromtimestamp(one.created_at, UTC):%Y-%m-%d %H:%M}  "
        + ", ".join(f"{split.value} {one.sizes[split]:,}" for split in Split)
        + (f", unrated {one.unrated:,}" if one.unrated else "")
        + f"  {one.hash[:12]}  {', '.join(one.adapters) or 'no adapter'}"
        for one in versions
    ]


def _change(example: Example, before: str, after: str, rule: str = "") -> Change:
    return Change(example.message_id, example.context[-1][1], before, after, rule)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
