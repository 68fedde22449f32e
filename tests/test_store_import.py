"""Import: what each format's rows become, that nothing comes in twice, and that a bad row keeps no other out."""

import itertools
import json
import threading
from pathlib import Path

import pytest
from carried_scene import APPROVING, TERMS, brought, exported
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from store import Store, StoreError, importing
from store.__main__ import app
from store.arrival import Terms
from store.errors import BadRow
from store.formats.open_webui import OPEN_WEBUI
from store.importing import import_file
from store.json_rows import items, lines
from store.recognition import recognise
from store.records import ImportedTurn, Rating, Role, Verdict
from trainer.selection import select

CHAT = '{"messages":[{"role":"user","content":"q%d"},{"role":"assistant","content":"a%d"}]}'


@pytest.fixture
def bank(store: Store) -> Store:
    store.create_assistant("bank", "Bank", "exact")
    return store


def chats(*numbers: int) -> str:
    return "".join(CHAT % (number, number) + "\n" for number in numbers)


def told(store: Store) -> list[tuple[list[str], str, list[tuple]]]:
    """Context, answer, and each rating's rater, verdict and correction."""
    return [
        (
            [text for _, text in answer.context],
            answer.answer,
            [(r.rater, r.verdict, r.correction) for r in answer.ratings],
        )
        for answer in store.rated_answers("bank")
    ]


def message(role: str, content: object, **more: object) -> dict:
    return {"role": role, "content": content, **more}


def test_chats_without_ratings_count_only_when_the_importer_says_so(bank: Store, tmp_path: Path) -> None:
    arrived = brought(bank, tmp_path, chats(1, 2))
    assert (arrived.summary.conversations, arrived.summary.unrated, told(bank)) == (2, 2, [])
    assert [m.text for m in bank.thread(bank.conversations("bank")[0].id)] in (["q1", "a1"], ["q2", "a2"])

    again = brought(bank, tmp_path, chats(1, 2), APPROVING).summary
    assert (again.conversations, again.known, again.messages, again.ratings) == (0, 2, 0, 2)
    up = [("importer", Verdict.UP, None)]
    assert sorted(told(bank)) == [(["q1"], "a1", up), (["q2"], "a2", up)]
    assert len(select(bank.rated_answers("bank"), 1000)[0]) == 2
    assert {c.source for c in bank.conversations("bank")} == {"import"} and bank.check() == []


def test_what_has_weight_nothing_is_context(bank: Store, tmp_path: Path) -> None:
    row = {
        "messages": [
            message("system", "Be brief."),
            message("user", [{"type": "text", "text": "q1"}]),
            message("assistant", "a1", weight=0),
            message("user", "q2"),
            message("assistant", "a2"),
        ]
    }
    arrived = brought(bank, tmp_path, json.dumps(row), APPROVING)
    assert told(bank) == [(["q1", "a1", "q2"], "a2", [("importer", Verdict.UP, None)])]
    assert list(arrived.summary.without.values()) == [1]


@pytest.mark.parametrize("text", [False, True], ids=["conversational", "standard"])
def test_completions_and_their_labels(bank: Store, tmp_path: Path, text: bool) -> None:
    def row(number: int, label: bool | None) -> str:
        question, answer = f"q{number}", f"a{number}"
        prompt = question if text else [message("user", question)]
        completion = answer if text else [message("assistant", answer)]
        return json.dumps({"prompt": prompt, "completion": completion, "label": label}) + "\n"

    arrived = brought(bank, tmp_path, row(1, True) + row(2, False) + row(3, None))
    assert (arrived.summary.format, arrived.summary.unrated) == ("trl-completion", 1)
    verdicts = [(answer, ratings[0][1]) for _, answer, ratings in told(bank)]
    assert sorted(verdicts) == [("a1", Verdict.UP), ("a2", Verdict.DOWN)]


PREFERENCES = {
    "explicit": {"prompt": [message("user", "q")], "chosen": [message("assistant", "good")]},
    "implicit": {"chosen": [message("user", "q"), message("assistant", "good")]},
    "prompt as text": {"prompt": "q", "chosen": [message("user", "q"), message("assistant", "good")]},
    "all text": {"prompt": "q", "chosen": "good"},
}


