"""`python -m trainer privacy`: what people see before a retrain, and how they correct it."""

import json
from pathlib import Path

import pytest
from imported_turns import ImportedTurn, load_turns
from retrain_scene import Scene
from typer.testing import CliRunner, Result

from store.records import Verdict
from trainer.__main__ import app


@pytest.fixture
def data_dir(scene: Scene) -> Path:
    load_turns(
        scene.store,
        "bank",
        [
            ImportedTurn(
                "c1", "I am ann@example.com, order ORD-123456", "Hello ann@example.com.", Verdict.UP
            ),
            ImportedTurn("c2", "Who helps?", "Write to help@example.org.", Verdict.UP),
            ImportedTurn("c3", "Is it red?", "red", Verdict.UP),
        ],
    )
    return scene.context.data_dir


def run(data_dir: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["privacy", *words, "--data-dir", str(data_dir)])


def said(result: Result) -> str:
    return " ".join(result.output.split())


def test_preview_shows_what_would_be_replaced_and_records_nothing(data_dir: Path, scene: Scene) -> None:
    result = run(data_dir, "preview")
    assert result.exit_code == 0, result.output
    assert "3 passages in 2 of 3 examples: 3 EMAIL." in said(result)
    assert "ann@example.com" in result.output and "<EMAIL_1>" in result.output
    assert "1 approved answer with something personal that stands neither" in said(result)
    assert scene.store.maintenance.stats()["splits"] == 0 and scene.store.runs.all("bank") == []
    assert "2 more: --limit, or --json for all." in said(run(data_dir, "preview", "--limit", "1"))


def test_rules_are_added_shown_followed_and_removed(data_dir: Path) -> None:
    assert "No rules. Add one" in run(data_dir, "show").output
    assert "replace ORDER" in said(run(data_dir, "add", "order", "ORD-[0-9]{6}"))
    assert "keep text help@example.org" in said(run(data_dir, "keep", "help@example.org"))
    assert "2 keep" in said(run(data_dir, "show"))
    record = json.loads(run(data_dir, "preview", "--json").output)
    assert record["replaced"] == {"EMAIL": 2, "ORDER": 1} and record["unasked"] == []
    assert "Removed: 1 replace ORDER" in said(run(data_dir, "remove", "1"))
    assert json.loads(run(data_dir, "preview", "--json").output)["replaced"] == {"EMAIL": 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["add", "X!", "abc"], "'X!' is no kind"),
        (["add", "XX", "(a+)+b"], "for ever"),
        (["add", "XX", "("], "add --text"),
        (["keep", "(", "--pattern"], "no regular expression"),
        (["remove", "7"], "There is no redaction rule 7 of 'bank'"),
        (["show", "--assistant", "none"], "Choose an assistant"),
    ],
)
def test_what_is_refused_says_why(data_dir: Path, words: list[str], message: str) -> None:
    result = run(data_dir, *words)
    assert result.exit_code == 2 and message in said(result), result.output


def test_the_same_rule_twice_is_refused(data_dir: Path) -> None:
    assert run(data_dir, "add", "XX", "(", "--text").exit_code == 0
    assert "has that rule already" in said(run(data_dir, "add", "XX", "(", "--text"))
