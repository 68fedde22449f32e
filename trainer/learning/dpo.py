"""Pairs of answers to an adapter that tells them apart: direct preference optimisation, by TRL.

In: a peft model, pairs of token ids. Out: the same model with its adapter trained further, and each step's loss. Place
in the flow: under `preferences`, and the only module that knows TRL; importing it takes 2 s. Does not know where pairs
come from, what a rung is, or whether the result is kept.

The loss of a pair is DPO's (Rafailov et al. 2023, arXiv:2305.18290) against the adapter as it came in, of which TRL
keeps a frozen copy meanwhile, plus cross-entropy on the chosen answer: DPO alone is content to make both answers
less likely, the rejected one more so (Pang et al. 2024, arXiv:2404.19733).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from trainer.learning.pairs import Pair
from trainer.learning.precision import Precision
from trainer.settings import TrainerSettings

_BETA = 0.1  # how far the adapter may move from the one it came as; the paper's and TRL's default
_EPOCHS = 1
_REFERENCE = "ref"  # TRL's name for its frozen copy of the adapter


def learn_pairs(
    model: PeftModel,
    pairs: Sequence[Pair],
    settings: TrainerSettings,
    learning_rate: float,
    work_dir: Path,
    recompute: bool,
    told: Callable[[dict[str, Any]], None],
    precision: Precision = Precision.SINGLE,
) -> bool:
    """Train the active adapter on the pairs, in place; False when it ended at a loss that is no number.

    `told` receives {step, steps, loss, margin} of each step; `margin` is how many nats the chosen answers gained on
    the rejected ones. Every process that trains has to call it. Nothing but the adapter's weights differs afterwards.
    """
    watch = _Watch(told)
    trainer = _PairTrainer(
        model=model,
        args=_arguments(settings, learning_rate, work_dir, recompute, precision),
        train_dataset=Dataset.from_list([_columns(pair) for pair in pairs]),
        data_collator=DataCollatorForPreference(pad_token_id=0),  # no maximum length: nothing is cut
        processing_class=_no_tokenizer(),
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train()
    finally:
        model.delete_adapter(_REFERENCE)
        del model.get_base_model().forward  # TRL's, which also computes the loss; the class's own is below it
    return not watch.diverged


def _arguments(
    settings: TrainerSettings, learning_rate: float, work_dir: Path, recompute: bool, precision: Precision
) -> DPOConfig:
    cuda = torch.cuda.is_available()
    arguments = DPOConfig(
        output_dir=str(work_dir),
        loss_type=["sigmoid", "sft"],
        loss_weights=[settings.preference, 1.0],
        beta=_BETA,
        max_length=None,
        # A pair at a time: no padding but between its answers, and memory for two sequences however long they are.
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.examples_per_step,
        num_train_epochs=_EPOCHS,
        learning_rate=learning_rate,
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
        bf16=precision is Precision.HALF,
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        gradient_checkpointing=recompute,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        ddp_find_unused_parameters=False,
        log_level="error",
    )
    if arguments.n_gpu > 1:  # TRL refuses to take several into one process, and `finetune` uses one as well
        arguments._n_gpu = 1
    return arguments


def _columns(pair: Pair) -> dict[str, list[int]]:
    """The names that TRL has for what it would make of texts."""
    return {
        "prompt_ids": list(pair.request),
        "chosen_ids": list(pair.chosen),
        "rejected_ids": list(pair.rejected),
    }


def _no_tokenizer() -> PreTrainedTokenizerFast:
    """TRL asks for a tokenizer; of this one it can have the padding token, whose positions are masked, and no other."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"[PAD]": 0})), pad_token="[PAD]"
    )


class _PairTrainer(DPOTrainer):  # type: ignore[misc]
    """TRL's trainer on token ids as they are served, which tells nobody that it was used."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset  # TRL would render and tokenise texts here

    def _send_telemetry(self) -> None:
        pass


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Reports each step, and stops at a loss that is no number."""

    def __init__(self, told: Callable[[dict[str, Any]], None]):
        self._told = told
        self.diverged = False

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" not in (logs or {}):
            return
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs.get("grad_norm") or 0.0)):
            self.diverged = control.should_training_stop = True
        margin = logs["rewards/margins"] / _BETA
        self._told(
            {"step": state.global_step, "steps": state.max_steps, "loss": logs["loss"], "margin": margin}
        )
