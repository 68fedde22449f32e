"""What people judge: which answers count as right, which answers of a refused variant they are asked about, and when.

An answer that was rated up scores 1.0 for the system that gave it, and another one as good its likeness to that. So
people judge answers of all systems, and all that were found good are references (pooling, Sparck Jones and van
Rijsbergen 1975; Zobel 1998, SIGIR, 307). Then the candidate is evaluated again, once: each time may err in half of the
5 % (`gate_evaluation`). Where answers are right or wrong, people judge the unrated questions of the gate's next look.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import takewhile

from store import Store
from store.records import Example, JudgementRequest, RunStatus, TrainingRun
from trainer.evaluation.gate import Answers, VariantVerdict
from trainer.evaluation.scorers import Scorer, best, right_or_wrong
from trainer.settings import TrainerSettings

TRIGGER = "people have judged its answers"  # of a run that evaluates again
_TRIES = 3  # of a re-evaluation that failed or was interrupted before it came to a verdict


def approved_answers(
    examples: Sequence[Example], decided: Sequence[JudgementRequest]
) -> list[tuple[str, ...]]:
    """What was approved for a question counts wherever the question is asked; an example's own answer comes first."""
    accepted = _texts([one for one in decided if one.accepted])
    own = {e.message_id: [e.completion] if e.approved else [] for e in examples}
    pooled: dict[object, list[str]] = defaultdict(list)
    for e in examples:
        pooled[e.context] += [*own[e.message_id], *accepted[e.message_id]]
    return [tuple(dict.fromkeys([*own[e.message_id], *pooled[e.context]])) for e in examples]


def refused_answers(
    examples: Sequence[Example], decided: Sequence[JudgementRequest]
) -> list[tuple[str, ...]]:
    """What people found wrong, for each example."""
    refused = _texts([one for one in decided if not one.accepted])
    return [tuple(refused[example.message_id]) for example in examples]


def _texts(decided: Sequence[JudgementRequest]) -> Mapping[str, list[str]]:
    texts: dict[str, list[str]] = defaultdict(list)
    for one in decided:
        texts[one.message_id].append(one.text)
    return texts


def known_score(score: Scorer, text: str, right: Sequence[str], wrong: Sequence[str]) -> float | None:
    """By the texts that are right; 0 for one of those that are wrong and for what can never be right, such as a query
    that cannot be run; None where it is neither, and nobody has said what is right.
    """
    if right:
        return best(score, text, right)
    possible = bool(text.strip()) and score(text, text) == 1.0
    return None if possible and not any(score(text, one) == 1.0 for one in wrong) else 0.0


def worth_asking(variant: VariantVerdict, most_lost: float) -> bool:
    """Refused by its scores alone, and not by so much that people would be asked about a bad model's answers."""
    failed = [one for one in variant.comparisons if not one.passed]
    sound = all(guard.passed for guard in variant.guards)
    return bool(failed) and sound and all(one.difference > -most_lost for one in failed)


def differing_answers(
    examples: Sequence[Example], systems: Sequence[Answers], undecided: Sequence[int], score: Scorer
) -> list[tuple[str, str]]:
    """Every different answer to a question of which nobody has said what is right, as (message id, text). A system that
    passed early has not answered all of them.
    """
    asked = []
    for n in undecided:
        texts: list[str] = []
        for text in (one.texts[n].strip() for one in systems if n < len(one.texts) and one.scores[n] is None):
            if not any(score(text, other) == 1.0 for other in texts):
                texts.append(text)
        asked += [(examples[n].message_id, text) for text in texts]
    return asked


def judgement_requests(examples: Sequence[Example], answers: Answers, most: int) -> list[tuple[str, str]]:
    """The answers about which a word would change most, one a question, at most `most`.

    One that scores s is taken to be accepted with probability s, which would bring 1 - s; what is not asked about, or
    not accepted, keeps its score. Of what is served people have judged every answer, so it counts won or lost.
    """
    gain = {number: score * (1.0 - score) for number, score in enumerate(answers.scores) if score is not None}
    chosen: dict[object, tuple[str, str]] = {}
    for number in sorted((n for n in gain if gain[n] > 0), key=lambda n: (-gain[n], n)):
        if text := answers.texts[number].strip():
            chosen.setdefault(examples[number].context, (examples[number].message_id, text))
    return list(chosen.values())[:most]


def pending(store: Store, assistant_id: str) -> TrainingRun | None:
    """The newest run, if it asked people, since it was refused or a shorter variant was, has their word, and nothing
    else has changed since.

    One that came to no verdict does not count; after three of them there is no other.
    """
    runs = store.runs.all(assistant_id, _TRIES + 1)
    fruitless = (RunStatus.FAILED, RunStatus.INTERRUPTED)
    failed = list(takewhile(lambda run: run.trigger == TRIGGER and run.status in fruitless, runs))
    if len(failed) >= min(_TRIES, len(runs)):
        return None
    run = runs[len(failed)]
    if run.status not in (RunStatus.REFUSED, RunStatus.PROMOTED) or run.dataset_id is None:
        return None
    asked = [one.accepted for one in store.judgement_requests.of_run(run.id)]
    # Among answers that are right or wrong a refused one changes the score as well.
    changes_score = asked if right_or_wrong(store.assistants.get(assistant_id).scorer) else any(asked)
    if None in asked or not changes_score:
        return None
    active = store.deployments.active(assistant_id)
    unchanged = (
        run.report.get("active") == (active.id if active else None)
        and run.settings.keys() == TrainerSettings().as_record().keys()
        and store.prompts.latest(assistant_id).id == store.datasets.get(run.dataset_id).prompt_id
    )
    return run if unchanged else None
