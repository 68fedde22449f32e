"""Keeps frozen, versioned lists of examples (copies that outlive conversations), and each conversation's split."""

from collections.abc import Iterable, Mapping

from store.assistants import Prompts
from store.columns import record_of
from store.connection import Repository
from store.records import Dataset, Example, Split


class Datasets(Repository):
    def add(
        self,
        assistant_id: str,
        prompt_id: int,
        hash: str,
        examples: Iterable[Example],
        dropped: Mapping[str, int],
    ) -> Dataset:
        """Save a dataset; `dropped` counts answers by rule. Raises NotFound, Conflict for another's prompt."""
        with self._file.writing() as transaction:
            self._other(Prompts).of(assistant_id, prompt_id)
            columns = {"assistant_id": assistant_id, "prompt_id": prompt_id, "hash": hash}
            id = transaction.insert("datasets", **columns, dropped=dict(dropped), created_at=self._clock())
            # The columns have the order of the fields.
            rows = ((id, position, *vars(example).values()) for position, example in enumerate(examples))
            insert = "INSERT INTO dataset_examples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            transaction.executemany(insert, rows)
            return self.get(id)

    def learned_by(self, adapter: str) -> frozenset[str]:
        """Return the answers in the dataset of the run that trained this adapter; later ones only evaluated it."""
        query = """SELECT e.message_id FROM adapters a JOIN runs r ON r.id = a.run_id
                   JOIN dataset_examples e ON e.dataset_id = r.dataset_id WHERE a.name = ?"""
        return frozenset(row["message_id"] for row in self._rows(query, [adapter]))

    def set_unrated_sums(self, id: int, model: str, sums: Mapping[str, bytes]) -> None:
        """Keep for each answer the sum of the vectors that `model` made of unrated questions which ask for it."""
        with self._file.writing() as transaction:
            rows = [(id, answer, model, vector) for answer, vector in sums.items()]
            transaction.executemany("INSERT OR REPLACE INTO unrated_sums VALUES (?, ?, ?, ?)", rows)

    def unrated_sums(self, run_id: int | None, model: str) -> dict[str, bytes]:
        """Return them by answer, of the dataset of this run; empty where it has none by this model."""
        query = """SELECT u.answer, u.vector FROM runs r JOIN unrated_sums u ON u.dataset_id = r.dataset_id
                   WHERE r.id = ? AND u.vector_model = ?"""
        return {row["answer"]: row["vector"] for row in self._rows(query, [run_id, model])}

    def newest(self, assistant_id: str) -> Dataset | None:
        query = "SELECT id FROM datasets WHERE assistant_id = ? ORDER BY id DESC LIMIT 1"
        return next((self.get(row["id"]) for row in self._rows(query, [assistant_id])), None)

    def get(self, id: int) -> Dataset:
        """Raises NotFound."""
        with self._file.reading() as transaction:
            row = transaction.one("SELECT * FROM datasets WHERE id = ?", [id], f"dataset {id}")
            query = "SELECT * FROM dataset_examples WHERE dataset_id = ? ORDER BY position"
            return record_of(Dataset, row, examples=tuple(self._all(Example, query, [id])))


class TeacherAnswers(Repository):
    def of(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Return the texts by message id, where exactly this (a hash) was asked."""
        query = "SELECT * FROM teacher_answers WHERE message_id IN (SELECT value FROM json_each(?))"
        rows = self._rows(query, [list(asked)])
        return {row["message_id"]: row["text"] for row in rows if row["asked"] == asked[row["message_id"]]}

    def add(self, message_id: str, asked: str, text: str) -> None:
        """Save an answer; of a message that was deleted meanwhile none is kept."""
        add = "INSERT OR REPLACE INTO teacher_answers SELECT id, ?, ? FROM messages WHERE id = ?"
        self._execute(add, [asked, text, message_id])


class Splits(Repository):
    def of(self, conversation_ids: Iterable[str]) -> dict[str, Split]:
        """Return the splits of those that have one."""
        query = "SELECT s.* FROM json_each(?) wanted CROSS JOIN splits s ON s.conversation_id = wanted.value"
        rows = self._rows(query, [list(conversation_ids)])
        return {row["conversation_id"]: Split(row["split"]) for row in rows}

    def record(self, mapping: Mapping[str, Split]) -> dict[str, Split]:
        """Save splits of conversations that have none yet; returns the one that holds for each given id."""
        insert, now = "INSERT INTO splits VALUES (?, ?, ?) ON CONFLICT DO NOTHING", self._clock()
        with self._file.writing() as transaction:
            transaction.executemany(insert, ((id, split, now) for id, split in mapping.items()))
            return self.of(mapping)
