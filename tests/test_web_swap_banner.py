"""After a swap the chat shows the last question answered by both deployments."""

import re
from collections.abc import Callable

import pytest

from assistant.web.markup import render
from assistant.web.user_conversations import UserConversations
from store import Store
from store.errors import NotFound
from store.records import Deployment, Message, MessageStatus, Role, Segment, SegmentKind


class Scene:
    """An assistant with one question that was answered before anything was trained."""

    def __init__(self, store: Store):
        self.store = store
        store.assistants.create("desk", "Desk", "chrf")
        store.prompts.add("desk", [Segment("a", SegmentKind.INSTRUCTION, text="Be brief.")])
        self.deploy(None, 592, variant=0)
        self.question = store.conversations.start("desk", "When?")
        self.answer("At <b>nine</b>.")

    def deploy(self, adapter: str | None, tokens: int, variant: int = 1) -> Deployment:
        prompt = self.store.prompts.latest("desk")
        made = self.store.deployments.add("desk", prompt.id, adapter, (), variant, tokens)
        return self.store.deployments.activate(made.id)

    def answer(self, text: str, status: MessageStatus = MessageStatus.COMPLETE) -> Message:
        here, active = self.question.conversation_id, self.store.deployments.active("desk")
        id = active and active.id
        return self.store.messages.add(here, self.question.id, Role.ASSISTANT, text, status, id)

    def banner(self, owner: str = "local") -> str:
        swap = UserConversations(self.store, owner).swap(self.question.conversation_id)
        return render("swap_banner.html", **swap) if swap else ""


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


def test_it_asks_first_and_then_shows_both_side_by_side(scene: Scene) -> None:
    assert scene.banner() == "", "nothing was swapped"
    scene.deploy("desk-v1", 9)
    scene.answer("", MessageStatus.FAILED)
    html = scene.banner()
    assert "9 tokens of prompt, not 592 as before" in html and "Your last answer is from before." in html
    assert re.search(r'data-event="regenerate" data-id="\w+"', html), "what failed is not compared"
    scene.answer("At nine, now.")
    html = scene.banner()
    assert html.index("At &lt;b&gt;nine") < html.index("At nine, now.") and "swap-compare" not in html
    assert "base model, full prompt" in html and "desk-v1, prompt of 9 tokens" in html
    with pytest.raises(NotFound):
        scene.banner("mallory")


def test_a_first_cut_without_an_adapter_is_news_too(scene: Scene) -> None:
    scene.deploy(None, 157)
    html = scene.banner()
    assert "Approved answers stand in for its prompt." in html and "157 tokens of prompt, not 592" in html


@pytest.mark.parametrize(
    "act",
    [
        lambda scene, patch: scene.store.deployments.rollback("desk", "worse"),
        lambda scene, patch: scene.deploy(None, 300, variant=0),
        lambda scene, patch: scene.store.messages.add(
            scene.question.conversation_id, scene.answer("x").id, Role.USER, "And then?"
        ),
        lambda scene, patch: patch.setattr("assistant.web.user_conversations._RECENT_S", -1.0),
    ],
    ids=["rolled back", "a prompt was saved", "the talk went on", "a day later"],
)
def test_it_goes_when_it_is_no_news_any_more(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, act: Callable[[Scene, pytest.MonkeyPatch], object]
) -> None:
    scene.deploy("desk-v1", 9)
    assert scene.banner()
    act(scene, monkeypatch)
    assert scene.banner() == ""
