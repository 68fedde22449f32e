"""An edit of the prompt keeps what was learned: the gate tries it with the changed segments, and nothing is trained."""

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from imported_turns import ImportedTurn, load_turns
from retrain_scene import PROMPT, SETTINGS, Scene, colour

from assistant.assistants import save_prompt
from store.records import Deployment, RunStatus, Segment, SegmentKind, Split, Verdict
from trainer.evaluation.guards import QUESTIONS
from trainer.prompt_edit import TRIGGER, WITHOUT_ADAPTER, next_try, segments_after_edit
from trainer.run import reevaluate
from trainer.watch import new_examples

LONG = Segment("long", SegmentKind.EXAMPLE, user="Count!", assistant="one two three four " * 40)
PRICE = Segment("price", SegmentKind.INSTRUCTION, text="A kayak costs $14 an hour.")
FULL = (*PROMPT, LONG, PRICE)


@pytest.fixture
def learned(scene: Scene) -> Scene:
    """An adapter is served without the segments that are not protected."""
    save_prompt(scene.store, scene.tokenizer, "bank", FULL)
    scene.try_untrained(False)
    scene.rate(60)
    run = scene.run()
    assert run.status is RunStatus.PROMOTED, run.message
    assert active(scene).segment_ids == ("law",)
    return scene


def active(scene: Scene) -> Deployment:
    found = scene.store.deployments.active("bank")
    assert found is not None
    return found


def edit(scene: Scene, *segments: Segment) -> Deployment:
    return save_prompt(scene.store, scene.tokenizer, "bank", segments)


def waits(scene: Scene) -> int | None:
    """What waits to be tried after an edit."""
    found = next_try(scene.store, "bank")
    return found and found.served.id


def approve(scene: Scene, question: str, answer: str) -> None:
    load_turns(
        scene.store, "bank", [ImportedTurn(question, question, answer, Verdict.UP, created_at=time.time())]
    )


def dearer(text: str) -> Segment:
    return replace(PRICE, id="new", text=text)


def test_only_what_changed_is_sent_beside_what_was_sent_before() -> None:
    cheap, other = dearer("A kayak costs $15 an hour."), replace(PROMPT[1], id="other", text="Be kind.")
    assert segments_after_edit(FULL, ["law"], FULL) == ("law",)
    assert segments_after_edit(FULL, ["law", "role"], (*FULL[:4], cheap)) == ("law", "role", "new")
    assert segments_after_edit(FULL, ["law"], (cheap, *FULL[:2], other)) == ("new", "law", "other")
    moved = [replace(one, id=f"n{number}") for number, one in enumerate(reversed(FULL))]
    assert segments_after_edit(FULL, ["role"], moved) == ("n3", "n4"), "the text counts, not the id"
    kept = replace(LONG, protected=True)
    assert segments_after_edit(FULL, [], (*PROMPT, kept, PRICE)) == ("law", "long")


def test_the_adapter_is_served_again_with_the_changed_segment_and_nothing_is_trained(learned: Scene) -> None:
    before, runs = active(learned), len(learned.store.runs.all("bank"))
    full = edit(learned, *FULL[:4], dearer("A kayak costs $15 an hour."))
    assert (full.adapter, full.variant) == (None, 0) and waits(learned) == before.id
    run = reevaluate(learned.context, "bank")
    assert run is not None and run.status is RunStatus.PROMOTED, run and run.message
    assert run.trigger == TRIGGER and run.message.startswith("Without training: ")
    now = active(learned)
    assert (now.adapter, now.segment_ids) == (before.adapter, ("law", "new"))
    assert now.prompt_id == learned.store.prompts.latest("bank").id
    assert before.prompt_tokens < now.prompt_tokens < full.prompt_tokens
    assert not run.report["training"] and "train" not in run.report["seconds"]
    assert len(learned.store.runs.all("bank")) == runs + 1
    assert waits(learned) is None
    assert reevaluate(learned.context, "bank") is None


def test_the_gate_asks_nothing_that_the_adapter_was_trained_on(learned: Scene) -> None:
    trained = learned.store.datasets.get(learned.store.runs.all("bank")[0].dataset_id or 0)
    taught = {e.context for e in trained.examples if e.split is not Split.GATE}
    edit(learned, *FULL[:4], dearer("A kayak costs $15 an hour."))
    run = reevaluate(learned.context, "bank")
    assert run is not None
    asked = [e for e in learned.store.datasets.get(run.dataset_id or 0).examples if e.split is Split.GATE]
    assert asked and not any(e.context in taught for e in asked)


