"""The command `erase`: takes everything that a person wrote out of the store, the files and the servers.

The store comes first: from then on nothing can be served or trained from it again, whatever becomes of the files.
"""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from assistant.serving import NoServer, ServerAddress
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from store import Store
from store.erasure import Erased
from trainer.command_line import DataDir, open_store, print_lines
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

    Conversations that the person owns go, files that the person uploaded, the ratings, corrections and reviews that
    the person gave, and the examples made of any of them. Where such an adapter answers now, the base model with
    the full prompt takes over at once and a retrain without the person is asked for. Backups and exports keep what
    they have.
    """
    store = open_store(data_dir)
    if not yes:
        print_lines(*_in_words(store.erasure.preview(person), "Would erase"), "To do it: add --yes.")
        return
    erased, left = asyncio.run(erase_person(store, data_dir, person))
    print_lines(*_in_words(erased, "Erased"), *left)
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
    left = []
    for path in paths:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as error:
            left.append(f"{path} could not be deleted ({error.strerror}): delete it by hand.")
    return erased, left


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


def _in_words(erased: Erased, verb: str) -> Iterator[str]:
    yield (
        f"{verb}: conversations: {erased.conversations:,}, ratings: {erased.ratings:,}, decisions of reviewers: "
        f"{erased.decisions:,}, decided judgement requests: {erased.judgement_requests:,}, examples in datasets: "
        f"{erased.examples:,}, uploaded files: {erased.files:,}."
    )
    yield f"Adapters that learned from them: {', '.join(erased.adapters) or 'none'}."
    for name in erased.assistants:
        yield f"{name}: the base model with the full prompt answers until the next retrain."
