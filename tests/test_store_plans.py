"""No hot query reads a whole table or sorts one: what pages, searches, ratings and the trainer ask goes by index.

A plan does not depend on how much is in the tables (nobody runs ANALYZE), so a small store shows what a large one does.
"""

import re

import pytest
from imported_turns import ImportedTurn, load_turns

from benchmarks.page_queries import PAGES, SEARCHES, WRITES, Asking, Subject, select
from store import Store
from store.decisions import DECIDED, OPEN
from store.io.transfer import DECISIONS_OF, MESSAGES_OF, OWNERS_OF, RATINGS_OF
from store.records import Role, Segment, SegmentKind, Usage, Verdict
from store.runs import PAIRS
from trainer.examples.traffic import ENOUGH_RATED

# Tables that stay small, lists of ids that the query was given, the turns of one thread, and what a query inside has
# found already.
SMALL = {
    *("assistants", "prompts", "deployments", "runs", "training_requests", "activations", "d", "a"),
    *("json_each", "wanted", "path", "below", "CONSTANT"),
}
SMALL_SCAN = re.compile(
    rf"SCAN ({'|'.join(SMALL)})\b|SCAN \w+ VIRTUAL TABLE INDEX \d+:M|SCAN \(subquery-\d+\)"
)
# What may be sorted, being as little as a page shows: a thread, what a list of ids asks for, one turn, one answer.
FEW = re.compile(
    r"^SCAN (wanted|json_each)\b|\b(path|below)\b"
    r"|^SEARCH messages USING INDEX (messages_below|sqlite_autoindex_messages_2) \(conversation_id=\?\)"
    r"|^SEARCH \w+ USING INDEX \w+ \((conversation_id=\? AND parent_id=\? AND role=\?|message_id=\?)\)"
)
BIG = (
    "messages|ratings|conversations|decisions|judgement_requests|gate_answers|run_events|rated_answers|splits|message_words|rating_words|"
    "decision_words|title_words"
)


@pytest.fixture
def full(bank: Store) -> Store:
    """A bit of everything: an assistant, answers, ratings, runs."""
    store = bank
    prompt = store.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    served = store.deployments.activate(store.deployments.add("bank", prompt.id, None, ["a"], 0, 10).id)
    load_turns(store, "bank", [ImportedTurn("c", "hours", "nine", Verdict.UP)])
    for number in range(ENOUGH_RATED + 1):
        asked = store.messages.add("c", None, Role.USER, "hours")
        given = {"deployment_id": served.id, "usage": Usage(1, 1, 1, 1, 0.1, 0.1, -0.1)}
        answer = store.messages.add("c", asked.id, Role.ASSISTANT, "nine", **given)
        if number:
            store.ratings.add(answer.id, "ann", Verdict.UP, comment="nine it is")
    run = store.runs.start("bank", {}, "test")
    store.runs.add_event(run.id, "dataset", {})
    return store


def asked(store: Store, asking: Asking) -> list[str]:
    """The statements that a call ran, with their values."""
    statements: list[str] = []
    connection = store._file.connection()
    connection.set_trace_callback(statements.append)
    asking(store, Subject("bank", "c", "c.1.assistant", "hours ni"))
    connection.set_trace_callback(None)
    # FTS5 reads its few settings again, through statements of its own, where another connection has changed its tables.
    ours = [text for text in statements if not re.search(r"FROM 'main'\.'\w+_config'", text)]
    return [text for text in ours if re.match(r"\s*(SELECT|WITH|UPDATE|DELETE)\b", text)]


def reads_all(store: Store, statement: str) -> list[str]:
    """The steps of its plan that read or sort a table which grows."""
    with store._file.reading() as transaction:
        steps = [row["detail"] for row in transaction.rows(f"EXPLAIN QUERY PLAN {statement}")]
    found = [step for step in steps if step.startswith("SCAN") and not SMALL_SCAN.match(step)]
    if not FEW.search(" | ".join(steps)) and re.search(rf"\b({BIG})\b", statement):
        found += [step for step in steps if "TEMP B-TREE" in step and "DISTINCT" not in step]
    return found


@pytest.mark.parametrize("name", [*PAGES, *SEARCHES, *WRITES, "training set"])
def test_what_is_asked_often_goes_by_index(full: Store, name: str) -> None:
    asking = {**PAGES, **SEARCHES, **WRITES, "training set": select}[name]
    statements = asked(full, asking)
    assert statements, "the trace saw nothing"
    for statement in statements:
        assert reads_all(full, statement) == [], statement


OTHERS = [MESSAGES_OF, RATINGS_OF, OWNERS_OF, DECISIONS_OF, OPEN, DECIDED, f"SELECT 1 {PAIRS}"]


@pytest.mark.parametrize("statement", OTHERS)
def test_import_export_and_what_judges_see_go_by_index(full: Store, statement: str) -> None:
    assert reads_all(full, statement.replace("?", "'[]'")) == []


def test_a_persons_list_does_not_walk_through_what_others_own(full: Store) -> None:
    (statement,) = asked(full, PAGES["chat: list of conversations"])
    (step,) = full._file.connection().execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    assert "USING INDEX conversations_of_owner (assistant_id=? AND owner=?)" in step["detail"]
