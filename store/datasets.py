"""Datasets: frozen lists of examples, so that every adapter can be rebuilt, and why other answers are not in them.

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
from store.records import Dataset, DatasetVersion, Example, Role, Split
from store.repository import Repository

_VERSIONS = """
    SELECT d.id, d.created_at, d.hash, d.prompt_id,
        count(*) FILTER (WHERE e.approved = 1 AND e.split = 'train') AS train,
        count(*) FILTER (WHERE e.approved = 1 AND e.split = 'dev') AS dev,
        count(*) FILTER (WHERE e.approved = 1 AND e.split = 'gate') AS gate,
        count(*) FILTER (WHERE e.approved = 0) AS unrated,
        (SELECT json_group_array(name) FROM (SELECT DISTINCT a.name FROM runs r JOIN adapters a ON a.run_id = r.id
            WHERE r.dataset_id = d.id ORDER BY a.name)) AS adapters
    FROM datasets d LEFT JOIN dataset_examples e ON e.dataset_id = d.id
    WHERE d.assistant_id = ? GROUP BY d.id ORDER BY d.id DESC"""


class Datasets(Repository):
    def add(
        self,
        assistant_id: str,
        prompt_id: int,
        hash: str,
        examples: Iterable[Example],
        dropped: Mapping[str, int],
        left_out: Mapping[str, str] | None = None,
    ) -> Dataset:
        """Freeze it; `dropped` counts answers by rule, `left_out` names the rule of each message.

        Raises NotFound, Conflict for another's prompt, StoreError without a hash.
        """
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
            # An answer that was deleted while the run looked at it is gone, and so is why it was not used.
            transaction.executemany(
                "INSERT INTO dataset_left_out SELECT ?, id, ? FROM messages WHERE id = ?",
                ((id, rule, message_id) for message_id, rule in (left_out or {}).items()),
            )
            return self.get(id)

    def left_out(self, dataset_id: int) -> dict[str, str]:
        """Message id -> rule, of the answers that the dataset did not take; empty for versions from before 0.1.0."""
        query = "SELECT * FROM dataset_left_out WHERE dataset_id = ? ORDER BY message_id"
        with self._file.reading() as transaction:
            transaction.one("SELECT 1 FROM datasets WHERE id = ?", [dataset_id], f"dataset {dataset_id}")
            rows = transaction.rows(query, [dataset_id])
        return {row["message_id"]: row["rule"] for row in rows}

    def versions(self, assistant_id: str) -> list[DatasetVersion]:
        """The assistant's datasets without their examples, newest first."""
        with self._file.reading() as transaction:
            rows = transaction.rows(_VERSIONS, [assistant_id])
        return [
            DatasetVersion(
                id=row["id"],
                created_at=row["created_at"],
                hash=row["hash"],
                prompt_id=row["prompt_id"],
                sizes={split: row[split.value] for split in Split},
                unrated=row["unrated"],
                adapters=tuple(from_json(row["adapters"])),
            )
            for row in rows
        ]

    def get(self, id: int) -> Dataset:
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
        int(example.from_teacher),
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
        from_teacher=bool(row["from_teacher"]),
        rejected=row["rejected"],
    )
