"""Fine-tuning jobs as hosted services have them: a file of examples becomes an assistant, and a retrain of it."""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from assistant.api.errors import ApiError
from assistant.api.known_prompts import KnownPrompts, as_sent
from assistant.assistants import create_assistant
from assistant.limits import ChatLimits
from assistant.tokenizer import ChatTokenizer
from store import Store
from store.api_clients import ApiFile, ApiJob
from store.errors import StoreError
from store.io.importing import ImportPlan, import_planned, plan_import
from store.io.records import ImportOptions
from store.records import WITHOUT_TRAINING, Role, RunStatus, Split, TrainingRun

_RATER = "import"
_FEW_ANSWERS = 0.5  # of the examples: with fewer different answers they are labels
_STATUS = {
    RunStatus.RUNNING: "running",
    RunStatus.INTERRUPTED: "running",  # it goes on
    RunStatus.PROMOTED: "succeeded",
    RunStatus.REFUSED: "failed",
    RunStatus.NOT_ENOUGH: "failed",
    RunStatus.FAILED: "failed",
}


class JobBody(msgspec.Struct):
    """`POST /v1/fine_tuning/jobs`. Hyperparameters are passed over: the trainer stops when it has learned."""

    training_file: str
    model: str
    suffix: str | None = None
    validation_file: str | None = None


