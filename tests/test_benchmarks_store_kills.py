"""A few kills of a process that writes; `python -m benchmarks.store_kills` does a thousand."""

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from benchmarks.faults.busy_writer import Saved, digest, set_up
from benchmarks.records.screen import Screen
from benchmarks.store_kills import Toll, _look, kill_often, main
from store import Store
from store.records import Role


def test_whatever_was_acknowledged_is_there_after_every_kill(tmp_path: Path) -> None:
    toll = kill_often(tmp_path / "shorthand.sqlite", 25, 7, 5, Screen())
    assert toll.sound, toll
    assert toll.kills == 25 and toll.in_a_write > 0
    assert {"message", "rating", "decision", "swap"} == set(toll.acknowledged)


def test_the_command_writes_its_result(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--kills", "2", "--out", str(tmp_path / "kills.json")])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "kills.json").read_text())
    assert result["kills"] == 2 and result["lost"] == [] and result["acknowledged"]["message"] > 0


def test_what_is_missing_or_not_as_it_was_told_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "shorthand.sqlite"
    set_up(path)
    with Store(path) as store:
        talk = store.create_conversation("bank")
        asked = store.add_message(talk.id, None, Role.USER, "hello")
    toll = Toll()
    told = [
        Saved("message", asked.id, digest("hello")),
        Saved("message", asked.id, digest("hell")),
        Saved("rating", "none"),
    ]
    _look(path, told, "1", toll, check=True)
    assert toll.lost == [f"message {asked.id}", "rating none"] and toll.wrong_swaps == []
    _look(path, [Saved("swap", "3")], "1", toll, check=True)
    assert toll.wrong_swaps == ["3 was acknowledged, 1 is active"] and not toll.sound
