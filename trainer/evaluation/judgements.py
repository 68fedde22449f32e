"""What people judge: which answers count as right, which answers of a refused variant they are asked about, and when.

A gate that only knows the answers that people happened to see favours whoever gave them: an answer that was rated up
scores 1.0 for the system that gave it, and another answer as good scores its likeness to that one. The cure is that of
retrieval benchmarks: answers of all systems are judged, and all that were found good are references (pooling, Sparck
Jones and van Rijsbergen 1975; what unjudged answers do to a comparison: Zobel 1998, SIGIR, 307).

When people have decided about all answers of a candidate that was refused for its scores alone, it is evaluated again
by what is approved then. There are two evaluations at most; each may err in half of the 5 % (`gate_evaluation`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile

from store import Store
from store.records import Example, JudgementRequest, RunStatus, TrainingRun
from trainer.evaluation.gate import Answers, VariantVerdict
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
    pooled: dict[object, dict[str, None]] = defaultdict(dict)
    for example in examples:
        pooled[example.context].update(dict.fromkeys([example.completion, *accepted[example.message_id]]))
    return [tuple(dict.fromkeys([e.completion, *pooled[e.context]])) for e in examples]


def worth_asking(variant: VariantVerdict, most_lost: float) -> bool:
    """Refused by its scores alone, and not by so much that people would be asked about a bad model's answers."""
    failed = [comparison for comparison in variant.comparisons if not comparison.passed]
    sound = all(guard.passed for guard in variant.guards)
    return bool(failed) and sound and all(comparison.difference > -most_lost for comparison in failed)


def judgement_requests(examples: Sequence[Example], answers: Answers, most: int) -> list[tuple[str, str]]:
    """The answers about which a word would change most, one a question, at most `most`.

    Of what is served people have judged every answer, so the candidate's are asked about whether it won or lost there.
    An answer that scores s is taken to be accepted with probability s, which would bring 1 - s. What is not
    asked about, or not accepted, keeps its score, as with every other system.
    """
    gain = {number: score * (1.0 - score) for number, score in enumerate(answers.scores)}
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
    if run.status is not RunStatus.REFUSED or run.trigger == TRIGGER or run.dataset_id is None:
        return None
    asked = [one.accepted for one in store.judgement_requests.of_run(run.id)]
    if None in asked or not any(asked):
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
