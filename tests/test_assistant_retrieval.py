"""Which approved answers are found for a question, in which order, and how soon a new one is."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from store_scene import answered
from word_embedder import WordEmbedder

from assistant.embedding import Embedder, EmbeddingError
from assistant.retrieval import NEARLY_THE_SAME, Retriever
from store import Store
from store.demonstrations import Demonstration
from store.records import Deployment, Example, Prompt, Role, RunStatus, Segment, SegmentKind, Split

Add = Callable[..., list[Demonstration]]


class CountingEmbedder(WordEmbedder):
    """Remembers how many texts it was asked for at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.sizes.append(len(texts))
        return super().embed(texts)


@pytest.fixture
def add(bank: Store) -> Add:
    """Adds demonstrations of these questions; the answer names the question."""

    def add(*questions: str) -> list[Demonstration]:
        new = [Demonstration(answered(bank, q).id, q, f"answer to {q}") for q in questions]
        bank.demonstrations.replace("bank", [*bank.demonstrations.all("bank"), *new])
        return new

    return add


def questions(found: Sequence[Demonstration]) -> list[str]:
    return [one.question for one in found]


def test_the_most_similar_that_may_be_shown_comes_last_and_what_is_unlike_is_left_out(
    bank: Store, add: Add
) -> None:
    first, *_ = add(
        "my card was lost", "how is the weather", "my card was stolen", "my old card was lost today"
    )
    retriever = Retriever(bank, WordEmbedder())

    def found(most: int, **wanted: Any) -> list[str]:
        return questions(retriever.nearest("bank", "my card was lost", most, **wanted))

    by_likeness = ["my card was stolen", "my old card was lost today", "my card was lost"]
    assert found(3) == by_likeness and found(4, at_least=0.7) == by_likeness
    assert found(2, allowed=lambda one: one.message_id != first.message_id) == by_likeness[:2]
    assert retriever.nearest("bank", "nothing of this kind", 3, at_least=0.7) == []


@pytest.mark.parametrize("most", [0, 3])
def test_where_there_is_nothing_nothing_is_found(bank: Store, most: int) -> None:
    assert Retriever(bank, WordEmbedder()).nearest("bank", "my card was lost", most) == []


def test_a_change_is_seen_at_the_next_question(bank: Store, add: Add) -> None:
    retriever = Retriever(bank, WordEmbedder())
    first, second = add("my card was lost", "my card was stolen")
    assert len(retriever.nearest("bank", "my card", 5)) == 2
    add("my card was found")
    assert "my card was found" in questions(retriever.nearest("bank", "my card", 5))
    bank.demonstrations.replace("bank", [first, Demonstration(second.message_id, second.question, "new")])
    assert {one.answer for one in retriever.nearest("bank", "my card", 5)} == {first.answer, "new"}
    bank.demonstrations.replace("bank", [])
    assert retriever.nearest("bank", "my card", 5) == []


def test_a_question_waits_for_32_new_vectors_at_most_and_the_rest_is_prepared(bank: Store, add: Add) -> None:
    add(*(f"question number {number}" for number in range(100)))
    embedder = CountingEmbedder()
    retriever = Retriever(bank, embedder)
    found = retriever.nearest("bank", "question number 99", 100)
    assert embedder.sizes == [32, 1] and len(found) == 32 and found[-1].question == "question number 99"
    retriever.prepare()
    assert len(retriever.nearest("bank", "question number 3", 100)) == 100
    embedder.sizes.clear()
    retriever.nearest("bank", "question number 4", 100)
    assert embedder.sizes == [1], "what is known is not made again"


def test_a_question_is_embedded_once_and_nothing_where_there_is_nothing_to_find(
    bank: Store, add: Add
) -> None:
    embedder = CountingEmbedder()
    retriever = Retriever(bank, embedder)
    retriever.prepare()
    retriever.nearest("bank", "my card was lost", 5)
    assert embedder.sizes == [], "a new installation loads no model"
    add("my card was lost")
    retriever.prepare()
    made = len(embedder.sizes)
    for _ in range(3):
        retriever.prepare()
        assert retriever.nearest("bank", "my card was sold", 5)
    assert len(embedder.sizes) == made + 1


def edited(store: Store) -> Prompt:
    return store.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])


