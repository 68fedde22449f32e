"""The audit log: what is recorded, who did it, and that nothing of it is ever changed."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from import_scene import import_file
from imported_turns import ImportedTurn, load_turns
from store_scene import run_store

from store import Store, StoreError
from store.audit import TRAINER, AuditAction, Outcome, acting
from store.errors import Conflict
from store.io.exporting import export_file
from store.io.records import ImportOptions
from store.records import Ruling, Segment, SegmentKind, Verdict
from store.sqlite import sqlite3

SEGMENTS = [Segment(id, SegmentKind.INSTRUCTION, text="Be brief.") for id in "ab"]


@pytest.fixture
def desk(store: Store) -> Store:
    with acting("ann"):
        store.assistants.create("desk", "Desk", "exact")
        prompt = store.prompts.add("desk", SEGMENTS)
        full = store.deployments.add("desk", prompt.id, None, ["a", "b"], 0, 10)
        store.deployments.activate(full.id)
        load_turns(store, "desk", [ImportedTurn("c", "q", "a", Verdict.UP, rater="bo")])
    return store


def lines(store: Store) -> list[tuple[str, str, str]]:
    return [(entry.actor, entry.action, entry.subject) for entry in store.audit.entries()]


def test_each_action_has_a_line_with_who_did_it(desk: Store, tmp_path: Path) -> None:
    answer = desk.answers.rated("desk")[0].message_id
    with acting("rev"):
        made = desk.decisions.add(answer, "rev", Ruling.APPROVE)
        desk.decisions.undo([made.id])
    with acting("bo"):
        desk.runs.request("desk", "button")
    export_file(desk, "desk", tmp_path / "out.jsonl", "shorthand")
    import_file(desk, tmp_path / "out.jsonl", ImportOptions("desk", "import", False, 1.0))
    desk.erasure.erase("bo")
    found = lines(desk)[::-1]
    assert found[:2] == [("ann", "assistant made", "desk"), ("ann", "prompt edited", "desk")]
    assert found[2:5] == [
        ("rev", "reviewed", f"answer {answer}"),
        ("rev", "review undone", f"answer {answer}"),
        ("bo", "training asked for", "desk"),
    ]
    assert [(action, subject) for _, action, subject in found[5:]] == [
        ("exported", "desk"),
        ("imported", "desk"),
        ("erased", "bo"),
    ]
    assert all(actor.startswith("shell:") for actor, _, _ in found[6:])


def test_what_the_trainer_does_by_itself_is_its_own_action(desk: Store) -> None:
    run, prompt = desk.runs.start("desk", {}, "button"), desk.prompts.latest("desk")
    desk.adapters.add("desk-v0001", "desk", run.id, "/nowhere", "hash")
    id = desk.deployments.add("desk", prompt.id, "desk-v0001", ["a"], 1, 5, run.id).id
    with acting(TRAINER):
        desk.deployments.activate(id)
        desk.deployments.rollback("desk", "worse since the swap")
    assert lines(desk)[:2] == [("trainer", "rolled back", "desk"), ("trainer", "promoted", "desk")]
    assert desk.audit.entries(1)[0].detail == {"deployment": id, "now": 1}


def test_what_is_not_done_has_no_line_and_what_fails_outside_says_so(desk: Store, tmp_path: Path) -> None:
    before = len(desk.audit.entries())
    with pytest.raises(Conflict):
        desk.deployments.rollback("desk", "nothing to go back to")
    assert len(desk.audit.entries()) == before
    (tmp_path / "there.csv").write_text("x")
    with pytest.raises(StoreError):
        export_file(desk, "desk", tmp_path / "there.csv", "csv")
    entry = desk.audit.entries()[0]
    assert (entry.action, entry.outcome) == (AuditAction.EXPORTED, Outcome.FAILED)
    assert entry.detail["error"] == "Conflict"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET actor = 'nobody'",
        "UPDATE audit SET seq = seq + 100 WHERE seq = 1",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE seq = 1",
        "INSERT OR REPLACE INTO audit (seq, at, actor, action, subject, outcome, detail) "
        "VALUES (1, 1.0, 'nobody', 'x', '', 'done', '{}')",
        "REPLACE INTO audit SELECT seq, at, 'nobody', action, subject, outcome, detail FROM audit",
    ],
)
def test_a_line_is_never_changed_or_taken_out(desk: Store, change: str) -> None:
    before = desk.audit.entries()
    with (
        closing(sqlite3.connect(desk.path)) as other,
        pytest.raises(sqlite3.IntegrityError, match="never changed"),
    ):
        other.execute(change)
        other.commit()
    assert desk.audit.entries() == before


def test_the_command_shows_it_newest_first_as_lines_or_json(desk: Store) -> None:
    done, detail = {"outcome": Outcome.REFUSED, "actor": "nobody"}, {"address": "10.0.0.1"}
    desk.audit.record(AuditAction.SIGN_IN_FAILED, "an [unknown] name", detail, **done)
    words = ("audit", "--data-dir", desk.path.parent)
    code, output = run_store(*words)
    first, *rest = output.splitlines()
    assert code == 0 and len(rest) == 2
    assert "refused" in first and "an [unknown] name" in first and "address=10.0.0.1" in first
    (line,) = run_store(*words, "--json", "--action", "prompt edited")[1].splitlines()
    assert json.loads(line)["actor"] == "ann" and json.loads(line)["detail"] == {"version": 1}
    assert run_store(*words, "--actor", "nobody-else")[1] == "Nothing is recorded yet.\n"
