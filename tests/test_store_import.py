"""Import: nothing is imported twice, a bad row keeps no other out, and any bytes are imported or refused in words."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from import_scene import (
    APPROVING,
    CHAT,
    OPTIONS,
    TABLE,
    Load,
    chats,
    export_data,
    import_file,
    rated_answers_in,
)
from imported_turns import ImportedTurn, load_turns
from store_scene import run_store

from store import Store, StoreError
from store.io import importing
from store.io.importing import import_planned, plan_import
from store.io.records import ImportOptions
from store.records import Rating, Role, Verdict


def test_bad_rows_of_a_table_are_named_and_the_rest_is_imported(bank: Store, load: Load) -> None:
    rows = [
        b"conversation,turn,question,answer,verdict,rated_at",  # line 1
        b"a,1,q1,a1,up,",
        b"a,2,q2,a2,maybe,",
        b"a,3,q3,a3,up,",
        b"b,1,caf\xe9,a,up,",
        b"c,x,q,a,up,",
        b"d,1,q,a,up,yesterday",
        b"only",
        b"e,1,qe,a,up,",
        b"e,2,q,a\x00b,up,",
        b'f,1,"q"x,a,up,',
        b"g,1,qg,a,up,",
    ]
    result = load(b"\n".join(rows))
    expected = {
        3: "its verdict is 'maybe'. Write up or down",
        4: "an earlier turn of conversation 'a' was refused",
        5: "character 3 is the byte 0xe9, which is not UTF-8, near 'caf",
        6: "its turn is 'x'",
        7: "its rated_at is 'yesterday'",
        8: "it has 1 cells",
        10: "character 1 is a NUL character, near 'a",
        11: "Is a quotation mark missing?",
    }
    for line, reason in expected.items():
        assert reason in result.refusals.pop(line)
    assert result.refusals == {}
    assert sorted(context[0] for context, _, _ in rated_answers_in(bank)) == ["q1", "qe", "qg"]
    assert bank.maintenance.check() == []


BAD = {
    "not JSON": ("{oops}", "not JSON: Expecting property name"),
    "cut off": ('{"messages":[{"role":"user"', "not JSON"),
    "half a pair": ('{"messages":[{"role":"user","content":"\\ud83d"}]}', "half a surrogate pair (U+D83D)"),
    "other type": ('{"messages":"none"}', "it is no row of OpenAI"),
    "no role": ('{"messages":[{"content":"q"}]}', "message 1 has the role ''"),
    "tool": ('{"messages":[{"role":"tool","content":"q"}]}', "message 1 has the role 'tool'"),
    "picture": (
        '{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}',
        "part of type 'image_url'",
    ),
    "tool call": ('{"messages":[{"role":"user","content":"q"},{"role":"assistant"}]}', "has no content"),
    "answer first": ('{"messages":[{"role":"assistant","content":"a"}]}', "follows nothing"),
    "two answers": (CHAT.replace("]}", ',{"role":"assistant","content":"b"}]}') % (1, 1), "another answer"),
    "nothing": ('{"messages":[]}', "no message in it"),
    "NUL": ('{"messages":[{"role":"user","content":"a\\u0000b"}]}', "character 1 is a NUL character"),
    "not UTF-8": (
        '{"messages":[{"role":"user","content":"caf\udce9"}]}',
        "the byte 0xe9, which is not UTF-8",
    ),
    "deep": ('{"x":' + "[" * 100_000, "it is not JSON"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_line_is_named_and_the_rest_is_imported(bank: Store, load: Load, what: str) -> None:
    line, reason = BAD[what]
    data = (chats(1) + "\n" + line + "\n" + chats(2)).encode("utf-8", "surrogateescape")
    result = load(b"\xef\xbb\xbf" + data)
    assert list(result.refusals) == [3] and reason in result.refusals[3]
    assert result.counts["conversations"] == 2 and bank.maintenance.check() == []


@pytest.mark.parametrize("bad", ["{oops " + "x" * 3 * 2**20, '{"a": "' + "x" * 3 * 2**20, "17"])
def test_a_broken_line_of_any_length_ends_with_its_line(load: Load, bad: str) -> None:
    result = load(chats(1) + bad + "\r\n" + chats(2))
    assert list(result.refusals) == [2] and result.counts["conversations"] == 2


@pytest.mark.parametrize("end", ["", ", {", f"]\n[{CHAT % (2, 2)}]"])
def test_a_list_that_is_broken_is_refused_as_a_whole(load: Load, end: str) -> None:
    with pytest.raises(StoreError, match="is not JSON: .* line"):
        load(f"[{CHAT % (1, 1)}{end}")
    result = load(f"[{CHAT % (1, 1)}, 5, {CHAT % (2, 2)}]")
    assert (result.counts["conversations"], result.unit, list(result.refusals)) == (2, "item", [2])


OTHER_FILES = {
    "empty": (b" \n", "is empty"),
    "UTF-16 without mark": ("question,answer\n".encode("utf-16-le"), "is not text in UTF-8"),
    "Excel": (b"PK\x03\x04rest", "Save a spreadsheet as CSV"),
    "prose": (b"Dear all,\n" + b"x" * 200_000, "needs a header with the columns question and answer"),
    "header that goes wrong": (b'question,answer,"note"x\na,b,c\n', "header with the columns question and"),
    "one object": (b'{\n "rows": []\n}', "in none of the formats"),
    "other list": (b'[{"a":1}]', "in none of the formats"),
}


@pytest.mark.parametrize("what", OTHER_FILES)
def test_a_file_of_another_kind_is_refused_at_once(load: Load, what: str) -> None:
    data, reason = OTHER_FILES[what]
    with pytest.raises(StoreError) as raised:
        load(data)
    assert reason in str(raised.value)


def test_a_format_that_is_asked_for_is_not_looked_for(bank: Store, tmp_path: Path, load: Load) -> None:
    refused = load(chats(1), format="sharegpt").refusals
    assert refused == {1: "it is no row of ShareGPT (format: sharegpt)."}
    assert load(TABLE, format="openai").refused == 6
    with pytest.raises(StoreError, match="no format 'xml'"):
        load(chats(1), format="xml")
    bad_beginning = "oops\n" * 30 + chats(1)
    assert load(bad_beginning, format="openai").refused == 30
    assert load("oops\n" + chats(1)).counts["known"] == 1
    with pytest.raises(StoreError, match="Is a directory"):
        import_file(bank, tmp_path, OPTIONS)
    with pytest.raises(StoreError, match="No such file"):
        import_file(bank, tmp_path / "none", OPTIONS)


def test_a_row_that_is_there_twice_is_imported_once(load: Load) -> None:
    result = load(chats(1, 2, 1), APPROVING)
    assert result.counts == {"conversations": 2, "known": 1, "messages": 4, "ratings": 2}


def test_two_assistants_share_files_but_no_conversations(bank: Store, tmp_path: Path, load: Load) -> None:
    bank.assistants.create("shop", "Shop", "exact")
    for_shop = ImportOptions("shop", "me", True, 1_940_000_000.0)
    assert load(chats(1)).counts["conversations"] == 1
    assert load(chats(1), for_shop).counts["conversations"] == 1
    load_turns(bank, "bank", [ImportedTurn("c", "q", "a")])
    data = export_data(bank, tmp_path, "shorthand")
    result = load(data, replace(for_shop, approve=False))
    assert result.refusals[3] == "conversation 'c' belongs to assistant 'bank' already."
    with pytest.raises(StoreError, match="without --approve"):
        load(data, APPROVING)


def test_an_own_export_adds_what_is_new_and_later_ratings_stay_the_latest(
    bank: Store, tmp_path: Path, load: Load
) -> None:
    with Store(tmp_path / "other") as other:
        other.assistants.create("bank", "Bank", "exact")
        load_turns(other, "bank", [ImportedTurn("c", "q", "a", created_at=5.0)])
        load(export_data(other, tmp_path, "shorthand"))
        other.ratings.add("c.1.assistant", "ann", Verdict.DOWN)
        asked = other.messages.add("c", "c.1.assistant", Role.USER, "q2")
        data = export_data(other, tmp_path, "shorthand")
    later = bank.ratings.add("c.1.assistant", "ann", Verdict.UP)
    result = load(data)
    counts = [result.counts[kind] for kind in ("conversations", "known", "messages", "ratings")]
    assert counts == [0, 1, 1, 1]
    assert bank.conversations.get("c").head_id == asked.id
    (answer,) = bank.answers.rated("bank")
    assert answer.ratings == (later,) and len(bank.ratings.all("c.1.assistant")) == 2
    assert bank.maintenance.check() == []


EDITED = {
    '"role":"assistant"': ('"role":"robot"', "Invalid enum value 'robot'"),
    '"parent_id":"c.1.user"': ('"parent_id":"x"', "which does not come before it"),
    '"head_id":"c.1.assistant"': ('"head_id":"x"', "it shows message 'x'"),
    '"message_id":"c.1.assistant"': ('"message_id":"c.1.user"', "is no answer in it"),
    '"source":"import"': ('"source":"moon"', "CHECK constraint failed: source IN ('chat'"),
    '"created_at":5.0': ('"created_at":1e999', "it has the time inf"),
    '"text":"a"': ('"text":"a\\u0000"', "NUL"),
    '"id":"c.1.assistant"': ('"id":"there.1.assistant"', "which is not in it"),
    '{"shorthand":1': ('{"shorthand":9', "newer Shorthand"),
    "d.1.user": ("c.1.user", "UNIQUE constraint failed: messages.id"),
}


@pytest.mark.parametrize("old", EDITED)
def test_an_own_export_that_was_edited_is_checked(bank: Store, tmp_path: Path, old: str, load: Load) -> None:
    with Store(tmp_path / "other") as other:
        other.assistants.create("bank", "Bank", "exact")
        turns = [ImportedTurn(id, "q", "a", Verdict.UP, created_at=5.0) for id in ("c", "d", "e")]
        load_turns(other, "bank", turns)
        data = export_data(other, tmp_path, "shorthand").decode()
    new, reason = EDITED[old]
    assert old in data
    result = load(data.replace(old, new, -1 if old == "d.1.user" else 1))
    assert len(result.refusals) == 1 and reason in next(iter(result.refusals.values()))
    assert result.counts["conversations"] >= 2 and bank.maintenance.check() == [], "the others are there"


def test_people_can_rate_while_a_large_file_is_imported(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_turns(bank, "bank", [ImportedTurn("c", "q", "a")])
    monkeypatch.setattr(importing, "_BATCH", 50)
    ratings: list[Rating] = []
    done = threading.Event()

    def rate() -> None:
        with Store(bank.path) as other:
            while not done.is_set():
                ratings.append(other.ratings.add("c.1.assistant", f"ann{len(ratings)}", Verdict.UP))

    person = threading.Thread(target=rate)
    person.start()
    path = tmp_path / "large.jsonl"
    path.write_text(chats(*range(3000)))
    try:
        import_planned(bank, plan_import(path, APPROVING))
    finally:
        done.set()
        person.join()
    assert ratings and bank.maintenance.stats()["ratings"] == 3000 + len(ratings)
    assert bank.maintenance.check() == []


def test_the_command_says_what_was_imported_and_what_was_not(bank: Store, tmp_path: Path) -> None:
    def run(*words: object) -> tuple[int, str]:
        code, output = run_store("import", *words, "--data-dir", tmp_path)
        return code, " ".join(output.split())

    path = tmp_path / "chats.jsonl"
    path.write_text(chats(1, 2))
    code, output = run(path)
    assert code == 0
    assert "Imported (format: openai): conversations 2, messages 4, ratings 0" in output
    assert "Answers without a rating: 2" in output and "--approve" in output
    path.write_text(chats(1, 2) + "oops\n" * 30)
    code, output = run(path, "--approve", "--rater", "ann")
    assert code == 1 and "ratings 2" in output and "were there already: 2" in output
    assert "line 3: it is not JSON" in output and "and 10 more" in output and "Refused rows: 30" in output
    assert {r[0][0] for _, _, r in rated_answers_in(bank)} == {"ann"}
    code, output = run(tmp_path / "none")
    assert code == 2 and "No such file" in output
    code, output = run(path, "--assistant", "shop")
    assert code == 2 and "--assistant: bank (not 'shop')" in output
    code, output = run("--help")
    assert code == 0 and "Example: python -m store import" in output


def test_without_an_assistant_there_is_nothing_to_import_for(store: Store, tmp_path: Path) -> None:
    code, output = run_store("import", "x", "--data-dir", tmp_path)
    assert code == 2 and "There is no assistant yet" in output
