"""What is found and what is found wrongly: recall on planted secrets, false alarms on the examples of tasks.

Writes `results/privacy.json`: recall by form, false alarms per 1,000 examples by task with what was replaced, and the
rate in characters a second. The secrets are invented (`planted`); nothing is stored.
"""

import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from benchmarks.planted import Planted, plant
from benchmarks.record import write_result
from benchmarks.tasks.task import Item, Task, load_all
from trainer.redaction.redactor import Redactor, Replacement

RESULT = Path("benchmarks/results/privacy.json")
_TIMED_CHARACTERS = 1_000_000


def main(
    task: Annotated[list[Path], typer.Option(help="A task file; may be repeated.")],
    planted: Annotated[int, typer.Option(min=1, help="Secrets of each form.")] = 40,
    examples: Annotated[int, typer.Option(min=1, help="Clean examples, evenly of the tasks.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the secrets and of the choice of examples.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
) -> None:
    """Plant secrets and count what is found; look at clean examples and count what should not be. About a minute.

    Example: python -m benchmarks.privacy --task task.json --out /tmp/privacy.json
    """
    console = Console(stderr=True)
    tasks = load_all(task)
    rows = forms(list(track(list(plant(seed, planted)), description="Planted", console=console)))
    clean = [false_alarms(one, share(one, examples, len(tasks), seed)) for one in tasks]
    total, alarms = sum(row["examples"] for row in clean), sum(row["with_false_alarms"] for row in clean)
    result: dict[str, Any] = {
        "planted": sum(row["planted"] for row in rows),
        "kinds": len({row["kind"] for row in rows}),
        "recall": round(sum(row["found"] for row in rows) / sum(row["planted"] for row in rows), 4),
        "clean_examples": total,
        "false_alarms_per_1000_examples": round(1000 * alarms / total, 2),
        "forms": rows,
        "tasks": clean,
        "characters_per_second": rate(tasks, seed),
    }
    write_result(out, "privacy", seed, result)
    console.print(
        f"Found {result['recall']:.2%} of {result['planted']:,} secrets of {result['kinds']} kinds; false alarms in "
        f"{alarms} of {total:,} clean examples. Written to {out}."
    )


def forms(secrets: Sequence[Planted]) -> list[dict[str, Any]]:
    """By form: how many were planted, how many are gone, and of how many nothing else went with them."""
    redactor = Redactor()
    counts: dict[tuple[str, str], Counter[str]] = {}
    for secret in secrets:
        (text,) = redactor.redact([secret.text]).texts
        count = counts.setdefault((secret.form, secret.kind), Counter())
        count.update(planted=1, found=is_gone(secret, text), exactly=text == secret.expected)
    return [
        {"form": form, "kind": kind, **{name: count[name] for name in ("planted", "found", "exactly")}}
        for (form, kind), count in counts.items()
    ]


def is_gone(secret: Planted, text: str) -> bool:
    """No run of six of its characters is left, and a placeholder of its kind stands there."""
    placeholder = f"<{secret.kind}_1>"
    rest = text.replace(placeholder, "")
    left = any(secret.secret[at : at + 6] in rest for at in range(max(1, len(secret.secret) - 5)))
    return not left and placeholder in text


def share(task: Task, wanted: int, tasks: int, seed: int) -> list[Item]:
    """An even share of the wanted examples, drawn from all that the task has."""
    items = [*task.train, *task.test]
    return random.Random(seed).sample(items, min(len(items), -(-wanted // tasks)))


def false_alarms(task: Task, items: Sequence[Item]) -> dict[str, Any]:
    """Whatever is replaced in a question and its first right answer; the task's prompt is not asked what it keeps."""
    redactor = Redactor()
    found: list[Replacement] = []
    touched = 0
    for item in items:
        replacements = redactor.redact([item.user, item.references[0]]).replacements
        touched += bool(replacements)
        found += replacements
    return {
        "name": task.name,
        "sha256": task.sha256,
        "examples": len(items),
        "with_false_alarms": touched,
        "replaced": [{"kind": each.kind, "text": each.text} for each in found],
    }


def rate(tasks: Sequence[Task], seed: int) -> dict[str, int]:
    """Of one thread, on text without and with many secrets."""
    words = [item.user for task in tasks for item in task.train]
    dense = [secret.text for secret in plant(seed, 20)]
    random.Random(seed).shuffle(dense)
    return {name: _timed(texts) for name, texts in (("clean", words), ("dense", dense))}


def _timed(texts: Sequence[str]) -> int:
    text = "\n".join(texts)
    whole = (text * (_TIMED_CHARACTERS // len(text) + 1))[:_TIMED_CHARACTERS]
    started = time.process_time()
    Redactor().redact([whole])
    return round(_TIMED_CHARACTERS / (time.process_time() - started))


if __name__ == "__main__":
    typer.run(main)
