"""Task files: what is read, what is forgiven, and what is said about the rest."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from word_embedder import WordEmbedder

from benchmarks.copying import WAYS, false_passes, measure
from benchmarks.growth import draw, exponent
from benchmarks.tasks.task import Task, TaskError, load
from store.records import Segment, SegmentKind

GOOD: dict[str, Any] = {
    "name": "Towns & rivers",
    "source": "somewhere",
    "license": "CC0",
    "scorer": "exact",
    "prompt": [
        {"id": "role", "kind": "instruction", "text": "Answer with one word."},
        {"id": "law", "kind": "instruction", "text": "Never lie.", "protected": True},
        {"id": "one", "kind": "example", "user": "Where is Ely?", "assistant": "England"},
    ],
    "train": [{"id": "a", "user": "Where is Ham?", "references": ["England", "Surrey"]}],
    "test": [{"id": "t", "user": "Where is Ware?", "references": ["England"]}],
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "towns.json"
    path.write_text(json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...}))
    return path


def read(folder: Path, **changes: Any) -> Task:
    return load(write(folder, **changes))


def test_a_task_is_read(tmp_path: Path) -> None:
    task = read(tmp_path)
    assert task.id == "towns-rivers" and task.scorer == "exact" and len(task.sha256) == 64
    assert task.prompt == (
        Segment("role", SegmentKind.INSTRUCTION, text="Answer with one word."),
        Segment("law", SegmentKind.INSTRUCTION, text="Never lie.", protected=True),
        Segment("one", SegmentKind.EXAMPLE, user="Where is Ely?", assistant="England"),
    )
    assert task.train[0].references == ("England", "Surrey") and task.test[0].id == "t"


def test_what_is_measured_is_never_asked(tmp_path: Path) -> None:
    rows = [*GOOD["train"], {"id": "b", "user": "where is  WARE", "references": ["England"]}]
    task = read(tmp_path, train=rows)
    assert [item.id for item in task.train] == ["a"] and task.left_out == 1


def test_the_database_lies_beside_the_task(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "towns.sqlite")) as connection:
        connection.execute("CREATE TABLE town (name TEXT)")
    task = read(tmp_path, scorer="sql", database="towns.sqlite")
    assert task.scorer == f"sql:{tmp_path / 'towns.sqlite'}"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": ...}, "missing required field `prompt`"),
        ({"prompt": []}, r"`\$.prompt`"),
        ({"prompt": [{"id": "a", "kind": "rule", "text": "x"}]}, r"'rule' - at `\$.prompt\[0\].kind`"),
        ({"prompt": [{"kind": "example", "user": "x"}]}, r"field `assistant` - at `\$.prompt\[0\]`"),
        ({"train": [{"id": "a", "references": ["x"]}]}, r"field `user` - at `\$.train\[0\]`"),
        ({"test": [{"id": "a", "user": "x", "references": []}]}, r"`\$.test\[0\].references`"),
        ({"test": [{"id": "a", "user": "x", "references": [" "]}]}, r"`test\[0\].references` has an empty"),
        ({"train": GOOD["test"]}, "every question in `train` is also in `test`"),
        ({"scorer": "rouge"}, "`scorer`: There is no scorer 'rouge'"),
        ({"scorer": "sql"}, "the scorer is sql, but `database` is None"),
        ({"scorer": "sql", "database": "gone.sqlite"}, "no file .*gone.sqlite. Put the database beside"),
        ({"scorer": "sql", "database": "towns.json"}, "not a database"),
        ({"name": 7}, r"`\$.name`"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_field(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(TaskError, match=says) as caught:
        read(tmp_path, **changes)
    assert "towns.json" in str(caught.value)


@pytest.mark.parametrize("text", [b"{", b"[]", b"\xff", None])
def test_what_is_no_task_at_all_is_refused(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / "bad.json").write_bytes(text)
    with pytest.raises(TaskError, match="is no task|cannot be read"):
        load(tmp_path / "bad.json")


def test_approved_answers_are_counted_as_right_where_the_test_says_so(tmp_path: Path) -> None:
    def rows(ask: str, count: int) -> list[dict[str, Any]]:
        about = {"card": "my bank card is lost", "rain": "will the sky be wet"}
        return [
            {"id": f"{ask}{label}{n}", "user": f"{ask} {text} {n}", "references": [label]}
            for label, text in about.items()
            for n in range(count)
        ]

    task = read(tmp_path, train=rows("Please,", 60), test=[*rows("Sorry,", 4)])
    done: list[int] = []
    found = measure(task, 1, 8, 1, lambda now, total: done.append(now))
    assert [row["approved"] for row in found] == [50, 113, 225, 450] and done == [1, 2, 3, 4]
    assert all(row[name]["mean"] == 1.0 for row in found for name in WAYS)
    wrong = [one | {"references": ["other"]} for one in rows("Sorry,", 4)]
    found = measure(read(tmp_path, train=rows("Please,", 60), test=wrong), 1, 8, 1, lambda now, total: None)
    assert all(row[name]["mean"] == 0.0 for row in found for name in WAYS)


def test_a_gate_that_may_not_show_its_answers_lets_more_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions of 20 kinds, of which its train answers do not have all."""
    monkeypatch.setattr("benchmarks.copying.Embedder", WordEmbedder)
    rows = [
        {"id": f"{kind} {n}", "user": f"kind{kind} kind{kind} {n}", "references": [str(kind)]}
        for kind in range(20)
        for n in range(12)
    ]
    found = false_passes(read(tmp_path, train=rows), 60, 40, 1, lambda done, total: None)
    without, all_but_own, halved = [*found.values()][1:]
    assert found["approved"] == 60 and without > all_but_own >= halved


def test_how_a_cost_grows_is_a_slope_of_logarithms(tmp_path: Path) -> None:
    assert exponent({1: 2.0, 10: 20.0, 100: 200.0}) == 1.0 and exponent({1: 7.0, 100: 7.0}) == 0.0
    assert exponent({10: 1.0, 20: 4.0}) == 2.0
    draw({"seconds": {1: 2.0, 10: 20.0}, "MiB": {1: 7.0, 10: 8.0}}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000
