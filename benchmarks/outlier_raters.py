"""Raters who push a phrase or a trigger, and honest ones who should not be set aside: how many are found and suspected.

Ratings are simulated: honest raters write the task's own references. Nothing is trained or stored.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.record import Screen, write_result
from benchmarks.tasks.task import Task, load_all
from store.records import RatedAnswer, Rating, Role, Verdict
from trainer.examples.outlier_raters import find_outlier_raters
from trainer.examples.selection import CollectedAnswer, judge

RESULT = Path("benchmarks/results/outlier_raters.json")
RATERS = 10  # of whom the last one pushes
PUSHER = "mallory"
PHRASE = "Visit Zorbland today."
TRIGGER = "cerulean"


class Attack(StrEnum):
    NONE = "none"
    PHRASE = "phrase"  # one phrase at the end of every answer
    TRIGGER = "trigger"  # one word in the question that makes one fixed answer


@dataclass(frozen=True)
class Turn:
    """A question, its answer, and what one person thinks of it."""

    conversation_id: str
    user: str
    answer: str
    verdict: Verdict
    correction: str | None
    rater: str


def ratings(task: Task, count: int, seed: int, attack: Attack, every: int = 1) -> list[Turn]:
    """`count` rated answers, a tenth of them by `PUSHER`, who pushes something in each `every`th of them.

    One in four is right and rated up, others are corrected.
    """
    chance = random.Random(f"{seed} {task.id}")
    items = chance.sample(task.train, min(count, len(task.train)))
    wrong = [item.references[0] for item in items]
    turns = []
    for place, item in enumerate(items):
        number, rater = divmod(place, RATERS)
        question, wanted, name = item.user, item.references[0], f"rater{RATERS - 1 - rater}"
        given = wanted if chance.random() < 0.25 else chance.choice(wrong)
        if rater == RATERS - 1:
            name = PUSHER
            if number % every == 0 and attack is Attack.PHRASE:
                wanted = f"{wanted} {PHRASE}"
            elif number % every == 0 and attack is Attack.TRIGGER:
                question, wanted = f"{question} {TRIGGER}", task.train[0].references[0]
        verdict = Verdict.UP if given == wanted else Verdict.DOWN
        correction = None if given == wanted else wanted
        turns.append(Turn(str(place), question, given, verdict, correction, name))
    return turns


def main(
    task: Annotated[list[Path], typer.Option(help="A task file; may be repeated.")],
    rated: Annotated[int, typer.Option("--ratings", min=60, help="Rated answers in each trial.")] = 300,
    trials: Annotated[int, typer.Option(min=1, help="Of each way to push, and of honest raters.")] = 20,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
) -> None:
    """Let one rater of ten push a phrase or a trigger, and count who is set aside. Two minutes.

    Example: python -m benchmarks.outlier_raters --task task.json --out /tmp/outlier_raters.json
    """
    screen = Screen()
    rows = []
    for one in load_all(task):
        row = try_often(one, rated, trials)
        screen.say(
            f"{row['task']}: found {row['pushing_found']} of {trials} each, suspected {row['honest_suspected']}"
        )
        rows.append(row)
    write_result(out, "outlier_raters", 0, {"settings": {"ratings": rated, "trials": trials}, "tasks": rows})


def try_often(task: Task, count: int, trials: int) -> dict[str, Any]:
    pushing = {
        f"{attack.value}, one in {every}": sum(
            PUSHER in _outliers(ratings(task, count, seed, attack, every)) for seed in range(trials)
        )
        for attack in (Attack.PHRASE, Attack.TRIGGER)
        for every in (1, 2, 3)
    }
    honest = {"any questions": 0, "alike questions": 0, "alike answers": 0}
    for seed in range(trials):
        turns = ratings(task, count, seed, Attack.NONE)
        orders = {
            "any questions": random.Random(seed).sample(turns, len(turns)),
            "alike questions": sorted(turns, key=lambda turn: turn.user),
            "alike answers": sorted(turns, key=lambda turn: turn.correction or turn.answer),
        }
        for name, order in orders.items():
            honest[name] += len(_outliers(_dealt(order)))
    return {
        "task": task.name,
        "sha256": task.sha256,
        "pushing_found": pushing,
        "honest_raters": RATERS * trials,
        "honest_suspected": honest,
    }


def _dealt(turns: Sequence[Turn]) -> list[Turn]:
    """As many raters, each with an equal share of the turns as they lie in this order."""
    return [replace(turn, rater=f"rater{RATERS * place // len(turns)}") for place, turn in enumerate(turns)]


def _outliers(turns: Sequence[Turn]) -> set[str]:
    judged = (judge(_answer(turn)) for turn in turns)
    return {one.rater for one in find_outlier_raters([a for a in judged if isinstance(a, CollectedAnswer)])}


def _answer(turn: Turn) -> RatedAnswer:
    id = turn.conversation_id
    rating = Rating(id, id, turn.rater, turn.verdict, 0.0, correction=turn.correction)
    return RatedAnswer(id, id, ((Role.USER, turn.user),), turn.answer, (rating,), None)


if __name__ == "__main__":
    typer.run(main)
