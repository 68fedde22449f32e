"""Gate examples and what people accepted since, to all the texts that are right answers to each: pure.

In: examples, decided proposals. Out: a tuple of texts for each example, its own completion first. Place in the flow:
before `gating` scores anything; every system is scored against the same texts. Does not know how they are compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from store.records import Example, JudgementRequest
from trainer.evaluation.scorers import Scorer


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


def best(score: Scorer, answer: str, approved: Sequence[str]) -> float:
    """The score against the approved text that the answer is nearest to."""
    return max(score(answer, text) for text in approved)
