"""Keeps frozen, versioned lists of examples, why other answers are not in them, and each conversation's split.

Examples are copies: deleting a conversation leaves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from store.assistants import need_prompt
from store.columns import mapper
from store.connection import Repository
from store.records import Dataset, Example, Split

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


@dataclass(frozen=True)
class DatasetVersion:
    """A dataset without its examples: how many are in each split, how many are unrated, and its adapters."""

    id: int
    created_at: float
    hash: str
    prompt_id: int
    sizes: dict[Split, int]
    unrated: int
    adapters: tuple[str, ...]


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
        """Save a dataset; `dropped` counts answers by rule, `left_out` names the rule of each message.

        Raises NotFound, Conflict for another's prompt.
        """
        with self._file.writing() as transaction:
            need_prompt(transaction, prompt_id, assistant_id)
            columns = {"assistant_id": assistant_id, "prompt_id": prompt_id, "hash": hash}
            id = transaction.insert("datasets", **columns, dropped=dict(dropped), created_at=self._clock())
            # The columns have the order of the fields.
            rows = ((id, position, *vars(example).values()) for position, example in enumerate(examples))
            transaction.executemany(
                "INSERT INTO dataset_examples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )
            # An answer that was deleted while the run looked at it is gone, and so is why it was not used.
            transaction.executemany(
                "INSERT INTO dataset_left_out SELECT ?, id, ? FROM messages WHERE id = ?",
                ((id, rule, message_id) for message_id, rule in (left_out or {}).items()),
            )
            return self.get(id)

    def left_out(self, dataset_id: int) -> dict[str, str]:
        """Return the rule by which each answer is not in the dataset, by message."""
        query = "SELECT * FROM dataset_left_out WHERE dataset_id = ? ORDER BY message_id"
        return {row["message_id"]: row["rule"] for row in self._rows(query, [dataset_id])}

    def versions(self, assistant_id: str) -> list[DatasetVersion]:
        """Return the assistant's datasets without their examples, newest first."""
        return [
            _version(row, sizes={split: row[split.value] for split in Split})
            for row in self._rows(_VERSIONS, [assistant_id])
        ]

    def message_ids(self, run_id: int) -> frozenset[str]:
        """Return the answers that are in the dataset of a run."""
        query = """SELECT e.message_id FROM runs r JOIN dataset_examples e ON e.dataset_id = r.dataset_id
                   WHERE r.id = ?"""
        return frozenset(row["message_id"] for row in self._rows(query, [run_id]))

    def get(self, id: int) -> Dataset:
        """Raises NotFound."""
        with self._file.reading() as transaction:
            row = transaction.one("SELECT * FROM datasets WHERE id = ?", [id], f"dataset {id}")
            examples = transaction.rows(
                "SELECT * FROM dataset_examples WHERE dataset_id = ? ORDER BY position", [id]
            )
        return _dataset(row, examples=tuple(map(_example, examples)))


class Splits(Repository):
    def record(self, mapping: Mapping[str, Split]) -> dict[str, Split]:
        """Save splits of conversations that have none yet; returns the one that holds for each given id."""
        now = self._clock()
        query = "SELECT * FROM splits WHERE conversation_id IN (SELECT value FROM json_each(?))"
        with self._file.writing() as transaction:
            transaction.executemany(
                "INSERT INTO splits VALUES (?, ?, ?) ON CONFLICT (conversation_id) DO NOTHING",
                ((conversation_id, split, now) for conversation_id, split in mapping.items()),
            )
            rows = transaction.rows(query, [list(mapping)])
        held = {row["conversation_id"]: Split(row["split"]) for row in rows}
        return {conversation_id: held[conversation_id] for conversation_id in mapping}


_dataset = mapper(Dataset, given=["examples"])
_version = mapper(DatasetVersion, given=["sizes"])
_example = mapper(Example)
