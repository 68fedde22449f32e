"""Export: what each format writes, that it comes back as it was, and that a file is whole or not there."""

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from import_scene import APPROVING, any_text, export_data, fill, import_data, message, new_store, stores
from imported_turns import ImportedTurn, load_turns
from typer.testing import CliRunner

from store import Store, StoreError
from store.__main__ import app
from store.errors import Conflict, NotFound, NotSaved
from store.io.exporting import export_file
from store.io.table import escape_formula, unescape_formula
from store.records import MessageStatus, Role, Usage, Verdict
from store.visible import is_blank
from trainer.examples.selection import CollectedAnswer, judge

# Every example is files of its own on the disk, so there are few, and a failing one is not made smaller for ever.
ROUND_TRIP = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
TURNS = [
    ImportedTurn("c1", "q1", "a1", Verdict.UP, "clear", "", None, "ann", 1_800_000_000.5),
    ImportedTurn("c1", "q2", "a2", Verdict.DOWN, "wrong", "=see", "c2", "bob", 1_800_000_001.5),
    ImportedTurn("c2", "q3", "a3", created_at=1_800_000_002.5),
]


@pytest.fixture
def bank(bank: Store) -> Store:
    load_turns(bank, "bank", TURNS)
    return bank


def lines(data: bytes) -> list[dict]:
    return [json.loads(line) for line in data.splitlines()]


def test_openai_rows_are_approved_answers_and_earlier_ones_weigh_nothing(bank: Store, tmp_path: Path) -> None:
    called = bank.threads.ask("bank", "api", [(Role.USER, "q4")], source="tools")
    answered = bank.messages.add(called.conversation_id, called.id, Role.ASSISTANT, "<tool_call>")
    bank.ratings.add(answered.id, "ann", Verdict.UP)  # without the tools it is nothing to learn from
    first = [message("user", "q1"), message("assistant", "a1")]
    second = [first[0], {**first[1], "weight": 0}, message("user", "q2"), message("assistant", "c2")]
    assert lines(export_data(bank, tmp_path, "openai")) == [{"messages": first}, {"messages": second}]


def test_rows_are_a_list_or_lines_as_the_name_says(bank: Store, tmp_path: Path) -> None:
    for name, read in (("a.json", json.loads), ("b", lines), ("c.jsonl", lines)):
        assert export_file(bank, "bank", tmp_path / name, "openai") == 2
        assert [list(row) for row in read((tmp_path / name).read_bytes())] == [["messages"], ["messages"]]


def test_csv_has_a_row_for_every_answer_and_rater_and_no_formula(bank: Store, tmp_path: Path) -> None:
    bank.ratings.add("c1.2.assistant", "carl", None, comment="+1")
    rows = list(csv.DictReader(io.StringIO(export_data(bank, tmp_path, "csv").decode("utf-8-sig"))))
    names = ("conversation", "turn", "question", "answer", "verdict", "rater")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("c1", "1", "q1", "a1", "up", "ann"),
        ("c1", "2", "q2", "a2", "down", "bob"),
        ("c1", "2", "q2", "a2", "", "carl"),
        ("c2", "1", "q3", "a3", "", ""),
    ]
    assert rows[1]["comment"] == "'=see" and rows[2]["comment"] == "'+1"
    assert rows[1]["rated_at"] == "2027-01-15T08:00:01.500000+00:00"


def test_the_own_format_begins_with_the_assistant_and_its_prompts(bank: Store, tmp_path: Path) -> None:
    bank.prompts.add("bank", [])
    head, *rest = lines(export_data(bank, tmp_path, "shorthand"))
    assert head["shorthand"] == 1 and head["assistant"]["name"] == "Bank"
    assert head["assistant"]["prompts"][0]["version"] == 1
    assert [row["conversation"]["id"] for row in rest] == ["c1", "c2"]


def test_what_is_being_generated_is_exported_as_cut_off(bank: Store, tmp_path: Path) -> None:
    conversation = bank.conversations.create("bank", id="now")
    question = bank.messages.add("now", None, Role.USER, "q")
    bank.messages.add("now", question.id, Role.ASSISTANT, "half an ans", MessageStatus.STREAMING)
    row = lines(export_data(bank, tmp_path, "shorthand"))[-1]
    assert (row["conversation"]["id"], row["messages"][1]["status"]) == (conversation.id, "failed")


@ROUND_TRIP
@given(stores)
def test_the_own_format_comes_back_to_the_byte(conversations: list) -> None:
    with two_stores() as (folder, one, other):
        fill(one, conversations, unique=False, reviewed=True)
        if conversations:
            usage = Usage(5, 4, 3, 2, 0.1, 0.2)
            asked = one.messages.add("id00000000", None, Role.USER, "q")
            one.messages.add("id00000000", asked.id, Role.ASSISTANT, "a", usage=usage)
        data = export_data(one, folder, "shorthand")
        result = import_data(other, folder, data)
        assert result.refusals == {} and other.maintenance.check() == []
        assert export_data(other, folder, "shorthand").split(b"\n")[1:] == data.split(b"\n")[1:]
        assert [(a.message_id, a.ratings, a.decision, a.split) for a in one.answers.rated("bank")] == [
            (a.message_id, a.ratings, a.decision, a.split) for a in other.answers.rated("bank")
        ]
        again = import_data(other, folder, data)
        assert set(again.counts) == {"known"} or not conversations


