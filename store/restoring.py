"""Puts the adapters that serve beside a backup of the store, and brings both back."""

import shutil
from contextlib import closing
from pathlib import Path

from store.errors import NotSaved, StoreError
from store.maintenance import copy_file, new_file, refuse_damaged
from store.sqlite import sqlite3

# What serves now, and what a rollback would serve again.
_SERVING = """
    SELECT DISTINCT adapter FROM deployments WHERE adapter IS NOT NULL
        AND (status = 'active' OR id IN (SELECT previous_id FROM deployments WHERE status = 'active'))"""

# Of a backup in a folder of many; by it they are in order of time.
TIMED_NAME = "shorthand-%Y%m%d-%H%M%S.sqlite"
_TIMED = f"shorthand-{'[0-9]' * 8}-{'[0-9]' * 6}.sqlite"


def remove_older(folder: Path, keep: int) -> None:
    """Of the backups with such a name, keep so many, the newest. Raises NotSaved."""
    try:
        for backup in sorted(folder.glob(_TIMED))[:-keep]:
            backup.unlink()
            shutil.rmtree(adapters_of(backup), ignore_errors=True)
    except OSError as error:
        raise NotSaved(f"An older backup was not removed: {error}. It takes space in {folder}.") from error


def adapters_of(backup: Path) -> Path:
    """The folder beside a backup with its adapters."""
    return backup.with_name(f"{backup.name}.adapters")


def save_adapters(backup: Path, data_dir: Path) -> tuple[list[str], list[str]]:
    """Copy what the backup's assistants are served with; return these names and the missing ones. Raises NotSaved."""
    with closing(sqlite3.connect(backup)) as copy:
        names = [Path(row[0]).name for row in copy.execute(_SERVING)]
    saved = [name for name in names if (data_dir / "adapters" / name).is_dir()]
    _copy_folders(data_dir / "adapters", saved, adapters_of(backup))
    return saved, [name for name in names if name not in saved]


def restore(backup: Path, target: Path) -> list[str]:
    """Copy a backup to `target`, the store of a new data directory, and its adapters to their folder there; return
    their names. Raises Conflict where there is a store already, NotSaved, and StoreError for a file that is no backup.
    """
    if not backup.is_file():
        raise StoreError(f"There is no backup {backup}. Give the file that `python -m store backup` wrote.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with new_file(target, "The store") as partial:
        copy_file(backup, partial)
        refuse_damaged(partial, backup)
    names = sorted(path.name for path in adapters_of(backup).glob("*"))
    _copy_folders(adapters_of(backup), names, target.parent / "adapters")
    return names


def _copy_folders(source: Path, names: list[str], target: Path) -> None:
    """Each gets its name when it is complete; one that is there already stays, since adapters never change."""
    for name in names:
        partial = target / f".{name}.partial"
        try:
            if not (target / name).exists():
                shutil.rmtree(partial, ignore_errors=True)
                shutil.copytree(source / name, partial)
                partial.rename(target / name)
        except OSError as error:
            raise NotSaved(f"Adapter {name} was not copied to {target}: {error}. Free some space.") from error
