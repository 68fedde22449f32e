"""Which approved answers become demonstrations, how soon, and that none is ever shown to the question it answers."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from imported_turns import ImportedTurn, load_turns
from retrain_scene import PROMPT, Scene
from waiting import wait_for
from word_embedder import WordEmbedder

from assistant.assistants import save_prompt
from assistant.rendering import render
from store import Store, StoreError
from store.demonstrations import Demonstration
from store.lock import WATCH, Lock
from store.records import Example, Role, Segment, SegmentKind, Split, Verdict
from trainer.candidate import Candidate, train_candidate
from trainer.context import Retrain
from trainer.examples.dataset import draft
from trainer.examples.deduplicate import split_of
from trainer.examples.demonstrations import (
    DemonstrationUpdater,
    demonstrations_of,
    nearest_train_examples,
    refresh,
)
from trainer.settings import TrainerSettings

SETTINGS = TrainerSettings()


@pytest.fixture
def prompted(bank: Store) -> Store:
    bank.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Be brief.")])
    return bank


@pytest.fixture
def updater(prompted: Store, monkeypatch: pytest.MonkeyPatch) -> DemonstrationUpdater:
    """It rests after no look."""
    monkeypatch.setattr("trainer.examples.demonstrations._BUSY", 1.0)
    return DemonstrationUpdater(prompted, SETTINGS)


def of_split(split: Split, count: int, text: str = "What is the rate of account {}?") -> list[str]:
    """Questions that fall into this split."""
    found = (text.format(number) for number in range(10_000))
    return [question for question in found if split_of(question) is split][:count]


def rate(store: Store, question: str, answer: str, **more: Any) -> str:
    """The id of a rated answer to it."""
    before = {one.message_id for one in store.answers.rated("bank")}
    load_turns(store, "bank", [ImportedTurn(question, question, answer, Verdict.UP, **more)])
    (new,) = {one.message_id for one in store.answers.rated("bank")} - before
    return new


def shown(store: Store) -> dict[str, str]:
    return {one.question: one.answer for one in store.demonstrations.all("bank")}


def test_a_rating_makes_a_demonstration_and_taking_it_back_removes_it(
    prompted: Store, updater: DemonstrationUpdater
) -> None:
    one, two = of_split(Split.TRAIN, 2)
    first = rate(prompted, one, "Two percent.")
    updater.tick()
    assert shown(prompted) == {one: "Two percent."}
    second = rate(prompted, two, "Bad.")
    prompted.ratings.add(second, "imported", Verdict.DOWN, correction="Three percent.")
    updater.tick()
    assert shown(prompted) == {one: "Two percent.", two: "Three percent."}
    prompted.ratings.add(second, "imported", Verdict.DOWN, correction="Four percent.")
    prompted.ratings.add(first, prompted.answers.rated("bank")[0].ratings[-1].rater, None)
    updater.tick()
    assert shown(prompted).get(two) == "Four percent." and one not in shown(prompted)


def test_nothing_is_looked_at_twice(
    prompted: Store, updater: DemonstrationUpdater, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate(prompted, of_split(Split.TRAIN, 1)[0], "Two percent.")
    updater.tick()
    monkeypatch.setattr("trainer.examples.demonstrations.refresh", pytest.fail)
    updater.tick()


def test_what_an_erased_rater_approved_goes_also_where_others_rated_since(
    prompted: Store, updater: DemonstrationUpdater
) -> None:
    one, two = of_split(Split.TRAIN, 2)
    first, second = rate(prompted, one, "Two percent."), rate(prompted, two, "Three percent.")
    prompted.ratings.add(first, "ann", Verdict.UP)
    prompted.ratings.add(second, "bo", Verdict.UP)
    updater.tick()
    prompted.erasure.erase("ann")
    updater.tick()
    assert shown(prompted) == {one: "Two percent.", two: "Three percent."}, (
        "the import's rating is still there"
    )


def test_personal_data_are_placeholders_in_demonstrations(
    prompted: Store, updater: DemonstrationUpdater
) -> None:
    (question,) = of_split(Split.TRAIN, 1, "Please write to ann{}@example.com about it, will you?")
    rate(prompted, question, f"Gladly: {question.split()[3]} gets a letter.")
    updater.tick()
    ((asked, answer),) = shown(prompted).items()
    assert "example.com" not in asked + answer
    placeholder = asked.split()[3]
    assert placeholder in answer and placeholder.startswith(("[", "<"))


def test_what_fails_once_is_tried_at_the_next_tick(
    prompted: Store, updater: DemonstrationUpdater, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate(prompted, "When do you open?", "At nine.")
    with monkeypatch.context() as broken:
        broken.setattr("trainer.examples.demonstrations.refresh", _locked)
        with pytest.raises(StoreError):
            updater.tick()
    updater.tick()
    assert shown(prompted) == {"When do you open?": "At nine."}


def _locked(*_: object) -> None:
    raise StoreError("locked")


def test_it_runs_beside_a_trainer_and_until_it_is_stopped(prompted: Store) -> None:
    stopped = threading.Event()
    with Lock(prompted.path.parent, WATCH):
        updating = threading.Thread(target=DemonstrationUpdater(prompted, SETTINGS).run, args=[stopped])
        updating.start()
        rate(prompted, "When do you open?", "At nine.")
        assert wait_for(lambda: shown(prompted), 60)
        stopped.set()
        updating.join(60)
    assert not updating.is_alive()


def test_a_run_takes_away_nothing_that_was_approved_since_its_dataset_was_frozen(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.rate(60)

    def train(retrain: Retrain) -> Candidate:
        load_turns(scene.store, "bank", [ImportedTurn("new", "Is this new?", "It is.", Verdict.UP)])
        refresh(scene.store, "bank", SETTINGS)  # as the trainer's watch does
        return train_candidate(retrain)

    monkeypatch.setattr("trainer.run.train_candidate", train)
    scene.run()
    assert "Is this new?" in {one.question for one in scene.store.demonstrations.all("bank")}
    assert not any("Is this new?" in scene.tokenizer.decode(body["prompt"]) for body in scene.vllm.asked())


def test_every_answer_helps_people_and_those_of_the_gate_and_of_dev_no_training(
    prompted: Store, updater: DemonstrationUpdater
) -> None:
    by_split = {split: of_split(split, 4) for split in Split}
    for questions in by_split.values():
        for question in questions:
            rate(prompted, question, f"About {question}")
    updater.tick()
    assert set(shown(prompted)) == {question for questions in by_split.values() for question in questions}
    examples = draft(prompted, "bank", TrainerSettings()).examples
    of_training = nearest_train_examples(WordEmbedder(), examples, 9)
    used = {one.question for some in of_training.values() for one in some}
    assert used == set(by_split[Split.TRAIN])


def test_a_follow_up_that_means_nothing_alone_is_none() -> None:
    before = ((Role.USER, "How much is a kayak?"), (Role.ASSISTANT, "14 dollars."))
    asked = {
        "a": (*before, (Role.USER, "And for two hours?")),
        "b": (*before, (Role.USER, "Where does the ferry leave?")),
    }
    examples = [Example(id, "c", context, "x", True, Split.TRAIN) for id, context in asked.items()]
    assert [one.question for one in demonstrations_of(examples)] == ["Where does the ferry leave?"]


def example(id: str, question: str, split: Split, answer: str = "x") -> Example:
    return Example(id, id, ((Role.USER, question),), answer, True, split)


def test_no_example_is_trained_or_measured_on_with_its_own_answer_or_a_near_duplicates() -> None:
    examples = [
        example("a", "How do I close my account?", Split.TRAIN),
        example("b", "Please, how do I close my acount", Split.TRAIN),
        example("c", "How do I open my account?", Split.TRAIN),
        example("d", "How do I close the account?", Split.DEV),
        example("e", "How do I close my account?", Split.GATE),
    ]
    found = nearest_train_examples(WordEmbedder(), examples, 5)
    assert {id: [one.message_id for one in some] for id, some in found.items()} == {
        "a": ["c"],
        "b": ["c"],
        "c": ["b", "a"],
        "d": ["c"],
    }


def test_a_planted_gate_answer_is_never_in_a_request_of_the_gate_or_of_dev(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gate and dev question's own answer, and one to the same question in other words, is a demonstration."""
    scene.rate(60)
    honest = scene.store.demonstrations.replace
    planted: list[Demonstration] = []

    def plant(assistant_id: str, wanted: Sequence[Demonstration]) -> None:
        if not (runs := scene.store.runs.all("bank")):
            return honest(assistant_id, wanted)  # before a run has a gate
        dataset = scene.store.datasets.get(runs[0].dataset_id or 0)
        secret = [one for one in dataset.examples if one.split is not Split.TRAIN]
        asked = [one for one in secret if one.split is Split.GATE]
        spare = [one.message_id for one in wanted][: len(asked)]
        planted[:] = [Demonstration(one.message_id, _question(one), "SECRET own") for one in secret]
        planted.extend(
            Demonstration(id, f"Please, {_question(one).lower()}", "SECRET of a near-duplicate")
            for id, one in zip(spare, asked, strict=True)
        )
        return honest(assistant_id, [*planted, *(one for one in wanted if one.message_id not in spare)])

    monkeypatch.setattr(scene.store.demonstrations.__class__, "replace", lambda self, *given: plant(*given))
    seen: list[str] = []
    monkeypatch.setattr(
        "trainer.training.rows.render", lambda *given: seen.append(repr(given)) or render(*given)
    )
    example = Segment("long", SegmentKind.EXAMPLE, user="Count!", assistant="one two three four " * 40)
    save_prompt(scene.store, scene.tokenizer, "bank", (*PROMPT, example))
    scene.run()

    gate = {planted_one.question for planted_one in planted}
    requests = [scene.tokenizer.decode(body["prompt"]) for body in scene.vllm.asked()]
    of_gate = [
        text for text in requests if text.split("<|im_start|>user\n")[-1].split("<|im_end|>")[0] in gate
    ]
    assert len(of_gate) > 60 and any(text.count("<|im_start|>user") > 3 for text in of_gate)
    assert len(scene.store.demonstrations.all("bank")) > len(planted) > 60
    leaked = [text for text in of_gate if any(one in text for one in _texts(planted, text))]
    assert not leaked, leaked[0]
    assert seen and not any("SECRET" in text for text in seen)


def _question(one: Example) -> str:
    return one.context[-1][1]


def _texts(planted: Sequence[Demonstration], request: str) -> list[str]:
    """What answers the question of a request, as it would stand before it."""
    asked = request.split("<|im_start|>user\n")[-1].split("<|im_end|>")[0]
    return [
        f"{one.question}<|im_end|>\n<|im_start|>assistant\n{one.answer}"
        for one in planted
        if one.question.lower().removeprefix("please, ") == asked.lower()
    ]
