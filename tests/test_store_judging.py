"""A file is judged as a whole: its shape, columns, ratings and times, and what of its answers nobody reads."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from import_scene import APPROVING, OPTIONS, chats, import_data, message, rated_answers_in
from typer.testing import CliRunner

from store import Store, StoreError
from store.__main__ import app
from store.io.importing import LONGEST_LEARNED, judge_file
from store.io.left_out import take_off
from store.io.times import parse_time
from store.records import Verdict
from trainer.settings import TrainerSettings

UP, DOWN = Verdict.UP, Verdict.DOWN
ASK, SAY = "Which line goes to the harbour?", "Line 3."
NOW = OPTIONS.at


def table(names: str, *rows: str) -> str:
    return "\n".join([names, *rows]) + "\n"


QUESTIONS = {
    "instruction,input,output": ("Translate.,good morning,bonjour", "Translate.\n\ngood morning"),
    "input,instruction,output": (",Translate.,bonjour", "Translate."),
    "instruction,context,response": ("Sum up.,A text.,Short.", "Sum up.\n\nA text."),
    "Question,Context,Answer": ("Where?,In the hall.,There.", "Where?\n\nIn the hall."),
    "input,output": ("Where?,There.", "Where?"),
    "prompt,input,completion": ("Where?,,There.", "Where?"),
}


@pytest.mark.parametrize("names", QUESTIONS)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_question_is_what_its_columns_say_together(
    bank: Store, tmp_path: Path, names: str, as_json: bool
) -> None:
    row, question = QUESTIONS[names]
    if as_json:
        row = json.dumps([dict(zip(names.split(","), row.split(","), strict=True))])
    assert import_data(bank, tmp_path, row if as_json else table(names, row), APPROVING).refused == 0
    [(context, answer, _)] = rated_answers_in(bank)
    assert (context, answer) == ([question], row.split(",")[-1] if not as_json else answer)


CONFLICTS = {
    "question,prompt,answer": ("a,b,c", "question: question, prompt"),
    "prompt,instruction,output": ("a,b,c", "question: prompt, instruction"),
    "instruction,input,query,output": ("a,b,c,d", "question: instruction, query"),
    "question,response,output": ("a,b,c", "answer: response, output"),
    "question,answer,rating,thumbs": ("a,b,up,down", "verdict: rating, thumbs"),
    "question,answer,ideal,expected": ("a,b,c,d", "correction: ideal, expected"),
    "question,answer,chat_id,session_id": ("a,b,1,2", "conversation: chat_id, session_id"),
}


@pytest.mark.parametrize("names", CONFLICTS)
def test_where_two_columns_compete_a_person_says_which(bank: Store, tmp_path: Path, names: str) -> None:
    row, said = CONFLICTS[names]
    with pytest.raises(StoreError, match=f"Several columns could be the {said}"):
        import_data(bank, tmp_path, table(names, row))
    ours, _, theirs = said.partition(": ")
    chosen = {ours: theirs.split(", ")[1]}
    import_data(bank, tmp_path, table(names, row), replace(APPROVING, columns=chosen))
    assert len(rated_answers_in(bank)) == 1


def test_columns_in_any_language_are_named(bank: Store, tmp_path: Path) -> None:
    data = table("Frage,Antwort,Note", "Wo?,Dort.,gut")
    with pytest.raises(StoreError, match="--column question=NAME"):
        import_data(bank, tmp_path, data)
    named = replace(APPROVING, columns={"question": "Frage", "answer": "Antwort"})
    import_data(bank, tmp_path, data, named)
    assert rated_answers_in(bank)[0][:2] == (["Wo?"], "Dort.")
    with pytest.raises(StoreError, match="There is no column 'gibt'. There are: 'frage', 'antwort', 'note'"):
        import_data(bank, tmp_path, data, replace(named, columns={**named.columns, "verdict": "gibt"}))


SCALES = [  # values, what is good and bad (None: nothing was said), and what becomes of them (None: refused)
    ("1 5 1 4 2", None, None),
    ("1 5 3 4 2", (4, 2), [DOWN, UP, None, UP, DOWN]),
    ("0 10 7", None, None),
    ("0 10 7", (7, 3), [DOWN, UP, UP]),
    ("12 85 50", None, None),
    ("0.1 0.9 1.0 0.0", None, None),
    ("1 1 1 1 1 1 1 1 5", None, None),
    ("80% 20%", (75, 25), [UP, DOWN]),
    ("4;5 1;5", (4, 2), [UP, DOWN]),
    ("1 0 1", None, [UP, DOWN, UP]),
    ("1 0 -1", None, [UP, None, DOWN]),
    ("1.0 -1.0", None, [UP, DOWN]),
    ("true FALSE True", None, [UP, DOWN, UP]),
    ("👍🏽 👎 thumbs_up Thumbs-Down", None, [UP, DOWN, UP, DOWN]),
    ("good bad neutral NaN", None, [UP, DOWN, None, None]),
    ("good excellent good poor excellent", None, None),
    ("up up up up up dwon", None, [UP] * 5),
]


@pytest.mark.parametrize(("values", "said", "verdicts"), SCALES)
def test_a_scale_is_judged_by_its_whole_column(
    bank: Store, tmp_path: Path, values: str, said: tuple[float, float] | None, verdicts: list | None
) -> None:
    rows = [f'q{n},a{n},"{value.replace(";", ",")}"' for n, value in enumerate(values.split())]
    options = OPTIONS if said is None else replace(OPTIONS, up_from=said[0], down_to=said[1])
    if verdicts is None:
        with pytest.raises(StoreError, match="The column 'rating' holds") as refused:
            import_data(bank, tmp_path, table("question,answer,rating", *rows), options)
        assert "--up-from" in str(refused.value) or "which are no verdicts" in str(refused.value)
        return
    import_data(bank, tmp_path, table("question,answer,rating", *rows), options)
    found = {answer: ratings[0][1] for _, answer, ratings in rated_answers_in(bank)}
    assert [found.get(f"a{n}") for n in range(len(verdicts))] == verdicts


def test_stars_are_a_scale_even_where_all_are_one_and_a_label_may_be_something_else(
    bank: Store, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="--up-from 4 --down-to 2"):
        import_data(bank, tmp_path, table("question,answer,stars", "q,a,1"))
    result = import_data(bank, tmp_path, table("question,answer,label,time", "q,a,cards,2.3"))
    assert (result.refused, result.unrated) == (0, 1)
    row = {**json.loads(chats(2)), "label": False}
    import_data(bank, tmp_path, json.dumps(row), APPROVING)
    assert [ratings[0][1] for _, answer, ratings in rated_answers_in(bank) if answer == "a2"] == [DOWN]


AT = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC).timestamp()
MINUTE = AT - 20
TIMES = {
    "1760000000": AT,
    "1760000000000": AT,
    "1760000000000000": AT,
    "1760000000000000000": AT,
    "1760000000.5": AT + 0.5,
    "45939.370370": AT,
    "45939,370370": AT,
    "2025-10-09T08:53:20Z": AT,
    "2025-10-09 08:53:20": AT,
    "2025-10-09 10:53:20+02:00": AT,
    "2025-10-09 08:53:20 UTC": AT,
    "2025/10/09 08:53:20": AT,
    "20251009": AT - 32_000,
    "10/9/2025 8:53": MINUTE,
    "10/9/25, 8:53:20 AM": AT,
    "09.10.2025 08:53": MINUTE,
    "NaN": None,
    "": None,
}


@pytest.mark.parametrize("value", TIMES)
def test_times_come_in_many_units_and_forms(value: str) -> None:
    assert parse_time(value, "date", NOW) == TIMES[value]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("1950000000", "in the future"),
        ("1950000000000", "in the future"),
        ("2125-10-09", "in the future"),
        ("inf", "in the future"),
        ("5", "no time"),
        ("-1760000000", "no time"),
        ("1960-01-01", "before 1990"),
        ("31/31/2025", "no time"),
        ("yesterday", "no time"),
    ],
)
def test_what_is_no_time_or_lies_in_the_future_is_refused(
    bank: Store, tmp_path: Path, value: str, why: str
) -> None:
    rows = (f"q1,a1,down,c1,{value}", "q2,a2,down,c2,2025-10-09")
    result = import_data(bank, tmp_path, table("question,answer,verdict,correction,rated_at", *rows))
    assert list(result.refusals) == [2] and why in result.refusals[2] and value in result.refusals[2]
    assert [answer for _, answer, _ in rated_answers_in(bank)] == ["a2"]


@pytest.mark.parametrize(
    ("dates", "day_first", "month"),
    [
        (["10/9/2025"], None, 10),
        (["10/9/2025"], True, 9),
        (["10/9/2025", "13/9/2025"], None, 9),
        (["10/9/2025", "9/13/2025"], None, 10),
        (["10/9/2025", "13/9/2025", "9/13/2025"], None, None),
    ],
)
def test_which_part_of_a_date_is_the_day_is_said_by_the_whole_column(
    bank: Store, tmp_path: Path, dates: list[str], day_first: bool | None, month: int | None
) -> None:
    data = table("question,answer,rating,date", *(f"q{n},a{n},up,{date}" for n, date in enumerate(dates)))
    options = replace(OPTIONS, day_first=day_first)
    if month is None:
        with pytest.raises(StoreError, match="the day comes first, and in"):
            import_data(bank, tmp_path, data, options)
        return
    import_data(bank, tmp_path, data, options)
    first = next(c for c in bank.conversations.all("bank") if c.title == "q0")
    assert datetime.fromtimestamp(first.created_at, UTC).month == month


HABITS = {
    "sep": "\ufeffsep=;\nquestion;answer;rating\nq;a;up\n",
    "sep and tab": "sep=\t\r\nquestion\tanswer\trating\r\nq\ta\tup\r\n",
    "blank lines": "\n\n\nquestion,answer,rating\nq,a,up\n",
    "title": "Export of 9 October\n\nquestion,answer,rating\nq,a,up\n",
    "CR": "question,answer,rating\rq,a,up\r",
    "numbered rows": ",question,answer,rating\n0,q,a,1.0\n",
    "blank rows": "question,answer,rating,\n,,,\nq,a,up,\n,,,\n",
    "quoted names": '"Question";"Answer";"Rating"\n"q";"a";"up"\n',
    "pipes": "question|answer|rating\nq|a|up\n",
}


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_spreadsheets_write_is_read(bank: Store, tmp_path: Path, habit: str, encoding: str) -> None:
    result = import_data(bank, tmp_path, HABITS[habit].encode(encoding))
    assert result.refusals == {} and rated_answers_in(bank) == [(["q"], "a", [("importer", UP, None)])]


def test_a_row_keeps_its_line_and_its_newlines_and_too_many_cells_are_refused(
    bank: Store, tmp_path: Path
) -> None:
    data = 'sep=,\nquestion,answer,rating\n"q\n1","a\n1",up\nIs it free?,No, two coins,up\nq2,a2,up\n'
    result = import_data(bank, tmp_path, data)
    assert list(result.refusals) == [6] and "4 cells under 3 names" in result.refusals[6]
    assert sorted(answer for _, answer, _ in rated_answers_in(bank)) == ["a\n1", "a2"]


def test_another_encoding_is_said(bank: Store, tmp_path: Path) -> None:
    data = table("question,answer,rating", "Où?,Café.,up").encode("cp1252")
    assert "not UTF-8" in import_data(bank, tmp_path, data).refusals[2]
    import_data(bank, tmp_path, data, replace(OPTIONS, encoding="cp1252"))
    assert rated_answers_in(bank)[0][:2] == (["Où?"], "Café.")
    with pytest.raises(StoreError, match="--encoding"):
        import_data(bank, tmp_path, data, replace(OPTIONS, encoding="klingon"))


ASKED = [message("user", ASK)]
PAIR = [*ASKED, message("assistant", SAY)]
NODES = {
    "u": {"parentId": None, "role": "user", "content": ASK},
    "a": {"parentId": "u", "role": "assistant", "content": SAY, "annotation": {"rating": 1}},
}


def mapping(*turns: tuple[str, str, Any]) -> dict[str, Any]:
    """ChatGPT's nodes, each below the one before."""
    found: dict[str, Any] = {"n": {"id": "n", "message": None, "parent": None}}
    for number, (role, recipient, content) in enumerate(turns):
        said = {"author": {"role": role}, "recipient": recipient, "content": content}
        found[f"n{number}"] = {"message": said, "parent": f"n{number - 1}" if number else "n"}
    return found


