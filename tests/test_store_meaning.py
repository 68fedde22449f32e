"""What columns, ratings and times mean is decided by the whole of a file, whatever a spreadsheet made of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from import_scene import APPROVING, OPTIONS, Load, chats, rated_answers_in, table

from store import Store, StoreError
from store.io.values import parse_time
from store.records import Verdict

UP, DOWN = Verdict.UP, Verdict.DOWN
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
    bank: Store, load: Load, names: str, as_json: bool
) -> None:
    row, question = QUESTIONS[names]
    if as_json:
        row = json.dumps([dict(zip(names.split(","), row.split(","), strict=True))])
    assert load(row if as_json else table(names, row), APPROVING).refused == 0
    [(context, _, _)] = rated_answers_in(bank)
    assert context == [question]


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
def test_where_two_columns_compete_a_person_says_which(bank: Store, load: Load, names: str) -> None:
    row, said = CONFLICTS[names]
    with pytest.raises(StoreError, match=f"Several columns could be the {said}"):
        load(table(names, row))
    ours, _, theirs = said.partition(": ")
    chosen = {ours: theirs.split(", ")[1]}
    load(table(names, row), replace(APPROVING, columns=chosen))
    assert len(rated_answers_in(bank)) == 1


def test_columns_in_any_language_are_named(bank: Store, load: Load) -> None:
    data = table("Frage,Antwort,Note", "Wo?,Dort.,gut")
    with pytest.raises(StoreError, match="--column question=NAME"):
        load(data)
    named = replace(APPROVING, columns={"question": "Frage", "answer": "Antwort"})
    load(data, named)
    assert rated_answers_in(bank)[0][:2] == (["Wo?"], "Dort.")
    with pytest.raises(StoreError, match="There is no column 'gibt'. There are: 'frage', 'antwort', 'note'"):
        load(data, replace(named, columns={**named.columns, "verdict": "gibt"}))


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
    bank: Store, load: Load, values: str, said: tuple[float, float] | None, verdicts: list | None
) -> None:
    rows = [f'q{n},a{n},"{value.replace(";", ",")}"' for n, value in enumerate(values.split())]
    options = OPTIONS if said is None else replace(OPTIONS, up_from=said[0], down_to=said[1])
    if verdicts is None:
        with pytest.raises(StoreError, match="The column 'rating' holds") as refused:
            load(table("question,answer,rating", *rows), options)
        assert "--up-from" in str(refused.value) or "which are no verdicts" in str(refused.value)
        return
    load(table("question,answer,rating", *rows), options)
    found = {answer: ratings[0][1] for _, answer, ratings in rated_answers_in(bank)}
    assert [found.get(f"a{n}") for n in range(len(verdicts))] == verdicts


def test_stars_are_a_scale_even_where_all_are_one_and_a_label_may_be_something_else(
    bank: Store, load: Load
) -> None:
    with pytest.raises(StoreError, match="--up-from 4 --down-to 2"):
        load(table("question,answer,stars", "q,a,1"))
    result = load(table("question,answer,label,time", "q,a,cards,2.3"))
    assert (result.refused, result.unrated) == (0, 1)
    row = {**json.loads(chats(2)), "label": False}
    load(json.dumps(row), APPROVING)
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
    "10/31/2025": AT + 22 * 86400 - 32_000,
    "31/10/2025": AT + 22 * 86400 - 32_000,
    "09.10.2025 08:53": MINUTE,
    "NaN": None,
    "": None,
}


@pytest.mark.parametrize("value", TIMES)
def test_times_come_in_many_units_and_forms(value: str) -> None:
    assert parse_time(value, "date", OPTIONS.at, day_first=False) == TIMES[value]


NO_TIMES = {
    **dict.fromkeys(("1950000000", "1950000000000", "2125-10-09", "inf"), "in the future"),
    **dict.fromkeys(("5", "-1760000000", "31/31/2025", "yesterday"), "no time"),
    "1960-01-01": "before 1990",
}


@pytest.mark.parametrize(("value", "why"), NO_TIMES.items())
def test_what_is_no_time_or_lies_in_the_future_is_refused(
    bank: Store, load: Load, value: str, why: str
) -> None:
    rows = (f"q1,a1,down,c1,{value}", "q2,a2,down,c2,2025-10-09")
    result = load(table("question,answer,verdict,correction,rated_at", *rows))
    assert list(result.refusals) == [2] and why in result.refusals[2] and value in result.refusals[2]
    assert [answer for _, answer, _ in rated_answers_in(bank)] == ["a2"]


def test_where_day_or_month_may_come_first_a_person_says_which(bank: Store, load: Load) -> None:
    data = table("question,answer,rating,date", "q0,a0,up,10/9/2025", "q1,a1,up,13/9/2025")
    with pytest.raises(StoreError, match="In '10/9/2025' the day or the month may come first"):
        load(data)
    load(data, replace(OPTIONS, day_first=True))
    first = next(c for c in bank.conversations.all("bank") if c.title == "q0")
    assert datetime.fromtimestamp(first.created_at, UTC).month == 9


HABITS = {
    "sep": "\ufeffsep=;\nquestion;answer;rating\nq;a;up\n",
    "sep and tab": "sep=\t\r\nquestion\tanswer\trating\r\nq\ta\tup\r\n",
    "blank lines": "\n\n\nquestion,answer,rating\nq,a,up\n",
    "title": "Export of 9 October\n\nquestion,answer,rating\nq,a,up\n",
    "other names": "prompt\tresponse\tthumbs\r\nq\ta\t👍\r\n",
    "CR": "question,answer,rating\rq,a,up\r",
    "numbered rows": ",question,answer,rating\n0,q,a,1.0\n",
    "blank rows": "question,answer,rating,\n,,,\nq,a,up,\n,,,\n",
    "quoted names": '"Question";"Answer";"Rating"\n"q";"a";"up"\n',
    "pipes": "question|answer|rating\nq|a|up\n",
}


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_spreadsheets_write_is_read(bank: Store, load: Load, habit: str, encoding: str) -> None:
    result = load(HABITS[habit].encode(encoding))
    assert result.refusals == {} and rated_answers_in(bank) == [(["q"], "a", [("importer", UP, None)])]


def test_a_row_keeps_its_line_and_its_newlines_and_too_many_cells_are_refused(
    bank: Store, load: Load
) -> None:
    data = 'sep=,\nquestion,answer,rating\n"q\n1","a\n1",up\nIs it free?,No, two coins,up\nq2,a2,up\n'
    result = load(data)
    assert list(result.refusals) == [6] and "4 cells under 3 names" in result.refusals[6]
    assert sorted(answer for _, answer, _ in rated_answers_in(bank)) == ["a\n1", "a2"]


def test_another_encoding_is_said(bank: Store, load: Load) -> None:
    data = table("question,answer,rating", "Où?,Café.,up").encode("cp1252")
    assert "not UTF-8" in load(data).refusals[2]
    load(data, replace(OPTIONS, encoding="cp1252"))
    assert rated_answers_in(bank)[0][:2] == (["Où?"], "Café.")
    with pytest.raises(StoreError, match="--encoding"):
        load(data, replace(OPTIONS, encoding="klingon"))
