"""What a dataset would have now follows every decision."""

from retrain_scene import SETTINGS

from store import Store
from store.records import ImportedTurn, Ruling, Segment, SegmentKind, Verdict
from trainer.census import census
from trainer.selection import Drop

UP, DOWN = Verdict.UP, Verdict.DOWN


def test_decisions_change_what_would_be_learned(store: Store) -> None:
    store.create_assistant("desk", "Desk", "exact")
    store.add_prompt("desk", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    turns = [
        ImportedTurn("c1", "When?", "At nine.", UP),
        ImportedTurn("c2", "when", "At ten.", UP),
        ImportedTurn("c3", "Where?", "Here.", DOWN),
        ImportedTurn("c4", "Dogs?", "No."),
    ]
    store.load_conversations("desk", turns)

    def examples(found: dict) -> int:
        return found["train"] + found["dev"] + found["gate"]

    before = census(store, "desk", SETTINGS)
    assert examples(before) == 2 and before["contradictions"] == 1 and before["reviewed"] == 0
    assert before["dropped"] == {Drop.RATED_DOWN.value: 1} and "Not enough yet" in before["shortage"]

    store.decide("c2.1.assistant", "rev", Ruling.REJECT)
    store.decide("c3.1.assistant", "rev", Ruling.CORRECT, "By the quay.")
    store.decide("c4.1.assistant", "rev", Ruling.APPROVE)  # which nobody had rated
    after = census(store, "desk", SETTINGS)
    assert examples(after) == 3 and after["contradictions"] == 0
    assert (after["reviewed"], after["corrected"]) == (2, 1)
    assert after["dropped"] == {Drop.REJECTED.value: 1}
