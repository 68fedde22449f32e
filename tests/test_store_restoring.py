"""A backup has the adapters that serve, and both come back in another data directory."""

import shutil
from pathlib import Path

import pytest
from store_scene import run_store

from store import Store
from store.records import Segment, SegmentKind
from store.restoring import remove_older


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Three adapters: one retired long ago, the previous one, and the active one."""
    directory = tmp_path / "data"
    directory.mkdir()
    with Store(directory / "shorthand.sqlite") as store:
        store.assistants.create("bank", "Bank", "exact")
        prompt = store.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Be brief.")])
        run = store.runs.start("bank", {}, "by hand")
        for name in (None, "bank-v1", "bank-v2", "bank-v3"):
            if name:
                (directory / "adapters" / name).mkdir(parents=True)
                (directory / "adapters" / name / "weights").write_text(name)
                store.adapters.add(name, "bank", run.id, name, "hash")
            made = store.deployments.add("bank", prompt.id, name, ["a"], 0, 3)
            store.deployments.activate(made.id)
    return directory


def test_a_backup_brings_back_what_serves_and_what_a_rollback_would(data_dir: Path, tmp_path: Path) -> None:
    copy, new = tmp_path / "copy.sqlite", tmp_path / "elsewhere" / "new"
    assert "2 adapters" in run_store("backup", copy, "--data-dir", data_dir)[1]
    status, text = run_store("restore", copy, "--data-dir", new)
    assert status == 0 and "2 adapters" in text
    assert sorted(path.name for path in (new / "adapters").iterdir()) == ["bank-v2", "bank-v3"]
    assert (new / "adapters" / "bank-v3" / "weights").read_text() == "bank-v3"
    with Store(new / "shorthand.sqlite", create=False) as store:
        active = store.deployments.active("bank")
        assert active and active.adapter == "bank-v3" and store.maintenance.check() == []
    status, text = run_store("restore", copy, "--data-dir", new)
    assert status == 2 and "exists already" in text


def test_a_store_that_was_copied_by_hand_in_use_is_restored_with_its_log(tmp_path: Path) -> None:
    taken, new = tmp_path / "taken", tmp_path / "new"
    taken.mkdir()
    with Store(tmp_path / "shorthand.sqlite") as store:
        store.assistants.create("bank", "Bank", "exact")
        for end in ("", "-wal"):
            shutil.copy(tmp_path / f"shorthand.sqlite{end}", taken)
    assert run_store("restore", taken / "shorthand.sqlite", "--data-dir", new)[0] == 0
    with Store(new / "shorthand.sqlite", create=False) as store:
        assert [one.id for one in store.assistants.all()] == ["bank"]


HARM = {
    "gone": lambda copy: copy.unlink(),
    "cut": lambda copy: copy.write_bytes(copy.read_bytes()[:20_000]),
    "text": lambda copy: copy.write_text("no database " * 999),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_is_no_backup_is_refused_and_leaves_no_store(data_dir: Path, tmp_path: Path, harm: str) -> None:
    copy, new = tmp_path / "copy.sqlite", tmp_path / "new"
    run_store("backup", copy, "--data-dir", data_dir)
    HARM[harm](copy)
    status, text = run_store("restore", copy, "--data-dir", new)
    assert status == 2 and "Error" in text and not list(new.glob("*.sqlite*"))


def test_an_adapter_that_is_not_there_is_named_and_the_rest_is_saved(data_dir: Path, tmp_path: Path) -> None:
    (data_dir / "adapters" / "bank-v2").rename(tmp_path / "away")
    status, text = run_store("backup", tmp_path / "copy.sqlite", "--data-dir", data_dir)
    assert status == 0 and "1 adapters" in text and "bank-v2 is not in" in text


def test_of_a_folders_backups_the_newest_are_kept_with_their_adapters(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    status, text = run_store("backup", folder, "--keep", 2, "--data-dir", data_dir)
    assert status == 2 and "no folder" in text
    (folder / "shorthand-20310501-120000.sqlite.adapters").mkdir(parents=True)
    others = ["shorthand-20310501-120000.sqlite", "shorthand-20260101-000000.sqlite", "shorthand-mine.sqlite"]
    for name in others:
        (folder / name).touch()
    status, text = run_store("backup", folder, "--keep", 2, "--data-dir", data_dir)
    assert status == 0, text
    kept = sorted(path.name for path in folder.glob("*.sqlite"))
    assert others[0] in kept and others[1] not in kept and others[2] in kept and len(kept) == 3
    remove_older(folder, 1)
    assert [path.name for path in folder.glob("*-2*.sqlite")] == others[:1]
    assert [path.name for path in folder.glob("*.adapters")] == [f"{others[0]}.adapters"]
