"""Approved answers before a question, through the whole chat turn: which are sent, what they cost, what may fail."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import pytest
from desk_scene import Desk, answer
from store_scene import answered
from word_embedder import WordEmbedder

from assistant.embedding import EmbeddingError
from assistant.rendering import DEMONSTRATION_TOKENS
from assistant.retrieval import Retriever
from assistant.sampling import Sampling
from assistant.web import words
from store import StoreError
from store.demonstrations import Demonstration
from store.records import Deployment, Message, MessageStatus, RunStatus, Segment, SegmentKind


@pytest.fixture
def teller(desk: Desk) -> Desk:
    """A desk that finds approved answers."""
    desk.retriever = Retriever(desk.store, WordEmbedder())
    return desk


def serve(desk: Desk, demonstrations: int, copy_at: float | None = None) -> Deployment:
    """The base model without prompt, of a run that learned nothing that is approved here."""
    run = desk.store.runs.start("bank", {}, "test")
    desk.store.runs.finish(run.id, RunStatus.PROMOTED, "", {})
    prompt = desk.store.prompts.latest("bank")
    return desk.store.deployments.activate(
        desk.store.deployments.add("bank", prompt.id, None, [], 1, 0, run.id, demonstrations, copy_at).id
    )


def approve(desk: Desk, **answers: str) -> list[Demonstration]:
    """Approved answers by question, whose words are joined with an underscore."""
    new = []
    for name, text in answers.items():
        question = name.replace("_", " ")
        new.append(Demonstration(answered(desk.store, question, text).id, question, text))
    desk.store.demonstrations.replace("bank", [*desk.store.demonstrations.all("bank"), *new])
    return new


def turns(desk: Desk) -> list[str]:
    """Of the last request, without the system message and the answer to come."""
    return [turn.removesuffix("<|im_end|>\n") for turn in desk.shown().split("<|im_start|>")[2:-1]]


def test_an_approved_near_answer_is_put_before_the_next_question_that_is_like_it(teller: Desk) -> None:
    serve(teller, demonstrations=0)
    teller.ask("When do you open today")
    assert turns(teller) == ["user\nWhen do you open today"]
    (approved,) = approve(teller, When_do_you_open_today="At nine.")

    said = teller.ask("When do you open tomorrow")

    assert turns(teller) == [
        "user\nWhen do you open today",
        "assistant\nAt nine.",
        "user\nWhen do you open tomorrow",
    ]
    assert said.usage and said.usage.demonstrations == (approved.message_id,)
    said = teller.ask("Is there a bank in the next village")
    assert turns(teller) == ["user\nIs there a bank in the next village"], "it is not like it"
    assert said.usage and said.usage.demonstrations == () and said.usage.demonstration_tokens == 0


def test_a_deployment_with_demonstrations_has_the_nearest_ones_and_counts_their_tokens(teller: Desk) -> None:
    serve(teller, demonstrations=2)
    far, near, nearer = approve(
        teller, Who_is_the_king="Nobody.", When_is_lunch="At one.", When_do_you_close="At five."
    )
    said = teller.ask("When do you open")
    assert [turn.split("\n")[1] for turn in turns(teller)] == [
        "When is lunch",
        "At one.",
        "When do you close",
        "At five.",
        "When do you open",
    ]
    stored = teller.store.messages.get(said.id)
    assert stored.usage and stored.usage.demonstrations == (near.message_id, nearer.message_id)
    teller.retriever = None
    bare = teller.ask("When do you open")
    assert bare.usage and stored.usage.prompt_part_tokens == bare.usage.prompt_part_tokens
    assert stored.usage.demonstration_tokens == stored.usage.prompt_tokens - bare.usage.prompt_tokens > 0
    assert far.message_id not in stored.usage.demonstrations


def test_the_least_alike_leave_where_there_is_too_little_room(teller: Desk) -> None:
    serve(teller, demonstrations=5)
    long = teller.tokenizer.decode(teller.tokenizer.encode_text("word " * 900)[:250])
    approve(teller, When_do_you_open="Nine.", When_do_you_close=long, When_is_lunch=long, Count_to_ten=long)
    said = teller.ask("When do you open")
    assert said.usage and 0 < said.usage.demonstration_tokens <= DEMONSTRATION_TOKENS
    shown = turns(teller)
    assert "Count to ten" not in "".join(shown) and shown[-3:-1] == [
        "user\nWhen do you open",
        "assistant\nNine.",
    ]
    said = teller.ask("When do you open " + 2 * long)
    assert said.status is MessageStatus.COMPLETE and said.usage and said.usage.left_out_turns == 0
    body = teller.vllm.asked()[-1]
    assert len(body["prompt"]) + body["max_tokens"] <= 1024 and len(turns(teller)) < len(shown)


@pytest.mark.parametrize(
    "trouble", [EmbeddingError("The embedding model cannot be loaded."), StoreError("The store is locked.")]
)
def test_an_answer_comes_without_them_where_they_cannot_be_found(
    teller: Desk, trouble: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serve(teller, demonstrations=2)
    approve(teller, When_do_you_open="At nine.")

    def fail(texts: Sequence[str]) -> NoReturn:
        raise trouble

    embedder = WordEmbedder()
    monkeypatch.setattr(embedder, "embed", fail)
    teller.retriever = Retriever(teller.store, embedder)
    said = teller.ask("When do you open")
    assert said.status is MessageStatus.COMPLETE and turns(teller) == ["user\nWhen do you open"]
    assert said.usage and said.usage.demonstrations == ()
    assert f"Answering without approved answers: {trouble}" in caplog.text


def test_an_approved_answer_is_given_again_without_the_model(teller: Desk) -> None:
    served = serve(teller, demonstrations=2, copy_at=0.7)
    (approved,) = approve(teller, When_do_you_open_today="At nine.")

    said = teller.ask("When do you open tomorrow")

    assert teller.vllm.asked() == [] and served.copy_at == 0.7
    stored = teller.store.messages.get(said.id)
    assert (stored.text, stored.status, stored.deployment_id) == (
        "At nine.",
        MessageStatus.COMPLETE,
        served.id,
    )
    assert stored.usage and stored.usage.demonstrations == (approved.message_id,)
    assert (stored.usage.prompt_tokens, stored.usage.completion_tokens, stored.finish_reason) == (
        0,
        0,
        "stop",
    )
    assert "the model was not asked" in words.usage(stored.usage)
    assert words.deployment(served) == "base model, no prompt: approved answers are given again"
    # A correction of it is what is given from then on.
    approve(teller, When_do_you_open_tomorrow="At ten.")
    assert teller.ask("When do you open tomorrow").text == "At ten." and teller.vllm.asked() == []


def test_the_answer_is_found_with_what_the_run_of_the_deployment_found(teller: Desk) -> None:
    """Each deployment with the unrated questions that it was proven with, and none with another one's."""
    store, asked = teller.store, WordEmbedder().embed(["Is the vault of gold shut"])[0]
    approve(teller, When_do_you_open_today="At nine.", Is_the_door_shut_at_night="At six.")
    plain, helped = (serve(teller, demonstrations=0, copy_at=0.5) for _ in range(2))
    dataset = store.datasets.add("bank", helped.prompt_id, "hash", [], {})
    store.runs.update(helped.run_id or 0, dataset_id=dataset.id)
    store.datasets.set_unrated_sums(dataset.id, WordEmbedder.name, {"At nine.": (4 * asked).tobytes()})
    for deployment, given in ((plain, None), (helped, "At nine."), (plain, None)):
        store.deployments.activate(deployment.id)
        before = len(teller.vllm.asked())
        said = teller.ask("Is the vault of gold")
        assert (len(teller.vllm.asked()) == before, said.text if given else None) == (
            given is not None,
            given,
        )