@pytest.mark.parametrize("form", PREFERENCES)
def test_what_was_chosen_is_the_correction_of_what_was_rejected(
    bank: Store, tmp_path: Path, form: str
) -> None:
    row = PREFERENCES[form]
    chosen = row["chosen"]
    rejected = "bad" if isinstance(chosen, str) else [*chosen[:-1], message("assistant", "bad")]
    arrived = brought(bank, tmp_path, json.dumps({**row, "rejected": rejected}))
    assert arrived.summary.format == "trl-preference" and arrived.refused == {}
    assert told(bank) == [(["q"], "bad", [("importer", None, "good")])]
    assert select(bank.rated_answers("bank"), 1000)[0][0].completion == "good"


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize(
    "names", [("from", "value", "human", "gpt"), ("role", "content", "user", "assistant")]
)
def test_sharegpt_in_both_spellings_and_containers(
    bank: Store, tmp_path: Path, names: tuple[str, str, str, str], as_list: bool
) -> None:
    speaker, text, human, gpt = names
    turns = [(human, "q1"), (gpt, "a1"), (human, "q2"), (gpt, "a2")]
    row = {"id": "0", "conversations": [{speaker: who, text: what} for who, what in turns]}
    arrived = brought(
        bank, tmp_path, json.dumps([row, row], indent=1) if as_list else json.dumps(row), APPROVING
    )
    assert (arrived.summary.format, arrived.summary.conversations) == ("sharegpt", 1)
    assert [answer for _, answer, _ in told(bank)] == ["a1", "a2"]


def feedback(rating: object, message_id: str, user: str, **data: object) -> dict:
    """As open-webui writes it, with what is not read left in."""
    ids = [("u1", None, "user", "q1"), ("a1", "u1", "assistant", "first")]
    ids += [
        ("a1b", "u1", "assistant", "again"),
        ("u2", "a1", "user", "q2"),
        ("a2", "u2", "assistant", "second"),
    ]
    messages = {
        id: {
            "id": id,
            "parentId": parent,
            "childrenIds": [],
            "role": role,
            "content": text,
            "timestamp": 1.8e9,
        }
        for id, parent, role, text in ids
    }
    chat = {"title": "Cards", "models": ["m"], "history": {"messages": messages, "currentId": "a2"}}
    return {
        "id": f"{user}-{message_id}",
        "user_id": user,
        "version": 0,
        "type": "rating",
        "data": {"rating": rating, "model_id": "m", "details": {"rating": 9}, "tags": ["t"], **data},
        "meta": {"arena": False, "message_id": message_id, "chat_id": "chat-1", "base_models": {"m": None}},
        "snapshot": {
            "chat": {"id": "chat-1", "user_id": user, "title": "Cards", "chat": chat, "pinned": False}
        },
        "created_at": 1_800_000_000,
        "updated_at": 1_800_000_100,
    }


def test_open_webui_feedback_becomes_one_conversation_with_its_branches(bank: Store, tmp_path: Path) -> None:
    rows = [
        feedback(1, "a1", "ann", reason="accurate_information", comment="yes"),
        feedback("-1", "a2", "bob", reason="not_helpful"),
        feedback(1, "a1b", "ann"),
    ]
    arrived = brought(bank, tmp_path, json.dumps(rows))
    assert arrived.refused == {} and arrived.summary.format == "open-webui"
    (conversation,) = bank.conversations("bank")
    assert conversation.title == "Cards" and bank.stats()["messages"] == 5
    assert sorted(told(bank)) == [
        (["q1"], "again", [("ann", Verdict.UP, None)]),
        (["q1"], "first", [("ann", Verdict.UP, None)]),
        (["q1", "first", "q2"], "second", [("bob", Verdict.DOWN, None)]),
    ]
    rating = next(r for a in bank.rated_answers("bank") for r in a.ratings if r.comment)
    assert (rating.reason, rating.comment, rating.created_at) == (
        "accurate_information",
        "yes",
        1_800_000_100.0,
    )


def test_open_webui_feedback_that_cannot_be_used_says_why(bank: Store, tmp_path: Path) -> None:
    rows = [
        {**feedback(1, "a1", "ann"), "snapshot": None},
        feedback(1, "u1", "ann"),
        feedback("great", "a1", "ann"),
        feedback(1, "a1", "ann"),
    ]
    refused = brought(bank, tmp_path, json.dumps(rows)).refused
    assert (
        "does not have the rated message 'a1'" in refused[1] and "Export the feedback as JSON" in refused[1]
    )
    assert "is no answer" in refused[2] and "'great'" in refused[3] and len(refused) == 3
    looped = feedback(1, "a1", "ann")
    looped["snapshot"]["chat"]["chat"]["history"]["messages"]["u1"]["parentId"] = "a1"
    with pytest.raises(BadRow, match="its own parent"):
        OPEN_WEBUI.read(json.dumps(looped).encode())


