"""Approved answers are given again instead of asking the model: from how much likeness on, and only where proven."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from imported_turns import ImportedTurn, load_turns
from retrain_scene import SETTINGS, Scene, colour, hash_of
from store_scene import answered
from word_embedder import WordEmbedder

from assistant.approved import Allowed, ApprovedAnswers
from assistant.rendering import Context
from assistant.retrieval import Retriever
from store.demonstrations import Demonstration
from store.records import Role, RunStatus, Segment, SegmentKind, Split, Usage, Verdict
from trainer.copying import is_worth_copying, share_right, thresholds
from trainer.evaluation.guards import QUESTIONS
from trainer.examples.deduplicate import split_of
from trainer.examples.traffic import repeated_answers

SHOPS = {
    "bakery": ("bread", "rolls", "flour", "cake", "pastry", "dough", "loaf", "baguette"),
    "florist": ("roses", "tulips", "bouquet", "petals", "lilies", "wreath", "blossoms", "orchids"),
    "butcher": ("sausages", "ham", "beef", "pork", "bacon", "mince", "steak", "salami"),
    "chemist": ("pills", "syrup", "plasters", "aspirin", "ointment", "tablets", "drops", "bandages"),
}


class ShopEmbedder(WordEmbedder):
    """Knows what goods belong together, as a model does."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        vectors = super().embed(texts)
        for row, text in enumerate(texts):
            for place, goods in enumerate(SHOPS.values()):
                vectors[row, place] += sum(one in text for one in goods)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def shops(scene: Scene) -> Scene:
    """Which shop is asked about: 112 approved answers of four kinds, and a base model that does not know."""
    turns = [
        ImportedTurn(f"c{shop}{n}{m}", f"Who has {one} and {other}?", shop, Verdict.UP)
        for shop, goods in SHOPS.items()
        for n, one in enumerate(goods)
        for m, other in enumerate(goods)
        if n < m
    ]
    load_turns(scene.store, "bank", turns)
    scene.context = replace(scene.context, retriever=Retriever(scene.store, ShopEmbedder()))
    scene.vllm.answer = lambda model, ids: "a shop" if scene.question(ids) in QUESTIONS else "the market"
    return scene


def test_where_answers_repeat_they_are_given_again_once_that_is_proven(shops: Scene) -> None:
    last = shops.run(similar_cap=8)
    second, run = shops.store.runs.all("bank")
    assert run.status is RunStatus.PROMOTED and run.message.startswith("Without training: "), run.message
    assert "to give an approved answer again" in run.message and "probe" not in run.report
    active = shops.store.deployments.active("bank")
    assert active is not None and active.run_id == run.id and active.adapter is None
    assert active.copy_at is not None and active.prompt_tokens < 30
    assert run.report["after"]["quality"]["mean"] > 0.6 and run.report["before"]["quality"]["mean"] == 0.0
    assert second.id == last.id and second.report["before"]["quality"]["mean"] > 0.6, "what it has to beat"
    assert not is_worth_copying(shops.context, "bank")


