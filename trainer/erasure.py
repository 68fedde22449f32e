"""The command `erase`: takes everything that a person wrote out of the store, the files and the servers.

The store comes first: from then on nothing can be served or trained from it again, whatever becomes of the files.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Annotated

import typer

from assistant.serving import NoServer, ServerAddress
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from store import Store
from store.erasure import Erased
from trainer.command_line import DataDir, console, open_store
from trainer.context import TEACHER_FILE
from trainer.training.checkpoints import work_dir

TRIGGER = "data was erased"


def erase(
    person: Annotated[
        str, typer.Argument(help="The owner of conversations, the rater, the reviewer, or all of them.")
    ],
    data_dir: DataDir = Path("data"),
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this only say what would go.")] = False,
) -> None:
    """Erase what a person wrote, and every adapter that learned from it. It cannot be undone.

    Conversations that the person owns go, the ratings, corrections and reviews that the person gave, and the examples
    made of any of them. Where such an adapter answers now, the base model with the full prompt takes over at once and a
    retrain without the person is asked for. Backups and exports keep what they have.
    """
    store = open_store(data_dir)
    if yes:
        erased, left = asyncio.run(erase_person(store, data_dir, person))
    else:
        erased, left = store.erasure.preview(person), []
    for line in [*_in_words(erased, yes), *left]:
        console.print(line, soft_wrap=True, markup=False)
    if not yes and erased:
        console.print("To do it: add --yes.")
    if left:
        raise typer.Exit(1)


async def erase_person(store: Store, data_dir: Path, person: str) -> tuple[Erased, list[str]]:
    """What was erased, and a line for each file that could not be deleted.

    Requests a retrain where an adapter had to stop answering. Raises NotFound, Conflict, NotSaved.
    """
    erased = store.erasure.erase(person)
    for assistant in erased.assistants:
        store.runs.request(assistant, TRIGGER)
    await _unload(data_dir, erased.adapters)
    paths = [data_dir / "adapters" / name for name in erased.adapters]
    paths += [work_dir(data_dir, run) for run in erased.runs]
    # The teacher's log-probabilities are kept by answer, under a hash: nobody can tell whose they are.
    paths += [data_dir / TEACHER_FILE] if erased.examples else []
    return erased, [left for path in paths if (left := _delete(path))]


def _in_words(erased: Erased, done: bool) -> list[str]:
    answers = "answers" if done else "would answer"
    return [
        f"{'Erased' if done else 'Would erase'}: conversations: {erased.conversations:,}, ratings: {erased.ratings:,}, "
        f"decisions of reviewers: {erased.decisions:,}, decided judgement requests: {erased.judgement_requests:,}, "
        f"examples in datasets: {erased.examples:,}.",
        f"Adapters that learned from them: {', '.join(erased.adapters) or 'none'}.",
        *(
            f"{name}: the base model with the full prompt {answers} until the next retrain."
            for name in erased.assistants
        ),
    ]


async def _unload(data_dir: Path, adapters: tuple[str, ...]) -> None:
    try:
        address = ServerAddress.read(data_dir)
        pool = await VllmPool.connect(address.urls, address.key)
    except (NoServer, VllmError):
        return  # nothing runs that could answer with them
    try:
        for name in adapters:
            await pool.unload_adapter(name)
    finally:
        await pool.close()


def _delete(path: Path) -> str:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        return f"{path} could not be deleted ({error.strerror}): delete it by hand."
    return ""
