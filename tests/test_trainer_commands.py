"""The trainer's commands: what they print, and how they fail."""

import json
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from store import Store
from store.records import RunStatus
from trainer import command_line
from trainer.__main__ import app


def run_command(data_dir: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--data-dir", str(data_dir)])
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(command_line.console, "_width", 200)  # whatever terminal it was made for
    monkeypatch.setattr(command_line.console, "_height", 50)
    opened = Store(tmp_path / "shorthand.sqlite")
    opened.assistants.create("bank", "Bank", "exact")
    return opened


def test_report_shows_every_run(bank: Store, tmp_path: Path) -> None:
    assert "No retrain yet" in run_command(tmp_path, "report")[1]
    quality = {"mean": 0.5, "low": 0.4, "high": 0.6}
    report = {
        "before": {"prompt_tokens": 80, "quality": quality},
        "after": {"prompt_tokens": 16, "quality": quality},
        "gate": {"examples": 120},
    }
    for number, status in enumerate((RunStatus.PROMOTED, RunStatus.FAILED), 1):
        run = bank.runs.start("bank", {"epochs": number}, "by hand")
        bank.runs.finish(run.id, status, f"message [/b] {number}", report if number == 1 else {})
    table = run_command(tmp_path, "report")[1]
    assert "80 → 16" in table and "0.400 to 0.600" in table and "message [/b] 2" in table
    first, second = json.loads(run_command(tmp_path, "report", "--json")[1])
    assert first["report"] == report and second["settings"] == {"epochs": 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("once", "--set", "epoch=3"), "There is no setting 'epoch'"),
        (("once", "--assistant", "shop"), "Choose an assistant with --assistant: bank (not 'shop')."),
        (("once",), "Start the app there first"),
        (("rerun", "9"), "run 9"),
        (("erase", ""), "Nobody is called"),
        (("rollback",), "bank"),
    ],
)
def test_what_goes_wrong_is_a_message_and_status_2(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests keep their own
    status, output = run_command(tmp_path, *words)
    assert status == 2 and message in output


def test_a_data_directory_without_a_store_is_refused(tmp_path: Path) -> None:
    status, output = run_command(tmp_path, "report")
    assert status == 2 and "There is no store at" in output
