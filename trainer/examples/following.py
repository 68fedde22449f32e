"""The teacher's answers to those that are worth following: pure.

In: rated answers, the teacher's answers that nobody rated, splits. Out: examples without an approval, to train on.
Place in the flow: beside `selection`. The teacher is the base model with the full prompt. On its unrated answers it is
followed only when people approve of most of what they did rate: on tasks that are beyond the base model, its answers
teach its mistakes. Does not know what the teacher thinks (`teacher`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from store.records import Example, RatedAnswer, Split
from trainer.examples.dataset import in_order, key_of
from trainer.examples.selection import Approved, Drop, judge
from trainer.examples.splits import split_of

ENOUGH_RATED = 10  # rated answers of the teacher before their share says anything


def approval_of_teacher(answers: Sequence[RatedAnswer], prompt_id: int) -> float | None:
    """Share of the teacher's rated answers that were approved as they are; None while too few are rated."""
    judged = [judge(answer) for answer in answers if answer.teacher_prompt_id == prompt_id]
    rated = [found for found in judged if found is not Drop.UNRATED]
    if len(rated) < ENOUGH_RATED:
        return None
    return sum(isinstance(found, Approved) and not found.corrected for found in rated) / len(rated)


def worth_following(
    unrated: Sequence[RatedAnswer],
    known: Collection[str],
    splits: Mapping[str, Split],
    max_characters: int,
) -> list[Example]:
    """Unrated answers of the teacher as examples to train on, ordered by question.

    `known` are the keys of approved questions, which teach better. Questions that belong to dev or gate stay out.
    """
    examples = {}
    for answer in unrated:
        question, key = answer.context[0][1], key_of(answer.context)
        split = splits.get(answer.conversation_id) or split_of(question)
        text = answer.answer.strip()
        if split is Split.TRAIN and text and len(text) <= max_characters and key not in known:
            examples[key] = Example(
                answer.message_id,
                answer.conversation_id,
                answer.context,
                text,
                corrected=False,
                split=split,
                approved=False,
                from_teacher=True,
            )
    return sorted(examples.values(), key=in_order)
