"""All that a whole retrain of the tiny model needs: a store with rated answers, a served base model, a context.

The fake computes real log-probabilities with the published adapter, so that parity is checked for what it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from fake_vllm import FakeVllm, Greedy
from imported_turns import ImportedTurn, load_turns
from peft import PeftModel
from transformers import AutoModelForCausalLM

from assistant.assistants import create_assistant
from assistant.embedding import default_model
from assistant.serving import ServerAddress
from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import (
    Dataset,
    MessageStatus,
    Role,
    RunStatus,
    Segment,
    SegmentKind,
    Split,
    Usage,
    Verdict,
)
from trainer.context import RunProgress, TrainingContext
from trainer.examples.dataset import snapshot
from trainer.examples.deduplicate import split_of
from trainer.run import run_once
from trainer.settings import TrainerSettings

PROMPT = (
    Segment("law", SegmentKind.INSTRUCTION, text="Answer with one word.", protected=True),
    Segment("role", SegmentKind.INSTRUCTION, text="You are a helpful AI assistant."),
    Segment("france", SegmentKind.EXAMPLE, user="The capital of France?", assistant="Paris."),
)
SETTINGS = TrainerSettings(
    epochs=1, learning_rate=1e-2, rank=4, margin=0.1, min_train=20, min_gate=10, max_answer_tokens=16
)
COLOURS = ("red", "green", "blue", "yellow")


@dataclass
class Scene:
    """A store with rated answers, a served base model and the context that a run works in."""

    context: TrainingContext
    vllm: FakeVllm
    tokenizer: ChatTokenizer

    @property
    def store(self) -> Store:
        return self.context.store

    def question(self, ids: Sequence[int]) -> str:
        last = self.tokenizer.decode(ids).split("<|im_start|>user\n")[-1]
        return last.split("<|im_end|>")[0]

    def rate(self, count: int, answer: Callable[[str], str] | None = None, given: str | None = None) -> None:
        """`count` questions a split, each with an approved answer: a correction where another one was `given`."""
        right = answer or colour
        wanted = {split: count if split is Split.TRAIN else count // 2 for split in Split}
        turns, number = [], 0
        while any(wanted.values()):
            text = f"Which colour has number {number}?"
            number += 1
            if wanted[split_of(text)]:
                wanted[split_of(text)] -= 1
                turn = ImportedTurn(f"c{number}", text, right(text), Verdict.UP)
                if given is not None:
                    turn = replace(turn, answer=given, verdict=Verdict.DOWN, correction=right(text))
                turns.append(turn)
        load_turns(self.store, "bank", turns)

    def ask_unrated(
        self, count: int, question: str = "Which colour has the house with number {}?", id: str = "t"
    ) -> None:
        """So many questions, each in a conversation of its own, which are answered with “grey” and not rated."""
        active = self.store.deployments.active("bank")
        usage = Usage(50, 40, 32, 9, 0.25, 1.0, -0.1)
        with self.store.writing():  # one transaction, or three syncs each
            for n in range(count):
                talk = self.store.conversations.create("bank", id=f"{id}{n}").id
                asked = self.store.messages.add(talk, None, Role.USER, question.format(n))
                self.store.messages.add(
                    talk,
                    asked.id,
                    Role.ASSISTANT,
                    "grey",
                    MessageStatus.COMPLETE,
                    active and active.id,
                    usage,
                    f"unrated {id}{n}",
                )

    def try_untrained(self, tries: bool) -> None:
        """The base model is tried without training while its prompt is the full one, which is what variant 0 says."""
        with self.store._file.writing() as transaction:
            transaction.execute(
                "UPDATE deployments SET variant = ? WHERE adapter IS NULL", [0 if tries else 1]
            )

    def run(self, **changes: Any) -> Any:
        settings = replace(SETTINGS, **changes)
        return run_once(replace(self.context, settings=settings), "bank", "test")

    def snapshot(self, **changes: Any) -> Dataset:
        """Freeze a dataset as a run does, and finish that run as refused."""
        context = replace(self.context, settings=replace(SETTINGS, **changes))
        run = self.store.runs.start("bank", context.settings.as_record(), "test")
        frozen = snapshot(context, run, RunProgress(self.store, run.id))
        assert not isinstance(frozen, str), frozen
        found, _ = frozen
        self.store.runs.finish(run.id, RunStatus.REFUSED, "", {})
        return found


def colour(question: str) -> str:
    return COLOURS[sum(map(ord, question)) % 4]


def right_with_adapter(scene: Scene) -> Callable[[str, Sequence[int]], str]:
    """The base model is right three times in four, whatever the prompt; adapters always are."""

    def answer(model: str, ids: Sequence[int]) -> str:
        question = scene.question(ids)
        return colour(question) if model != "base" or hash_of(question) % 4 else "grey"

    return answer


def hash_of(text: str) -> int:
    return sum(n * ord(c) for n, c in enumerate(text))


def served_greedily(model_dir: Path, fake: FakeVllm) -> Greedy:
    @cache
    def load(path: str | None) -> Any:
        base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
        return PeftModel.from_pretrained(base, path) if path else base

    def compute(model: str, ids: Sequence[int], count: int) -> list[tuple[int, float]]:
        following: list[tuple[int, float]] = []
        for _ in range(count):
            tokens = torch.tensor([[*ids, *(token for token, _ in following)]])
            with torch.no_grad():
                ln_p = load(fake.adapters.get(model))(tokens).logits[0, -1].log_softmax(-1)
            following.append((int(ln_p.argmax()), float(ln_p.max())))
        return following

    return compute


def make_scene(
    store: Store, tokenizer: ChatTokenizer, model_dir: Path, vllm: FakeVllm, data_dir: Path
) -> Scene:
    create_assistant(store, tokenizer, "Bank", "exact", PROMPT, assistant_id="bank")
    ServerAddress((vllm.url,), None, str(model_dir), 2048, str(default_model()), 256).write(data_dir)
    (data_dir / "adapters").mkdir()
    made = Scene(TrainingContext.open(store, data_dir, SETTINGS), vllm, tokenizer)
    made.try_untrained(False)
    vllm.answer = right_with_adapter(made)
    vllm.greedy = served_greedily(model_dir, vllm)
    return made
