"""The store's answers to what a dataset would hold now: approved examples and their splits, and the teacher's answers.

In: an assistant in the store. Out: an Intake; nothing is recorded. Place in the flow: `selection` and `splits` applied,
before `run` freezes the dataset and for `watch`, which counts what is new. Does not know prompts or token counts, so
answers that outgrow the model's context are still among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from store import Store
from store.garbage import without_collecting
from store.records import Example, RatedAnswer, Split
from trainer.examples.dataset import key_of, make_examples
from trainer.examples.following import approval_of_teacher, worth_following
from trainer.examples.quarantine import Suspicion, suspicions
from trainer.examples.raters import heard, muted
from trainer.examples.selection import Approved, Drop, judge, select
from trainer.examples.splits import assign
from trainer.settings import TrainerSettings


@dataclass(frozen=True)
class Intake:
    """Approved answers, message id -> rule for the others, and the split of each conversation with an approved one.

    `followed` are the teacher's unrated answers that are worth following, and `teacher_approval` why: the share of its
    rated ones that people approved of, None while too few are rated. `older` answers are rated, but not looked at:
    only the newest are (`TrainerSettings.newest_answers`), and they are too many to be named in `dropped`. Raters in
    `quarantined` push something, it says what; none of their ratings is among all this.
    """

    prompt_id: int
    approved: list[Approved]
    dropped: dict[str, Drop]
    splits: dict[str, Split]
    distillation_examples: list[Example]
    teacher_approval: float | None
    older: int = 0
    quarantined: dict[str, Suspicion] = field(default_factory=dict)

    @property
    def rules(self) -> dict[str, int]:
        """Rule -> how many answers it dropped."""
        older = {Drop.OLDER.value: self.older} if self.older else {}
        return {**Counter(rule.value for rule in self.dropped.values()), **older}

    def examples(self) -> tuple[Example, ...]:
        return make_examples(self.approved, self.splits, self.prompt_id) + tuple(self.distillation_examples)


@without_collecting()
def take_in(store: Store, assistant_id: str, settings: TrainerSettings) -> Intake:
    """Raises NotFound for an assistant without a prompt."""
    prompt_id = store.prompts.latest(assistant_id).id
    bound, without = settings.newest_answers, settings.without_raters
    newest = store.answers.rated(assistant_id, bound, without)
    rated = sum(bool(answer.ratings) for answer in newest)  # the others were reviewed, not rated
    older = store.answers.rated_count(assistant_id, without) - rated if rated >= bound else 0
    answers = heard(newest, without)
    quarantined = _quarantined(answers, settings)
    answers, gone = muted(answers, quarantined)
    approved, dropped = select(answers, settings.max_answer_characters, settings.rater_share)
    dropped |= dict.fromkeys(gone, Drop.QUARANTINED)
    questions = {item.answer.conversation_id: item.answer.context[0][1] for item in approved}
    approval = approval_of_teacher(answers, prompt_id)
    distillation_examples: list[Example] = []
    if settings.distillation > 0 and approval is not None and approval >= settings.teacher_approval:
        unrated = store.answers.unrated_of_teacher(prompt_id, settings.teacher_answers)
        known = {key_of(item.answer.context) for item in approved}
        distillation_examples = worth_following(
            unrated, known, _recorded(unrated), settings.max_answer_characters
        )
    splits = assign(questions, _recorded(answers))
    return Intake(prompt_id, approved, dropped, splits, distillation_examples, approval, older, quarantined)


def _quarantined(answers: Sequence[RatedAnswer], settings: TrainerSettings) -> dict[str, Suspicion]:
    if not settings.quarantine:
        return {}
    judged = (judge(answer) for answer in answers)
    return suspicions([one for one in judged if isinstance(one, Approved)], settings.trusted_raters)


def _recorded(answers: Sequence[RatedAnswer]) -> dict[str, Split]:
    """Where their conversations were put earlier, as far as they were."""
    return {answer.conversation_id: answer.split for answer in answers if answer.split is not None}
