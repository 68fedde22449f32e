"""Scorers that look further than the text: equal JSON, rows of queries in a cage, and a judge over HTTP."""

import json
import pickle
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fake_chat_model import FakeChatModel, serving
from waiting import PATIENCE_S

from trainer.evaluation import scorers
from trainer.evaluation.scorers import Scorer, ScorerFailed, UnknownScorer, right_or_wrong, scorer
from trainer.evaluation.sql import is_sorted
from trainer.run import _EXPECTED


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a folder" / "towns ?#.sqlite"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """CREATE TABLE town (name TEXT, people INT, area REAL);
               INSERT INTO town VALUES ('Ham', 10, 0.1), ('Ware', 20, 0.2), ('Ely', 20, 0.3), (NULL, 5, 0.7);"""
        )
    return path


@pytest.fixture
def rows(database: Path) -> Scorer:
    return scorer(f"sql:{database}")


@pytest.mark.parametrize(
    ("answer", "approved", "score"),
    [
        ("select name from town where people > 15", "SELECT name FROM town WHERE people = 20;", 1.0),
        ("SELECT name FROM town ORDER BY name DESC", "SELECT name FROM town", 1.0),
        ("SELECT name FROM town ORDER BY name DESC", "SELECT name FROM town ORDER BY name", 0.0),
        ("SELECT name FROM town", "SELECT name FROM town WHERE people > 5", 0.0),
        ("SELECT people FROM town", "SELECT DISTINCT people FROM town", 0.0),
        ("SELECT name, people FROM town", "SELECT people, name FROM town", 0.0),
        (
            "SELECT sum(area) FROM (SELECT area FROM town ORDER BY area DESC)",
            "SELECT sum(area) FROM town",
            1.0,
        ),
        ("SELECT count(*) FROM town", "SELECT 4.0", 1.0),
        ("SELECT nme FROM town", "SELECT name FROM town", 0.0),
        ("", "SELECT name FROM town WHERE people > 99", 0.0),
        ("The answer is Ham.", "SELECT name FROM town LIMIT 1", 0.0),
        ("SELECT nme FROM town", "SELECT nme FROM town", 0.0),
        ("WITH a AS (SELECT 1 AS x) SELECT x FROM a", "SELECT 1", 1.0),
    ],
)
def test_queries_agree_when_their_rows_do(rows: Scorer, answer: str, approved: str, score: float) -> None:
    assert rows(answer, approved) == score


def test_only_the_outermost_order_counts() -> None:
    assert is_sorted("SELECT a FROM b order\n by a") and is_sorted("SELECT f(g(a)) FROM b ORDER BY h(a)")
    assert not is_sorted("SELECT a FROM b WHERE c IN (SELECT c FROM d ORDER BY e LIMIT 1)")
    assert not is_sorted("SELECT row_number() OVER (ORDER BY a) FROM b")
    assert not is_sorted("SELECT 'order by (' FROM b -- ORDER BY a")


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"


@pytest.mark.parametrize(
    "hostile",
    [
        "ATTACH 'other.sqlite' AS other",
        "PRAGMA writable_schema = ON",
        "SELECT * FROM pragma_table_info('town')",
        "DELETE FROM town",
        "INSERT INTO town VALUES ('x', 1, 1) RETURNING name",
        "DROP TABLE town",
        "CREATE TEMP TABLE a (b)",
        "VACUUM INTO 'copy.sqlite'",
        "BEGIN EXCLUSIVE",
        "SELECT 1; DELETE FROM town",
        f"{ENDLESS} SELECT count(*) FROM c",
        f"{ENDLESS} SELECT x FROM c",
        f"{ENDLESS} SELECT randomblob(900000) FROM c ORDER BY 1",
        "SELECT length(randomblob(1e9))",
        "SELECT length(hex(zeroblob(900000)))",
        "SELECT load_extension('evil')",
        "SELECT '" + "x" * 30_000 + "'",
        "(" * 10_000,
        "SELECT '\x00'",
        "SELECT '\ud800'",
    ],
    ids=lambda query: query[:40],
)
def test_hostile_queries_score_nothing_change_nothing_and_end(
    database: Path, rows: Scorer, hostile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.evaluation.sql._SECONDS", 0.5)
    monkeypatch.chdir(database.parent)
    before, started = database.read_bytes(), time.monotonic()
    assert rows(hostile, "SELECT 1") == 0.0
    assert rows(hostile, hostile) == 0.0
    assert time.monotonic() - started < PATIENCE_S
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir()] == [database.name]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sql:/nowhere/at/all.sqlite", "no such file"),
        ("sql:towns.sqlite", "must be absolute"),
        ("sql:/data/shorthand.sqlite", "is a store of Shorthand"),
        ("sql:", "must be absolute"),
        ("judge:http://127.0.0.1:1", "write judge:<base url>#<model>"),
        ("judge:127.0.0.1#m", "write judge:<base url>#<model>"),
        ("rouge", "There is no scorer 'rouge'. Choose one of: chrf, exact, bleu, json"),
    ],
)
def test_a_scorer_that_cannot_work_says_why(name: str, says: str) -> None:
    with pytest.raises(UnknownScorer, match=says):
        scorer(name)


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database at all, " * 100)
    with pytest.raises(UnknownScorer, match="file is not a database"):
        scorer(f"sql:{tmp_path / 'text.sqlite'}")


def test_every_scorer_can_be_sent_to_another_process(rows: Scorer) -> None:
    assert pickle.loads(pickle.dumps(rows))("SELECT 1", "SELECT 1") == 1.0
    assert callable(pickle.loads(pickle.dumps(scorer("judge:http://127.0.0.1:1#m"))))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeChatModel]:
    with serving(monkeypatch) as fake:
        yield fake


def test_a_judge_compares_once_and_is_remembered(
    server: FakeChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(scorers.JUDGE_KEY, "secret")
    server.replies = ["7", "3"]
    score = scorer(f"judge:{server.url}/v1/#model/a")
    assert score('It said: "Paris".', "Paris.") == pytest.approx(0.7)
    assert score('It said: "Paris".', "Paris.") == pytest.approx(0.7)
    assert score("Rome.", "Paris.") == pytest.approx(0.3)
    [first, _] = server.asked
    assert first["model"] == "model/a" and first["temperature"] == 0
    assert json.dumps('It said: "Paris".') in first["messages"][1]["content"]
    assert server.keys == ["Bearer secret"] * 2


@pytest.mark.parametrize(
    ("replies", "score"),
    [([" 10\n"], 1.0), (["Score: 8/10"], 0.8), (["6.5"], 0.65), (["0"], 0.0), ([503, 429, "4"], 0.4)],
)
def test_a_number_is_found_in_what_the_judge_says_also_where_it_was_busy(
    server: FakeChatModel, replies: list[str | int], score: float
) -> None:
    server.replies = replies
    assert scorer(f"judge:{server.url}#m")("a", "b") == pytest.approx(score)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("It is good.", "no number from 0 to 10"),
        ("11", "no number from 0 to 10"),
        ("-3", "no number from 0 to 10"),
        (401, "status 401"),
        (503, "status 503"),
    ],
)
def test_a_judge_that_does_not_judge_is_a_failure(server: FakeChatModel, reply: str | int, says: str) -> None:
    server.replies = [reply]
    with pytest.raises(ScorerFailed, match=says):
        scorer(f"judge:{server.url}#m")("a", "b")


def test_a_judge_that_is_away_is_a_failure_that_a_run_reports(server: FakeChatModel) -> None:
    with pytest.raises(ScorerFailed, match="http://127.0.0.1:9 does not answer"):
        scorer("judge:http://127.0.0.1:9#m")("a", "b")
    assert ScorerFailed in _EXPECTED


@pytest.mark.parametrize("name", ["chrf", "bleu"])
def test_no_score_lies_above_one_by_rounding(name: str) -> None:
    for length in range(1, 60):
        text = "the aeolus 86 is a 42 inch television with 4 hdmi ports"[:length]
        assert scorer(name)(text, text) <= 1.0


def test_what_is_right_or_wrong_is_known_by_name(database: Path) -> None:
    found = {name for name in ("exact", "json", f"sql:{database}", "chrf", "judge:x") if right_or_wrong(name)}
    assert found == {"exact", "json", f"sql:{database}"}


@pytest.mark.parametrize(
    ("name", "answer", "approved", "score"),
    [
        ("exact", " Paris.\n", "Paris.", 1.0),
        ("exact", "paris.", "Paris.", 0.0),
        ("json", '{"a": 1, "b": [2]}', '{"b":[2],"a":1}', 1.0),
        ("json", "no json", "{}", 0.0),
        ("json", '{"a": 1}', '{"a": 2}', 0.0),
        ("json", "true", "1", 0.0),
        ("json", "[0]", "[false]", 0.0),
        ("json", '{"a": [1, {"b": true}]}', '{"a": [1, {"b": 1}]}', 0.0),
        ("json", "1", "1.0", 1.0),
        ("json", "null", "false", 0.0),
        ("json", '"1"', "1", 0.0),
        ("json", "[1]", "[1, 2]", 0.0),
        ("json", '{"a": null}', "{}", 0.0),
        ("json", "[" * 100_000, "[]", 0.0),
        ("chrf", "The capital is Paris.", "The capital is Paris.", 1.0),
        ("bleu", "The capital is Paris.", "The capital is Paris.", 1.0),
        ("chrf", "", "Paris", 0.0),
        ("bleu", "", "Paris", 0.0),
    ],
)
def test_scores_lie_between_nothing_and_one(name: str, answer: str, approved: str, score: float) -> None:
    assert scorer(name)(answer, approved) == pytest.approx(score, abs=1e-6)
