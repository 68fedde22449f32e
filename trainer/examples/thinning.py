"""An intake to what is left of it when nothing is trained on twice too often, nor what the gate asks.

In: approved examples with their splits, and settings. Out: the same Intake without some, each with its rule, and how
many topics there are. Pure. Place in the flow: the last step before a dataset is frozen, on the texts that are frozen.
Does not know how splits are chosen, nor what makes two questions near.

The rules, in their order: an example on the train or dev side that asks what a gate question asks is left out; of a
cluster at most `similar_cap` examples train; of all at most `max_train`, where the largest topics give up theirs first
(water-filling: every topic keeps up to the same number, so those below it keep all). Corrected ones stay before others,
newer before older. What the teacher said and nobody rated is followed where the gate does not ask it and a cluster has
room left.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from store.records import Split
from trainer.examples.intake import Intake
from trainer.examples.selection import Approved, Drop
from trainer.examples.similar import Question, grouped, question_of
from trainer.examples.topics import topics


@dataclass(frozen=True)
class Thinned:
    """`topics` are those of the training examples that are left, `largest_topic` the share of the largest, 0 to 1.

    `others` are for an example that was left out as near to others: the messages that ask the same and stayed.
    """

    intake: Intake
    topics: int
    largest_topic: float
    others: Mapping[str, tuple[str, ...]]


def thin(intake: Intake, similar_cap: int, max_train: int) -> Thinned:
    """`similar_cap` and `max_train` are numbers of examples, 0 for any number."""
    asked = {item.answer.message_id: question_of(item.answer.context) for item in intake.approved}
    distillation_examples = {
        example.message_id: question_of(example.context) for example in intake.distillation_examples
    }
    groups = grouped([*asked.values(), *distillation_examples.values()])
    side = {item.answer.message_id: intake.splits[item.answer.conversation_id] for item in intake.approved}
    proving: dict[Question, list[str]] = defaultdict(list)
    for id, question in asked.items():
        if side[id] is Split.GATE:
            proving[question].append(id)

    def proved(question: Question) -> list[str]:
        return [id for other in groups.near[question] for id in proving.get(other, ())]

    dropped: dict[str, Drop] = {}
    others: dict[str, tuple[str, ...]] = {}
    for id, question in asked.items():
        if side[id] is not Split.GATE and (near := proved(question)):
            dropped[id], others[id] = Drop.NEAR_GATE, tuple(sorted(near))
    training = sorted(
        (item for item in intake.approved if side[item.answer.message_id] is Split.TRAIN),
        key=_better_first,
    )
    training = [item for item in training if item.answer.message_id not in dropped]
    if similar_cap:
        segment_ids: dict[Question, list[str]] = defaultdict(list)
        for item in training:
            id = item.answer.message_id
            same = segment_ids[groups.representative[asked[id]]]
            if len(same) < similar_cap:
                same.append(id)
            else:
                dropped[id], others[id] = Drop.SIMILAR, tuple(same)
        training = [item for item in training if item.answer.message_id not in dropped]
    about = topics([asked[item.answer.message_id] for item in training])
    if max_train and len(training) > max_train:
        room = Counter(level(Counter(about), max_train))
        staying, left = [], []
        for item, topic in zip(training, about, strict=True):
            if room[topic] > 0:
                staying.append(topic)
            else:
                left.append(item.answer.message_id)
            room[topic] -= 1
        dropped |= dict.fromkeys(left, Drop.CROWDED)
        about = staying
    sizes = Counter(about)
    has = Counter(groups.representative[asked[item.answer.message_id]] for item in training)
    following = []
    for example in intake.distillation_examples:
        question = distillation_examples[example.message_id]
        first = groups.representative[question]
        if not proved(question) and not 0 < similar_cap <= has[first]:
            following.append(example)
            has[first] += 1
    return Thinned(
        replace(
            intake,
            approved=[item for item in intake.approved if item.answer.message_id not in dropped],
            dropped={**intake.dropped, **dropped},
            distillation_examples=following,
        ),
        len(sizes),
        max(sizes.values()) / len(about) if about else 0.0,
        others,
    )


def level(sizes: Mapping[int, int], total: int) -> dict[int, int]:
    """What each topic may keep so that `total` is used up and no topic gives up any while a larger one has more.

    Of equally large ones those with the lower numbers keep one more where it does not come out even.
    """
    keeps: dict[int, int] = {}
    left = total
    smallest_first = sorted(sizes, key=lambda topic: (sizes[topic], -topic))
    for place, topic in enumerate(smallest_first):
        keeps[topic] = min(sizes[topic], left // (len(smallest_first) - place))
        left -= keeps[topic]
    return keeps


def left_out(
    thinned: Thinned, rules: Iterable[Drop] = (Drop.NEAR_GATE, Drop.SIMILAR, Drop.CROWDED)
) -> list[str]:
    """Message ids that these rules dropped."""
    wanted = set(rules)
    return sorted(id for id, rule in thinned.intake.dropped.items() if rule in wanted)


def _better_first(item: Approved) -> tuple[bool, float, Sequence[object]]:
    rated = max((rating.created_at for rating in item.answer.ratings), default=0.0)
    # Of equals what is said decides, so that other ids train the same adapter.
    return not item.corrected, -rated, (item.answer.context, item.completion, item.answer.message_id)
