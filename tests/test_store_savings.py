"""Request points: which they are, and in which order."""

from store import Store
from store.records import MessageStatus, Role, Usage


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
