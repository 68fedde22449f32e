"""A file is judged as a whole: which tool wrote it, and what of its answers nobody reads."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from import_scene import APPROVING, OPTIONS, Load, chats, message, rated_answers_in, table
from store_scene import run_store

from store import Store, StoreError
from store.io.importing import LONGEST_LEARNED, plan_import
from store.io.left_out import take_off
from store.records import Verdict
from trainer.examples.selection import select
from trainer.settings import TrainerSettings

UP, DOWN = Verdict.UP, Verdict.DOWN
ASK, SAY = "Which line goes to the harbour?", "Line 3."
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
        **{"messageId": "a", "parentMessageId": "u", "text": "", "sender": "GPT-4", "isCreatedByUser": False},
        "content": [{"type": "think", "think": "Hm."}, {"type": "text", "text": {"value": SAY}}],
        "feedback": {"rating": "thumbsUp", "tag": "accurate"},
    },
]
REPLIES = [
    {"message_id": "b", "role": "assistant", "text": "Hm.", "rank": 1, "replies": []},
    {"message_id": "a", "role": "assistant", "text": SAY, "rank": 0, "replies": []},
]
CHATGPT = mapping(
    ("system", "all", text_of("")),
    ("user", "all", {"content_type": "user_editable_context", "user_profile": "x"}),
    ("user", "all", text_of(ASK)),
    ("assistant", "all", {"content_type": "thoughts", "thoughts": []}),
    ("assistant", "browser", {"content_type": "code", "text": "search()"}),
    ("tool", "all", text_of("line 3")),
    ("assistant", "all", text_of(SAY)),
)
CLAUDE = [
    {"sender": "human", "text": ASK, "content": [], "created_at": "2025-10-09T08:53:20Z"},
    {"sender": "assistant", "content": [{"type": "tool_use"}, {"type": "text", "text": SAY}]},
]
BRANCHES = [
    {"uuid": "u", "parent_message_uuid": "00000000-0000", "sender": "human", "text": ASK},
    {"uuid": "a", "parent_message_uuid": "u", "sender": "assistant", "text": SAY},
    {"uuid": "b", "parent_message_uuid": "u", "sender": "assistant", "text": "again"},
]
GEMINI = [
    {"role": "user", "parts": [{"text": ASK}]},
    {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": SAY}]},
]
SHAREGPT = [{"from": "human", "value": ASK}, {"from": "gpt", "value": SAY}]
NO = {"from": "gpt", "value": "no"}
LLAMA_FACTORY = {"conversations": SHAREGPT[:1], "chosen": SHAREGPT[1], "rejected": NO}
EXPORTS = {
    "open-webui-chats": {"id": "c", "chat": {"history": {"messages": NODES, "currentId": "a"}}},
    "librechat": {"conversationId": "c", "messages": LIBRECHAT},
    "librechat nested": {"messages": [{**LIBRECHAT[0], "children": LIBRECHAT[1:]}]},
    "chatgpt": {"mapping": CHATGPT},
    "claude": {"uuid": "c", "chat_messages": CLAUDE},
    "claude with branches": {"uuid": "c", "current_leaf_message_uuid": "a", "chat_messages": BRANCHES},
    "gemini": {"contents": GEMINI},
    "lmsys": {"conversation_id": "1", "conversation": PAIR},
    "oasst": {"prompt": {"message_id": "u", "role": "prompter", "text": ASK, "replies": REPLIES}},
    "records": {"instruction": ASK, "input": "", "output": SAY},
    "openai": {"messages": [message("system", {"odd": 1}), *PAIR], "score": float("nan"), "n": 10**500},
    "openai parts": {"messages": [*ASKED, message("assistant", [{"type": "thinking"}, {"text": SAY}])]},
    "sharegpt": {"conversations": SHAREGPT},
    "trl-preference": {"messages": PAIR, "chosen": PAIR, "rejected": [*ASKED, message("assistant", "no")]},
    "trl-preference with a prompt": {
        "prompt": ASKED,
        "chosen": PAIR[1:],
        "rejected": [message("assistant", "no")],
    },
    "trl-preference with a text": {
        "prompt": ASK,
        "chosen": PAIR,
        "rejected": [*ASKED, message("assistant", "no")],
    },
    "trl-preference of texts": {"question": ASK, "system": "x", "chosen": SAY, "rejected": "no"},
    "trl-preference of LLaMA-Factory": LLAMA_FACTORY,
}


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("indent", [None, 1])
def test_exports_of_many_tools_are_read_as_what_they_are(
    bank: Store, load: Load, name: str, indent: int | None
) -> None:
    result = load(json.dumps(EXPORTS[name], indent=indent), APPROVING)
    assert result.refusals == {} and result.format == name.split(" ")[0]
    [(context, answer, [(rater, verdict, correction)])] = rated_answers_in(bank)
    assert context == [ASK] and rater == "importer"
    assert (correction or answer, verdict) == (SAY, None if "preference" in name else UP)
    assert [one.completion for one in select(bank.answers.rated("bank"), 1000)[0]] == [SAY]
    assert bank.maintenance.check() == []


def test_what_else_is_left_out_is_counted(load: Load) -> None:
    thought = {"messages": [*ASKED, message("assistant", SAY, reasoning_content="Hm.")]}
    assert load(json.dumps(thought)).left_out == {"reasoning": 1}
    for name, count in {"oasst": 1, "claude with branches": 1, "librechat": 0}.items():
        found = load(json.dumps(EXPORTS[name])).left_out
        assert found["other answers, unrated"] == count
    odd = {**json.loads(chats(5)), "date": "13/9/2025"}, {**json.loads(chats(6)), "date": "9/13/2025"}
    assert load(json.dumps(odd)).refused == 0, "nobody reads these dates"


def test_a_format_that_is_asked_for_decides(bank: Store, load: Load) -> None:
    data = json.dumps(EXPORTS["trl-preference"])
    assert load(data, APPROVING, "openai").counts["ratings"] == 1
    assert rated_answers_in(bank) == [([ASK], SAY, [("importer", UP, None)])]


def test_the_rows_of_a_file_decide_and_not_its_first_ones(load: Load) -> None:
    preferences = [EXPORTS["trl-preference"]] * 30
    data = "\n".join(map(json.dumps, [{"messages": PAIR}, *preferences]))
    result = load(data)
    assert result.format == "trl-preference" and list(result.refusals) == [1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "a"}, "in none of the formats"),
        ({"messages": [{**PAIR[0], "files": [{"type": "image"}]}, PAIR[1]]}, "comes with files"),
        ({"messages": PAIR, "images": ["a.png"]}, "it comes with images"),
    ],
)
def test_what_cannot_be_read_says_what_it_is(load: Load, row: dict[str, Any], said: str) -> None:
    try:
        found = load(json.dumps([row])).refusals[1]
    except StoreError as error:
        found = str(error)
    assert said in found


OUTPUT = [{"type": "message", "content": [{"text": SAY}]}]
ODD = {
    "broken off the branch": {"zz": {"parentId": "a", "role": "user"}},
    "no object off the branch": {"zz": None},
    "cycle off the branch": {"x": {"parentId": "y"}, "y": {"parentId": "x"}},
    "parts": {"u": {**NODES["u"], "content": [{"type": "text", "text": ASK}]}},
    "output": {"a": {**NODES["a"], "content": None, "output": OUTPUT}},
    "system above": {"s": {"role": "system"}, "u": {**NODES["u"], "parentId": "s"}},
    "regenerated": {"b": {"parentId": "u", "role": "assistant", "content": "other"}},
    "interrupted beside it": {"b": {"parentId": "u", "role": "assistant", "content": "x", "done": False}},
    "broken and shown": {"a2": {"parentId": "gone", "role": "assistant", "content": "x"}},
    "time in milliseconds": {"a": {**NODES["a"], "timestamp": 1_760_000_000_000}},
}


@pytest.mark.parametrize("what", ODD)
def test_only_the_branch_of_a_rating_is_looked_at(bank: Store, load: Load, what: str) -> None:
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
        result = load(json.dumps(data), APPROVING)
        assert result.refused == (what == "broken and shown" and data == [row])
    assert {answer for _, answer, _ in rated_answers_in(bank)} == {SAY}
    assert bank.maintenance.stats()["conversations"] == 1


SPOKEN = {  # what is in the text -> what is learned (None: all of it) and how much was taken off
    f'<details type="reasoning" done="true">\n<summary>…</summary>\n&gt; Hm.\n</details>\n{SAY}': (SAY, 1),
    f'<details type="tool_calls" id="1">\n</details>\n<think>Hm.</think>{SAY}': (SAY, 2),
    f"<think>\n\n</think>\n\n{SAY}": (SAY, 1),
    f"<thinking>Hm.</thinking>\n{SAY}": (SAY, 1),
    f"[THINK]Hm.[/THINK]{SAY}": (SAY, 1),
    f"◁think▷Hm.◁/think▷{SAY}": (SAY, 1),
    f"<|channel|>analysis<|message|>Hm.<|end|>assistant<|channel|>final<|message|>{SAY}<|return|>": (SAY, 1),
    "<|channel|>analysis<|message|>Hm, it was cut": ("", 1),
    f"Hm, the harbour.\n</think>\n\n{SAY}": (SAY, 1),
    "Wait.\n<think>Hm.</think>\nLine 3.": ("Wait.\n\nLine 3.", 1),
    "<think>Hm, it was cut": ("", 1),
    "Write <think> before it and </think> after it.": (None, 0),
    "So:\n```\n<think>Hm.</think>\n```\n": (None, 0),
    "Open it with\n<thinking>\nand go on.": (None, 0),
    "<details><summary>More</summary>Line 3.</details>": (None, 0),
}


@pytest.mark.parametrize("text", SPOKEN)
def test_what_nobody_reads_is_taken_off_and_counted(bank: Store, load: Load, text: str) -> None:
    spoken, count = SPOKEN[text]
    spoken = text if spoken is None else spoken
    answer = {"messages": [*ASKED, message("assistant", text)]}
    correction = {"prompt": ASK, "chosen": text, "rejected": "no"}
    for row in (answer, correction, {"question": ASK, "answer": text}):
        result = load(json.dumps(row), APPROVING)
        assert result.left_out.total() == (count if spoken else 0)
        assert result.refused == (not spoken)
    assert {r[0][2] or answer for _, answer, r in rated_answers_in(bank)} == ({spoken} if spoken else set())


@given(...)
def test_taking_off_ends_and_takes_nothing_from_other_texts(text: str) -> None:
    assert take_off(text, []) == text or "think" in text.casefold()


def test_it_says_what_would_be_learned_and_asks(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = [f"q{n},{n:04}{'x' * (1096 + n * 7)},up" for n in range(115)]
    rows = [*(f"q{n},,down,c{n}" for n in range(900, 904)), *(f"{row}," for row in long)]
    path = tmp_path / "answers.csv"
    path.write_text(table("question,answer,rating,ideal", *rows, "q,a,maybe,"))
    said = "\n".join(plan_import(path, OPTIONS).sentences())
    assert "answers.csv is read as a table" in said and "verdict = rating, correction = ideal" in said
    assert "Answers to learn from: 115 rated up, 4 corrected" in said and said.count("for example: ") == 3
    assert "q900 → c900" in said and "left behind: 1" in said
    assert "115 of them are longer than the 1,024 characters" in said and "max_answer_tokens=475" in said
    assert bank.conversations.all("bank") == [], "nothing was imported"

    command = ("import", path, "--data-dir", tmp_path)
    monkeypatch.setattr("store.__main__._is_terminal", lambda: True)
    code, output = run_store(*command, typed="n\n")
    assert code == 1 and "Nothing was imported." in output and bank.conversations.all("bank") == []
    code, output = run_store(*command, "--yes", "--assistant", "bank")
    assert code == 1 and "line 121: its verdict is 'maybe'" in output
    assert bank.maintenance.stats()["conversations"] == 119
    code, output = run_store(*command, "--column", "frage=x")
    assert code == 2 and "names no column" in output


def test_what_is_too_long_to_learn_is_what_the_trainer_says() -> None:
    assert TrainerSettings().max_answer_characters == LONGEST_LEARNED
