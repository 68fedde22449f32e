"""Datasets: frozen lists of examples, so that every adapter can be rebuilt.

In: examples as they are trained on. Out: `Dataset`, with the examples in the order in which they were given.
Does not know how examples are selected or hashed. The examples are copies: deleting a conversation leaves
them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from store.assistants import need_prompt
from store.columns import from_json, to_json
from store.errors import StoreError
from store.part import Part
from store.records import Dataset, Example, Role, Split


class Datasets(Part):
    def add_dataset(
        self,
        assistant_id: str,
        prompt_id: int,
        hash: str,
        examples: Iterable[Example],
        dropped: Mapping[str, int],
    ) -> Dataset:
        """Freeze it. Raises NotFound, Conflict for another's prompt, StoreError without a hash."""
        if not hash:
            raise StoreError("A dataset needs the hash of its content, but it is empty.")
        with self._file.writing() as transaction:
            need_prompt(transaction, prompt_id, assistant_id)
            id = transaction.insert(
                "datasets",
                assistant_id=assistant_id,
                prompt_id=prompt_id,
                hash=hash,
                dropped=to_json(dict(dropped)),
                created_at=self._clock(),
            )
            rows = (_example_row(id, position, example) for position, example in enumerate(examples))
            transaction.executemany(
                "INSERT INTO dataset_examples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )
            return self.dataset(id)

    def dataset(self, id: int) -> Dataset:
        """Raises NotFound."""
        with self._file.reading() as transaction:
            row = transaction.one("SELECT * FROM datasets WHERE id = ?", [id], f"dataset {id}")
            examples = transaction.rows(
                "SELECT * FROM dataset_examples WHERE dataset_id = ? ORDER BY position", [id]
            )
        return Dataset(
            id=row["id"],
            assistant_id=row["assistant_id"],
            prompt_id=row["prompt_id"],
            hash=row["hash"],
            created_at=row["created_at"],
            examples=tuple(_example(example) for example in examples),
            dropped=from_json(row["dropped"]),
        )


def _example_row(dataset_id: int, position: int, example: Example) -> tuple[object, ...]:
    return (
        dataset_id,
        position,
        example.message_id,
        example.conversation_id,
        to_json(example.context),
        example.completion,
        int(example.corrected),
        example.split,
        example.rater,
        int(example.approved),
        int(example.taught),
        example.rejected,
    )


def _example(row: sqlite3.Row) -> Example:
    return Example(
        message_id=row["message_id"],
        conversation_id=row["conversation_id"],
        context=tuple((Role(role), text) for role, text in from_json(row["context"])),
        completion=row["completion"],
        corrected=bool(row["corrected"]),
        split=Split(row["split"]),
        rater=row["rater"],
        approved=bool(row["approved"]),
        taught=bool(row["taught"]),
        rejected=row["rejected"],
    )
