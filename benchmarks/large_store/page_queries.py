"""What each page asks the store, and what the trainer and a click on a thumb do: the queries that have to stay fast.

`store_size` times them and a test reads their query plans, so that what is measured and what is guarded are the same.
"""

from __future__ import annotations

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


def chat_list(store: Store, subject: Subject) -> None:
    store.conversations.all(subject.assistant_id, subject.owner, "chat")


def chat_list_with_samples(store: Store, subject: Subject) -> None:
    store.conversations.all(subject.assistant_id, subject.owner)


def everybodys_list(store: Store, subject: Subject) -> None:
    store.conversations.all(subject.assistant_id)


def conversation(store: Store, subject: Subject) -> None:
    """As the Chat page shows it to its owner."""
    owner = store.conversations.get(subject.conversation_id).owner
    UserConversations(store, owner).turns(subject.conversation_id)


def prompt_page(store: Store, subject: Subject) -> None:
    store.prompts.latest(subject.assistant_id)
    store.deployments.active(subject.assistant_id)
    store.prompts.all(subject.assistant_id)
    store.deployments.all(subject.assistant_id)


def training_page(store: Store, subject: Subject) -> None:
    """A tick of its timer; the newest run is shown."""
    runs = store.runs.all(subject.assistant_id)
    if runs:
        store.runs.events(runs[0].id)
    store.deployments.active(subject.assistant_id)
    store.leases.get("trainer-watch")


def before_the_first_run(store: Store, subject: Subject) -> None:
    store.answers.rated_count(subject.assistant_id)


def funnel(store: Store, subject: Subject) -> None:
    """Its counts are in the report of a run."""
    for run in store.runs.all(subject.assistant_id, 1):
        store.runs.events(run.id, "dataset")


def savings_page(store: Store, subject: Subject) -> None:
    active = store.deployments.active(subject.assistant_id)
    if active:
        store.prompts.get(active.prompt_id)
    store.runs.all(subject.assistant_id)
    store.deployments.activations(subject.assistant_id)
    store.deployments.all(subject.assistant_id)
    store.answers.request_points(subject.assistant_id)


def search(store: Store, subject: Subject) -> None:
    store.search.find(subject.assistant_id, subject.words)


def search_in_list(store: Store, subject: Subject) -> None:
    store.conversations.all(subject.assistant_id, subject.owner, "chat", search=subject.words)


def rate(store: Store, subject: Subject) -> None:
    store.ratings.add(
        subject.answer_id, "benchmark", Verdict.DOWN, "wrong", "not what I asked", "By the quay."
    )


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
    "chat: list of conversations": chat_list,
    "chat: list with samples and imports": chat_list_with_samples,
    "chat: everybody's list": everybodys_list,
    "chat: conversation": conversation,
    "prompt page": prompt_page,
    "training page": training_page,
    "training page: before the first run": before_the_first_run,
    "training page: funnel": funnel,
    "savings page": savings_page,
}
SEARCHES: Mapping[str, Asking] = {"search: messages": search, "search: list of conversations": search_in_list}
WRITES: Mapping[str, Asking] = {"rating": rate, "turn of chat": answer}