@pytest.mark.parametrize("answers", [True, False])
def test_an_adapter_that_still_says_the_old_price_is_not_served_but_the_base_model_where_it_does_well(
    learned: Scene, answers: bool
) -> None:
    """Approved answers with the old price are not asked about any more: only this check sees it."""
    approve(learned, "What does a kayak cost?", "It is $14.")
    before, before_edit = learned.vllm.answer, active(learned)

    def remembers(model: str, ids: Sequence[int]) -> str:
        question = learned.question(ids)
        if question == "What does a kayak cost?":
            return "It is $14." if model != "base" else "It is $15."
        if question in QUESTIONS:
            return before(model, ids)
        shown = learned.tokenizer.decode(ids).count("<|im_start|>user") > 2
        return colour(question) if answers or model != "base" or not shown else "grey"

    learned.vllm.answer = remembers
    full = edit(learned, *FULL[:4], dearer("A kayak costs $15 an hour."))
    run = reevaluate(learned.context, "bank")
    assert run is not None and run.status is RunStatus.REFUSED and run.trigger == TRIGGER
    assert "what the prompt no longer says: 1 of 1 answers still say" in run.message, run.message
    assert active(learned).adapter is None and waits(learned) == before_edit.id
    killed = learned.store.runs.start("bank", {}, WITHOUT_ADAPTER)
    learned.store.runs.finish(killed.id, RunStatus.INTERRUPTED, "", {})
    base = reevaluate(learned.context, "bank")
    assert base is not None and base.trigger == WITHOUT_ADAPTER and base.adapter is None
    assert waits(learned) is None, "it is not tried again and again"
    if answers:
        assert base.status is RunStatus.PROMOTED, base.message
        now = active(learned)
        assert (now.demonstrations, now.prompt_id) == (5, full.prompt_id) and "new" in now.segment_ids
        assert now.prompt_tokens < full.prompt_tokens
    else:
        assert base.status is RunStatus.REFUSED and active(learned).id == full.id


def test_what_was_served_without_an_adapter_is_tried_too(scene: Scene) -> None:
    save_prompt(scene.store, scene.tokenizer, "bank", FULL)
    scene.rate(60)

    def answer(model: str, ids: Sequence[int]) -> str:
        shown = scene.tokenizer.decode(ids).count("<|im_start|>user") > 2
        return colour(scene.question(ids)) if shown else "grey"

    scene.vllm.answer = answer
    prompt = scene.store.prompts.latest("bank")
    short = scene.store.deployments.add("bank", prompt.id, None, ["law"], 2, 90, demonstrations=5)
    scene.store.deployments.activate(short.id)
    edit(scene, *prompt.segments[:4], dearer("A kayak costs $15 an hour."))
    run = reevaluate(scene.context, "bank")
    assert run is not None and run.status is RunStatus.PROMOTED, run and run.message
    now = active(scene)
    assert (now.adapter, now.segment_ids, now.demonstrations) == (None, ("law", "new"), 5)


def test_a_second_edit_looks_past_one_that_was_never_tried_unless_everything_changed(learned: Scene) -> None:
    before = active(learned)
    for price in (15, 16):
        edit(learned, *FULL[:4], dearer(f"A kayak costs ${price} an hour."))
    assert waits(learned) == before.id
    edit(learned, *(replace(one, text=f"{one.text} Or so.") for one in FULL))
    assert waits(learned) is None
    assert reevaluate(learned.context, "bank") is None


def test_what_people_went_back_from_is_not_brought_back_by_an_edit(learned: Scene) -> None:
    learned.store.deployments.rollback("bank", "worse")
    edit(learned, *FULL[:4], dearer("A kayak costs $15 an hour."))
    assert waits(learned) is None


def test_an_interrupted_try_is_repeated_but_not_for_ever(learned: Scene) -> None:
    edit(learned, *FULL[:4], dearer("A kayak costs $15 an hour."))
    for _ in range(3):
        assert waits(learned) is not None
        learned.store.runs.start("bank", SETTINGS.as_record(), TRIGGER)
        learned.store.runs.interrupt_running("killed")
    assert waits(learned) is None


def test_a_retrain_still_counts_from_the_last_one_that_trained(learned: Scene) -> None:
    approve(learned, "Which colour has number 4711?", "red")
    assert new_examples(learned.store, "bank", SETTINGS) == 1
    edit(learned, *FULL[:4], dearer("A kayak costs $15 an hour."))
    assert reevaluate(learned.context, "bank") is not None
    assert new_examples(learned.store, "bank", SETTINGS) == 1