def text_of(*parts: Any, kind: str = "text") -> dict[str, Any]:
    return {"content_type": kind, "parts": list(parts)}


LIBRECHAT = [
    {"messageId": "u", "parentMessageId": "00000000-0000", "text": ASK, "isCreatedByUser": True},
    {
        "messageId": "a",
        "parentMessageId": "u",
        "text": "",
        "content": [{"type": "think", "think": "Hm."}, {"type": "text", "text": {"value": SAY}}],
        "sender": "GPT-4",
        "isCreatedByUser": False,
        "feedback": {"rating": "thumbsUp", "tag": "accurate"},
    },
]
EXPORTS = {
    "open-webui-chats": {"id": "c", "chat": {"history": {"messages": NODES, "currentId": "a"}}},
    "librechat": {"conversationId": "c", "messages": LIBRECHAT},
    "librechat nested": {"messages": [{**LIBRECHAT[0], "children": LIBRECHAT[1:]}]},
    "chatgpt": {
        "mapping": mapping(
            ("system", "all", text_of("")),
            ("user", "all", {"content_type": "user_editable_context", "user_profile": "x"}),
            ("user", "all", text_of(ASK)),
            ("assistant", "all", {"content_type": "thoughts", "thoughts": []}),
            ("assistant", "browser", {"content_type": "code", "text": "search()"}),
            ("tool", "all", text_of("line 3")),
            ("assistant", "all", text_of(SAY)),
        )
    },
    "claude": {
        "uuid": "c",
        "chat_messages": [
            {"sender": "human", "text": ASK, "content": [], "created_at": "2025-10-09T08:53:20Z"},
            {"sender": "assistant", "content": [{"type": "tool_use"}, {"type": "text", "text": SAY}]},
        ],
    },
    "claude with branches": {
        "uuid": "c",
        "current_leaf_message_uuid": "a",
        "chat_messages": [
            {"uuid": "u", "parent_message_uuid": "00000000-0000", "sender": "human", "text": ASK},
            {"uuid": "a", "parent_message_uuid": "u", "sender": "assistant", "text": SAY},
            {"uuid": "b", "parent_message_uuid": "u", "sender": "assistant", "text": "again"},
        ],
    },
    "gemini": {
        "contents": [
            {"role": "user", "parts": [{"text": ASK}]},
            {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": SAY}]},
        ]
    },
    "lmsys": {"conversation_id": "1", "conversation": PAIR},
    "oasst": {
        "prompt": {
            "message_id": "u",
            "role": "prompter",
            "text": ASK,
            "replies": [
                {"message_id": "b", "role": "assistant", "text": "Hm.", "rank": 1, "replies": []},
                {"message_id": "a", "role": "assistant", "text": SAY, "rank": 0, "replies": []},
            ],
        }
    },
    "records": {"instruction": ASK, "input": "", "output": SAY},
    "records with turns": {"system": "x", "history": [], "instruction": ASK, "output": SAY},
    "openai": {"messages": [message("system", {"odd": 1}), *PAIR], "score": float("nan"), "n": 10**500},
    "openai parts": {
        "messages": [*ASKED, message("assistant", [{"type": "thinking"}, {"type": "text", "text": SAY}])]
    },
    "sharegpt": {"conversations": [{"from": "human", "value": ASK}, {"from": "gpt", "value": SAY}]},
    "trl-preference": {"messages": PAIR, "chosen": PAIR, "rejected": [*ASKED, message("assistant", "no")]},
    "trl-preference of texts": {"question": ASK, "system": "x", "chosen": SAY, "rejected": "no"},
    "trl-preference of LLaMA-Factory": {
        "conversations": [{"from": "human", "value": ASK}],
        "chosen": {"from": "gpt", "value": SAY},
        "rejected": {"from": "gpt", "value": "no"},
    },
    "trl-preference of transcripts": {
        "chosen": f"\n\nHuman: {ASK}\n\nAssistant: {SAY}",
        "rejected": f"\n\nHuman: {ASK}\n\nAssistant: no",
    },
}


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("indent", [None, 1])
def test_exports_of_many_tools_are_read_as_what_they_are(
    bank: Store, tmp_path: Path, name: str, indent: int | None
) -> None:
    result = import_data(bank, tmp_path, json.dumps(EXPORTS[name], indent=indent), APPROVING)
    assert result.refusals == {} and result.format == name.split(" ")[0]
    [(context, answer, [(rater, verdict, correction)])] = rated_answers_in(bank)
    assert context == [ASK] and rater == "importer"
    assert (correction or answer, verdict) == (SAY, None if "preference" in name else UP)
    assert bank.maintenance.check() == []


def test_what_else_is_left_out_is_counted(bank: Store, tmp_path: Path) -> None:
    thought = {"messages": [*ASKED, message("assistant", SAY, reasoning_content="Hm.")]}
    assert import_data(bank, tmp_path, json.dumps(thought)).left_out == {"reasoning": 1}
    for name, count in {"oasst": 1, "claude with branches": 1, "librechat": 0}.items():
        found = import_data(bank, tmp_path, json.dumps(EXPORTS[name])).left_out
        assert found["other answers, unrated"] == count
    odd = {**json.loads(chats(5)), "date": "13/9/2025"}, {**json.loads(chats(6)), "date": "9/13/2025"}
    assert import_data(bank, tmp_path, json.dumps(odd)).refused == 0, "nobody reads these dates"


def test_a_format_that_is_asked_for_decides(bank: Store, tmp_path: Path) -> None:
    data = json.dumps(EXPORTS["trl-preference"])
    assert import_data(bank, tmp_path, data, APPROVING, "openai").counts["ratings"] == 1
    assert rated_answers_in(bank) == [([ASK], SAY, [("importer", UP, None)])]


def test_the_rows_of_a_file_decide_and_not_its_first_ones(bank: Store, tmp_path: Path) -> None:
    preferences = [EXPORTS["trl-preference"]] * 30
    data = "\n".join(map(json.dumps, [{"messages": PAIR}, *preferences]))
    result = import_data(bank, tmp_path, data)
    assert result.format == "trl-preference" and list(result.refusals) == [1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"message_tree_id": "t", "parent_id": None, "text": "a"}, "trees"),
        ({"conversation_id": "c", "rating": "thumbs_up"}, "conversations.json"),
        ({"text": "a"}, "in none of the formats"),
        ({"messages": [{**PAIR[0], "files": [{"type": "image"}]}, PAIR[1]]}, "comes with files"),
        ({"messages": PAIR, "images": ["a.png"]}, "it comes with images"),
    ],
)
def test_what_cannot_be_read_says_what_it_is(
    bank: Store, tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    try:
        found = import_data(bank, tmp_path, json.dumps([row])).refusals[1]
    except StoreError as error:
        found = str(error)
    assert said in found


ODD = {
    "broken off the branch": {"zz": {"parentId": "a", "role": "user"}},
    "no object off the branch": {"zz": None},
    "cycle off the branch": {"x": {"parentId": "y"}, "y": {"parentId": "x"}},
    "parts": {"u": {**NODES["u"], "content": [{"type": "text", "text": ASK}]}},
    "output": {
        "a": {**NODES["a"], "content": None, "output": [{"type": "message", "content": [{"text": SAY}]}]}
    },
    "system above": {"s": {"role": "system"}, "u": {**NODES["u"], "parentId": "s"}},
    "regenerated": {"b": {"parentId": "u", "role": "assistant", "content": "other"}},
    "interrupted beside it": {"b": {"parentId": "u", "role": "assistant", "content": "x", "done": False}},
    "broken and shown": {"a2": {"parentId": "gone", "role": "assistant", "content": "x"}},
    "time in milliseconds": {"a": {**NODES["a"], "timestamp": 1_760_000_000_000}},
}


@pytest.mark.parametrize("what", ODD)
def test_only_the_branch_of_a_rating_is_looked_at(bank: Store, tmp_path: Path, what: str) -> None:
    nodes = {**NODES, **ODD[what]}
    history = {"messages": nodes, "currentId": "a2" if what == "broken and shown" else "a"}
    row = {"id": "c", "user_id": "ann", "chat": {"history": history}}
    feedback = {
        "data": {"rating": 1, "reason": ["accurate"]},
        "meta": {"message_id": "a", "chat_id": "c"},
        "snapshot": {"chat": {"chat": row["chat"]}},
        "user_id": "ann",
    }
    for data in ([feedback], [row]):
        result = import_data(bank, tmp_path, json.dumps(data), APPROVING)
        assert result.refused == (what == "broken and shown" and data == [row])
    assert {answer for _, answer, _ in rated_answers_in(bank)} == {SAY}
    assert bank.maintenance.stats()["conversations"] == 1


SPOKEN = {  # what is in the text -> what is learned and how much was taken off
    f'<details type="reasoning" done="true">\n<summary>…</summary>\n&gt; Hm.\n</details>\n{SAY}': (SAY, 1),
    f'<details type="tool_calls" id="1">\n</details>\n<think>Hm.</think>{SAY}': (SAY, 2),
    f"<think>\n\n</think>\n\n{SAY}": (SAY, 1),
    f"<thinking>Hm.</thinking>\n{SAY}": (SAY, 1),
    f"[THINK]Hm.[/THINK]{SAY}": (SAY, 1),
    f"◁think▷Hm.◁/think▷{SAY}": (SAY, 1),
    f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>{SAY}<|return|>": (
        SAY,
        1,
    ),
    "<|channel|>analysis<|message|>Hm, it was cut": ("", 1),
    f"Hm, the harbour.\n</think>\n\n{SAY}": (SAY, 1),
    "Wait.\n<think>Hm.</think>\nLine 3.": ("Wait.\n\nLine 3.", 1),
    "Write <think> before it and </think> after it.": ("Write <think> before it and </think> after it.", 0),
    "So:\n```\n<think>Hm.</think>\n```\n": ("So:\n```\n<think>Hm.</think>\n```\n", 0),
    "Open it with\n<thinking>\nand go on.": ("Open it with\n<thinking>\nand go on.", 0),
    "<details><summary>More</summary>Line 3.</details>": (
        "<details><summary>More</summary>Line 3.</details>",
        0,
    ),
    "<think>Hm, it was cut": ("", 1),
}


