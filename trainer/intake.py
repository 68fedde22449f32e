"""The store's rated answers to what a dataset would hold now: approved examples and their splits.

In: an assistant in the store. Out: an Intake; nothing is recorded. Place in the flow: `selection` and `splits` applied,
before `run` freezes the dataset and for `watch`, which counts what is new. Does not know prompts or token counts, so
answers that outgrow the model's context are still among them.
"""

from __future__ import annotations

from dataclasses import dataclass

from store import Store
from store.records import Example, Split
from trainer.dataset import make_examples
from trainer.selection import Approved, Drop, select
from trainer.settings import TrainerSettings
from trainer.splits import assign


@dataclass(frozen=True)
class Intake:
    """Approved answers, message id -> rule for the others, and the split of each conversation."""

    approved: list[Approved]
    dropped: dict[str, Drop]
    splits: dict[str, Split]

    def examples(self) -> tuple[Example, ...]:
        return make_examples(self.approved, self.splits)


def take_in(store: Store, assistant_id: str, settings: TrainerSettings) -> Intake:
    approved, dropped = select(store.rated_answers(assistant_id), settings.max_answer_characters)
    questions = {item.answer.conversation_id: item.answer.context[0][1] for item in approved}
    return Intake(approved, dropped, assign(questions, store.splits(assistant_id)))
