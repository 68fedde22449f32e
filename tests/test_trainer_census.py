"""What a dataset would have now follows every decision."""

from dataclasses import replace

from retrain_scene import SETTINGS

from store import Store
from store.records import ImportedTurn, Ruling, Segment, SegmentKind, Verdict
from trainer.examples.census import census
from trainer.examples.selection import Drop

UP, DOWN = Verdict.UP, Verdict.DOWN


def test_decisions_change_what_would_be_learned(store: Store) -> None:
    store.assistants.create("desk", "Desk", "exact")
    store.prompts.add("desk", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    turns = [
        ImportedTurn("c1", "When?", "At nine.", UP),
        ImportedTurn("c2", "when", "At ten.", UP),
        ImportedTurn("c3", "Where?", "Here.", DOWN),
        ImportedTurn("c4", "Dogs?", "No."),
    ]
    store.transfer.load("desk", turns)

    def examples(found: dict) -> int:
        return found["train"] + found["dev"] + found["gate"]

    before = census(store, "desk", SETTINGS)
    assert examples(before) == 2 and before["contradictions"] == 1 and before["reviewed"] == 0
    assert before["dropped"] == {Drop.RATED_DOWN.value: 1} and "Not enough yet" in before["shortage"]

    store.decisions.add("c2.1.assistant", "rev", Ruling.REJECT)
    store.decisions.add("c3.1.assistant", "rev", Ruling.CORRECT, "By the quay.")
    store.decisions.add("c4.1.assistant", "rev", Ruling.APPROVE)  # which nobody had rated
    after = census(store, "desk", SETTINGS)
    assert examples(after) == 3 and after["contradictions"] == 0
    assert (after["reviewed"], after["corrected"]) == (2, 1)
    assert after["dropped"] == {Drop.REJECTED.value: 1}


def test_what_a_retrain_would_leave_out_as_near_to_others_is_counted_so(store: Store) -> None:
    store.assistants.create("desk", "Desk", "exact")
    store.prompts.add("desk", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    things = ("kayak", "canoe", "locker", "ticket", "towel", "tent", "helmet", "paddle", "lantern", "rope")
    turns = [
        ImportedTurn(f"{thing}{number}", ask.format(thing), f"The {thing} costs ten.", UP)
        for thing in things
        for number, ask in enumerate(
            ("What does a {} cost?", "what does a {} cost please", "What does {} cost")
        )
    ]
    store.transfer.load("desk", turns)
    found = census(store, "desk", replace(SETTINGS, similar_cap=1))
    clusters = found["dropped"][Drop.SIMILAR.value] // 2
    assert clusters > 0 and found["train"] == clusters, "one of each cluster trains"
    assert census(store, "desk", replace(SETTINGS, similar_cap=0))["train"] == 3 * clusters
