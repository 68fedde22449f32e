"""How fast a large file of conversations comes into a store.

In: how many chats to make up. Out: rows of the file and records of the store a second, for a first import and for one
of the same file again, with provenance. The chats are made up from a seed; nothing is generated or trained.

    python -m benchmarks.store_size --chats 300000 --out benchmarks/results/store_size.json
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.command import command_line, fail
from benchmarks.provenance import provenance
from benchmarks.screen import Screen
from store import Store
from store.arrival import Terms
from store.importing import import_file

ASSISTANT = "bank"
_WORDS = (
    *(
        "my",
        "card",
        "payment",
        "pin",
        "account",
        "how",
        "do",
        "i",
        "reset",
        "the",
        "transfer",
        "to",
        "another",
        "bank",
    ),
    *(
        "please",
        "why",
        "is",
        "it",
        "not",
        "here",
        "yet",
        "when",
        "does",
        "money",
        "arrive",
        "after",
        "top",
        "up",
    ),
    *(
        "what",
        "exchange",
        "rate",
        "you",
        "take",
        "for",
        "cash",
        "abroad",
        "who",
        "can",
        "see",
        "this",
        "and",
        "where",
    ),
)


def chats(number: int, seed: int) -> Iterator[str]:
    """OpenAI chat rows of one question and one answer, no two alike, with words as long as in support chats."""
    chosen = random.Random(seed)
    for place in range(number):
        question = " ".join(chosen.choices(_WORDS, k=chosen.randint(5, 20)))
        answer = " ".join(chosen.choices(_WORDS, k=chosen.randint(5, 40)))
        messages = [
            {"role": "user", "content": f"{question} ({place})"},
            {"role": "assistant", "content": answer},
        ]
        yield json.dumps({"messages": messages}) + "\n"


def measure(folder: Path, number: int, seed: int, screen: Screen) -> dict[str, Any]:
    """A first import, every answer rated up, and a second one of the same file."""
    path = folder / "chats.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(chats(number, seed))
    result: dict[str, Any] = {"chats": number, "bytes": path.stat().st_size}
    with Store(folder / "shorthand.sqlite") as store:
        store.create_assistant(ASSISTANT, "Bank", "exact")
        for name in ("first", "again"):
            terms = Terms(ASSISTANT, "benchmark", approve=True, at=time.time())
            with screen.bar(f"import, {name}") as bar:
                started, busy = time.perf_counter(), time.process_time()
                summary = import_file(
                    store, path, terms, progress=lambda done, bar=bar: bar(done, result["bytes"])
                )
                took_s, busy_s = time.perf_counter() - started, time.process_time() - busy
            result[name] = {
                "seconds": round(took_s, 3),
                "processor_seconds": round(busy_s, 3),
                "rows_a_second": round(number / took_s),
                "records": summary.conversations + summary.messages + summary.ratings,
                "records_a_second": round(
                    (summary.conversations + summary.messages + summary.ratings) / took_s
                ),
            }
        result["store_bytes"] = store.stats()["bytes"]
    return result


def main(
    chats: Annotated[int, typer.Option(min=1, help="Chats in the file, of two messages each.")] = 300_000,
    seed: Annotated[int, typer.Option(help="Of the made-up chats.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="Where file and store are made and removed; default: the system's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A JSON file for the result; an old one is replaced.")
    ] = None,
) -> None:
    """Make up a large file of chats and measure how fast it is imported.

    Example: python -m benchmarks.store_size --chats 300000 --out benchmarks/results/store_size.json
    """
    screen = Screen()
    if folder is not None and not folder.is_dir():
        fail(f"There is no folder {folder}. Create it or choose another one.")
    with TemporaryDirectory(dir=folder) as made:
        result = {"import": measure(Path(made), chats, seed, screen)}
    for name in ("first", "again"):
        part = result["import"][name]
        screen.say(
            f"import, {name}: {part['rows_a_second']:,} rows a second, "
            f"{part['records_a_second']:,} new records a second"
        )
    if out is not None:
        found = {**result, "provenance": provenance(command_line("benchmarks.store_size"), seed)}
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
