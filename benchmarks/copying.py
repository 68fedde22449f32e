"""How often an approved answer is right for another question: that of the nearest question, and the most suitable one.

Nothing is generated, trained or stored. What is most suitable is found by the code that serves.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import mean, pstdev
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from assistant.approved import ApprovedAnswers
from assistant.embedding import Embedder
from benchmarks.record import Screen, write_result
from benchmarks.tasks.task import Item, Task, load
from benchmarks.tasks.user import rounds_of, sample_of
from store.demonstrations import Demonstration

_SIZES = (50, 113, 225, 450)
Finds = Callable[[ApprovedAnswers, np.ndarray], Demonstration | None]


def nearest(known: ApprovedAnswers, vector: np.ndarray) -> Demonstration | None:
    return next(known.nearest(vector, lambda one: True), None)


def most_suitable(known: ApprovedAnswers, vector: np.ndarray) -> Demonstration | None:
    found = known.most_suitable(vector)
    return found.demonstration if found else None


FINDS: dict[str, Finds] = {"nearest question": nearest, "most suitable": most_suitable}


def measure(task: Task, draws: int, test: int, seed: int, done: Callable[[int, int], None]) -> list[Any]:
    """A row for each number of approved answers: the share of `test` questions that each way answers right."""
    embedder, asked = Embedder(), sample_of(task.test, test, seed)
    vectors, rows = embedder.embed([one.user for one in asked]), []
    for place, size in enumerate(_SIZES):
        shares: dict[str, list[float]] = {name: [] for name in FINDS}
        for draw in range(draws):
            known = _approved(embedder, rounds_of(task.train, size, 1, seed + draw)[0])
            for name, finds in FINDS.items():
                answers = [finds(known, vector) for vector in vectors]
                right = [
                    a is not None and a.answer in one.references
                    for a, one in zip(answers, asked, strict=True)
                ]
                shares[name].append(mean(right))
            done(place * draws + draw + 1, len(_SIZES) * draws)
        spread = {name: {"mean": mean(found), "deviation": pstdev(found)} for name, found in shares.items()}
        rows.append({"approved": size, **spread})
    return rows


def _approved(embedder: Embedder, items: list[Item]) -> ApprovedAnswers:
    known = [Demonstration(one.id, one.user, one.references[0]) for one in items]
    return ApprovedAnswers.of(known, embedder.embed([one.question for one in known]))


def main(
    task: Annotated[Path, typer.Option(help="A task file whose answers are labels.")],
    draws: Annotated[int, typer.Option(min=1, help="Draws of approved answers for each number.")] = 6,
    test: Annotated[int, typer.Option(min=1, help="Test questions.")] = 300,
    seed: int = 1,
    out: Path | None = None,
) -> None:
    """How often approved answers are right for other questions."""
    screen, chosen = Screen(), load(task)
    with screen.bar("Approved answers") as done:
        rows = measure(chosen, draws, test, seed, done)
    table = Table("approved answers", *FINDS)
    for row in rows:
        table.add_row(
            str(row["approved"]), *(f"{row[n]['mean']:.3f} ± {row[n]['deviation']:.3f}" for n in FINDS)
        )
    screen.console.print(table)
    write_result(out, "copying", seed, {"task": chosen.name, "draws": draws, "test": test, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
