"""Deduplicate: group near-duplicate questions, split by these groups, keep gate questions out of training, and cap.

Each conversation is put into train, dev or gate, once and for ever: where one that asks nearly the same was put, else
where a hash of a first question says, for all that ask nearly the same. An example to train on that asks what a
gate question asks is dropped. Of a group at most `similar_cap` examples train; corrected ones stay before others, newer
before older. Unrated answers fill what is left, and unrated gate questions stay where nothing trained asks the same.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from store.records import Example, Split
from trainer.examples.selection import CollectedAnswer, DropReason
from trainer.examples.similar import QuestionGroups, grouped, question_of
from trainer.examples.wording import Wording, wording

# Until the gate has enough of them it gets a large share: its size decides how small a loss can be told from none.
DEV_SHARE, GATE_SHARE = 0.1, 0.4
# Then most are trained on; so it is from the start where the gate can ask what nobody rated instead.
SMALL_GATE_SHARE = 0.1
ENOUGH_IN_GATE = 60  # a candidate without a fault needs 59: 0.95 ** 59 < 5 %
# Of two that are equally near: the gate may only grow.
_ORDER = (Split.GATE, Split.DEV, Split.TRAIN)


@dataclass(frozen=True)
class Deduplicated:
    """`answers` stay; `dropped` and `duplicates_of` (the messages that stay instead) are by message id.

    `splits` are those of the conversations with an approved answer or one that stays, by conversation id.
    """

    answers: tuple[CollectedAnswer, ...]
    groups: QuestionGroups
    splits: dict[str, Split]
    dropped: dict[str, DropReason]
    duplicates_of: dict[str, tuple[str, ...]]

    def examples(self) -> tuple[Example, ...]:
        """Approved ones first, ordered by what they say: the same ratings train the same adapter whatever their ids."""
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
            )
            for one in self.answers
        ]
        return tuple(sorted(made, key=lambda e: (not e.approved, e.context, e.completion, e.message_id)))


def settle(
    answers: Sequence[CollectedAnswer], enough_in_gate: int = ENOUGH_IN_GATE
) -> tuple[QuestionGroups, dict[str, Split]]:
    """Group what asks nearly the same, and settle the split of each conversation; what is settled stays.

    Of new conversations with an approved answer as many go to the gate as make it `enough_in_gate`, between
    SMALL_GATE_SHARE and GATE_SHARE of them; of the others GATE_SHARE. Where questions that are near each other were
    settled in different splits, `deduplicate` keeps them out of training.
    """
    groups = grouped(q for one in answers for q in (question_of(one.context), wording(one.first_question)))
    conversations = {one.conversation_id: one for one in answers}
    approved = {one.conversation_id for one in answers if one.approved}
    counts = Counter(conversations[id].split for id in approved)
    missing = (enough_in_gate - counts[Split.GATE]) / max(1, counts[None])
    gate_share = min(GATE_SHARE, max(SMALL_GATE_SHARE, missing))
    placed: dict[Wording, set[Split]] = defaultdict(set)
    texts: dict[Wording, list[str]] = defaultdict(list)
    shares: dict[Wording, float] = {}
    for id, one in conversations.items():
        question = wording(one.first_question)
        first = groups.representative[question]
        texts[first].append(one.first_question)
        if id in approved:
            shares[first] = gate_share
        if one.split is not None:
            placed[question].add(one.split)

    def split(one: CollectedAnswer) -> Split:
        question = wording(one.first_question)
        first = groups.representative[question]
        for nearest in ([question], groups.near[question], groups.near[first]):
            if found := {split for near in nearest for split in placed.get(near, ())}:
                return min(found, key=_ORDER.index)
        return split_of(min(texts[first]), shares.get(first, GATE_SHARE))

    return groups, {id: one.split or split(one) for id, one in conversations.items()}


def deduplicate(
    answers: Sequence[CollectedAnswer], groups: QuestionGroups, splits: Mapping[str, Split], similar_cap: int
) -> Deduplicated:
    """`similar_cap` is a number of examples, 0 for any number."""
    asked = {one.message_id: question_of(one.context) for one in answers}
    approved = [one for one in answers if one.approved]
    in_gate: dict[Wording, list[str]] = defaultdict(list)
    for one in approved:
        if splits[one.conversation_id] is Split.GATE:
            in_gate[asked[one.message_id]].append(one.message_id)

    def gate_duplicates(one: CollectedAnswer) -> tuple[str, ...]:
        near = groups.near[asked[one.message_id]]
        return tuple(sorted(id for question in near for id in in_gate.get(question, ())))

    dropped: dict[str, DropReason] = {}
    duplicates_of: dict[str, tuple[str, ...]] = {}
    training: dict[Wording, list[str]] = defaultdict(list)  # what trains of each group
    for one in sorted(approved, key=_better_first):
        split, same = splits[one.conversation_id], training[groups.representative[asked[one.message_id]]]
        if split is not Split.GATE and (duplicates := gate_duplicates(one)):
            dropped[one.message_id] = DropReason.NEAR_GATE
            duplicates_of[one.message_id] = duplicates
        elif split is Split.TRAIN and 0 < similar_cap <= len(same):
            dropped[one.message_id] = DropReason.SIMILAR
            duplicates_of[one.message_id] = tuple(same)
        elif split is Split.TRAIN:
            same.append(one.message_id)
    staying = [one for one in approved if one.message_id not in dropped]
    # One unrated answer for each question that nobody answered better.
    known = {one.context for one in approved}
    latest = {one.context: one for one in answers if not one.approved and one.context not in known}
    unrated = [one for _, one in sorted(latest.items())]
    trained = {asked[one.message_id] for one in staying if splits[one.conversation_id] is not Split.GATE}
    for one in unrated:
        if splits[one.conversation_id] is Split.GATE and not trained & groups.near[asked[one.message_id]]:
            staying.append(one)
            in_gate[asked[one.message_id]].append(one.message_id)
    for one in unrated:
        same = training[groups.representative[asked[one.message_id]]]
        full = 0 < similar_cap <= len(same)
        if splits[one.conversation_id] is Split.TRAIN and not full and not gate_duplicates(one):
            staying.append(one)
            same.append(one.message_id)
    used = {one.conversation_id: splits[one.conversation_id] for one in (*approved, *staying)}
    return Deduplicated(tuple(staying), groups, used, dropped, duplicates_of)


def split_of(question: str, gate_share: float = GATE_SHARE) -> Split:
    """Where a question that was never seen goes; case, spaces and punctuation do not matter."""
    position = position_of(question)
    if position < gate_share:
        return Split.GATE
    return Split.DEV if position < gate_share + DEV_SHARE else Split.TRAIN


def position_of(question: str) -> float:
    """A number from 0 to below 1 that looks random and depends on the question's letters and digits alone."""
    key = " ".join(re.findall(r"\w+", question.casefold())) or question
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64


def _better_first(one: CollectedAnswer) -> tuple[object, ...]:
    # Of equals what is said decides, so that other ids train the same adapter.
    return not one.corrected, -one.judged_at, one.context, one.completion, one.message_id
