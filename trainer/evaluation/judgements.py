"""What people judge: which answers count as right, which answers of a refused variant they are asked about, and when.

A gate that only knows the answers that people happened to see favours whoever gave them: an answer that was rated up
scores 1.0 for the system that gave it, and another answer as good scores its likeness to that one. The cure is that of
retrieval benchmarks: answers of all systems are judged, and all that were found good are references (pooling, Sparck
Jones and van Rijsbergen 1975; what unjudged answers do to a comparison: Zobel 1998, SIGIR, 307).

When people have decided about all answers of a candidate that was refused for its scores alone, it is evaluated again
by what is approved then. There are two evaluations at most; each may err in half of the 5 % (`gate_evaluation`). Where
answers are right or wrong, they are asked about the unrated questions of the gate's next look instead (`gate`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
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
    """What was approved for a question counts wherever the question is asked."""
    accepted: dict[str, list[str]] = defaultdict(list)
    for judgement_request in decided:
        if judgement_request.accepted:
            accepted[judgement_request.message_id].append(judgement_request.text)
    own = [[example.completion] if example.approved else [] for example in examples]
    pooled: dict[object, dict[str, None]] = defaultdict(dict)
    for example, given in zip(examples, own, strict=True):
        pooled[example.context].update(dict.fromkeys([*given, *accepted[example.message_id]]))
    return [
        tuple(dict.fromkeys([*given, *pooled[e.context]])) for e, given in zip(examples, own, strict=True)
    ]


def refused_answers(
    examples: Sequence[Example], decided: Sequence[JudgementRequest]
) -> list[tuple[str, ...]]:
    """What people found wrong, for each example."""
    refused: dict[str, list[str]] = defaultdict(list)
    for judgement_request in decided:
        if not judgement_request.accepted:
            refused[judgement_request.message_id].append(judgement_request.text)
    return [tuple(refused[example.message_id]) for example in examples]


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
    failed = [comparison for comparison in variant.comparisons if not comparison.passed]
    sound = all(guard.passed for guard in variant.guards)
    return bool(failed) and sound and all(comparison.difference > -most_lost for comparison in failed)


def differing_answers(
    examples: Sequence[Example], systems: Sequence[Answers], undecided: Sequence[int], score: Scorer
) -> list[tuple[str, str]]:
    """Every different answer to a question of which nobody has said what is right, as (message id, text)."""
    asked = []
    for n in undecided:
        texts: list[str] = []
        for text in (one.texts[n].strip() for one in systems if one.scores[n] is None):
            if not any(score(text, other) == 1.0 for other in texts):
                texts.append(text)
        asked += [(examples[n].message_id, text) for text in texts]
    return asked


def judgement_requests(examples: Sequence[Example], answers: Answers, most: int) -> list[tuple[str, str]]:
    """The answers about which a word would change most, one a question, at most `most`.

    Of what is served people have judged every answer, so the candidate's are asked about whether it won or lost there.
    An answer that scores s is taken to be accepted with probability s, which would bring 1 - s. What is not
    asked about, or not accepted, keeps its score, as with every other system.
    """
    gain = {number: score * (1.0 - score) for number, score in enumerate(answers.scores) if score is not None}
    order = sorted((n for n in gain if gain[n] > 0), key=lambda n: (-gain[n], n))
    chosen: dict[object, tuple[str, str]] = {}
    for number in order:
        text = answers.texts[number].strip()
        if text and examples[number].context not in chosen:
            chosen[examples[number].context] = (examples[number].message_id, text)
        if len(chosen) == most:
            break
    return list(chosen.values())


def pending(store: Store, assistant_id: str) -> TrainingRun | None:
    """The newest run, if it was refused, asked people, has their word, and nothing else has changed since.

    One that came to no verdict does not count; after three of them there is no other.
    """
    runs = store.runs.all(assistant_id, _TRIES + 1)
    failed = list(takewhile(_came_to_no_verdict, runs))
    if len(failed) >= min(_TRIES, len(runs)):
        return None
    run = runs[len(failed)]
    if run.status is not RunStatus.REFUSED or run.dataset_id is None:
        return None
    asked = [one.accepted for one in store.judgement_requests.of_run(run.id)]
    # Among answers that are right or wrong a refused one changes the score as well.
    if None in asked or not (
        asked if right_or_wrong(store.assistants.get(assistant_id).scorer) else any(asked)
    ):
        return None
    active = store.deployments.active(assistant_id)
    unchanged = (
        run.report.get("active") == (active.id if active else None)
        and run.settings.keys() == TrainerSettings().as_record().keys()
        and store.prompts.latest(assistant_id).id == store.datasets.get(run.dataset_id).prompt_id
    )
    return run if unchanged else None


def _came_to_no_verdict(run: TrainingRun) -> bool:
    return run.trigger == TRIGGER and run.status in (RunStatus.FAILED, RunStatus.INTERRUPTED)
