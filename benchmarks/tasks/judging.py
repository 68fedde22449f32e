"""Proposals of the last retrain to the simulated person's decisions about them, in the store.

In: the store, the task's questions, the person. Out: how many were decided and accepted. Place in the flow: after a
retrain; each costs one of the ratings. Does not know why an answer was proposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.tasks.person import RATER, Person
from benchmarks.tasks.task import Item
from store import Store
from store.records import Verdict


@dataclass(frozen=True)
class Judged:
    """What the person said of another model's answers to questions asked before."""

    asked: int
    accepted: int


def judge_proposals(
    store: Store, assistant_id: str, run_id: int, items: Sequence[Item], person: Person, most: int
) -> Judged:
    """Decide at most `most` that nobody has decided of this run's; others were decided before a restart."""
    by_question = {item.user: item for item in items}
    opened = [proposal for proposal in store.open_proposals(assistant_id) if proposal.run_id == run_id]
    for proposal in opened[: max(0, most)]:
        question = store.branch(proposal.message_id)[-2].text
        item = by_question[question]
        opinion = person.rate(item.id, proposal.text, item.references)
        store.decide_proposal(proposal.id, opinion.verdict is Verdict.UP, RATER)
    decided = [p for p in store.decided_proposals(assistant_id) if p.run_id == run_id]
    return Judged(len(decided), sum(p.accepted is True for p in decided))
