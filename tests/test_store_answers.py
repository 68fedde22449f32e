"""What a deployment answered in chat, as it is looked at after a swap."""

from store import Store
from store.answers import SERVED
from store.records import MessageStatus, Role, Usage, Verdict


def test_what_a_deployment_answered_in_chat_with_what_people_think_of_it(store: Store) -> None:
    store.assistants.create("bank", "Bank", "exact")
    prompt = store.prompts.add("bank", [])
    served, other = (store.deployments.add("bank", prompt.id, None, (), 0, 0).id for _ in range(2))

    def answer(at: float, status: MessageStatus, source: str = "chat", by: int = served) -> str:
        conversation = store.conversations.create("bank", source=source, owner="ann")
        question = store.messages.add(conversation.id, None, Role.USER, "q", created_at=at)
        usage = None if status is MessageStatus.FAILED else Usage(50, 40, 32, 9, 0.25, 1.0)
        return store.messages.add(
            conversation.id, question.id, Role.ASSISTANT, "a", status, by, usage, None, at
        ).id

    first = answer(2.0, MessageStatus.COMPLETE)
    failed = answer(1.0, MessageStatus.FAILED)
    stopped = answer(3.0, MessageStatus.STOPPED)
    answer(4.0, MessageStatus.COMPLETE, source="sample")
    answer(5.0, MessageStatus.COMPLETE, by=other)
    answer(6.0, MessageStatus.STREAMING)
    store.ratings.add(first, "ann", Verdict.UP)
    store.ratings.add(first, "ann", Verdict.DOWN)
    found = store.answers.served(served, 10)
    assert [(a.message_id, a.owner, a.status) for a in found] == [
        (failed, "ann", MessageStatus.FAILED),
        (first, "ann", MessageStatus.COMPLETE),
        (stopped, "ann", MessageStatus.STOPPED),
    ]
    assert [[r.verdict for r in a.ratings] for a in found] == [[], [Verdict.DOWN], []]
    assert [a.message_id for a in store.answers.served(served, 2)] == [first, stopped]


def test_served_answers_are_found_by_index(store: Store) -> None:
    with store._file.reading() as transaction:
        plan = [row["detail"] for row in transaction.rows(f"EXPLAIN QUERY PLAN {SERVED}", [1, 10])]
    tables = [step for step in plan if step.startswith(("SCAN m", "SCAN c"))]
    assert tables == [], plan
    assert sum("USING INDEX messages_measured" in s or "USING INDEX messages_failed" in s for s in plan) == 2
