"""What a deployment answered in chat."""

import pytest
from store_scene import answered

from store import Store
from store.records import MessageStatus, Usage, Verdict

COMPLETE = MessageStatus.COMPLETE


@pytest.fixture
def bank(bank: Store) -> Store:
    """Two deployments, numbered 1 and 2."""
    prompt = bank.prompts.add("bank", [])
    for _ in range(2):
        bank.deployments.add("bank", prompt.id, None, (), variant=0, prompt_tokens=0)
    return bank


def answer(
    store: Store,
    at: float,
    status: MessageStatus = COMPLETE,
    source: str = "chat",
    by: int = 1,
    tokens: int | None = 40,
) -> str:
    """The id of an answer whose prompt has that many tokens; None where the request was not measured."""
    usage = None if tokens is None else Usage(50, tokens, 32, 9, 0.25, 1.0)
    given = {"status": status, "deployment_id": by, "usage": usage}
    return answered(store, owner="ann", source=source, at=at, **given).id


def test_what_a_deployment_answered_in_chat_with_what_people_think_of_it(bank: Store) -> None:
    first = answer(bank, 2.0)
    failed = answer(bank, 1.0, MessageStatus.FAILED, tokens=None)
    stopped = answer(bank, 3.0, MessageStatus.STOPPED)
    answer(bank, 4.0, source="import")
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
