"""How fast a file of chats is imported, the first time and again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.large_store.made_store import ASSISTANTS, Texts
from benchmarks.screen import Screen
from store import Store
from store.io.importing import import_file
from store.io.stable_ids import ImportOptions


def chats(number: int, seed: int) -> Iterator[str]:
    """OpenAI chat rows of one question and one answer, no two alike, with words as long as in support chats."""
    texts = Texts(np.random.default_rng(seed))
    for place in range(number):
        messages = [
            {"role": "user", "content": f"{texts.of(5, 20)} ({place})"},
            {"role": "assistant", "content": texts.of(5, 40)},
        ]
        yield json.dumps({"messages": messages}) + "\n"


def measure(store: Store, folder: Path, number: int, seed: int, screen: Screen) -> dict[str, Any]:
    """A first import, every answer rated up, and a second one of the same file."""
    path = folder / "chats.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(chats(number, seed))
    size = path.stat().st_size
    result: dict[str, Any] = {"chats": number, "bytes": size}
    for name in ("first", "again"):
        options = ImportOptions(ASSISTANTS[0], "benchmark", approve=True, at=time.time())
        with screen.bar(f"import, {name}") as bar:
            started, busy = time.perf_counter(), time.process_time()
            imported = import_file(store, path, options, on_progress=lambda done, bar=bar: bar(done, size))
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