TABLE = """Conversation,Turn,Question,Answer,Rating,Correction,Rater,created_at
7,1,q1,a1,up,,ann,2031-05-01T09:30:00
7,1,q1,a1,-1,c1,bob,
7,2,q2,a2,,,,
8,1,"q, ""3""\nand more",'=1+1,1,,,1935392400.5
"""


def test_tables_have_turns_several_raters_and_cells_with_anything(bank: Store, tmp_path: Path) -> None:
    arrived = brought(bank, tmp_path, TABLE)
    assert arrived.refused == {}
    assert (arrived.summary.conversations, arrived.summary.messages, arrived.summary.ratings) == (2, 6, 3)
    two, one = bank.rated_answers("bank")  # the second was answered half an hour before
    assert [(r.rater, r.verdict, r.correction) for r in one.ratings] == [
        ("ann", Verdict.UP, None),
        ("bob", Verdict.DOWN, "c1"),
    ]
    assert (two.context, two.answer) == (((Role.USER, 'q, "3"\nand more'),), "=1+1")
    assert two.ratings[0].rater == "importer"
    times = [bank.thread(a.conversation_id)[1].created_at for a in (one, two)]
    assert times == [1_935_394_200.0, 1_935_392_400.5]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_table_needs_no_more_than_questions_and_answers(
    bank: Store, tmp_path: Path, delimiter: str
) -> None:
    rows = ["prompt,response,thumbs", "q1,a1,👍", "q2,a2,bad", "q3,a3,"]
    table = "\ufeff" + "\r\n".join(rows).replace(",", delimiter)
    assert brought(bank, tmp_path, table).refused == {}
    assert sorted((a, r[0][1]) for _, a, r in told(bank)) == [("a1", Verdict.UP), ("a2", Verdict.DOWN)]


def test_bad_rows_of_a_table_are_named_and_the_rest_goes_in(bank: Store, tmp_path: Path) -> None:
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
    arrived = brought(bank, tmp_path, b"\n".join(rows))
    expected = {
        3: "its verdict is 'maybe'. Write up or down",
        4: "an earlier turn of conversation 'a' was refused",
        5: "not UTF-8 text: byte 0xe9 near 'caf'. Save the table as CSV UTF-8",
        6: "its turn is 'x'",
        7: "its rated_at is 'yesterday'",
        8: "it has 1 cells",
        10: "it has a NUL character, after 'a'",
        11: "Is a quotation mark missing?",
    }
    for line, reason in expected.items():
        assert reason in arrived.refused.pop(line)
    assert arrived.refused == {}
    assert sorted(context[0] for context, _, _ in told(bank)) == ["q1", "qe", "qg"] and bank.check() == []


