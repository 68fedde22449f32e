"""Builds the candidate that gives an approved answer again where a question is much like those that have it, and asks
the model nothing.

Where answers repeat, as labels do, that needs no training and no prompt: 113 approved answers of Banking77 bring 48 %
of the test questions right this way, 63 % with the answers that the prompt lists, and the full prompt of the embedded
model 5 %. From how much likeness on it is done is found on the train examples; whether it is no worse, the gate says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from statistics import mean, pstdev

import numpy as np

from assistant.approved import NO_VECTORS, ApprovedAnswers
from assistant.retrieval import Embeds
from store.demonstrations import Demonstration
from store.records import Deployment, RatedAnswer, Segment, Split, Variant
from trainer.candidate import Candidate, approved_now, in_split, measured_untrained
from trainer.context import Retrain, TrainingContext
from trainer.examples.demonstrations import demonstrations_of
from trainer.examples.selection import CollectedAnswer, judge
from trainer.examples.traffic import ENOUGH_RATED, repeated_answers

_LEAST_SHARE = 0.1  # of the questions that have to be answered this way, or it is not worth a test
# Of the questions: so many right answers fewer are taken for more that cost no tokens. Half of the gate's margin.
_GIVEN_UP = 0.025
_LOOKED_AT = 1000  # approved answers, the newest: 3 s; and as many questions that nobody rated
_UNKNOWN = 0.9  # of answers that nobody has rated so many are taken to be right
_LOWER = 0.05  # than the likeness that is served, or another one is not worth a test
_REMARK = (
    "Tested was to give an approved answer again, without asking the model, where a question is much like those that "
    "have it (likeness of at least {}; 1 is the same)."
)


def is_worth_copying(context: TrainingContext, assistant_id: str) -> bool:
    """Whether approved answers to like questions agree more often than the model that is served is right, for more
    questions than are answered so already.
    """
    active = context.store.deployments.active(assistant_id)
    if active is None:
        return False
    segments = context.store.prompts.get(active.prompt_id).segments
    known = approved_now(context, assistant_id)
    return bool(_to_test(context, active, _index(context.retriever.embedder, known, segments)))


def copying_candidate(retrain: Retrain) -> Candidate | str:
    """What is served now, which answers with approved answers where that is better; or why there is no such place."""
    store, assistant_id = retrain.store, retrain.run.assistant_id
    active = store.deployments.active(assistant_id)
    segments = store.prompts.get(retrain.dataset.prompt_id).segments
    if active is None or active.prompt_id != retrain.dataset.prompt_id:
        return "The prompt was edited meanwhile."
    known = demonstrations_of(in_split(retrain.dataset, Split.TRAIN))
    embedder = retrain.context.retriever.embedder
    index, asked = _index(embedder, known, segments), retrain.unrated[-_LOOKED_AT:]
    unrated = embedder.embed(asked) if index and asked else NO_VECTORS
    found = _to_test(retrain.context, active, index, unrated)
    if index is None or not found:
        return "Questions that are much alike have too seldom the same approved answer to give it again."
    sums = {answer: one.tobytes() for answer, one in index.sums_of_unrated(unrated).items()}
    store.datasets.set_unrated_sums(retrain.dataset.id, embedder.name, sums)
    full = Variant(tuple(segment.id for segment in segments))
    variants = [full, *(Variant(active.segment_ids, active.demonstrations, at) for at in found)]
    # By these the gate begins with the first likeness, and goes on to the next: dev says nothing of them.
    losses = [0.0, *map(float, range(len(found)))]
    remark = _REMARK.format(", then ".join(f"{at:.2f}" for at in found))
    if active.adapter is None:
        return Candidate(None, variants, losses, (), (), training={}, notices=(remark,))
    # Only for what the server must say as well.
    measured = measured_untrained(retrain, active.adapter, variants[:1])
    return replace(measured, variants=variants, dev_losses=losses, notices=(remark,))


def _index(
    embedder: Embeds, known: Sequence[Demonstration], segments: Sequence[Segment]
) -> ApprovedAnswers | None:
    return repeated_answers(embedder, known[-_LOOKED_AT:], segments, ENOUGH_RATED)


def _to_test(
    context: TrainingContext,
    active: Deployment,
    index: ApprovedAnswers | None,
    unrated: np.ndarray = NO_VECTORS,
) -> list[float]:
    if index is None:
        return []
    rated = context.store.answers.rated(active.assistant_id, context.settings.newest_answers)
    found = thresholds(index.agreement(unrated), share_right(rated, active))
    return [at for at in found if active.copy_at is None or at <= active.copy_at - _LOWER]


def share_right(rated: Sequence[RatedAnswer], active: Deployment) -> float:
    """The share of the model's answers that were approved as they were given: of those of `active`, or of all."""
    found = [
        (one.deployment_id, _is_right(one))
        for one in rated
        # What was given again has no log-probability.
        if one.mean_ln_p is not None and one.ratings and not one.with_tools
    ]
    for verdicts in ([right for by, right in found if by == active.id], [right for _, right in found]):
        if len(verdicts) >= ENOUGH_RATED:
            return sum(verdicts) / len(verdicts)
    return _UNKNOWN


def _is_right(answer: RatedAnswer) -> bool:
    found = judge(answer)
    return isinstance(found, CollectedAnswer) and not found.corrected


def thresholds(pairs: Iterable[tuple[float, bool]], right: float) -> list[float]:
    """From which likeness on the approved answer that suits most wins most beside a model that is right in the share
    `right`, and the least from which on it wins about as much; nothing where it wins nothing, or for too few questions.

    `pairs` say of each question how much it is like others with one answer, and whether it has that answer. Where it is
    best to answer all so, the likeness lies a standard deviation below the least.
    """
    ordered = sorted(pairs, reverse=True)
    likeness = [alike for alike, _ in ordered]
    won = list(accumulate(same - right for _, same in ordered))
    # The last one of those that are as much alike.
    ends = [n for n, alike in enumerate(likeness) if alike not in likeness[n + 1 : n + 2]]
    most = max((won[n] for n in ends), default=0.0)
    lasts = [
        max((n for n in ends if won[n] > 0 and won[n] >= most - given_up * len(won)), default=-1)
        for given_up in (0.0, _GIVEN_UP)
    ]
    enough = max(ENOUGH_RATED, _LEAST_SHARE * len(won))
    return [
        mean(likeness[n : n + 2]) if n + 1 < len(won) else likeness[n] - pstdev(likeness)
        for n in dict.fromkeys(lasts)
        if n + 1 >= enough
    ]
