"""Builds the candidate that gives an approved answer again where a question is much like one that has it, and asks the
model nothing.

Where answers repeat, as labels do, that needs no training and no prompt: 113 approved answers of Banking77 bring 48 %
of the test questions right this way, 225 bring 62 %, and the full prompt of the embedded model 5 %. From how much
likeness on it is done is found on the train examples; whether it is no worse, the gate says.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from statistics import mean, pstdev

from assistant.retrieval import Embeds
from store.demonstrations import Demonstration
from store.records import Deployment, RatedAnswer, Split, Variant
from trainer.candidate import Candidate, approved_now, in_split
from trainer.context import Retrain, TrainingContext
from trainer.examples.demonstrations import demonstrations_of
from trainer.examples.selection import CollectedAnswer, judge
from trainer.examples.traffic import ENOUGH_RATED, nearest_agree

_LEAST_SHARE = 0.1  # of the questions that have to be answered this way, or it is not worth a test
# Of the questions: so many right answers fewer are taken for more that cost no tokens. Half of the gate's margin.
_GIVEN_UP = 0.025
_LOOKED_AT = 1000  # approved answers, the newest: 3 s
_UNKNOWN = 0.9  # of answers that nobody has rated so many are taken to be right
_REMARK = (
    "Tested was to give the approved answer again, without asking the model, where a question is much like its own "
    "(cosine of at least {})."
)


def is_worth_copying(context: TrainingContext, assistant_id: str) -> bool:
    """Whether the base model is served, always asked, and approved answers to like questions agree more often than its
    answers are right.
    """
    active = context.store.deployments.active(assistant_id)
    if active is None or active.adapter is not None or active.copy_at is not None:
        return False
    known = approved_now(context, assistant_id)
    return bool(likenesses_to_test(context.retriever.embedder, known, _share_right(context, active)))


def copying_candidate(retrain: Retrain) -> Candidate | str:
    """What is served now, which answers with approved answers where that is better; or why there is no such place."""
    store, assistant_id = retrain.store, retrain.run.assistant_id
    active = store.deployments.active(assistant_id)
    segments = store.prompts.get(retrain.dataset.prompt_id).segments
    if active is None or active.prompt_id != retrain.dataset.prompt_id:
        return "The prompt was edited meanwhile."
    known = demonstrations_of(in_split(retrain.dataset, Split.TRAIN))
    right = _share_right(retrain.context, active)
    found = likenesses_to_test(retrain.context.retriever.embedder, known, right)
    if not found:
        return "Questions that are much alike have too seldom the same approved answer to give it again."
    full = Variant(tuple(segment.id for segment in segments))
    variants = [full, *(Variant(active.segment_ids, active.demonstrations, at) for at in found)]
    # Nothing is measured on dev. By these the gate begins with the first likeness, and goes on to the next.
    losses = [0.0, *map(float, range(len(found)))]
    remark = _REMARK.format(", then ".join(f"{at:.2f}" for at in found))
    return Candidate(None, variants, losses, (), (), training={}, remarks=(remark,))


def _share_right(context: TrainingContext, active: Deployment) -> float:
    return share_right(
        context.store.answers.rated(active.assistant_id, context.settings.newest_answers), active
    )


def share_right(rated: Sequence[RatedAnswer], active: Deployment) -> float:
    """The share of answers that were approved as they were given: of those of `active`, or of all."""
    found = [
        (one.deployment_id, _is_right(one))
        for one in rated
        if one.deployment_id is not None and one.ratings and not one.with_tools
    ]
    for said in ([right for by, right in found if by == active.id], [right for _, right in found]):
        if len(said) >= ENOUGH_RATED:
            return sum(said) / len(said)
    return _UNKNOWN


def _is_right(answer: RatedAnswer) -> bool:
    found = judge(answer)
    return isinstance(found, CollectedAnswer) and not found.corrected


def likenesses_to_test(embedder: Embeds, approved: Sequence[Demonstration], right: float) -> list[float]:
    """From which cosine on the approved answer to the most similar question wins most beside a model that is right in
    the share `right`, and from which lower one about as much; nothing where it wins nothing, or for too few questions.
    """
    known = [one for one in approved if not one.has_placeholder][-_LOOKED_AT:]
    answers = [one.answer for one in known]
    if len(answers) - len(set(answers)) < ENOUGH_RATED:  # as mostly where answers are sentences
        return []
    return thresholds(nearest_agree(embedder.embed([one.question for one in known]), answers), right)


def thresholds(pairs: Iterable[tuple[float, bool]], right: float) -> list[float]:
    """The likeness from which on most is won, and the least from which on about as much is: `pairs` say of each
    question how much it is like the nearest other one, and whether that has its answer. Where it is best to answer all
    so, it lies a standard deviation below the least.
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