def test_an_answer_that_the_prompt_lists_is_given_without_the_model(teller: Desk) -> None:
    names = "opening hours, lost card, broken machine, exchange rates"
    teller.store.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text=f"Choose from: {names}")])
    served = serve(teller, demonstrations=0, copy_at=0.4)
    approve(
        teller,
        Open_tomorrow="opening hours",
        I_lost_my_card="lost card",
        What_are_the_rates_of_exchange="exchange rates",
    )
    said = teller.ask("Your machine is broken")
    assert said.text == "broken machine" and teller.vllm.asked() == []
    stored = teller.store.messages.get(said.id)
    assert stored.usage and stored.usage.demonstrations == () and stored.deployment_id == served.id
    assert "an answer that the prompt lists; the model was not asked" in words.usage(stored.usage)


def test_the_model_is_asked_where_an_approved_answer_will_not_do(teller: Desk) -> None:
    serve(teller, demonstrations=0, copy_at=0.7)
    approve(teller, When_do_you_open_today="At nine.", When_is_lunch="word " * 900)
    question = "When do you open tomorrow"

    def asked_after(act: Callable[[], object]) -> int:
        before = len(teller.vllm.asked())
        act()
        return len(teller.vllm.asked()) - before

    assert asked_after(lambda: teller.ask("Is there a bank in the next village")) == 1, "it is not like it"
    assert asked_after(lambda: teller.ask("When is lunch")) == 1, "the answer is longer than one may be"
    first = teller.ask(question)
    assert asked_after(lambda: teller.ask(question, first.conversation_id)) == 1, "what was said may decide"
    again = Sampling(0.8, 1, is_another=True)
    for sampling, wanted in (
        (again, 1),
        (Sampling(max_tokens=1), 1),
        (Sampling(more={"stop": ["."]}), 1),
        (Sampling(more={"logprobs": 0}), 1),
        (Sampling(0.3, 1, 50, {"top_p": 0.9, "presence_penalty": 0.0}), 0),
    ):
        assert asked_after(partial(ask_with, teller, question, sampling)) == wanted, sampling


def ask_with(desk: Desk, text: str, sampling: Sampling) -> Message:
    return desk.run(lambda chat: answer(chat, chat.ask("bank", None, text), sampling))
