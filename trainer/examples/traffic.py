"""Chooses what to learn from questions that nobody rated, and which of them the gate asks.

Learned are the answers of a larger model where the team names one, and answers of which the model was as sure as of
answers that people approve.

Of 1,000 unrated Banking77 questions an adapter with demonstrations was right in 83, 75 and 66 % of its surest quarter,
half and three quarters. Trained on the surer half beside 225 approved answers, an adapter without any prompt was right
in 0.59 of the test questions; on the approved answers alone, in 0.28 to 0.32. It is self-training with a threshold on
confidence, as in Xie et al. 2020, arXiv:1911.04252.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType

from assistant.approved import ApprovedAnswers
from assistant.listed import listed_answers, with_listed
from assistant.retrieval import Embeds
from store.demonstrations import Demonstration
from store.records import RatedAnswer, Segment, Split
from trainer.examples.deduplicate import position_of
from trainer.examples.selection import CollectedAnswer, judge
from trainer.examples.similar import is_understood_alone

APPROVED_SHARE = 0.7  # of the rated answers that were as sure: what makes unrated ones worth learning
ENOUGH_RATED = 10  # before their share says anything
PER_APPROVED = 3  # unrated examples for each approved one, at most


def confident_answers(rated: Sequence[RatedAnswer], unrated: Sequence[RatedAnswer]) -> dict[str, float]:
    """The unrated answers that were sure enough, by what people say of the same deployment's: id to log-probability."""
    least = _thresholds(rated)
    return {
        one.message_id: one.mean_ln_p
        for one in unrated
        if one.mean_ln_p is not None and one.mean_ln_p >= least.get(one.deployment_id, math.inf)
    }


def questions_to_learn(
    answers: Sequence[CollectedAnswer], splits: Mapping[str, Split]
) -> list[CollectedAnswer]:
    """Unrated ones to train on, as many as may be learned, in an order that says nothing of them."""
    train = [one for one in answers if splits[one.conversation_id] is Split.TRAIN]
    unrated = sorted((one for one in train if not one.approved), key=lambda one: position_of(one.message_id))
    return unrated[: PER_APPROVED * sum(one.approved for one in train)]


def choose_traffic(
    answers: Sequence[CollectedAnswer],
    splits: Mapping[str, Split],
    sure: Mapping[str, float],
    embedder: Embeds | None,
    asks_gate: bool,
    taught: Mapping[str, str] = MappingProxyType({}),
    segments: Sequence[Segment] = (),
) -> list[CollectedAnswer]:
    """The approved answers, and the unrated ones that are learned or that the gate asks (`asks_gate`).

    Learned are those of `taught` with a larger model's answer, those of `sure` with what was answered, surest first,
    then those with the answer to questions that are very like theirs, approved or listed by the prompt's `segments`;
    none of these without an embedder.
    """
    approved = [one for one in answers if one.approved]
    unrated = {
        split: [o for o in answers if not o.approved and splits[o.conversation_id] is split]
        for split in Split
    }
    trained = [one for one in approved if splits[one.conversation_id] is Split.TRAIN]
    untaught = [one for one in unrated[Split.TRAIN] if one.message_id not in taught]
    known = [one for one in untaught if one.message_id in sure]
    learned = [
        replace(one, completion=taught[one.message_id])
        for one in unrated[Split.TRAIN]
        if one.message_id in taught
    ]
    learned += sorted(known, key=lambda one: (-sure[one.message_id], one.message_id))
    if embedder is not None:
        unsure = [one for one in untaught if one.message_id not in sure]
        learned += _copied(unsure, trained, embedder, segments)
    return [*approved, *learned[: PER_APPROVED * len(trained)], *(unrated[Split.GATE] if asks_gate else ())]


def _copied(
    unrated: Sequence[CollectedAnswer],
    approved: Sequence[CollectedAnswer],
    embedder: Embeds,
    segments: Sequence[Segment],
) -> list[CollectedAnswer]:
    """Unrated questions with the answer that suits most, the most like its own questions first.

    The likeness that is enough is found on the approved answers themselves: of the questions that are as much like
    others with one answer, enough have that answer. (Label propagation, Zhu and Ghahramani 2002.) Of 450 unrated
    Banking77 questions 180 to 280 get an answer by 86 approved ones, and two thirds of these are right.
    """
    approved = [one for one in approved if is_understood_alone(one.context)]
    unrated = [one for one in unrated if is_understood_alone(one.context)]
    if len(approved) <= ENOUGH_RATED or not unrated:
        return []
    items = [Demonstration(one.message_id, one.context[-1][1], one.completion) for one in approved]
    known = repeated_answers(embedder, items, segments)
    if known is None:
        return []
    vectors = embedder.embed([one.context[-1][1] for one in unrated])
    enough = confidence_threshold(known.agreement(vectors))
    if math.isinf(enough):
        return []
    found = zip(known.pseudo_labels(vectors), unrated, strict=True)
    alike = [(answer, one) for answer, one in found if answer and answer.value >= enough]
    alike.sort(key=lambda each: (-each[0].value, each[1].message_id))
    return [replace(one, completion=answer.demonstration.answer) for answer, one in alike]


def repeated_answers(
    embedder: Embeds, approved: Sequence[Demonstration], segments: Sequence[Segment], least: int = 1
) -> ApprovedAnswers | None:
    """The approved answers without placeholders, and those that the prompt's `segments` list; None where fewer than
    `least` repeat another one, as where answers are sentences, and none are listed.
    """
    known = [one for one in approved if not one.has_placeholder]
    answers = {one.answer for one in known}
    if len(known) - len(answers) < least and not listed_answers(segments, answers):
        return None
    alone = ApprovedAnswers.of(known, embedder.embed([one.question for one in known]))
    return with_listed(alone, segments, embedder.embed)


def _thresholds(rated: Iterable[RatedAnswer]) -> Mapping[int | None, float]:
    """For each deployment the mean log-probability from which on its answers are learned unrated."""
    judged: dict[int | None, list[tuple[float, bool]]] = defaultdict(list)
    for answer in rated:
        if answer.mean_ln_p is not None and answer.ratings and not answer.with_tools:
            found = judge(answer)
            approved = isinstance(found, CollectedAnswer) and not found.corrected
            judged[answer.deployment_id].append((answer.mean_ln_p, approved))
    return {deployment: confidence_threshold(pairs) for deployment, pairs in judged.items()}


def confidence_threshold(judged: Iterable[tuple[float, bool]]) -> float:
    """The lowest value (a log-probability, a likeness) such that of the answers with at least that enough are known,
    and enough of these right; infinite where there is none.
    """
    found, count, approved = math.inf, 0, 0
    for ln_p, same in groupby(sorted(judged, reverse=True), key=itemgetter(0)):
        verdicts = [is_approved for _, is_approved in same]
        count, approved = count + len(verdicts), approved + sum(verdicts)
        if count >= ENOUGH_RATED and approved >= APPROVED_SHARE * count:
            found = ln_p
    return found
