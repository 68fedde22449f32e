"""Keeps the files and the fine-tuning jobs that programs make through the API."""

from __future__ import annotations

from dataclasses import dataclass

from store.columns import mapper
from store.connection import Repository
from store.errors import Conflict, NotFound
from store.runs import Runs

_FILE = "SELECT id, owner, name, created_at, length(content) AS bytes FROM api_files"


@dataclass(frozen=True)
class ApiFile:
    """An uploaded file, without its content."""

    id: str
    owner: str
    name: str
    created_at: float
    bytes: int


@dataclass(frozen=True)
class ApiJob:
    """A retrain that was asked for with a file of examples; `imported` says what came of the file."""

    id: str
    owner: str
    assistant_id: str
    file_id: str
    model: str  # as the client named it
    imported: str
    created_at: float
    cancelled_at: float | None = None
    validation_file_id: str | None = None  # its examples are the gate's

    @property
    def trigger(self) -> str:
        """The reason of its run."""
        return f"fine-tuning job {self.id}"


class ApiFiles(Repository):
    def add(self, owner: str, name: str, content: bytes) -> ApiFile:
        made = ApiFile(f"file-{self._new_id()}", owner, name, self._clock(), len(content))
        columns = {key: value for key, value in vars(made).items() if key != "bytes"}
        with self._file.writing() as transaction:
            transaction.insert("api_files", **columns, content=content)
        return made

    def all(self, owner: str) -> list[ApiFile]:
        """Return the owner's, newest first."""
        return self._all(_file, f"{_FILE} WHERE owner = ? ORDER BY created_at DESC, id", [owner])

    def get(self, owner: str, id: str) -> ApiFile:
        """Raises NotFound, also for another owner's."""
        return self._one(_file, f"{_FILE} WHERE owner = ? AND id = ?", [owner, id], f"file {id!r}")

    def content(self, owner: str, id: str) -> bytes:
        """Raises NotFound, also for another owner's."""
        self.get(owner, id)
        return bytes(self._rows("SELECT content FROM api_files WHERE id = ?", [id])[0]["content"])

    def remove(self, owner: str, id: str) -> None:
        """Remove the file; what was imported from it stays. Raises NotFound, also for another owner's."""
        if not self._execute("DELETE FROM api_files WHERE owner = ? AND id = ?", [owner, id]):
            raise NotFound(f"There is no file {id!r}.")


class ApiJobs(Repository):
    def add(
        self,
        owner: str,
        assistant_id: str,
        file_id: str,
        model: str,
        imported: str,
        validation_file_id: str | None = None,
    ) -> ApiJob:
        """Keep a job and ask the trainer for its run, both or none."""
        id, now = f"ftjob-{self._new_id()}", self._clock()
        made = ApiJob(id, owner, assistant_id, file_id, model, imported, now, None, validation_file_id)
        with self._file.writing() as transaction:
            transaction.insert("api_jobs", **vars(made))
            self._other(Runs).request(assistant_id, made.trigger)
        return made

    def all(self, owner: str) -> list[ApiJob]:
        """Return the owner's, newest first."""
        query = "SELECT * FROM api_jobs WHERE owner = ? ORDER BY created_at DESC, id"
        return self._all(_job, query, [owner])

    def get(self, owner: str, id: str) -> ApiJob:
        """Raises NotFound, also for another owner's."""
        query = "SELECT * FROM api_jobs WHERE owner = ? AND id = ?"
        return self._one(_job, query, [owner, id], f"fine-tuning job {id!r}")

    def cancel(self, owner: str, id: str) -> ApiJob:
        """Take back a job whose run has not begun. Raises NotFound, Conflict for one that has."""
        with self._file.writing() as transaction:
            job = self.get(owner, id)
            take_back = "DELETE FROM training_requests WHERE assistant_id = ? AND trigger = ?"
            if not transaction.execute(take_back, [job.assistant_id, job.trigger]).rowcount:
                raise Conflict(f"The run of {id!r} has begun, or has ended: it cannot be cancelled any more.")
            change = "UPDATE api_jobs SET cancelled_at = ? WHERE id = ?"
            transaction.execute(change, [self._clock(), id])
            return self.get(owner, id)


_file = mapper(ApiFile)
_job = mapper(ApiJob)