def test_no_gate_question_is_answered_with_its_own_answer_or_that_of_another_one(
    shops: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own is the nearest one: without the gate's rule it would be found."""
    find, given, unruled = Retriever.copied, dict[str, str](), dict[str, str]()

    def found(self: Retriever, by: Any, context: Context, *allowed: Allowed) -> Any:
        question = context[-1][1]
        one = find(self, by, context, *allowed)
        if len(shops.store.runs.all("bank")) > 1:
            return one  # the run that trains, in which what is served finds what it finds for people
        if by.copy_at is not None and (own := find(self, replace(by, copy_at=-1.0), context)):
            unruled[question] = own.message_id
        given.update({question: one.message_id} if one else {})
        return one

    monkeypatch.setattr(Retriever, "copied", found)
    shops.run(similar_cap=8)
    run = next(one for one in shops.store.runs.all("bank") if "without" in one.trigger)
    examples = shops.store.datasets.get(run.dataset_id or 0).examples
    train = {e.message_id for e in examples if e.split is Split.TRAIN}
    gate = {e.context[-1][1]: e.message_id for e in examples if e.split is Split.GATE}
    assert sum(unruled[question] == id for question, id in gate.items()) > 40
    asked = gate.keys() & given.keys()
    assert len(asked) > 20 and all(given[question] in train for question in asked)


def test_what_is_served_may_give_the_answers_of_other_gate_questions_to_what_finds_none(
    shops: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does for people; with the train examples alone it would lose to an adapter that is worse."""
    shops.run(similar_cap=8)
    find, given = Retriever.copied, dict[str, str]()

    def found(self: Retriever, by: Any, context: Context, *allowed: Allowed) -> Any:
        one = find(self, by, context, *allowed)
        given.update({context[-1][1]: one.message_id} if one else {})
        return one

    monkeypatch.setattr(Retriever, "copied", found)
    monkeypatch.setattr("trainer.copying.thresholds", lambda *given: [])
    run = shops.run(similar_cap=8)
    examples = shops.store.datasets.get(run.dataset_id).examples
    gate = {e.context[-1][1]: e.message_id for e in examples if e.split is Split.GATE}
    assert run.adapter and gate.keys() & given.keys()
    assert any(given.get(question) in gate.values() for question in gate)
    assert not any(given.get(question) == own for question, own in gate.items())
    assert run.report["gate"]["confidence"] == 0.975


def test_the_lower_likeness_is_tested_only_where_the_higher_one_passed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is like has other answers here."""
    monkeypatch.setattr("trainer.copying.thresholds", lambda *given: [0.7, -1.0])
    scene.rate(60)
    scene.run()
    run = scene.store.runs.all("bank")[-1]
    first, second = run.report["gate"]["variants"][1:]
    assert (first["copy_at"], second["copy_at"]) == (0.7, -1.0)
    assert first["tested"] and not first["passed"] and not second["tested"]
    assert all(one.copy_at is None for one in scene.store.deployments.all("bank") if one.activated_at)


def test_an_adapter_that_serves_is_asked_only_what_is_unlike(
    shops: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(model: str, ids: Sequence[int]) -> str:
        question = shops.question(ids)
        known = [shop for shop, goods in SHOPS.items() if any(one in question for one in goods)]
        return known[0] if known and model != "base" and hash_of(question) % 2 else "the market"

    shops.vllm.answer = answer
    with monkeypatch.context() as patch:
        patch.setattr("trainer.copying.thresholds", lambda *given: [])
        trained = shops.run(similar_cap=8)
    assert trained.status is RunStatus.PROMOTED and trained.adapter
    shops.run(similar_cap=8)
    run = shops.store.runs.all("bank")[1]
    active = shops.store.deployments.active("bank")
    assert run.status is RunStatus.PROMOTED and run.adapter == trained.adapter, run.message
    assert active is not None and active.run_id == run.id and active.adapter == trained.adapter
    assert active.copy_at is not None and run.report["after"]["quality"]["mean"] > 0.9
    for lower, is_worth in ((0.01, False), (0.1, True)):
        found = [active.copy_at - lower]
        monkeypatch.setattr("trainer.copying.thresholds", lambda *given, found=found: found)
        assert is_worth_copying(shops.context, "bank") is is_worth


def test_answers_that_do_not_repeat_are_never_given_again(scene: Scene) -> None:
    scene.rate(60, answer=lambda question: f"{colour(question)} {question}")
    assert not is_worth_copying(scene.context, "bank")
    scene.run()
    (run,) = scene.store.runs.all("bank")
    assert run.trigger == "test"


def test_what_agrees_on_the_whole_but_not_in_the_half_that_is_retrieved_is_refused(
    shops: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([[0.5], []])
    monkeypatch.setattr("trainer.copying.thresholds", lambda *given: next(found))
    shops.run(similar_cap=8)
    run = shops.store.runs.all("bank")[-1]
    assert run.status is RunStatus.REFUSED and "too seldom the same approved answer" in run.message
    active = shops.store.deployments.active("bank")
    assert active is not None and active.copy_at is None


@pytest.mark.parametrize(
    ("right", "found"),
    [(0.0, ["all"]), (0.3, ["all"]), (0.55, [0.55, "all"]), (0.9, [0.55, 0.485]), (1.0, [])],
    ids=["never right", "seldom right", "often right", "mostly right", "always right"],
)
def test_answers_are_copied_where_most_is_won_beside_the_model_and_where_about_as_much(
    right: float, found: list[object]
) -> None:
    """Twenty near pairs that agree, then thirty far ones of which half do."""
    near = [(0.9 - 0.015 * n, True) for n in range(20)] + [(0.6, True)]
    far = [(0.5 - 0.01 * n, n % 2 == 1) for n in range(30)] + [(0.1, True)]
    assert [round(at, 3) if at > 0.1 else "all" for at in thresholds(near + far, right)] == found


def test_too_few_pairs_are_no_evidence() -> None:
    assert thresholds([(0.9, True)] * 9, 0.0) == thresholds([], 0.0) == []
    assert thresholds([(0.9, True)] * 10, 0.0) == [0.9]
    assert thresholds([(0.9, True)] * 10 + [(0.5, False)] * 91, 0.5) == [], "a tenth of the questions"


def test_an_answer_with_a_placeholder_is_no_evidence(scene: Scene) -> None:
    def known(answer: str) -> Sequence[Demonstration]:
        return [Demonstration(str(n), f"Where do I write to, number {n}?", answer) for n in range(30)]

    embedder = scene.context.retriever.embedder
    assert repeated_answers(embedder, known("To the desk."), (), 10) is not None
    assert repeated_answers(embedder, known("To <EMAIL_1>."), (), 10) is None


def test_answers_that_the_prompt_lists_need_not_repeat(scene: Scene) -> None:
    goods = [one for some in SHOPS.values() for one in some]
    listed = Segment("list", SegmentKind.INSTRUCTION, text=f"One of: {', '.join(goods)}.")
    known = [Demonstration(one, f"{one}, please", one) for one in goods[::2]]
    embedder = scene.context.retriever.embedder
    assert repeated_answers(embedder, known, [listed]) is not None
    assert repeated_answers(embedder, known, ()) is None


def test_how_often_the_model_is_right_is_what_people_said_of_what_serves_now(scene: Scene) -> None:
    store = scene.store
    prompt = store.prompts.latest("bank")
    asked, given_again = Usage(9, 9, 0, 1, 0.1, 0.1, -0.1), Usage(0, 0, 0, 0, 0.0, 0.0)
    old, now = (store.deployments.add("bank", prompt.id, None, [], 1, 0) for _ in range(2))

    def rate(
        count: int, by: int, verdict: Verdict, correction: str | None = None, usage: Usage = asked
    ) -> None:
        for n in range(count):
            question = f"q {by} {verdict} {correction} {n}"
            said = answered(store, question, "a", deployment_id=by, usage=usage)
            store.ratings.add(said.id, "ann", verdict, correction=correction)

    def right() -> float:
        return share_right(store.answers.rated("bank", SETTINGS.newest_answers), now)

    assert right() == 0.9, "unknown"
    rate(6, old.id, Verdict.UP)
    rate(6, old.id, Verdict.DOWN, "b")
    assert right() == 0.5
    rate(3, now.id, Verdict.UP)
    assert right() == 0.6, "too few of its own yet: all"
    rate(9, now.id, Verdict.DOWN)
    assert right() == 0.25
    rate(20, now.id, Verdict.UP, usage=given_again)
    assert right() == 0.25, "what was given again is no word on the model"
    assert SETTINGS.newest_answers >= 24


def test_what_nobody_rated_says_where_the_questions_of_an_answer_lie(
    shops: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the gate asks and dev takes no part: it would be nearer to its guess than what people ask later."""
    shops.ask_unrated(80, "Who has bread from oven number {}?")
    share, counts = ApprovedAnswers.sums_of_unrated, list[int]()

    def counted(self: ApprovedAnswers, vectors: np.ndarray) -> Any:
        counts.append(len(vectors))
        return share(self, vectors)

    monkeypatch.setattr(ApprovedAnswers, "sums_of_unrated", counted)
    shops.run(similar_cap=8)
    train = sum(split_of(f"Who has bread from oven number {n}?") is Split.TRAIN for n in range(80))
    assert max(counts) == train < 80
    store, active = shops.store, shops.store.deployments.active("bank")
    run = next(one for one in store.runs.all("bank") if "without" in one.trigger)
    assert active is not None and active.copy_at is not None and active.run_id == run.id
    assert len(store.datasets.unrated_sums(run.id, ShopEmbedder.name)) == len(SHOPS)
    assert not store.datasets.unrated_sums(run.id, "another model")
    oven, retriever = ((Role.USER, "from oven number"),), shops.context.retriever

    def finds(likeness: float, run_id: int | None) -> str | None:
        found = retriever.copied(replace(active, copy_at=likeness, run_id=run_id), oven)
        return found and found.answer

    assert finds(0.12, run.id) == "bakery" and finds(0.12, None) is None