class Jobs:
    """The fine-tuning routes' work, in the caller's thread."""

    def __init__(self, store: Store, tokenizer: ChatTokenizer, known: KnownPrompts):
        self._store, self._tokenizer, self._known = store, tokenizer, known

    def start(self, owner: str, body: JobBody, limits: ChatLimits) -> dict[str, Any]:
        """Import the file's examples as approved ones, and ask for a retrain. Raises ApiError, StoreError, ChatError.

        They go to the assistant that `model` names or whose prompt they have; else to a new one, with their system
        message as its prompt. Nothing is trained on the validation file: the gate asks it.
        """
        if body.validation_file == body.training_file:
            text = "Training and validation file are the same: nothing would be left to train on."
            raise ApiError(400, text, param="validation_file")
        files = {body.training_file: None, body.validation_file: Split.GATE}
        contents = {id: self._store.api_files.content(owner, id) for id in files if id}
        with tempfile.TemporaryDirectory(prefix="shorthand-") as folder:
            plans = {id: _plan(Path(folder) / f"{id}.jsonl", one) for id, one in contents.items()}
            # Only now is anything made.
            assistant_id = self._assistant(body, *_system_and_answers(contents[body.training_file]), limits)
            summaries = list[str]()
            for id, one in reversed(plans.items()):  # what is in both files is not trained on
                options = replace(one.options, assistant_id=assistant_id)
                summaries += import_planned(self._store, replace(one, options=options), files[id]).summary()
        given = body.training_file, body.model, " ".join(summaries), body.validation_file
        return self.shown(self._store.api_jobs.add(owner, assistant_id, *given))

    def _assistant(self, body: JobBody, system: str, answers: Counter[str], limits: ChatLimits) -> str:
        if any(one.id == body.model for one in self._store.assistants.all()):
            return body.model
        if recognised := self._known.find(system, ((Role.USER, ""),)):
            return recognised.assistant_id
        name = body.suffix or f"Tuned {time.strftime('%Y-%m-%d %H:%M:%S')}"
        scorer = "exact" if len(answers) <= _FEW_ANSWERS * answers.total() else "chrf"
        segments = as_sent(system) if system else ()
        return create_assistant(self._store, self._tokenizer, name, scorer, segments, limits=limits).id

    def shown(self, job: ApiJob) -> dict[str, Any]:
        """The job as OpenAI's clients read it."""
        run = self._run(job)
        status = "cancelled" if job.cancelled_at else _status(run) if run else "queued"
        error = {"code": str(run.status), "message": run.message, "param": None} if run else None
        served = run if status == "succeeded" else None
        return {
            "id": job.id,
            "object": "fine_tuning.job",
            "created_at": int(job.created_at),
            "finished_at": int(served.finished_at) if served and served.finished_at else None,
            "model": job.model,
            "fine_tuned_model": job.assistant_id if served else None,
            "organization_id": "shorthand",
            "status": status,
            "training_file": job.file_id,
            "validation_file": job.validation_file_id,
            "result_files": [],
            "hyperparameters": {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"},
            "trained_tokens": None,
            "seed": 0,
            "error": error if status == "failed" else None,
            "estimated_finish": None,
            "shorthand": {
                "assistant": job.assistant_id,
                "run": run.id if run else None,
                "imported": job.imported,
            },
        }

    def events(self, job: ApiJob) -> Iterator[dict[str, Any]]:
        """What happened, newest first."""
        run = self._run(job)
        for n, event in reversed([*enumerate(self._store.runs.events(run.id) if run else ())]):
            numbers = ", ".join(f"{name} {value}" for name, value in event.data.items() if _is_plain(value))
            yield {
                "id": f"ftevent-{job.id}-{n}",
                "object": "fine_tuning.job.event",
                "created_at": int(event.at),
                "level": "info",
                "message": f"{event.phase}: {numbers}" if numbers else event.phase,
                "type": "message",
                "data": event.data,
            }
        yield {
            "id": f"ftevent-{job.id}",
            "object": "fine_tuning.job.event",
            "created_at": int(job.created_at),
            "level": "info",
            "message": job.imported,
            "type": "message",
            "data": {},
        }

    def checkpoints(self, job: ApiJob) -> list[dict[str, Any]]:
        """The run's adapter, once it is published."""
        run = self._run(job)
        if run is None or run.adapter is None or run.trigger.endswith(WITHOUT_TRAINING):
            return []
        made = {
            "id": f"ftckpt-{run.adapter}",
            "object": "fine_tuning.job.checkpoint",
            "created_at": int(run.finished_at or run.started_at),
            "fine_tuned_model_checkpoint": run.adapter,
            "fine_tuning_job_id": job.id,
            "step_number": 0,
            "metrics": {},
        }
        return [made]

    def _run(self, job: ApiJob) -> TrainingRun | None:
        return self._store.runs.of_trigger(job.assistant_id, job.trigger)


def _status(run: TrainingRun) -> str:
    is_first = run.trigger.endswith(WITHOUT_TRAINING) and run.status in (
        RunStatus.PROMOTED,
        RunStatus.REFUSED,
    )
    return "running" if is_first else _STATUS[run.status]  # the run that trains comes next


def shown_file(file: ApiFile) -> dict[str, Any]:
    """The file as OpenAI's clients read it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "filename": file.name,
        "purpose": "fine-tune",
        "status": "processed",
    }


def _plan(path: Path, content: bytes) -> ImportPlan:
    """Raises ApiError where nothing of the file can be imported."""
    path.write_bytes(content)
    try:
        plan = plan_import(path, ImportOptions("", _RATER, approve=True, at=time.time()))
    except StoreError as error:
        text = str(error).replace(str(path), "The file")
        raise ApiError(400, text, param="training_file") from error
    if not plan.found.answers.total():
        reasons = "; ".join(f"line {n}: {reason}" for n, reason in plan.found.refusals.items())
        raise ApiError(400, f"The file has no example to learn from. {reasons}", param="training_file")
    return plan


def _system_and_answers(content: bytes) -> tuple[str, Counter[str]]:
    """The system message that most rows have, and how often each answer stands at the end of one."""
    systems, answers = Counter[str](), Counter[str]()
    for line in content.splitlines():
        try:
            row = msgspec.json.decode(line, type=dict[str, Any])
        except ValueError:
            continue  # the import says which line cannot be read
        holder = row if "messages" in row else row.get("input")
        listed = holder.get("messages") if isinstance(holder, dict) else None
        messages = listed if isinstance(listed, list) else []
        found = [one for one in messages if isinstance(one, dict) and isinstance(one.get("content"), str)]
        if found:
            systems[found[0]["content"] if found[0].get("role") in ("system", "developer") else ""] += 1
            answers[found[-1]["content"]] += 1
    return systems.most_common(1)[0][0] if systems else "", answers


def _is_plain(value: object) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)
