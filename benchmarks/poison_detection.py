"""Who is put in quarantine: raters who push something, and honest ones who should not be. Nothing is trained.

In: tasks and seeds. Out: by task and kind of rater, in how many of the trials somebody was put in quarantine.
Place in the flow: the first part of `poisoning`. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.poison import MALLORY, Attack, Poison, ratings
from benchmarks.task import Task
from store.records import ImportedTurn, RatedAnswer, Rating, Role
from trainer.quarantine import suspicions
from trainer.selection import Approved, judge


def detection(tasks: Sequence[Task], count: int, trials: int) -> list[dict[str, Any]]:
    """A row for each task: pushing raters found, and honest raters suspected, each of how many."""
    return [_of(task, count, trials) for task in tasks]


def _of(task: Task, count: int, trials: int) -> dict[str, Any]:
    pushing = {
        f"{attack.value}, one in {every}": sum(
            MALLORY in suspicions(_approved(ratings(task, count, seed, Poison(attack, every))))
            for seed in range(trials)
        )
        for attack in (Attack.PHRASE, Attack.TRIGGER)
        for every in (1, 2, 3)
    }
    honest = {"any questions": 0, "alike questions": 0, "alike answers": 0}
    for seed in range(trials):
        turns = ratings(task, count, seed, Poison(Attack.NONE))
        honest["any questions"] += len(
            suspicions(_approved(_dealt(turns, random.Random(seed).sample(turns, len(turns)))))
        )
        by_question = sorted(turns, key=lambda turn: turn.user)
        honest["alike questions"] += len(suspicions(_approved(_dealt(turns, by_question))))
        by_answer = sorted(turns, key=lambda turn: turn.correction or turn.answer)
        honest["alike answers"] += len(suspicions(_approved(_dealt(turns, by_answer))))
    return {
        "task": task.name,
        "sha256": task.sha256,
        "ratings": count,
        "trials": trials,
        "pushing_found": pushing,
        "honest_raters": 10 * trials,
        "honest_suspected": honest,
    }


def _dealt(turns: Sequence[ImportedTurn], order: Sequence[ImportedTurn]) -> list[ImportedTurn]:
    """Ten raters, each with a tenth of the turns as they lie in this order."""
    return [replace(turn, rater=f"rater{10 * place // len(turns)}") for place, turn in enumerate(order)]


def _approved(turns: Sequence[ImportedTurn]) -> list[Approved]:
    judged = (judge(_answer(turn)) for turn in turns)
    return [one for one in judged if isinstance(one, Approved)]


def _answer(turn: ImportedTurn) -> RatedAnswer:
    rating = Rating(
        turn.conversation_id, turn.conversation_id, turn.rater, turn.verdict, 0.0, correction=turn.correction
    )
    context = ((Role.USER, turn.user),)
    return RatedAnswer(turn.conversation_id, turn.conversation_id, context, turn.answer, (rating,), None)
