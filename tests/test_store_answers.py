"""What a deployment answered in chat, and the points of the savings plot."""

import pytest

from assistant.web.savings_page import requests
from store import Store
from store.answers import SERVED
from store.records import MessageStatus, RequestPoints, Role, Usage, Verdict

COMPLETE = MessageStatus.COMPLETE


@pytest.fixture
def bank(store: Store) -> Store:
    """Two deployments, numbered 1 and 2."""
    store.assistants.create("bank", "Bank", "exact")
    prompt = store.prompts.add("bank", [])
    for _ in range(2):
        store.deployments.add("bank", prompt.id, None, (), variant=0, prompt_tokens=0)
    return store


def answer(
    store: Store,
    at: float,
    status: MessageStatus = COMPLETE,
    source: str = "chat",
    by: int = 1,
    tokens: int | None = 40,
) -> str:
    """The id of an answer whose prompt has that many tokens; None where the request was not measured."""
    talk = store.conversations.create("bank", source=source, owner="ann").id
    question = store.messages.add(talk, None, Role.USER, "q", created_at=at).id
    usage = None if tokens is None else Usage(50, tokens, 32, 9, 0.25, 1.0)
    return store.messages.add(talk, question, Role.ASSISTANT, "a", status, by, usage, None, at).id


def test_what_a_deployment_answered_in_chat_with_what_people_think_of_it(bank: Store) -> None:
    first = answer(bank, 2.0)
    failed = answer(bank, 1.0, MessageStatus.FAILED, tokens=None)
    stopped = answer(bank, 3.0, MessageStatus.STOPPED)
    answer(bank, 4.0, source="sample")
    answer(bank, 5.0, by=2)
    answer(bank, 6.0, MessageStatus.STREAMING)
    bank.ratings.add(first, "ann", Verdict.UP)
    bank.ratings.add(first, "ann", Verdict.DOWN)
    found = bank.answers.served(1, 10)
    assert [(a.message_id, a.owner, a.status) for a in found] == [
        (failed, "ann", MessageStatus.FAILED),
        (first, "ann", COMPLETE),
        (stopped, "ann", MessageStatus.STOPPED),
    ]
    assert [[r.verdict for r in a.ratings] for a in found] == [[], [Verdict.DOWN], []]
    assert [a.message_id for a in bank.answers.served(1, 2)] == [first, stopped]


def test_served_answers_are_found_by_index(store: Store) -> None:
    with store._file.reading() as transaction:
        plan = [row["detail"] for row in transaction.rows(f"EXPLAIN QUERY PLAN {SERVED}", [1, 10])]
    assert not [step for step in plan if step.startswith(("SCAN m", "SCAN c"))], plan
    assert sum("USING INDEX messages_measured" in s or "USING INDEX messages_failed" in s for s in plan) == 2


def test_points_are_the_newest_answered_chat_requests_oldest_first(bank: Store) -> None:
    for at in (3.0, 1.0, 2.0):
        answer(bank, at)
    answer(bank, 4.0, MessageStatus.FAILED)
    answer(bank, 5.0, source="sample")
    answer(bank, 6.0, tokens=None)
    answer(bank, 7.0, MessageStatus.STOPPED)

    points = bank.answers.request_points("bank")
    assert points == RequestPoints((1.0, 2.0, 3.0, 7.0), (40, 40, 40, 40))
    assert bank.answers.request_points("bank", since=2.0).at == (2.0, 3.0, 7.0)
    assert bank.answers.request_points("bank", limit=2).at == (3.0, 7.0)
    assert bank.answers.request_points("shop") == RequestPoints((), ())


def test_the_newest_of_several_deployments_are_given_also_where_one_served_again(bank: Store) -> None:
    for at in range(20):
        answer(bank, float(at), by=1 + at // 5 % 2, tokens=at)
    points = bank.answers.request_points("bank", limit=8)
    assert points.at == tuple(map(float, range(12, 20))) and points.prompt_part_tokens == tuple(range(12, 20))


def test_the_plot_has_one_dot_for_requests_that_would_lie_on_each_other() -> None:
    at = tuple(n / 10 for n in range(5000))
    dots = requests(RequestPoints(at, (592,) * 2500 + (20,) * 2500))
    assert 395 <= len(dots) <= 405 and [dot["at"] for dot in dots] == sorted(dot["at"] for dot in dots)
    assert {dot["tokens"] for dot in dots} == {592, 20} and dots[-1]["at"] == at[-1]
    assert len(requests(RequestPoints((1.0, 1.0, 1.0), (592, 20, 592)))) == 2
    assert requests(RequestPoints((), ())) == []