def deployment(
    store: Store, prompt: Prompt, demonstrations: int, learned: Sequence[Demonstration] = ()
) -> Deployment:
    """Of a run whose adapter learned these."""
    run = store.runs.start("bank", {}, "test")
    examples = [
        Example(one.message_id, "c", ((Role.USER, one.question),), one.answer, True, Split.TRAIN)
        for one in learned
    ]
    dataset = store.datasets.add("bank", prompt.id, "hash", examples, {})
    store.runs.update(run.id, dataset_id=dataset.id)
    store.runs.finish(run.id, RunStatus.PROMOTED, "", {})
    store.adapters.add("bank-v1", "bank", run.id, "adapters/bank-v1", "hash")
    return store.deployments.add("bank", prompt.id, "bank-v1", [], 1, 0, run.id, demonstrations)


def test_an_answer_that_was_approved_before_the_prompt_was_edited_undoes_no_edit(
    bank: Store, add: Add
) -> None:
    add("my card was lost")
    retriever, prompt = Retriever(bank, WordEmbedder()), edited(bank)
    served = bank.deployments.add("bank", prompt.id, None, ["a"], 0, 0)
    assert retriever.for_deployment(served, "my card was lost") == []
    add("my card was lost again")
    assert questions(retriever.for_deployment(served, "my card was lost")) == ["my card was lost again"]


def test_a_deployment_that_sends_none_sends_what_is_new_and_nearly_the_same(bank: Store, add: Add) -> None:
    prompt = edited(bank)
    known = add("my card was lost", "my card was eaten")
    add("my card was stolen", "how is the weather", "my card was found", "my card was sold")
    retriever = Retriever(bank, WordEmbedder())
    served = deployment(bank, prompt, 0, known)
    found = retriever.for_deployment(served, "my card was stolen")
    assert len(found) == 2 and found[-1].question == "my card was stolen"
    assert not {one.message_id for one in known} & {one.message_id for one in found}
    assert questions(retriever.for_deployment(served, "how is the weather in town")) == ["how is the weather"]
    assert retriever.for_deployment(served, "something else entirely") == []
    assert NEARLY_THE_SAME == 0.6


def test_what_an_adapter_was_only_evaluated_on_later_it_has_not_learned(bank: Store, add: Add) -> None:
    prompt = edited(bank)
    learned, later = deployment(bank, prompt, 0, add("how is the weather")), add("my card was lost")
    run = bank.runs.start("bank", {}, "test, without training")
    (one,) = later
    example = Example(one.message_id, "c", ((Role.USER, one.question),), one.answer, True, Split.TRAIN)
    bank.runs.update(run.id, dataset_id=bank.datasets.add("bank", prompt.id, "2", [example], {}).id)
    again = bank.deployments.add("bank", prompt.id, learned.adapter, [], 1, 0, run.id)
    found = Retriever(bank, WordEmbedder()).for_deployment(again, "my card was lost")
    assert questions(found) == ["my card was lost"]


def test_a_deployment_that_sends_some_sends_so_many_whatever_it_learned(bank: Store, add: Add) -> None:
    known = add("my card was lost", "my card was eaten", "how is the weather", "where are you")
    served = deployment(bank, edited(bank), 3, known)
    found = Retriever(bank, WordEmbedder()).for_deployment(served, "my card was lost")
    assert len(found) == 3 and found[-1].question == "my card was lost"


def test_the_real_model_finds_what_is_asked_in_other_words(bank: Store, add: Add) -> None:
    add("When do you open on Sundays?", "I have lost my bank card", "How much is a kayak for an hour?")
    retriever = Retriever(bank, Embedder())
    found = retriever.nearest("bank", "What does it cost to rent a boat for sixty minutes?", 3)
    assert found[-1].question == "How much is a kayak for an hour?"
    found = retriever.nearest("bank", "My debit card is gone", 3)
    assert found[-1].question == "I have lost my bank card"
    vectors = retriever.embedder.embed(["a", "b " * 5000])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)


def test_a_model_that_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="cannot be read"):
        Embedder(tmp_path / "none")


