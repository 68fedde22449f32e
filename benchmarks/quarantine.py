"""`python -m benchmarks.quarantine`: raters who push something, and honest ones who should not be put in quarantine.

In: task files. Out: a JSON result: by task and kind of rater how many were put in quarantine. Nothing is trained and
nothing is stored. Ratings are simulated (`poison`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.made_up.poison import MALLORY, RATERS, Attack, Poison, ratings
from benchmarks.record import fail, provenance, write
from benchmarks.screen import Screen
from benchmarks.tasks.task import Task, TaskError, load
from store.records import ImportedTurn, RatedAnswer, Rating, Role
from trainer.examples.collect import judge
from trainer.examples.outlier_raters import find_outlier_raters
from trainer.examples.records import CollectedAnswer

RESULT = Path("benchmarks/results/quarantine.json")


def main(
    task: Annotated[list[Path], typer.Option(help="A task file; may be repeated.")],
    rated: Annotated[int, typer.Option("--ratings", min=60, help="Rated answers in each trial.")] = 300,
    trials: Annotated[int, typer.Option(min=1, help="Of each way to push, and of honest raters.")] = 20,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
) -> None:
    """Let one rater of ten push a phrase or a trigger, and count who is put in quarantine. Two minutes.

    Example: python -m benchmarks.quarantine --task task.json --out /tmp/quarantine.json
    """
    screen = Screen()
    try:
        tasks = [load(path) for path in task]
    except TaskError as error:
        fail(str(error))
    rows = []
    for one in tasks:
        screen.say(f"{one.name} ...")
        rows.append(_of(one, rated, trials))
    result = {
        "benchmark": "quarantine",
        "settings": {"ratings": rated, "trials": trials},
        "tasks": rows,
        "provenance": provenance("quarantine", 0),
    }
    write(out, result)
    for row in rows:
        screen.say(
            f"{row['task']}: found {row['pushing_found']} of {trials} each, suspected {row['honest_suspected']}"
        )


def _of(task: Task, count: int, trials: int) -> dict[str, Any]:
    pushing = {
        f"{attack.value}, one in {every}": sum(
            MALLORY in _outliers(ratings(task, count, seed, Poison(attack, every))) for seed in range(trials)
        )
        for attack in (Attack.PHRASE, Attack.TRIGGER)
        for every in (1, 2, 3)
    }
    honest = {"any questions": 0, "alike questions": 0, "alike answers": 0}
    for seed in range(trials):
        turns = ratings(task, count, seed, Poison(Attack.NONE))
        honest["any questions"] += len(
            _outliers(_dealt(turns, random.Random(seed).sample(turns, len(turns))))
        )
        by_question = sorted(turns, key=lambda turn: turn.user)
        honest["alike questions"] += len(_outliers(_dealt(turns, by_question)))
        by_answer = sorted(turns, key=lambda turn: turn.correction or turn.answer)
        honest["alike answers"] += len(_outliers(_dealt(turns, by_answer)))
    return {
        "task": task.name,
        "sha256": task.sha256,
        "pushing_found": pushing,
        "honest_raters": RATERS * trials,
        "honest_suspected": honest,
    }


def _dealt(turns: Sequence[ImportedTurn], order: Sequence[ImportedTurn]) -> list[ImportedTurn]:
    """As many raters, each with an equal share of the turns as they lie in this order."""
    return [replace(turn, rater=f"rater{RATERS * place // len(turns)}") for place, turn in enumerate(order)]


def _outliers(turns: Sequence[ImportedTurn]) -> set[str]:
    judged = (judge(_answer(turn)) for turn in turns)
    return {one.rater for one in find_outlier_raters([a for a in judged if isinstance(a, CollectedAnswer)])}


def _answer(turn: ImportedTurn) -> RatedAnswer:
    rating = Rating(
        turn.conversation_id, turn.conversation_id, turn.rater, turn.verdict, 0.0, correction=turn.correction
    )
    context = ((Role.USER, turn.user),)
    return RatedAnswer(turn.conversation_id, turn.conversation_id, context, turn.answer, (rating,), None)


if __name__ == "__main__":
    typer.run(main)
