"""The variants that the ablation trains: what each changes against the defaults, and the question behind it. Pure.

In: nothing; or the examples and rated answers of a task. Out: variants by name, and the examples that one trains on.
Does not train or measure.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from store.records import Example, RatedAnswer, Split


@dataclass(frozen=True)
class Variant:
    """`changes` are trainer settings; of the approved training examples a run sees `share`.

    `low_rated` adds every answer that was rated down, as it was given, as if somebody had approved of it. `whole`
    trains every weight of the model instead of an adapter.
    """

    question: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    low_rated: bool = False
    whole: bool = False


VARIANTS: dict[str, Variant] = {
    "defaults": Variant("What everything else is compared with."),
    "low-rated answers too": Variant("Does the quality of examples matter?", low_rated=True),
    "cross-entropy alone": Variant("What does following the teacher bring?", {"distillation": 0.0}),
    "longer rungs too": Variant("Should longer rungs be practised?", {"longer_rungs": 0.6}),
    "some longer rungs": Variant("Are fewer of them enough?", {"longer_rungs": 0.3}),
    "15 epochs to the end": Variant("Is the training long enough?", {"epochs": 15, "patience": 15}),
    "worked examples": Variant("Can the prompt's examples be learned?", {"worked_examples": True}),
    "reading": Variant("Can the prompt's words be learned?", {"reading": 0.25}),
    "no noise": Variant("What does NEFTune bring?", {"embedding_noise": 0.0}),
    "rank 8": Variant("How large must the adapter be?", {"rank": 8}),
    "rank 4": Variant("How large must the adapter be?", {"rank": 4}),
    "rank 32": Variant("How large must the adapter be?", {"rank": 32}),
    "all weights, 1e-4": Variant("Is an adapter enough?", {"learning_rates": (1e-4,)}, whole=True),
    "all weights, 3e-5": Variant("Is an adapter enough?", {"learning_rates": (3e-5,)}, whole=True),
    "learning rate 5e-4": Variant("Is the learning rate right?", {"learning_rates": (5e-4,)}),
    "learning rate 2e-3": Variant("Is the learning rate right?", {"learning_rates": (2e-3,)}),
    "upper half of the layers": Variant("Can the lower layers be frozen?", {"frozen_layers": 15}),
    "dropout 0.05": Variant("Does dropout help?", {"dropout": 0.05}),
    "preferences (DPO)": Variant("Is there more to learn from what was corrected?", {"preference": 1.0}),
    "a sixteenth of the examples": Variant("How much do examples bring?", share=0.0625),
    "an eighth of the examples": Variant("How much do examples bring?", share=0.125),
    "a quarter of the examples": Variant("How much do examples bring?", share=0.25),
    "half of the examples": Variant("How much do examples bring?", share=0.5),
}


def examples_of(
    variant: Variant, examples: Sequence[Example], answers: Sequence[RatedAnswer], seed: int
) -> list[Example]:
    """What the variant trains on and stops on; `examples` and `answers` are those of the whole task."""
    train = [example for example in examples if example.split is Split.TRAIN]
    kept = sorted(random.Random(seed).sample(range(len(train)), round(variant.share * len(train))))
    chosen = [train[number] for number in kept]
    if variant.low_rated:
        chosen += _low_rated(answers, train)
    return chosen + [example for example in examples if example.split is Split.DEV]


def _low_rated(answers: Sequence[RatedAnswer], train: Sequence[Example]) -> list[Example]:
    """The answers as given to the questions of the training split that were corrected."""
    corrected = {example.message_id: example for example in train if example.corrected}
    return [
        replace(
            corrected[answer.message_id],
            message_id=f"{answer.message_id}-as-given",
            completion=answer.answer.strip(),
            corrected=False,
            taught=False,
            rejected=None,
        )
        for answer in answers
        if answer.message_id in corrected and answer.answer.strip()
    ]