def test_nine_in_ten_corrections_are_found_when_the_question_is_asked_in_other_words(
    bank: Store, add: Add
) -> None:
    """By the real model, as a deployment without demonstrations finds them."""
    pairs = json.loads((Path(__file__).parent / "reworded.json").read_text())
    asked = {question: reworded for name in ("banking77", "geography") for question, reworded in pairs[name]}
    add(*asked)
    retriever = Retriever(bank, Embedder())
    retriever.prepare()
    found = [
        question in questions(retriever.nearest("bank", reworded, 2, at_least=NEARLY_THE_SAME))
        for question, reworded in asked.items()
    ]
    assert len(found) == 50 and sum(found) >= 45
    unlike = ("Tell me a joke.", "Who painted the ceiling of that chapel?", "Is it raining?")
    assert not any(retriever.nearest("bank", one, 2, at_least=NEARLY_THE_SAME) for one in unlike)


def test_a_question_alone_is_computed_by_one_thread_and_the_others_stay_as_they_were() -> None:
    embedder, seen = Embedder(), list[int]()
    _, model = embedder._load()
    model.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        (alone,), together = embedder.embed(["My card was lost"]), embedder.embed(["My card was lost", "Hi"])
        assert seen == [1, 2] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert np.allclose(alone, together[0], atol=1e-5)


@dataclass(frozen=True)
class Copying:
    prompt_id: int
    copy_at: float | None
    run_id: int | None = None


def test_the_answer_that_is_given_again_is_the_nearest_one_where_it_is_near_enough(
    bank: Store, add: Add
) -> None:
    lost, stolen = add("my card was lost", "my card was stolen today")
    retriever, asked = Retriever(bank, WordEmbedder()), ((Role.USER, "my card was lost again"),)
    prompt = edited(bank)

    def copied(at: float | None = 0.8, context: Any = asked, **more: Any) -> Demonstration | None:
        return retriever.copied(Copying(prompt.id, at), context, **more)

    found = copied()
    assert found is not None and found.message_id == lost.message_id
    assert copied(None) is None and copied(0.95) is None
    follow_up = (*asked, (Role.ASSISTANT, "Which one?"), (Role.USER, "my card was lost"))
    assert copied(context=follow_up) is None, "what was said before may decide"
    other = copied(0.5, allowed=lambda one: one.message_id != lost.message_id)
    assert other is not None and other.message_id == stolen.message_id
    hidden = Demonstration(lost.message_id, lost.question, "Write to <EMAIL_1>.")
    bank.demonstrations.replace("bank", [hidden, stolen])
    assert copied() is None, "nobody is told a placeholder"


def test_an_answer_that_the_prompt_lists_is_given_before_anybody_approved_it(bank: Store) -> None:
    text = "Answer with one of: my card was lost, what the weather is, how to pay, where my order is, goodbye"
    prompt = bank.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text=text)])
    approved = {"what will the weather be": "what the weather is", "bye": "goodbye", "pay": "how to pay"}
    known = [Demonstration(answered(bank, question).id, question, a) for question, a in approved.items()]
    known += [Demonstration(answered(bank, "lost").id, "lost", "my card was lost")]
    retriever, where = Retriever(bank, WordEmbedder()), ((Role.USER, "where is my order now"),)
    bank.demonstrations.replace("bank", known)
    found = retriever.copied(Copying(prompt.id, 0.5), where)
    assert found is not None and (found.answer, found.message_id) == ("where my order is", "")
    without = {answer: lambda one, answer=answer: one.answer != answer for answer in approved.values()}
    assert retriever.copied(Copying(prompt.id, 0.5), where, without["how to pay"]) == found, (
        "it is nobody's own answer"
    )
    last = retriever.copied(Copying(prompt.id, 0.0), ((Role.USER, "goodbye"),), without["goodbye"])
    assert last is None or last.answer != "goodbye", "only its own answer makes it one of the list"
    assert retriever.copied(Copying(prompt.id, 0.5), where, lambda one: False) is None
    rain = retriever.copied(Copying(prompt.id, 0.5), ((Role.USER, "will the weather be wet"),))
    assert rain is not None and rain.message_id, "of an answer's questions the most similar"
    assert all(one.message_id for one in retriever.nearest("bank", "where is my order now", 9))
    other = edited(bank)
    assert retriever.copied(Copying(other.id, 0.5), where) is None, "a prompt without the list"
