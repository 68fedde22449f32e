"""After a swap the chat shows the last question answered by both deployments."""

import re
from collections.abc import Callable

import pytest

from assistant.web.swap_banner import swap_banner
from assistant.web.user_conversations import UserConversations
from store import Store
from store.errors import NotFound
from store.records import Deployment, Message, MessageStatus, Role, Segment, SegmentKind, Usage

DAY_S = 86400.0


class Scene:
    """An assistant with one question that was answered before anything was trained."""

    def __init__(self, store: Store):
        self.store = store
        store.assistants.create("desk", "Desk", "chrf")
        store.prompts.add("desk", [Segment("a", SegmentKind.INSTRUCTION, text="Be brief.")])
        self.deploy(None, 592)
        self.talk = store.conversations.create("desk")
        self.question = store.messages.add(self.talk.id, None, Role.USER, "When?")
        self.answer("At <b>nine</b>.")

    def deploy(self, adapter: str | None, tokens: int) -> Deployment:
        prompt = self.store.prompts.latest("desk")
        made = self.store.deployments.add("desk", prompt.id, adapter, (), 1 if adapter else 0, tokens)
        return self.store.deployments.activate(made.id)

    def answer(self, text: str, status: MessageStatus = MessageStatus.COMPLETE) -> Message:
        active = self.store.deployments.active("desk")
        usage = Usage(600, active.prompt_tokens if active else 0, 0, 9, 0.25, 1.0)
        id = active and active.id
        return self.store.messages.add(
            self.talk.id, self.question.id, Role.ASSISTANT, text, status, id, usage
        )

    def banner(self, owner: str = "local") -> str:
        return swap_banner(self.store, UserConversations(self.store, owner), self.talk.id)


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


def test_it_asks_first_and_then_shows_both_side_by_side(scene: Scene) -> None:
    assert scene.banner() == "", "nothing was swapped"
    scene.deploy("desk-v1", 0)
    html = scene.banner()
    assert "0 tokens of prompt, not 592 as before" in html and "Your last answer is from before." in html
    assert re.search(r'data-event="regenerate" data-id="\w+"', html)
    scene.answer("At nine, now.")
    html = scene.banner()
    assert html.index("At &lt;b&gt;nine") < html.index("At nine, now.") and "swap-compare" not in html
    assert "base model, full prompt" in html and "desk-v1, prompt of 0 tokens" in html


@pytest.mark.parametrize(
    "act",
    [
        lambda scene: scene.store.deployments.rollback("desk", "worse"),
        lambda scene: scene.deploy(None, 300),  # a prompt was saved
        lambda scene: scene.store.messages.add(scene.talk.id, scene.answer("x").id, Role.USER, "And then?"),
    ],
)
def test_it_goes_when_it_is_no_news_any_more(scene: Scene, act: Callable[[Scene], object]) -> None:
    scene.deploy("desk-v1", 0)
    assert scene.banner()
    act(scene)
    assert scene.banner() == ""


def test_it_goes_after_a_day(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    active = scene.deploy("desk-v1", 0)
    later = (active.activated_at or 0.0) + DAY_S + 1
    monkeypatch.setattr("assistant.web.swap_banner.time.time", lambda: later)
    assert scene.banner() == ""


def test_an_answer_that_failed_is_not_compared_and_another_persons_not_shown(scene: Scene) -> None:
    scene.deploy("desk-v1", 0)
    scene.answer("", MessageStatus.FAILED)
    assert "swap-compare" in scene.banner()
    with pytest.raises(NotFound):
        scene.banner("mallory")
