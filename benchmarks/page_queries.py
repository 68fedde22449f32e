"""What each page asks the store, and what the trainer and a click on a thumb do: the queries that have to stay fast.

`store_size` times them and a test reads their query plans, so that what is measured and what is guarded are the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assistant.web.user_conversations import UserConversations
from store import Store
from store.records import MessageStatus, Role, Usage, Verdict
from trainer.examples.dataset import collect
from trainer.settings import TrainerSettings

Asking = Callable[[Store, "Subject"], object]
_USAGE = Usage(420, 400, 384, 30, 0.2, 1.5)


@dataclass(frozen=True)
class Subject:
    """One conversation with one of its answers, and words that somebody looks for."""

    assistant_id: str
    conversation_id: str
    answer_id: str
    words: str
    owner: str = "local"


def conversation(store: Store, subject: Subject) -> None:
    """As the Chat page shows it to its owner."""
    owner = store.conversations.get(subject.conversation_id).owner
    UserConversations(store, owner).turns(subject.conversation_id)


def prompt_page(store: Store, subject: Subject) -> None:
    store.prompts.latest(subject.assistant_id)
    store.deployments.active(subject.assistant_id)
    store.assistants.found()
    store.prompts.all(subject.assistant_id)
    store.deployments.all(subject.assistant_id)


def training_page(store: Store, subject: Subject) -> None:
    """A tick of its timer; the newest run is shown."""
    runs = store.runs.all(subject.assistant_id)
    if runs:
        store.runs.events(runs[0].id)
    store.runs.running()
    store.runs.is_requested(subject.assistant_id)
    store.runs.automatic(subject.assistant_id)
    store.deployments.active(subject.assistant_id)
    store.deployments.replaced(subject.assistant_id)


def funnel(store: Store, subject: Subject) -> None:
    """Its counts are in the report of a run."""
    for run in store.runs.all(subject.assistant_id, 1):
        store.runs.events(run.id, "dataset")


def savings_page(store: Store, subject: Subject) -> None:
    active = store.deployments.active(subject.assistant_id)
    if active:
        store.prompts.get(active.prompt_id)
        store.messages.answered(active.id)
    store.runs.all(subject.assistant_id)
    store.deployments.activations(subject.assistant_id)
    store.deployments.all(subject.assistant_id)


def answer(store: Store, subject: Subject) -> None:
    """A turn of chat: the question, the answer that begins to stream, and its end."""
    head = store.conversations.get(subject.conversation_id).head_id
    question = store.messages.add(subject.conversation_id, head, Role.USER, subject.words)
    begun = store.messages.add(
        subject.conversation_id, question.id, Role.ASSISTANT, "", MessageStatus.STREAMING
    )
    store.messages.branch(question.id)
    store.messages.finish(begun.id, subject.words * 3, MessageStatus.COMPLETE, _USAGE)


def select(store: Store, subject: Subject) -> None:
    collect(store, subject.assistant_id, TrainerSettings())


PAGES: Mapping[str, Asking] = {
    "chat: list of conversations": lambda store, s: store.conversations.all(s.assistant_id, s.owner, "chat"),
    "chat: list with samples and imports": lambda store, s: store.conversations.all(s.assistant_id, s.owner),
    "chat: everybody's list": lambda store, s: store.conversations.all(s.assistant_id),
    "chat: conversation": conversation,
    "prompt page": prompt_page,
    "training page": training_page,
    "training page: before the first run": lambda store, s: store.answers.rated_count(s.assistant_id),
    "training page: funnel": funnel,
    "savings page": savings_page,
}
SEARCHES: Mapping[str, Asking] = {
    "search: messages": lambda store, s: store.search.find(s.assistant_id, s.words),
    "search: list of conversations": lambda store, s: store.conversations.all(
        s.assistant_id, s.owner, "chat", search=s.words
    ),
}
WRITES: Mapping[str, Asking] = {
    "rating": lambda store, s: store.ratings.add(
        s.answer_id, "benchmark", Verdict.DOWN, "wrong", "not what I asked", "By the quay."
    ),
    "turn of chat": answer,
}
