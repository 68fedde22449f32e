"""One way of training, in a process of its own (`benchmarks.peer_rows.training` runs it).

The last line that it prints is what it measured, as JSON.
"""

import json
import random
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, TrainerCallback, get_cosine_schedule_with_warmup, set_seed

from assistant.assistants import SAMPLE_ID, load_sample
from assistant.embedding import Embedder
from assistant.retrieval import DEMONSTRATIONS
from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import Split
from trainer.examples.dataset import draft
from trainer.examples.demonstrations import nearest_train_examples
from trainer.settings import TrainerSettings
from trainer.training.finetune import TrainingJob, finetune
from trainer.training.lora import learning_rate, load_with_lora, mean_loss, to_tensors
from trainer.training.rows import IGNORE, PackedRow, dev_rows, row_of, train_rows

_MOST_EPOCHS = 4  # without reaching the target
_LOOKS = 4  # at the dev loss in an epoch


class Reached(Exception):
    """The dev loss is there, or too many epochs went by."""


class Clock:
    """Seconds of training without the looks at the dev loss, and what was computed meanwhile."""

    def __init__(self, target: float, steps: int):
        self._target, self._steps = target, steps
        self._every = max(1, steps // _LOOKS)
        self.seconds = self.cpu_s = self.tokens = self.step = 0.0
        self.dev_loss = float("inf")
        self.start()

    def start(self) -> None:
        self._since, self._cpu_since = time.monotonic(), time.process_time()

    def stepped(self, tokens: int) -> None:
        self.seconds += time.monotonic() - self._since
        self.cpu_s += time.process_time() - self._cpu_since
        self.start()
        self.step += 1
        self.tokens += tokens

    @property
    def is_due(self) -> bool:
        return self.step % self._every == 0

    def looked(self, dev_loss: float) -> None:
        """Raises Reached."""
        self.dev_loss = dev_loss
        self.start()
        print(f"{self.seconds:.1f} s, step {self.step:.0f}: {dev_loss:.4f}", flush=True)
        if dev_loss <= self._target or self.step >= _MOST_EPOCHS * self._steps:
            raise Reached

    def record(self) -> dict[str, float]:
        return {
            "seconds": self.seconds,
            "CPU seconds": self.cpu_s,  # what other work on the machine changes least
            "epochs": self.step / self._steps,
            "dev loss": self.dev_loss,
            "seconds an epoch": self.seconds * self._steps / self.step,
            "tokens computed a CPU second": self.tokens / self.cpu_s,
        }


class Run:
    """The frozen examples of the sample, and a way to train on them."""

    def __init__(self, model_dir: Path, folder: Path, target: float, seed: int):
        self.model_dir, self.folder, self.target = model_dir, folder, target
        self.settings = TrainerSettings(seed=seed)
        self.tokenizer = ChatTokenizer.load(model_dir)
        with Store(folder / "shorthand.sqlite") as store:
            load_sample(store, self.tokenizer)
            examples = draft(store, SAMPLE_ID, self.settings, embedder=Embedder()).examples
        self.shown = nearest_train_examples(Embedder(), examples, DEMONSTRATIONS)
        self.train, self.dev = ([e for e in examples if e.split is s] for s in (Split.TRAIN, Split.DEV))
        self.dev_rows = dev_rows(self.tokenizer, (), self.dev)

    def ours(self, with_demonstrations: bool) -> Clock:
        """The product's own training, with a dev loss four times an epoch; its noise and schedule are its own."""
        shown = self.shown if with_demonstrations else {}
        rows, ends = train_rows(self.tokenizer, (), self.train, self.settings, shown)
        clock = Clock(self.target, ends[0])
        looks = range(ends[0] // _LOOKS, len(rows), ends[0] // _LOOKS)
        job = TrainingJob(self.model_dir, rows, [*looks], self.dev_rows, self.settings, self.folder / "run")
        tokens = iter([len(row.ids) for row in rows])

        def progress(note: dict[str, Any]) -> None:
            if "dev_loss" in note:
                clock.looked(note["dev_loss"])
            else:
                clock.stepped(next(tokens))

        with suppress(Reached):
            finetune(job, progress)
        return clock

    def padded_loop(self) -> Clock:
        """What one writes first: batches padded to their longest example, and the loss that the model computes."""
        set_seed(self.settings.seed)
        model = load_with_lora(self.model_dir, self.settings.rank)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, learning_rate(self.settings, model.config))
        size, items = self.settings.examples_per_step, self._tokens()
        steps = -(-len(items) // size)
        total = steps * self.settings.epochs
        schedule = get_cosine_schedule_with_warmup(optimizer, total // 20, total)
        clock = Clock(self.target, steps)
        shuffle = random.Random(self.settings.seed)
        try:
            while True:
                shuffle.shuffle(items)
                for start in range(0, len(items), size):
                    batch = _padded(items[start : start + size])
                    model(**batch).loss.backward()
                    torch.nn.utils.clip_grad_norm_(weights, 1.0)
                    optimizer.step()
                    schedule.step()
                    optimizer.zero_grad()
                    clock.stepped(batch["input_ids"].numel())
                    if clock.is_due:
                        clock.looked(self.dev_loss(model))
        except Reached:
            return clock

    def trl(self) -> Clock:
        """SFTTrainer on the same token ids; without a word its learning rate is 2e-5, which needs a hundred epochs."""
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        items, size = self._tokens(), self.settings.examples_per_step
        clock = Clock(self.target, -(-len(items) // size))
        run = self

        class Look(TrainerCallback):
            def on_train_begin(self, *_: Any, **__: Any) -> None:
                clock.start()

            def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
                clock.stepped(int(state.num_input_tokens_seen - clock.tokens))
                if clock.is_due:
                    clock.looked(run.dev_loss(model))

        model = load_with_lora(self.model_dir, self.settings.rank)
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=str(self.folder / "trl"),
                per_device_train_batch_size=size,
                learning_rate=learning_rate(self.settings, model.config),
                num_train_epochs=self.settings.epochs,
                include_num_input_tokens_seen="all",
                report_to="none",
                disable_tqdm=True,
                seed=self.settings.seed,
                use_cpu=True,
            ),
            train_dataset=Dataset.from_list([{"input_ids": ids, "labels": labels} for ids, labels in items]),
            callbacks=[Look()],
        )
        print(
            trainer.args.bf16, trainer.args.gradient_checkpointing, trainer.args.lr_scheduler_type, flush=True
        )
        with suppress(Reached):
            trainer.train()
        return clock

    def dev_loss(self, model: Any) -> float:
        """As the product measures it."""
        model.eval()
        with torch.no_grad():
            losses = [float(mean_loss(model, to_tensors(row))) for row in self.dev_rows]
        model.train()
        return sum(losses) / len(losses)

    def _tokens(self) -> list[tuple[list[int], list[int]]]:
        """Token ids and labels of each example, as it is served without a prompt."""
        return [_labelled(row_of(self.tokenizer, (), [example])) for example in self.train]


def _labelled(row: PackedRow) -> tuple[list[int], list[int]]:
    """A row has the token that follows as its target, a model shifts by itself: the last token is put back."""
    last = [target for target in row.targets if target != IGNORE][-1]
    return [*row.ids, last], [IGNORE, *row.targets]


def _padded(items: list[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(ids) for ids, _ in items)
    ids, labels, mask = (
        torch.tensor([[*values, *[fill] * (longest - len(values))] for values in columns])
        for columns, fill in (
            ([ids for ids, _ in items], 0),
            ([labels for _, labels in items], IGNORE),
            ([[1] * len(ids) for ids, _ in items], 0),
        )
    )
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def matrix_rate() -> float:
    """Multiplications and additions a second of a matrix product of the model's sizes, at its best of five."""
    left, right = torch.randn(1024, 576), torch.randn(576, 1536)
    best = float("inf")
    for _ in range(5):
        began = time.monotonic()
        for _ in range(20):
            left @ right
        best = min(best, time.monotonic() - began)
    return 20 * 2 * 1024 * 576 * 1536 / best


def main(way: str, model_dir: str, folder: str, target: str, seed: str) -> None:
    run = Run(Path(model_dir), Path(folder), float(target), int(seed))
    clock = {
        "Shorthand": lambda: run.ours(True),
        "Shorthand, no demonstrations": lambda: run.ours(False),
        "plain padded loop": run.padded_loop,
        "TRL SFTTrainer, defaults": run.trl,
    }[way]()
    weights = AutoModelForCausalLM.from_pretrained(model_dir).num_parameters()
    # Two for the way forward and two for the way back to the adapter; attention is not counted.
    computed = 4 * weights * clock.tokens / clock.seconds
    print(json.dumps(clock.record() | {"share of the matrix rate": computed / matrix_rate()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