@pytest.mark.parametrize("text", SPOKEN)
def test_what_nobody_reads_is_taken_off_and_counted(bank: Store, tmp_path: Path, text: str) -> None:
    spoken, count = SPOKEN[text]
    rows = {
        "answers": {"messages": [*ASKED, message("assistant", text)]},
        "corrections": {"prompt": ASK, "chosen": text, "rejected": "no"},
        "cells": {"question": ASK, "answer": text},
    }
    for row in rows.values():
        result = import_data(bank, tmp_path, json.dumps(row), APPROVING)
        assert result.left_out.total() == (count if spoken else 0)
        assert result.refused == (not spoken)
    assert {r[0][2] or answer for _, answer, r in rated_answers_in(bank)} == ({spoken} if spoken else set())


@given(...)
def test_taking_off_ends_and_takes_nothing_from_other_texts(text: str) -> None:
    assert take_off(text, Counter()) == text or "think" in text.casefold()


def test_it_says_what_would_be_learned_and_asks(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = [f"q{n},{n:04}{'x' * (1096 + n * 7)},up" for n in range(115)]
    rows = [*(f"q{n},,down,c{n}" for n in range(900, 904)), *(f"{row}," for row in long)]
    path = tmp_path / "answers.csv"
    path.write_text(table("question,answer,rating,ideal", *rows, "q,a,maybe,"))
    said = "\n".join(judge_file(path, OPTIONS).sentences())
    assert "answers.csv is read as a table" in said and "verdict = rating, correction = ideal" in said
    assert "Answers to learn from: 115 rated up, 4 corrected" in said and said.count("for example: ") == 3
    assert "q900 → c900" in said and "left behind: 1" in said
    assert "115 of them are longer than the 1,024 characters" in said and "max_answer_tokens=475" in said
    assert bank.conversations.all("bank") == [], "nothing was imported"

    command = ["import", str(path), "--data-dir", str(tmp_path)]
    monkeypatch.setattr("store.__main__._is_terminal", lambda: True)
    refused = CliRunner().invoke(app, command, input="n\n")
    assert refused.exit_code == 1 and "Nothing was imported." in refused.output
    assert bank.conversations.all("bank") == []
    taken = CliRunner().invoke(app, [*command, "--yes", "--assistant", "bank"])
    assert taken.exit_code == 1 and "line 121: its verdict is 'maybe'" in taken.output
    assert bank.maintenance.stats()["conversations"] == 119
    wrong = CliRunner().invoke(app, [*command, "--column", "frage=x"])
    assert wrong.exit_code == 2 and "names no column" in wrong.output


def test_what_is_too_long_to_learn_is_what_the_trainer_says() -> None:
    assert TrainerSettings().max_answer_characters == LONGEST_LEARNED