BAD = {
    "not JSON": ("{oops}", "not JSON: Expecting property name"),
    "cut off": ('{"messages":[{"role":"user"', "not JSON"),
    "half a pair": ('{"messages":[{"role":"user","content":"\\ud83d"}]}', "half a surrogate pair (\\ud83d)"),
    "no number": ('{"messages":NaN}', "not JSON"),
    "other type": ('{"messages":"none"}', "Expected `array`, got `str` - at `$.messages`"),
    "no role": ('{"messages":[{"content":"q"}]}', "missing required field `role`"),
    "tool": ('{"messages":[{"role":"tool","content":"q"}]}', "message 1 has the role 'tool'"),
    "picture": (
        '{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}',
        "part of type 'image_url'",
    ),
    "tool call": ('{"messages":[{"role":"user","content":"q"},{"role":"assistant"}]}', "has no content"),
    "answer first": ('{"messages":[{"role":"assistant","content":"a"}]}', "follows nothing"),
    "two answers": (
        CHAT.replace("]}", ',{"role":"assistant","content":"b"}]}') % (1, 1),
        "follows another answer",
    ),
    "nothing": ('{"messages":[]}', "no message in it"),
    "NUL": ('{"messages":[{"role":"user","content":"a\\u0000b"}]}', "NUL character at position 1"),
    "deep": ('{"x":' + "[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_line_is_named_and_the_rest_goes_in(bank: Store, tmp_path: Path, what: str) -> None:
    line, reason = BAD[what]
    arrived = brought(bank, tmp_path, chats(1) + "\n" + line + "\n" + chats(2))
    assert list(arrived.refused) == [3] and reason in arrived.refused[3]
    assert arrived.summary.conversations == 2 and bank.check() == []


def test_bytes_that_are_no_text_are_named(bank: Store, tmp_path: Path) -> None:
    bad = (CHAT % (2, 2)).encode().replace(b"q2", b"caf\xe9")
    arrived = brought(bank, tmp_path, chats(1).encode() + bad)
    assert "not UTF-8 text" in arrived.refused[2] and "caf\\xe9" in arrived.refused[2]


def test_a_line_that_is_too_large_is_named_with_its_size(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = (CHAT % (2, 2)).replace("q2", "q" * 20_000)
    monkeypatch.setattr(lines, "__defaults__", (10_000,))
    monkeypatch.setattr(items, "__defaults__", (10_000, 512))
    rows = [CHAT % (1, 1), large, CHAT % (3, 3)]
    for data in ("\n".join(rows), f"[{', '.join(rows)}]"):
        arrived = brought(bank, tmp_path, data)
        assert list(arrived.refused) == [2] and arrived.refused[2].startswith("it has 20,0")
    assert arrived.summary.known == 2


LIST_ENDS = {
    f"[{CHAT % (1, 1)}, {CHAT % (2, 2)}": (2, "the file ends in the middle"),
    f"[{CHAT % (1, 1)}] {CHAT % (2, 2)}": (2, "the list has ended"),
    f"[{CHAT % (1, 1)}, ]": (2, "not JSON"),
    f"[{CHAT % (1, 1)}, 5]": (2, "Expected `object`, got `int`"),
}


@pytest.mark.parametrize("data", LIST_ENDS)
def test_a_broken_list_keeps_what_came_before(bank: Store, tmp_path: Path, data: str) -> None:
    item, reason = LIST_ENDS[data]
    arrived = brought(bank, tmp_path, data)
    assert arrived.summary.conversations == 1 and arrived.summary.unit == "item"
    assert list(arrived.refused) == [item] and reason in arrived.refused[item]


OTHER_FILES = {
    "empty": (b" \n", "is empty"),
    "UTF-16": ("question,answer\n".encode("utf-16"), "is UTF-16 text. Save it as UTF-8"),
    "UTF-16 without mark": ("question,answer\n".encode("utf-16-le"), "is UTF-16 text or no text"),
    "gzip": (b"\x1f\x8b\x08rest", "gunzip"),
    "Excel": (b"PK\x03\x04rest", "save the table as CSV"),
    "SQLite": (b"SQLite format 3\x00rest", "is a SQLite file"),
    "prose": (b"Dear all,\n", "header with the columns question and answer"),
    "one object": (b'{\n "rows": []\n}', "on a line of its own"),
    "other list": (b'[{"a":1}]', "JSON list whose first 20 items"),
}


@pytest.mark.parametrize("what", OTHER_FILES)
def test_what_is_no_such_file_is_named_at_once(bank: Store, tmp_path: Path, what: str) -> None:
    data, reason = OTHER_FILES[what]
    with pytest.raises(StoreError) as raised:
        brought(bank, tmp_path, data)
    assert reason in str(raised.value)


def test_a_file_of_another_format_than_asked_for_says_which(bank: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="looks like openai, not like sharegpt"):
        brought(bank, tmp_path, chats(1), format="sharegpt")
    with pytest.raises(StoreError, match="looks like csv, not like openai"):
        brought(bank, tmp_path, TABLE, format="openai")
    with pytest.raises(StoreError, match="no format 'xml'"):
        brought(bank, tmp_path, chats(1), format="xml")
    bad_beginning = "oops\n" * 30 + chats(1)
    assert brought(bank, tmp_path, bad_beginning, format="openai").summary.refused == 30
    assert brought(bank, tmp_path, "oops\n" + chats(1)).summary.known == 1
    with pytest.raises(StoreError, match="Is a directory"):
        import_file(bank, tmp_path, TERMS)
    with pytest.raises(StoreError, match="No such file"):
        import_file(bank, tmp_path / "none", TERMS)


def test_a_byte_order_mark_is_no_part_of_the_file(bank: Store, tmp_path: Path) -> None:
    assert brought(bank, tmp_path, b"\xef\xbb\xbf" + chats(1).encode()).summary.conversations == 1


def test_a_row_that_is_there_twice_comes_in_once(bank: Store, tmp_path: Path) -> None:
    summary = brought(bank, tmp_path, chats(1, 2, 1), APPROVING).summary
    assert (summary.conversations, summary.known, summary.messages, summary.ratings) == (2, 1, 4, 2)


def test_two_assistants_can_have_the_same_file(bank: Store, tmp_path: Path) -> None:
    bank.create_assistant("shop", "Shop", "exact")
    for id in ("bank", "shop"):
        assert brought(bank, tmp_path, chats(1), Terms(id, "me", True, 1.0)).summary.conversations == 1
    assert len(bank.rated_answers("bank")) == len(bank.rated_answers("shop")) == 1


def test_a_conversation_of_another_assistant_is_not_taken_over(bank: Store, tmp_path: Path) -> None:
    bank.create_assistant("shop", "Shop", "exact")
    bank.load_conversations("bank", [ImportedTurn("c", "q", "a")])
    data = exported(bank, tmp_path, "shorthand")
    arrived = brought(bank, tmp_path, data, Terms("shop", "me", False, 1.0))
    assert arrived.refused == {2: "conversation 'c' belongs to assistant 'bank' already."}
    with pytest.raises(StoreError, match="without --approve"):
        brought(bank, tmp_path, data, APPROVING)


def test_an_own_export_brings_only_what_is_new_and_later_ratings_stay_the_latest(
    bank: Store, tmp_path: Path
) -> None:
    with Store(tmp_path / "other") as other:
        other.create_assistant("bank", "Bank", "exact")
        other.load_conversations("bank", [ImportedTurn("c", "q", "a", created_at=5.0)])
        brought(bank, tmp_path, exported(other, tmp_path, "shorthand"))
        other.rate("c.1.assistant", "ann", Verdict.DOWN)
        asked = other.add_message("c", "c.1.assistant", Role.USER, "q2")
        data = exported(other, tmp_path, "shorthand")
    later = bank.rate("c.1.assistant", "ann", Verdict.UP)
    summary = brought(bank, tmp_path, data).summary
    assert (summary.conversations, summary.known, summary.messages, summary.ratings) == (0, 1, 1, 1)
    assert bank.conversation("c").head_id == asked.id
    (answer,) = bank.rated_answers("bank")
    assert answer.ratings == (later,) and len(bank.ratings("c.1.assistant")) == 2
    assert bank.check() == []


EDITED = {
    '"role":"assistant"': ('"role":"robot"', "Invalid enum value 'robot'"),
    '"parent":"c.1.user"': ('"parent":"x"', "which does not come before it"),
    '"head":"c.1.assistant"': ('"head":"x"', "it shows message 'x'"),
    '"message":"c.1.assistant"': ('"message":"c.1.user"', "is no answer in it"),
    '"source":"sample"': ('"source":"moon"', "its source is 'moon'"),
    '"text":"a"': ('"text":"a\\u0000"', "NUL"),
    '"id":"c.1.assistant"': ('"id":"there.1.assistant"', "which is not in it"),
    '{"shorthand":1': ('{"shorthand":9', "newer Shorthand"),
}


@pytest.mark.parametrize("old", EDITED)
def test_an_own_export_that_was_edited_is_checked(bank: Store, tmp_path: Path, old: str) -> None:
    with Store(tmp_path / "other") as other:
        other.create_assistant("bank", "Bank", "exact")
        turns = [ImportedTurn(id, "q", "a", Verdict.UP, created_at=5.0) for id in ("c", "d")]
        other.load_conversations("bank", turns)
        data = exported(other, tmp_path, "shorthand").decode()
    new, reason = EDITED[old]
    assert old in data
    arrived = brought(bank, tmp_path, data.replace(old, new, 1))
    assert len(arrived.refused) == 1 and reason in next(iter(arrived.refused.values()))
    assert "d" in {c.id for c in bank.conversations("bank")} and bank.check() == []


def test_a_row_that_breaks_a_rule_of_the_store_keeps_no_other_out(bank: Store, tmp_path: Path) -> None:
    with Store(tmp_path / "other") as other:
        other.create_assistant("bank", "Bank", "exact")
        other.load_conversations("bank", [ImportedTurn(id, "q", "a") for id in ("c", "d", "e")])
        data = exported(other, tmp_path, "shorthand").decode()
    data = data.replace("d.1.user", "c.1.user")
    arrived = brought(bank, tmp_path, data)
    assert list(arrived.refused) == [3] and "UNIQUE constraint failed: messages.id" in arrived.refused[3]
    assert (arrived.summary.conversations, arrived.summary.messages) == (2, 4) and bank.check() == []


def test_people_can_rate_while_a_large_file_comes_in(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank.load_conversations("bank", [ImportedTurn("c", "q", "a")])
    monkeypatch.setattr(importing, "_BATCH", 50)
    ratings: list[Rating] = []
    done, positions = threading.Event(), []

    def rate() -> None:
        with Store(bank.path) as other:
            while not done.is_set():
                ratings.append(other.rate("c.1.assistant", f"ann{len(ratings)}", Verdict.UP))

    person = threading.Thread(target=rate)
    person.start()
    path = tmp_path / "large.jsonl"
    path.write_text(chats(*range(300)))
    try:
        import_file(bank, path, APPROVING, progress=positions.append)
    finally:
        done.set()
        person.join()
    assert ratings and positions == sorted(positions) and positions[-1] == path.stat().st_size
    assert bank.stats()["ratings"] == 300 + len(ratings) and bank.check() == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(['"', "\\", ",", "]}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(values, max_size=5), st.integers(1, 9), st.none() | st.integers(0, 2), st.booleans())
def test_a_list_is_taken_apart_however_it_is_written_and_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list, chunk: int, indent: int | None, ascii: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "list.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=ascii), encoding="utf-8")
    with path.open("rb") as file:
        found = list(items(file, chunk=chunk))
    assert [json.loads(row.data or b"") for row in found] == rows
    assert [row.number for row in found] == list(range(1, len(rows) + 1))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        ["", "[", "{", CHAT, '{"prompt":', "question,answer\n", '{"conversations":[', '[{"snapshot":']
    ).flatmap(lambda start: st.binary(max_size=60).map(lambda rest: start.encode() + rest))
)
def test_no_file_makes_it_stumble(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "any.sqlite").exists():
        with Store(folder / "any.sqlite") as store:
            store.create_assistant("bank", "Bank", "exact")
    with Store(folder / "any.sqlite") as store:
        try:
            brought(store, folder, data)
        except StoreError as error:
            assert str(error).endswith((".", "”."))
        assert store.check() == []


def test_the_command_says_what_came_in_and_what_did_not(bank: Store, tmp_path: Path) -> None:
    def run(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["import", *map(str, arguments), "--data-dir", str(tmp_path)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, " ".join(result.output.split())

    path = tmp_path / "chats.jsonl"
    path.write_text(chats(1, 2))
    code, output = run(path)
    assert code == 0
    assert "Imported 2 conversations, 4 messages and 0 ratings into bank (format: openai)." in output
    assert "2 answers have no rating" in output and "--approve" in output
    path.write_text(chats(1, 2) + "oops\n" * 30)
    code, output = run(path, "--approve", "--rater", "ann")
    assert code == 1 and "2 ratings" in output and "2 conversations were there already" in output
    assert "line 3: it is not JSON" in output and "and 10 more" in output and "30 rows were refused" in output
    assert {r[0][0] for _, _, r in told(bank)} == {"ann"}
    code, output = run(tmp_path / "none")
    assert code == 2 and "No such file" in output
    code, output = run(path, "--assistant", "shop")
    assert code == 2 and "--assistant: bank (not 'shop')" in output
    code, output = run("--help")
    assert code == 0 and "Example: python -m store import" in output


def test_without_an_assistant_there_is_nothing_to_import_for(store: Store, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["import", "x", "--data-dir", str(tmp_path)])
    assert result.exit_code == 2 and "There is no assistant yet" in result.output


def test_the_format_is_found_out(bank: Store, tmp_path: Path) -> None:
    bank.load_conversations("bank", [ImportedTurn("c", "q", "a", Verdict.UP, correction="b")])
    formats = ("shorthand", "openai", "trl-completion", "trl-preference", "sharegpt", "open-webui", "csv")
    for number, format in zip(itertools.count(), formats, strict=False):
        path = tmp_path / f"file{number}"
        path.write_bytes(exported(bank, tmp_path, format))
        assert recognise(path).name == format
