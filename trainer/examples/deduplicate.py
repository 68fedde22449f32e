"""Deduplicate: group near-duplicate questions, split by these groups, keep gate questions out of training, and cap.

An example to train or stop on that asks what a gate question asks is dropped. Of a group at most `similar_cap` examples
train, of all at most `max_train`; corrected ones stay before others, newer before older. Unrated answers of the teacher
fill what is left of a group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from store.records import Example, Split
from trainer.examples.records import CollectedAnswer, DropReason
from trainer.examples.similar import Groups, Question, grouped, question_of, question_of_text
from trainer.examples.splits import assign_splits


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
        made = [_example(one, self.splits[one.conversation_id], prompt_id) for one in self.answers]
        return tuple(sorted(made, key=lambda e: (not e.approved, e.context, e.completion, e.message_id)))


def deduplicate(answers: Sequence[CollectedAnswer], similar_cap: int, max_train: int) -> Deduplicated:
    """`similar_cap` and `max_train` are numbers of examples, 0 for any number."""
    return _Deduplication(answers, similar_cap, max_train).run()


class _Deduplication:
    def __init__(self, answers: Sequence[CollectedAnswer], similar_cap: int, max_train: int):
        self._answers = answers
        self._similar_cap = similar_cap
        self._max_train = max_train
        self._dropped: dict[str, DropReason] = {}
        self._duplicates_of: dict[str, tuple[str, ...]] = {}

    def run(self) -> Deduplicated:
        self._drop_near_gate()
        training = self._cap_groups()
        over = training[self._max_train :] if self._max_train else []
        self._dropped |= {one.message_id: DropReason.OVER_MAX for one in over}
        staying = [one for one in self._answers if one.approved and one.message_id not in self._dropped]
        staying += self._unrated(staying)
        return Deduplicated(tuple(staying), self._groups, self._splits, self._dropped, self._duplicates_of)

    @cached_property
    def _asked(self) -> dict[str, Question]:
        return {one.message_id: question_of(one.context) for one in self._answers}

    @cached_property
    def _groups(self) -> Groups:
        firsts = (question_of_text(one.first_question) for one in self._answers)
        return grouped([*self._asked.values(), *firsts])

    @cached_property
    def _splits(self) -> dict[str, Split]:
        firsts = {one.conversation_id: one.first_question for one in self._answers}
        settled = {one.conversation_id: one.split for one in self._answers if one.split is not None}
        return assign_splits(firsts, settled, self._groups)

    @cached_property
    def _in_gate(self) -> dict[Question, list[str]]:
        """The gate's questions and the messages that answer them."""
        found: dict[Question, list[str]] = defaultdict(list)
        for one in self._answers:
            if one.approved and self._splits[one.conversation_id] is Split.GATE:
                found[self._asked[one.message_id]].append(one.message_id)
        return found

    def _gate_duplicates(self, answer: CollectedAnswer) -> list[str]:
        near = self._groups.near[self._asked[answer.message_id]]
        return sorted(id for other in near for id in self._in_gate.get(other, ()))

    def _drop_near_gate(self) -> None:
        for one in self._answers:
            if one.approved and self._splits[one.conversation_id] is not Split.GATE:
                self._drop(one, DropReason.NEAR_GATE, self._gate_duplicates(one))

    def _cap_groups(self) -> list[CollectedAnswer]:
        """What trains, best first."""
        candidates = [
            one
            for one in self._answers
            if one.approved
            and self._splits[one.conversation_id] is Split.TRAIN
            and one.message_id not in self._dropped
        ]
        training = []
        staying: dict[Question, list[str]] = defaultdict(list)
        for one in sorted(candidates, key=_better_first):
            same = staying[self._groups.representative[self._asked[one.message_id]]]
            if self._similar_cap and len(same) >= self._similar_cap:
                self._drop(one, DropReason.SIMILAR, same)
            else:
                same.append(one.message_id)
                training.append(one)
        return training

    def _unrated(self, approved: Sequence[CollectedAnswer]) -> list[CollectedAnswer]:
        """The teacher's unrated answers that may be trained on: one for each question that nobody answered better."""
        known = {one.context for one in self._answers if one.approved}
        by_context = {one.context: one for one in self._answers if not one.approved}
        size: dict[Question, int] = defaultdict(int)
        for one in approved:
            if self._splits[one.conversation_id] is Split.TRAIN:
                size[self._groups.representative[self._asked[one.message_id]]] += 1
        found = []
        for context in sorted(by_context.keys() - known):
            one = by_context[context]
            group = self._groups.representative[self._asked[one.message_id]]
            full = 0 < self._similar_cap <= size[group]
            if (
                self._splits[one.conversation_id] is Split.TRAIN
                and not full
                and not self._gate_duplicates(one)
            ):
                found.append(one)
                size[group] += 1
        return found

    def _drop(self, answer: CollectedAnswer, reason: DropReason, instead: Sequence[str]) -> None:
        if instead:
            self._dropped[answer.message_id] = reason
            self._duplicates_of[answer.message_id] = tuple(instead)


def _better_first(one: CollectedAnswer) -> tuple[object, ...]:
    # Of equals what is said decides, so that other ids train the same adapter.
    return not one.corrected, -one.judged_at, one.context, one.completion, one.message_id


def _example(one: CollectedAnswer, split: Split, prompt_id: int) -> Example:
    return Example(
        one.message_id,
        one.conversation_id,
        one.context,
        one.completion,
        one.corrected,
        split,
        one.rater,
        one.approved,
        from_teacher=one.teacher_prompt_id == prompt_id,
    )
