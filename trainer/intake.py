"""The store's answers to what a dataset would hold now: approved examples and their splits, and the teacher's answers.

In: an assistant in the store. Out: an Intake; nothing is recorded. Place in the flow: `selection` and `splits` applied,
before `run` freezes the dataset and for `watch`, which counts what is new. Does not know prompts or token counts, so
answers that outgrow the model's context are still among them.
"""

from __future__ import annotations

from dataclasses import dataclass

from store import Store
from store.records import Example, Split
from trainer.dataset import key_of, make_examples
from trainer.following import approval_of_teacher, worth_following
from trainer.raters import heard
from trainer.selection import Approved, Drop, select
from trainer.settings import TrainerSettings
from trainer.splits import assign


@dataclass(frozen=True)
class Intake:
    """Approved answers, message id -> rule for the others, and the split of each conversation with an approved one.

    `followed` are the teacher's unrated answers that are worth following, and `teacher_approval` why: the share of its
    rated ones that people approved of, None while too few are rated.
    """

    prompt_id: int
    approved: list[Approved]
    dropped: dict[str, Drop]
    splits: dict[str, Split]
    followed: list[Example]
    teacher_approval: float | None

    def examples(self) -> tuple[Example, ...]:
        return make_examples(self.approved, self.splits, self.prompt_id) + tuple(self.followed)


def take_in(store: Store, assistant_id: str, settings: TrainerSettings) -> Intake:
    """Raises NotFound for an assistant without a prompt."""
    prompt_id = store.latest_prompt(assistant_id).id
    answers = heard(store.rated_answers(assistant_id), settings.without_raters)
    approved, dropped = select(answers, settings.max_answer_characters, settings.rater_share)
    questions = {item.answer.conversation_id: item.answer.context[0][1] for item in approved}
    recorded = store.splits(assistant_id)
    approval = approval_of_teacher(answers, prompt_id)
    followed: list[Example] = []
    if settings.distillation > 0 and approval is not None and approval >= settings.teacher_approval:
        followed = worth_following(
            store.unrated_answers_of_teacher(prompt_id, settings.teacher_answers),
            {key_of(item.answer.context) for item in approved},
            recorded,
            settings.max_answer_characters,
        )
    return Intake(prompt_id, approved, dropped, assign(questions, recorded), followed, approval)
