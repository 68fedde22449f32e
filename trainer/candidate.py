"""A frozen dataset to a published adapter with its prompt ladder.

In: a workshop, a run, a dataset. Out: a Candidate on disk. Place in the flow: between `dataset` and `gate`; the
only module besides `finetune`, `lora`, `helpfulness` and `publish` that pulls in torch. Talks to no server.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Any

import torch

from assistant.rendering import render, segment_tokens
from store.records import Dataset, Split, TrainingRun
from trainer.finetune import Trained, finetune
from trainer.helpfulness import measure_helpfulness
from trainer.ladder import Rung, build_ladder
from trainer.notes import Notes
from trainer.publish import publish
from trainer.rows import dev_rows, train_rows
from trainer.workshop import Workshop

_PARITY_TOKENS = 8


@dataclass(frozen=True)
class Candidate:
    """A published adapter; `parity` are the tokens that greedily follow `parity_ids`, with ln p, in the trainer."""

    name: str
    ladder: list[Rung]
    trained: Trained
    parity_ids: tuple[int, ...]
    parity: list[tuple[int, float]]

    def cost(self) -> dict[str, Any]:
        """What the training took, for the report; memory in MiB at its peak."""
        t = self.trained
        return {
            "steps": t.steps,
            "tokens_per_s": round(t.tokens_per_s),
            "seconds": round(t.seconds, 1),
            "first_dev_loss": t.first_dev_loss,
            "dev_loss": t.dev_loss,
            "stopped_early": t.stopped_early,
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def train_candidate(w: Workshop, run: TrainingRun, dataset: Dataset, notes: Notes) -> Candidate:
    """Train on the train split, stop on dev, publish under a new name, build the ladder on dev.

    Raises TrainingDiverged, BadAdapter, OSError.
    """
    segments = w.store.prompt(dataset.prompt_id).segments
    train = [e for e in dataset.examples if e.split is Split.TRAIN]
    dev = [e for e in dataset.examples if e.split is Split.DEV]
    rows, per_epoch = train_rows(w.tokenizer, segments, train, w.settings)
    with notes.timed("train"):
        trained = finetune(
            w.model_dir,
            rows,
            dev_rows(w.tokenizer, segments, dev),
            per_epoch,
            w.settings,
            w.work_dir(run.id),
            lambda note: notes.add("train", **note),
        )
    name = f"{run.assistant_id}-v{run.id:04d}"
    with notes.timed("publish"):
        manifest = publish(trained.model, w.adapters, name, w.base)
        w.store.add_adapter(
            name=name,
            assistant_id=run.assistant_id,
            run_id=run.id,
            path=str(w.adapters / name),
            manifest_hash=manifest.hash,
        )
        w.store.update_run(run.id, adapter=name)
        notes.add("publish", adapter=name)
    with notes.timed("ladder"):
        helpfulness = measure_helpfulness(
            trained.model,
            w.tokenizer,
            segments,
            dev,
            lambda done, total: notes.maybe("ladder", done=done, total=total),
        )
        ladder = build_ladder(segments, segment_tokens(w.tokenizer, segments), helpfulness, w.settings.rungs)
    question = render(w.tokenizer, (), dev[0].context).ids
    return Candidate(name, ladder, trained, question, _continue_greedily(trained.model, question))


def _continue_greedily(model: Any, ids: tuple[int, ...]) -> list[tuple[int, float]]:
    """The next tokens under the trained model, each with its ln p."""
    following: list[tuple[int, float]] = []
    with torch.no_grad():
        for _ in range(_PARITY_TOKENS):
            tokens = torch.tensor([[*ids, *(token for token, _ in following)]], device=model.device)
            ln_p = model(input_ids=tokens).logits[0, -1].float().log_softmax(-1)
            best = int(ln_p.argmax())
            following.append((best, float(ln_p[best])))
    return following
