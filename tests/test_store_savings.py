"""Request points, and that the hot queries use indexes."""

import pytest

from store import Store
from store.answers import (
    DECIDED_OF_ASSISTANT,
    LATEST_OF_ASSISTANT,
    TURNS_OF,
    TURNS_OF_RATED,
    UNRATED_OF_TEACHER,
)
from store.decisions import DECIDED_SINCE, STANDING_OF_MESSAGES
from store.messages import THREAD
from store.ratings import LATEST_OF_MESSAGES
from store.records import MessageStatus, Role, Usage
from store.savings import POINTS
from store.transfer import DECISIONS_OF, MESSAGES_OF, OWNERS_OF, RATINGS_OF


def test_points_are_the_newest_answered_chat_requests_oldest_first(store: Store) -> None:
    store.create_assistant("bank", "Bank", "exact")
    prompt = store.add_prompt("bank", [])
    served = store.add_deployment("bank", prompt.id, None, (), rung=0, prompt_tokens=0).id

    def request(
        at: float, status: MessageStatus = MessageStatus.COMPLETE, source: str = "chat", measured: bool = True
    ) -> None:
        conversation = store.create_conversation("bank", source=source)
        question = store.add_message(conversation.id, None, Role.USER, "q", created_at=at)
        usage = Usage(50, 40, 32, 9, 0.25, 1.0) if measured else None
        store.add_message(conversation.id, question.id, Role.ASSISTANT, "a", status, served, usage, None, at)

    for at in (3.0, 1.0, 2.0):
        request(at)
    request(4.0, MessageStatus.FAILED)
    request(5.0, source="sample")
    request(6.0, measured=False)
    request(7.0, MessageStatus.STOPPED)

    points = store.request_points("bank")
    assert [point.at for point in points] == [1.0, 2.0, 3.0, 7.0]
    first = points[0]
    assert (first.deployment_id, first.prompt_tokens, first.prompt_part_tokens) == (served, 50, 40)
    assert (first.cached_tokens, first.first_token_s) == (32, 0.25)
    assert [point.at for point in store.request_points("bank", since=2.0)] == [2.0, 3.0, 7.0]
    assert [point.at for point in store.request_points("bank", limit=2)] == [3.0, 7.0]
    assert store.request_points("shop") == []


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (THREAD, ["c"]),
        (LATEST_OF_MESSAGES, ["[]"]),
        (LATEST_OF_ASSISTANT, ["bank"]),
        (TURNS_OF_RATED, ["bank"]),
        (UNRATED_OF_TEACHER, [1, 10]),
        (TURNS_OF, ["[]"]),
        (POINTS, ["bank", 0.0, 10]),
        (MESSAGES_OF, ["[]"]),
        (RATINGS_OF, ["[]"]),
        (OWNERS_OF, ["[]"]),
        (DECIDED_OF_ASSISTANT, ["bank"]),
        (DECISIONS_OF, ["[]"]),
        (STANDING_OF_MESSAGES, ["[]"]),
        (DECIDED_SINCE, ["ann", 0.0, "bank"]),
    ],
    ids=[
        "thread",
        "latest_ratings",
        "rated_answers",
        "rated_answers turns",
        "teacher's answers",
        "teacher's answers turns",
        "request_points",
        "export messages",
        "export ratings",
        "import owners",
        "rated_answers decisions",
        "export decisions",
        "standing decisions",
        "decided today",
    ],
)
def test_hot_queries_search_by_index_and_scan_no_table(store: Store, query: str, values: list) -> None:
    with store._file.reading() as transaction:
        plan = [row["detail"] for row in transaction.rows(f"EXPLAIN QUERY PLAN {query}", values)]
    # `path` is the thread itself, `wanted` and json_each are lists of ids; every table is searched.
    lists = ("path", "wanted", "json_each")
    scans = [step for step in plan if step.startswith("SCAN") and step.split()[1] not in lists]
    assert scans == [], plan
    assert any("USING INDEX" in step or "USING COVERING INDEX" in step for step in plan)