@ROUND_TRIP
@given(stores)
def test_answers_come_back_to_the_byte(conversations: list) -> None:
    with two_stores() as (folder, one, other):
        fill(one, conversations, reviewed=True)
        data = export_data(one, folder, "openai")
        if data:
            assert import_data(other, folder, data, APPROVING).refused == 0
        once = list(dict.fromkeys(data.splitlines()))
        assert export_data(other, folder, "openai").splitlines() == once
        assert learned(one) == learned(other)


@ROUND_TRIP
@given(stores)
def test_a_table_comes_back_but_for_the_ids_and_then_to_the_byte(conversations: list) -> None:
    with two_stores() as (folder, one, other), new_store(folder / "third") as third:
        fill(one, conversations, failing=False)  # what failed is left behind
        assert import_data(other, folder, export_data(one, folder, "csv")).refused == 0
        assert other.maintenance.check() == [] and rated(one) == rated(other)
        data = export_data(other, folder, "csv")
        import_data(third, folder, data)
        assert export_data(third, folder, "csv") == data


@settings(max_examples=300, deadline=None)
@given(any_text)
def test_no_cell_is_a_formula_and_every_text_comes_back(text: str) -> None:
    assert not escape_formula(text).startswith(tuple("=+-@\t\r\n＝＋－＠"))
    assert unescape_formula(escape_formula(text)) == text


@ROUND_TRIP
@given(stores)
def test_what_is_approved_is_what_the_trainer_approves(conversations: list) -> None:
    with TemporaryDirectory() as folder, new_store(Path(folder) / "one") as one:
        fill(one, conversations, unique=False, reviewed=True)
        found = {a.message.id: a for whole in one.transfer.conversations("bank") for a in whole.answers()}
        pairs = [pair for whole in one.transfer.conversations("bank") for pair in whole.approved_answers()]
        texts = {answer.message.id: text.strip() for answer, text in pairs}
        for answer in one.answers.rated("bank"):
            ours, theirs = found[answer.message_id], judge(answer)
            assert tuple((m.role, m.text) for m in ours.context) == answer.context
            approved = theirs.completion if isinstance(theirs, CollectedAnswer) else ""
            assert texts.get(answer.message_id) == (None if is_blank(approved) else approved)


def test_pages_are_read_one_after_the_other(bank: Store) -> None:
    load_turns(bank, "bank", [ImportedTurn(f"x{n}", "q", "a") for n in range(7)])
    found = [whole.conversation.id for whole in bank.transfer.conversations("bank", page=2)]
    assert found == ["c1", "c2", *(f"x{n}" for n in range(7))]
    bank.assistants.create("shop", "Shop", "exact")
    assert list(bank.transfer.conversations("shop")) == []


def test_a_file_is_private_whole_and_never_overwritten(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    export_file(bank, "bank", path, "shorthand")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict, match="exists already"):
        export_file(bank, "bank", path, "shorthand")
    with pytest.raises(NotSaved, match="no folder"):
        export_file(bank, "bank", tmp_path / "none" / "out", "shorthand")
    with pytest.raises(StoreError, match="no format 'xml'. Choose one of shorthand"):
        export_file(bank, "bank", tmp_path / "b", "xml")
    with pytest.raises(StoreError, match="only imported"):
        export_file(bank, "bank", tmp_path / "b", "open-webui")
    with pytest.raises(NotFound, match="'shop'"):
        export_file(bank, "shop", tmp_path / "c", "shorthand")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bank.transfer, "conversations", stop)
    with pytest.raises(KeyboardInterrupt):
        export_file(bank, "bank", tmp_path / "d", "shorthand")
    assert [name for name in sorted(os.listdir(tmp_path)) if "sqlite" not in name] == ["out.jsonl"]


def test_the_command_writes_a_file_or_standard_output(bank: Store, tmp_path: Path) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["export", *map(str, arguments), "--data-dir", str(tmp_path)])
        return result.exit_code, result.stdout, result.stderr

    code, output, _ = run(tmp_path / "out.jsonl")
    assert code == 0 and "Wrote 2 rows of 2 conversations" in output
    code, output, errors = run("-", "--format", "openai")
    assert code == 0 and len(lines(output.encode())) == 2 and "Wrote 2 rows" in errors
    code, _, errors = run("x", "--format", "xml")
    assert code == 2 and "no format 'xml'" in errors
    bank.assistants.create("shop", "Shop", "exact")
    code, _, errors = run("x")
    assert code == 2 and "--assistant: bank, shop" in errors
    help_ = CliRunner().invoke(app, ["export", "--help"]).output
    assert "openai (approved answers" in " ".join(help_.split())
    assert "Example: python -m store export" in help_


@contextmanager
def two_stores() -> Iterator[tuple[Path, Store, Store]]:
    """A folder with two empty stores."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with new_store(folder / "one") as one, new_store(folder / "other") as other:
            yield folder, one, other


def learned(store: Store) -> set[tuple]:
    """What the trainer takes from the store."""
    chosen = [one for one in map(judge, store.answers.rated("bank")) if isinstance(one, CollectedAnswer)]
    return {(one.context, one.completion) for one in chosen if not is_blank(one.completion)}


def rated(store: Store) -> list[tuple]:
    """Every rating with what it is about, as far as a table carries it."""
    return sorted(
        (a.context, a.answer, r.rater, r.verdict or "", r.reason, r.comment, r.correction or "", r.created_at)
        for a in store.answers.rated("bank")
        for r in a.ratings
    )
