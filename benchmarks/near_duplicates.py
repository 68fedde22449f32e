"""What is found to be asked twice and what is merged wrongly: recall on planted rewordings, merges that should not be.

Nothing is stored.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.record import write_result
from benchmarks.rewordings import REWORDINGS, Change, differences
from benchmarks.tasks.task import Task, load_all
from trainer.examples.similar import grouped, near_pairs
from trainer.examples.wording import Wording, wording

RESULT = Path("benchmarks/results/near_duplicates.json")


def main(
    task: Annotated[list[Path], typer.Option(help="A task file; may be repeated.")],
    each: Annotated[int, typer.Option(min=1, help="Planted questions of each kind and task.")] = 200,
    largest: Annotated[int, typer.Option(min=1000, help="Questions to time at most.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of what is planted.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
) -> None:
    """Plant rewordings and look-alikes among a task's questions and count what is merged. About a minute.

    Example: python -m benchmarks.near_duplicates --task task.json --out /tmp/near_duplicates.json
    """
    console = Console(stderr=True)
    tasks = load_all(task)
    # A list of fields is not said in other words.
    prose = [one for one in tasks if "=" not in one.train[0].user]
    result: dict[str, Any] = {
        "reworded": [row for one in prose for row in planted(one, REWORDINGS, each, seed)],
        "different": [row for one in tasks for row in planted(one, differences(_asked(one)), each, seed)],
        "untouched": [untouched(one) for one in tasks],
        "seconds": timed(tasks, largest, seed),
    }
    for name in ("reworded", "different"):
        result[f"{name}_in_all"] = summary(result[name])
    write_result(out, "near_duplicates", seed, result)
    found, merged = (result[f"{name}_in_all"]["merged"] for name in ("reworded", "different"))
    console.print(
        f"Found {found:.1%} of what was reworded; merged {merged:.1%} of what differs. Written to {out}."
    )


def planted(task: Task, kinds: Mapping[str, Change], each: int, seed: int) -> list[dict[str, Any]]:
    """By kind: how many changed questions are near the one that they were made of, found among all of the task."""
    texts = _asked(task)
    rows = []
    for kind, change in kinds.items():
        chance = random.Random(f"{seed} {kind}")
        made: list[tuple[int, str]] = []
        for place in chance.sample(range(len(texts)), len(texts)):
            changed = change(chance, texts[place])
            if changed and changed not in texts and len(made) < each:
                made.append((place, changed))
        found = _found(texts, made)
        wrong = [f"{texts[place]} | {changed}" for (place, changed), merged in zip(made, found, strict=True)
                 if merged is (kind not in REWORDINGS)]  # fmt: skip
        rows.append(
            {
                "task": task.name,
                "kind": kind,
                "planted": len(made),
                "merged": sum(found),
                "examples_of_errors": wrong[:8],
            }
        )
    return rows


def _found(texts: Sequence[str], made: Sequence[tuple[int, str]]) -> list[bool]:
    """Whether each changed question is one with its original, as it is found among all."""
    changed = [(wording(texts[place]), wording(reworded)) for place, reworded in made]
    pairs = set(near_pairs({*map(wording, texts), *(one for pair in changed for one in pair)}))
    return [old == new or bool({(old, new), (new, old)} & pairs) for old, new in changed]


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Shares over all tasks: of each kind, and the mean of the kinds."""
    planted, merged = Counter[str](), Counter[str]()
    for row in rows:
        planted[row["kind"]] += row["planted"]
        merged[row["kind"]] += row["merged"]
    kinds = {
        kind: {"planted": count, "merged": round(merged[kind] / count, 4)}
        for kind, count in planted.items()
        if count
    }
    mean = sum(kind["merged"] for kind in kinds.values()) / len(kinds)
    return {"merged": round(mean, 4), "kinds": kinds}


def untouched(task: Task) -> dict[str, Any]:
    """Pairs among the task's own questions; where right answers differ, the merge may be wrong or an answer."""
    answers = {item.user: item.references[0] for item in (*task.train, *task.test)}
    by_wording: dict[Wording, list[str]] = defaultdict(list)
    for text in sorted(answers):
        by_wording[wording(text)].append(text)
    near = {tuple(sorted(pair)) for pair in near_pairs(by_wording)}
    pairs = [pair for one, other in near for pair in product(by_wording[one], by_wording[other])]
    pairs += [pair for same in by_wording.values() for pair in combinations(same, 2)]
    sizes: Counter[Wording] = Counter()
    for question, representative in grouped(by_wording).representative.items():
        sizes[representative] += len(by_wording[question])
    different = sorted((one, other) for one, other in pairs if answers[one] != answers[other])
    return {
        "task": task.name,
        "sha256": task.sha256,
        "questions": len(answers),
        "pairs": len(pairs),
        "clusters_of_several": sum(size > 1 for size in sizes.values()),
        "largest_cluster": max(sizes.values()),
        "pairs_with_other_answers": len(different),
        "with_other_answers": [f"{one} | {other}" for one, other in different],
    }


def timed(tasks: Sequence[Task], largest: int, seed: int) -> dict[str, float]:
    """Seconds of one core by number of questions, with nothing cached: task questions and rewordings of them."""
    chance = random.Random(seed)
    own = [text for task in tasks for text in _asked(task)]
    changes = [*REWORDINGS.values(), *differences(own).values()]
    texts = dict.fromkeys(own)
    while len(texts) < largest:
        text = chance.choice(own)
        for change in chance.sample(changes, 2):
            text = change(chance, text) or text
        texts[text] = None
    found = {}
    for count in (3_000, 10_000, 30_000, 100_000):
        if count <= largest:
            some = chance.sample(list(texts), count)
            wording.cache_clear()
            started = time.process_time()
            grouped(map(wording, some))
            found[str(count)] = round(time.process_time() - started, 2)
    return found


def _asked(task: Task) -> list[str]:
    return sorted({item.user for item in (*task.train, *task.test)})


if __name__ == "__main__":
    typer.run(main)
