"""Request points: which they are, and in which order."""

from assistant.web.savings_page import requests
from store import Store
from store.records import MessageStatus, RequestPoints, Role, Usage


def test_points_are_the_newest_answered_chat_requests_oldest_first(store: Store) -> None:
    store.assistants.create("bank", "Bank", "exact")
    prompt = store.prompts.add("bank", [])
    served = store.deployments.add("bank", prompt.id, None, (), variant=0, prompt_tokens=0).id

    def request(
        at: float, status: MessageStatus = MessageStatus.COMPLETE, source: str = "chat", measured: bool = True
    ) -> None:
        conversation = store.conversations.create("bank", source=source)
        question = store.messages.add(conversation.id, None, Role.USER, "q", created_at=at)
        usage = Usage(50, 40, 32, 9, 0.25, 1.0) if measured else None
        store.messages.add(conversation.id, question.id, Role.ASSISTANT, "a", status, served, usage, None, at)

    for at in (3.0, 1.0, 2.0):
        request(at)
    request(4.0, MessageStatus.FAILED)
    request(5.0, source="sample")
    request(6.0, measured=False)
    request(7.0, MessageStatus.STOPPED)

    points = store.answers.request_points("bank")
    assert points == RequestPoints((1.0, 2.0, 3.0, 7.0), (40, 40, 40, 40))
    assert store.answers.request_points("bank", since=2.0).at == (2.0, 3.0, 7.0)
    assert store.answers.request_points("bank", limit=2).at == (3.0, 7.0)
    assert store.answers.request_points("shop") == RequestPoints((), ())


def test_the_newest_of_several_deployments_are_given_also_where_one_served_again(store: Store) -> None:
    store.assistants.create("bank", "Bank", "exact")
    prompt = store.prompts.add("bank", [])
    served = [
        store.deployments.add("bank", prompt.id, None, (), variant=0, prompt_tokens=0).id for _ in range(2)
    ]
    talk = store.conversations.create("bank")
    for at in range(20):
        question = store.messages.add(talk.id, None, Role.USER, "q", created_at=float(at))
        usage = Usage(50, at, 32, 9, 0.25, 1.0)
        by = served[at // 5 % 2]
        store.messages.add(
            talk.id, question.id, Role.ASSISTANT, "a", MessageStatus.COMPLETE, by, usage, None, float(at)
        )
    points = store.answers.request_points("bank", limit=8)
    assert points.at == tuple(map(float, range(12, 20))) and points.prompt_part_tokens == tuple(range(12, 20))


def test_the_plot_has_one_dot_for_requests_that_would_lie_on_each_other() -> None:
    at = tuple(n / 10 for n in range(5000))
    dots = requests(RequestPoints(at, (592,) * 2500 + (20,) * 2500))
    assert 395 <= len(dots) <= 405 and [dot.at for dot in dots] == sorted(dot.at for dot in dots)
    assert {dot.prompt_tokens for dot in dots} == {592, 20} and dots[-1].at == at[-1]
    assert len(requests(RequestPoints((1.0, 1.0, 1.0), (592, 20, 592)))) == 2
    assert requests(RequestPoints((), ())) == []
