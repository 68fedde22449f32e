"""How often approved answers are right for other questions, and what a gate makes of those that it may not show.

Nothing is generated, trained or stored. The most suitable answer is found by the code that serves.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, pstdev
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from assistant.approved import ApprovedAnswers
from assistant.embedding import Embedder
from assistant.listed import with_listed
from benchmarks.record import Screen, write_result
from benchmarks.tasks.task import Item, Task, load
from benchmarks.tasks.user import rounds_of, sample_of, traffic_of
from store.demonstrations import Demonstration
from store.records import Segment
from trainer.evaluation.gate import CONFIDENCE
from trainer.evaluation.statistics import Pairs
from trainer.examples.deduplicate import GATE_SHARE
from trainer.settings import TrainerSettings

_SIZES = (50, 113, 225, 450)
Finds = Callable[[ApprovedAnswers, np.ndarray], Demonstration | None]


def nearest(known: ApprovedAnswers, vector: np.ndarray) -> Demonstration | None:
    return next(known.nearest(vector, lambda one: True), None)


def most_suitable(known: ApprovedAnswers, vector: np.ndarray) -> Demonstration | None:
    found = known.most_suitable(vector)
    return found.demonstration if found else None


# How an answer is found, whether those that the prompt lists are among them, and how many unrated questions for each
# approved answer say where the questions of an answer lie.
WAYS: dict[str, tuple[Finds, bool, int]] = {
    "nearest question": (nearest, False, 0),
    "most suitable": (most_suitable, False, 0),
    "and listed": (most_suitable, True, 0),
    "and 3 unrated": (most_suitable, True, 3),
    "and 10 unrated": (most_suitable, True, 10),
}


def measure(task: Task, draws: int, test: int, seed: int, done: Callable[[int, int], None]) -> list[Any]:
    """A row for each number of approved answers: the share of `test` questions that each way answers right."""
    embedder, asked = Embedder(), sample_of(task.test, test, seed)
    vectors, rows = embedder.embed([one.user for one in asked]), []
    users = [one.user for one in task.train]
    train = dict(zip(users, embedder.embed(users), strict=True))
    for place, size in enumerate(_SIZES):
        shares: dict[str, list[float]] = {name: [] for name in WAYS}
        for draw in range(draws):
            items = rounds_of(task.train, size, 1, seed + draw)[0]
            known = {
                listed: _approved(embedder, items, task.prompt if listed else ()) for listed in (False, True)
            }
            others = traffic_of(task.train, size, 1, seed + draw, 10)[0]
            for name, (finds, listed, unrated) in WAYS.items():
                some = np.array([train[one.user] for one in others[: unrated * size]])
                index = known[listed].with_unrated(known[listed].sums_of_unrated(some))
                answers = [finds(index, vector) for vector in vectors]
                right = [
                    a is not None and a.answer in one.references
                    for a, one in zip(answers, asked, strict=True)
                ]
                shares[name].append(mean(right))
            done(place * draws + draw + 1, len(_SIZES) * draws)
        spread = {name: {"mean": mean(found), "deviation": pstdev(found)} for name, found in shares.items()}
        rows.append({"approved": size, **spread})
    return rows


def _approved(embedder: Embedder, items: Sequence[Item], prompt: Sequence[Segment] = ()) -> ApprovedAnswers:
    known = [Demonstration(one.id, one.user, one.references[0]) for one in items]
    alone = ApprovedAnswers.of(known, embedder.embed([one.question for one in known]))
    return with_listed(alone, prompt, embedder.embed)


def false_passes(task: Task, size: int, trials: int, seed: int, done: Callable[[int, int], None]) -> Any:
    """How often a gate lets through what finds no answers and is truly worse than nearest answers by the margin.

    Of `size` approved answers it asks four tenths. What nearest answers are worth as they serve, other questions of the
    task say. In the gate they are found among the train answers alone, or among all but a question's own.
    """
    chance, margin = np.random.default_rng(seed), TrainerSettings().margin
    every = _approved(Embedder(), task.train)
    likeness, labels = every.vectors @ every.vectors.T, np.array([one.answer for one in every.items])
    np.fill_diagonal(likeness, -1.0)
    gate, passed = round(GATE_SHARE * size), np.zeros((trials, 3))
    for trial in range(trials):
        order = chance.permutation(len(labels))
        known, train, asked, others = order[:size], order[gate:size], order[:gate], order[size:]

        def right(questions: np.ndarray, among: np.ndarray) -> list[float]:
            found = among[likeness[np.ix_(questions, among)].argmax(axis=1)]
            return [float(same) for same in labels[found] == labels[questions]]

        candidate = [float(one) for one in chance.random(gate) < mean(right(others, known)) - margin]
        by_train, by_all = (
            Pairs(candidate, right(asked, among), range(gate), True) for among in (train, known)
        )
        levels = ((by_train, CONFIDENCE), (by_all, CONFIDENCE), (by_all, (1 + CONFIDENCE) / 2))
        passed[trial] = [pairs.lower_bound(margin, level) > -margin for pairs, level in levels]
        done(trial + 1, trials)
    names = ("train answers alone", "all but its own", "all but its own, half of the 5 %")
    return {"approved": size, **dict(zip(names, passed.mean(axis=0).round(4).tolist(), strict=True))}


def main(
    task: Annotated[Path, typer.Option(help="A task file whose answers are labels.")],
    draws: Annotated[int, typer.Option(min=1, help="Draws of approved answers for each number.")] = 6,
    test: Annotated[int, typer.Option(min=1, help="Test questions.")] = 300,
    trials: Annotated[int, typer.Option(min=1, help="Gates of each number of approved answers.")] = 500,
    seed: int = 1,
    out: Path | None = None,
) -> None:
    """How often approved answers are right for other questions."""
    screen, chosen = Screen(), load(task)
    with screen.bar("Approved answers") as done:
        rows = measure(chosen, draws, test, seed, done)
    table = Table("approved answers", *WAYS)
    for row in rows:
        table.add_row(
            str(row["approved"]), *(f"{row[n]['mean']:.3f} ± {row[n]['deviation']:.3f}" for n in WAYS)
        )
    screen.console.print(table)
    gates = []
    for size in (113, 225):
        with screen.bar(f"Gates of {size} approved answers") as done:
            gates.append(false_passes(chosen, size, trials, seed, done))
        screen.say(", ".join(f"{name}: {value}" for name, value in gates[-1].items()))
    numbers = {
        "task": chosen.name,
        "draws": draws,
        "test": test,
        "rows": rows,
        "trials": trials,
        "false_passes": gates,
    }
    write_result(out, "copying", seed, numbers)


if __name__ == "__main__":
    typer.run(main)
