"""Deduplicate: group near-duplicate questions, split by these groups, keep gate questions out of training, and cap.

An example to train or stop on that asks what a gate question asks is dropped. Of a group at most `similar_cap` examples
train, of all at most `max_train`; corrected ones stay before others, newer before older. Unrated answers of the teacher
fill what is left of a group.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from store.records import Example, Split
from trainer.examples.records import CollectedAnswer, DropReason
from trainer.examples.similar import Groups, grouped, question_of
from trainer.examples.splits import assign_splits
from trainer.examples.wording import Wording, wording


@dataclass(frozen=True)
class Deduplicated:
    """`answers` stay; `dropped` and `duplicates_of` (the messages that stay instead) are by message id."""

    answers: tuple[CollectedAnswer, ...]
    groups: Groups
    splits: dict[str, Split]  # conversation id -> split, also of those that are dropped
    dropped: dict[str, DropReason]
    duplicates_of: dict[str, tuple[str, ...]]

    def examples(self, prompt_id: int) -> tuple[Example, ...]:
        """Approved ones first, ordered by what they say: the same ratings train the same adapter whatever their ids.

        `prompt_id` is the prompt under which an answer is the teacher's.
        """
        made = [
            Example(
                one.message_id,
                one.conversation_id,
                one.context,
                one.completion,
                one.corrected,
                self.splits[one.conversation_id],
                one.rater,
                one.approved,
                from_teacher=one.teacher_prompt_id == prompt_id,
            )
            for one in self.answers
        ]
        return tuple(sorted(made, key=lambda e: (not e.approved, e.context, e.completion, e.message_id)))


def deduplicate(answers: Sequence[CollectedAnswer], similar_cap: int, max_train: int) -> Deduplicated:
    """`similar_cap` and `max_train` are numbers of examples, 0 for any number."""
    asked = {one.message_id: question_of(one.context) for one in answers}
    groups = grouped([*asked.values(), *(wording(one.first_question) for one in answers)])
    firsts = {one.conversation_id: one.first_question for one in answers}
    settled = {one.conversation_id: one.split for one in answers if one.split is not None}
    splits = assign_splits(firsts, settled, groups)
    split = {one.message_id: splits[one.conversation_id] for one in answers}
    in_gate: dict[Wording, list[str]] = defaultdict(list)
    for one in answers:
        if one.approved and split[one.message_id] is Split.GATE:
            in_gate[asked[one.message_id]].append(one.message_id)

    def gate_duplicates(one: CollectedAnswer) -> tuple[str, ...]:
        near = groups.near[asked[one.message_id]]
        return tuple(sorted(id for question in near for id in in_gate.get(question, ())))

    def group(one: CollectedAnswer) -> Wording:
        return groups.representative[asked[one.message_id]]

    dropped: dict[str, DropReason] = {}
    duplicates_of: dict[str, tuple[str, ...]] = {}
    capped: dict[Wording, list[str]] = defaultdict(list)
    training: Counter[Wording] = Counter()
    for one in sorted((one for one in answers if one.approved), key=_better_first):
        where, same = split[one.message_id], capped[group(one)]
        if where is not Split.GATE and gate_duplicates(one):
            dropped[one.message_id] = DropReason.NEAR_GATE
            duplicates_of[one.message_id] = gate_duplicates(one)
        elif where is Split.TRAIN and 0 < similar_cap <= len(same):
            dropped[one.message_id] = DropReason.SIMILAR
            duplicates_of[one.message_id] = tuple(same)
        elif where is Split.TRAIN:
            same.append(one.message_id)
            if 0 < max_train <= training.total():
                dropped[one.message_id] = DropReason.OVER_MAX
            else:
                training[group(one)] += 1
    staying = [one for one in answers if one.approved and one.message_id not in dropped]
    # The teacher's unrated answers: one for each question that nobody answered better.
    known = {one.context for one in answers if one.approved}
    unrated = {one.context: one for one in answers if not one.approved and one.context not in known}
    for _, one in sorted(unrated.items()):
        full = 0 < similar_cap <= training[group(one)]
        if split[one.message_id] is Split.TRAIN and not full and not gate_duplicates(one):
            staying.append(one)
            training[group(one)] += 1
    return Deduplicated(tuple(staying), groups, splits, dropped, duplicates_of)


def _better_first(one: CollectedAnswer) -> tuple[object, ...]:
    # Of equals what is said decides, so that other ids train the same adapter.
    return not one.corrected, -one.judged_at, one.context, one.completion, one.message_id
