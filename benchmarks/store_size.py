"""How fast a store of a million messages is: the pages, a search, a rating, a training set, an import.

Everything is made up from a seed; nothing is generated or trained.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from assistant.embedding import Embedder
from assistant.retrieval import DEMONSTRATIONS, Retriever
from benchmarks.made_store import ASSISTANTS, OWNERS, Texts, make_store
from benchmarks.page_queries import PAGES, SEARCHES, WRITES, Asking, Subject, select
from benchmarks.record import Screen, fail, percentiles, write_result
from store import Store
from store.demonstrations import Demonstration
from store.garbage import collect_rarely
from store.io.importing import import_planned, plan_import
from store.io.records import ImportOptions
from store.sqlite import sqlite3

_CALLS = 300  # of each query
_SELECTIONS = 5
_APPROVED, _DIMENSIONS = 20_000, 384  # of the embedding model in the installation
_RETRIEVAL = "approved answers: the nearest five"
_SHARES = (50, 95, 99)
_WARM_UP = 5  # calls before those that are counted: an open app has asked before


@dataclass(frozen=True)
class Aim:
    """A line of the table: what was aimed at and what was measured (alone by the processor too), in the same unit."""

    name: str
    target: str
    measured: float
    processor: float
    unit: str
    met: bool


def measure(
    folder: Path,
    messages: int,
    ratings: int,
    chats: int,
    seed: int,
    screen: Screen,
    calls: int = _CALLS,
) -> tuple[dict[str, Any], list[Aim]]:
    """Make the store, then ask and write as people and the trainer do, `calls` times each."""
    path = folder / "shorthand.sqlite"
    with Store(path) as store:
        started = time.perf_counter()
        with screen.bar("making the store") as bar:
            make_store(store, messages, ratings, seed, bar)
        made = {"seconds": round(time.perf_counter() - started, 1), **store.maintenance.stats()}
    with Store(path) as store:
        subjects = draw_subjects(store, calls, seed)
        timings = {}
        for name, call in {**PAGES, **SEARCHES, **WRITES}.items():
            screen.say(f"{name} ...")
            timings[name] = _timed(store, call, subjects)
        training = Subject(ASSISTANTS[0], "", "", "")
        timings["training set"] = _timed(store, select, [training] * min(calls, _SELECTIONS))
        timings |= measure_retrieval(store, calls, seed)
        started = time.perf_counter()
        erased = store.erasure.erase(OWNERS[-1])
        erasing = {
            "seconds": round(time.perf_counter() - started, 2),
            "conversations": erased.conversations,
            "ratings": erased.ratings,
        }
        imported = measure_import(store, folder, chats, seed + 1, screen)
    result = {"store": made, "milliseconds": timings, "erasing a person": erasing, "import": imported}
    return result, _aims(timings, imported["first"])


def draw_subjects(store: Store, number: int, seed: int) -> list[Subject]:
    """Answers from anywhere in the store, their conversations, and one to three words out of each.

    Frequent words are drawn as often as they are said, so most searches find very much. The last word is cut, as while
    it is typed. The list that is looked through is in 3 of 10 cases that of the conversation's owner, else the first
    owner's, who has half of all.
    """
    chance = np.random.default_rng(seed)
    query = """
        SELECT m.id, m.text, m.conversation_id, c.assistant_id, c.owner
        FROM messages m JOIN conversations c ON c.id = m.conversation_id
        WHERE m.seq >= ? AND m.role = 'assistant' ORDER BY m.seq LIMIT 1"""
    last = store.maintenance.stats()["messages"]
    subjects = []
    for place in chance.integers(1, max(2, last - 10), number):
        row = store._file.connection().execute(query, [int(place)]).fetchone()
        words = chance.permutation(row["text"].rstrip(".").split())[: chance.choice([1, 1, 2, 3])]
        words[-1] = words[-1][: chance.choice([3, 4, 5, 9])]
        owner = row["owner"] if chance.random() < 0.3 else OWNERS[0]
        subjects.append(
            Subject(row["assistant_id"], row["conversation_id"], row["id"], " ".join(words), owner)
        )
    return subjects


def _timed(store: Store, call: Asking, subjects: list[Subject]) -> dict[str, float]:
    """Milliseconds; `processor_*` without the waiting for the disk and for other programs."""
    for subject in subjects[: min(_WARM_UP, len(subjects) // 5)]:
        call(store, subject)
    walls, processors = [], []
    for subject in subjects:
        wall, processor = time.perf_counter(), time.process_time()
        call(store, subject)
        walls.append(1000 * (time.perf_counter() - wall))
        processors.append(1000 * (time.process_time() - processor))
    return {
        "calls": len(walls),
        **percentiles(walls, _SHARES, 2),
        "most": round(max(walls), 2),
        **{f"processor_{name}": value for name, value in percentiles(processors, _SHARES, 2).items()},
    }


def measure_retrieval(store: Store, calls: int, seed: int) -> dict[str, dict[str, float]]:
    """The nearest approved answers of many, with the question's vector: mostly, and right after one more was approved.

    Their own vectors are drawn, since what they are changes no time.
    """
    chance = np.random.default_rng(seed)
    retriever, texts, name = Retriever(store, Embedder()), Texts(chance), ASSISTANTS[0]
    query = """
        SELECT m.id FROM messages m JOIN conversations c ON c.id = m.conversation_id
        WHERE c.assistant_id = ? AND m.role = 'assistant' LIMIT ?"""
    ids = [row["id"] for row in store._file.connection().execute(query, [name, _APPROVED])]
    known = [Demonstration(id, texts.of(5, 20), texts.of(5, 40)) for id in ids]
    vectors = chance.standard_normal((len(ids), _DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def approve(some: list[Demonstration]) -> None:
        store.demonstrations.replace(name, some)
        made = {one.message_id: vector.tobytes() for one, vector in zip(some, vectors, strict=False)}
        store.demonstrations.set_vectors(retriever.embedder.name, made)

    def find(_: Store, subject: Subject) -> None:
        retriever.nearest(name, subject.words, DEMONSTRATIONS)

    subjects = [Subject(name, "", "", texts.of(5, 20)) for _ in range(calls)]
    approve(known[:-1])
    timings = {_RETRIEVAL: _timed(store, find, subjects)}
    approve(known)
    return timings | {"approved answers: after one more": _timed(store, find, subjects[:1])}


def chats(number: int, seed: int) -> Iterator[str]:
    """OpenAI chat rows of one question and one answer, no two alike, with words as long as in support chats."""
    texts = Texts(np.random.default_rng(seed))
    for place in range(number):
        messages = [
            {"role": "user", "content": f"{texts.of(5, 20)} ({place})"},
            {"role": "assistant", "content": texts.of(5, 40)},
        ]
        yield json.dumps({"messages": messages}) + "\n"


def measure_import(store: Store, folder: Path, number: int, seed: int, screen: Screen) -> dict[str, Any]:
    """A first import, every answer rated up, and a second one of the same file."""
    path = folder / "chats.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(chats(number, seed))
    result: dict[str, Any] = {"chats": number, "bytes": path.stat().st_size}
    for name in ("first", "again"):
        options = ImportOptions(ASSISTANTS[0], "benchmark", approve=True, at=time.time())
        screen.say(f"import, {name} ...")
        started, busy = time.perf_counter(), time.process_time()
        imported = import_planned(store, plan_import(path, options))
        took_s, busy_s = time.perf_counter() - started, time.process_time() - busy
        rows = sum(imported.counts[kind] for kind in ("conversations", "messages", "ratings"))
        result[name] = {
            "seconds": round(took_s, 3),
            "processor_seconds": round(busy_s, 3),
            "chats_a_second": round(number / took_s),
            "rows": rows,
            "rows_a_second": round(rows / took_s),
            "rows_a_processor_second": round(rows / busy_s),
        }
    return result


def _aims(timings: dict[str, dict[str, float]], first_import: dict[str, float]) -> list[Aim]:
    def within(most: float, names: Iterable[str], share: str, words: str | None = None) -> Iterator[Aim]:
        for name in names:
            measured = timings[name][share]
            processor = timings[name][f"processor_{'p99' if share == 'most' else share}"]
            yield Aim(f"{name}, {words or share}", f"≤ {most:g}", measured, processor, "ms", measured <= most)

    rows, processor = first_import["rows_a_second"], first_import["rows_a_processor_second"]
    return [
        *within(1000, ["training set"], "most", f"slowest of {_SELECTIONS}"),
        *within(50, PAGES, "p95"),
        *within(100, SEARCHES, "p95"),
        *within(20, ["rating"], "p99"),
        *within(20, [_RETRIEVAL], "p95"),
        Aim("import, first", "≥ 20000", rows, processor, "rows/s", rows >= 20_000),
    ]


def main(
    messages: Annotated[int, typer.Option(min=1000, help="Messages in the store.")] = 1_000_000,
    ratings: Annotated[int, typer.Option(min=100, help="Ratings in the store.")] = 300_000,
    chats: Annotated[
        int, typer.Option(min=1, help="Chats in the file that is imported, of two messages each.")
    ] = 100_000,
    seed: Annotated[int, typer.Option(help="Of all that is made up.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="Where store and file are made and removed; default: the system's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A JSON file for the result; an old one is replaced.")
    ] = None,
) -> None:
    """Make up a store of a million messages and measure how fast everything is in it.

    Example: python -m benchmarks.store_size --out benchmarks/results/store_size.json
    """
    collect_rarely()  # as the app does
    screen = Screen()
    if folder is not None and not folder.is_dir():
        fail(f"There is no folder {folder}. Create it or choose another one.")
    loads = [os.getloadavg()[0]]
    with TemporaryDirectory(dir=folder) as made:
        result, aims = measure(Path(made), messages, ratings, chats, seed, screen)
    loads.append(os.getloadavg()[0])
    table = Table("what", "target", "measured", "processor alone", "unit", "")
    for aim in aims:
        measured, processor = f"{aim.measured:,.0f}", f"{aim.processor:,.0f}"
        table.add_row(aim.name, aim.target, measured, processor, aim.unit, "met" if aim.met else "missed")
    screen.console.print(table)
    found = {
        "aims": [vars(aim) for aim in aims],
        **result,
        "sqlite": sqlite3.sqlite_version,
        # How many programs wanted a core at the start and at the end; the benchmark itself is one.
        "load": [round(load, 1) for load in loads],
    }
    write_result(out, "store_size", seed, found)


if __name__ == "__main__":
    typer.run(main)
