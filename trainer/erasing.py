"""A person's name to a store, a data directory and a server without what came from that person.

The store comes first: from then on nothing can be served or trained from it again, whatever becomes of the files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from assistant.serving import NoServer, ServerAddress
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from store import Store
from store.erasure import Erased
from trainer.context import TEACHER_FILE
from trainer.training.checkpoints import work_dir

TRIGGER = "data was erased"


async def erase(store: Store, data_dir: Path, person: str) -> tuple[Erased, list[str]]:
    """Erase, and ask for a retrain where an adapter had to stop answering. Raises NotFound, Conflict, NotSaved."""
    erased = store.erasure.erase(person)
    for assistant in erased.assistants:
        store.runs.request(assistant, TRIGGER)
    await _unload(data_dir, erased.adapters)
    paths = [data_dir / "adapters" / name for name in erased.adapters]
    paths += [work_dir(data_dir, run) for run in erased.runs]
    # What the teacher thinks of answers is kept by answer, under a hash: nobody can tell whose they are.
    paths += [data_dir / TEACHER_FILE] if erased.examples else []
    return erased, [left for path in paths if (left := _delete(path))]


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
