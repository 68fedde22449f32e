"""What is left when nothing trains that the gate asks and nothing trains too often, and where conversations go."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imported_turns import ImportedTurn, load_turns
from retrain_scene import SETTINGS, Scene

from store.records import RedactionAction, RedactionRule, Role, Split, Verdict
from trainer.examples.dataset import collect, draft_for_model
from trainer.examples.deduplicate import Deduplicated, deduplicate, settle, split_of
from trainer.examples.selection import CollectedAnswer, DropReason
from trainer.examples.similar import question_of
from trainer.examples.wording import near, wording
from trainer.redaction.redactor import Redactor, redact_answers
from trainer.watch import new_examples

ASKED = (
    "How do I change my pin?",
    "could you tell me how to change my pin please",
    "What do I do to change the PIN",
    "how can I chagne my pin",
    "I would like to change my pin, thanks!",
    "Why was my transfer declined?",
    "How come my transfer was declined?",
    "Why has the transfer been declnied",
    "When do you open on Sunday?",
    "at what time do you open on sundays",
    "Where is my card?",
)
TRAIN, DEV, GATE = Split.TRAIN, Split.DEV, Split.GATE


def collected(number: int, question: str, split: Split | None = TRAIN, **changes: object) -> CollectedAnswer:
    context = ((Role.USER, question),)
    answer = f"answer {number}"
    one = CollectedAnswer(f"m{number}", f"c{number}", context, answer, question, split, "ann")
    return replace(one, **{"judged_at": float(number), **changes})  # type: ignore[arg-type]


def deduplicated(answers: Sequence[CollectedAnswer], similar_cap: int) -> Deduplicated:
    return deduplicate(answers, *settle(answers), similar_cap)


def ids(found: Deduplicated) -> list[str]:
    return [one.message_id for one in found.answers]


def assign(firsts: Mapping[str, str], settled: Mapping[str, Split]) -> dict[str, Split]:
    asked = [((Role.USER, text),) for text in firsts.values()]
    answers = zip(firsts, asked, strict=True)
    return settle([CollectedAnswer(id, id, q, "", q[0][1], settled.get(id)) for id, q in answers])[1]


def test_of_a_group_so_many_train_corrected_ones_first_then_the_newest() -> None:
    answers = [collected(n, ASKED[n], corrected=n == 1) for n in range(6)]
    found = deduplicated(answers, 3)
    assert ids(found) == ["m1", "m3", "m4", "m5"]
    assert found.dropped == {"m0": DropReason.SIMILAR, "m2": DropReason.SIMILAR}
    assert set(found.duplicates_of["m0"]) == {"m1", "m3", "m4"}
    assert len(deduplicated(answers, 0).answers) == 6
    assert not deduplicated([replace(one, split=GATE) for one in answers], 1).dropped, (
        "the cap is for training"
    )


def test_what_the_gate_asks_is_left_out_of_training_and_the_gate_stays() -> None:
    splits = {0: GATE, 1: TRAIN, 2: DEV, 3: TRAIN, 5: TRAIN}
    context = ((Role.USER, "Hello"), (Role.ASSISTANT, "Hello!"), (Role.USER, ASKED[1]))
    later_turn = collected(7, "Hello", context=context)
    found = deduplicated([*(collected(n, ASKED[n], split) for n, split in splits.items()), later_turn], 3)
    assert ids(found) == ["m0", "m5"]
    assert found.dropped == dict.fromkeys(("m1", "m2", "m3", "m7"), DropReason.NEAR_GATE)
    assert found.duplicates_of["m1"] == ("m0",)


def test_what_a_rule_with_a_digit_in_its_kind_replaces_is_one_question() -> None:
    rule = RedactionRule(1, "bank", RedactionAction.REPLACE, "ORD2", "[0-9]{4}", False, "ann", 0.0)
    first = "I ordered twice, 1111 first."
    context = ((Role.USER, first), (Role.ASSISTANT, "Yes?"), (Role.USER, "When does order 2222 arrive here?"))
    answers = [collected(0, "When does order 3333 arrive here?", GATE), collected(1, first, context=context)]
    assert not near(wording("Is <ORD2_1> late?"), wording("Is <ORD3_1> late?"))
    redacted = redact_answers(answers, Redactor([rule])).answers
    assert redacted[1].context[-1][1] == "When does order <ORD2_2> arrive here?"
    assert deduplicated(redacted, 3).dropped == {"m1": DropReason.NEAR_GATE}


def test_unrated_answers_stay_out_of_what_the_gate_asks_and_fill_groups() -> None:
    approved = [collected(0, ASKED[0], GATE), collected(5, ASKED[5])]

    def unrated(number: int, question: str, split: Split | None = TRAIN) -> CollectedAnswer:
        return collected(number, question, split, approved=False, rater="")

    known, near_gate, fresh = (unrated(20 + n, ASKED[place]) for n, place in enumerate((5, 1, 8)))
    in_gate = unrated(30, "Is this settled in the gate?", GATE)
    near_in_gate = unrated(31, "Is this settled in the gate, please?")
    near_train = unrated(32, ASKED[6], GATE)
    found = deduplicated([*approved, known, near_gate, fresh, in_gate, near_in_gate, near_train], 3)
    assert ids(found) == ["m0", "m5", "m30", "m22"] and not found.dropped
    assert {e.message_id for e in found.examples() if not e.approved} == {"m22", "m30"}
    some = [
        unrated(40 + n, text)
        for n, text in enumerate((ASKED[6], ASKED[7], f"{ASKED[5]} please", ASKED[5][:-1]))
    ]
    assert len(deduplicated([*approved, *some], 3).answers) == 4, "nor one question too often"
    assert len(deduplicated([*approved, *some], 0).answers) == 6


ENDS = ("", " today", " at home", " in Spain", " again please")
questions = st.builds(lambda text, end: text.rstrip("?") + end, st.sampled_from(ASKED), st.sampled_from(ENDS))


@given(st.lists(questions, min_size=1, max_size=25), st.data())
def test_no_near_duplicate_is_on_both_sides_of_the_gate(asked: list[str], data: st.DataObject) -> None:
    """Whatever is settled where."""
    settled = st.sampled_from([None, *Split])
    answers = [collected(number, text, data.draw(settled)) for number, text in enumerate(asked)]
    found = deduplicated(answers, 2)
    examples = found.examples()
    for one, other in product(examples, examples):
        if one.split is GATE and other.split is not GATE:
            assert not near(question_of(one.context), question_of(other.context))
    gate = {f"m{id[1:]}" for id, split in found.splits.items() if split is GATE}
    assert {e.message_id for e in examples if e.split is GATE} == gate, "the gate loses none"
    assert set(ids(found)) | set(found.dropped) == {f"m{n}" for n in range(len(answers))}
    # Again with the splits that it settled, it is the same.
    again = deduplicated([replace(one, split=found.splits[one.conversation_id]) for one in answers], 2)
    assert again.examples() == examples and again.dropped == found.dropped


@given(questions=st.dictionaries(st.text(min_size=1), st.text(), max_size=20), data=st.data())
def test_what_is_settled_stays_whatever_comes_later(questions: dict[str, str], data: st.DataObject) -> None:
    known = data.draw(st.sets(st.sampled_from(sorted(questions)))) if questions else set()
    settled = {conversation: data.draw(st.sampled_from(Split)) for conversation in known}
    placed = assign(questions, settled)
    assert set(placed) == set(questions)
    assert all(placed[conversation] is split for conversation, split in settled.items())
    assert assign(questions, placed) == placed
    wordings = {conversation: wording(question) for conversation, question in questions.items()}
    for conversation in set(questions) - known:
        others = [wordings[other] for other in questions if other != conversation]
        if not any(near(wordings[conversation], other) for other in others):
            assert placed[conversation] is split_of(questions[conversation])


@given(st.lists(questions, min_size=2, max_size=25), st.integers(1, 24))
def test_a_new_conversation_goes_where_the_same_question_is(asked: list[str], first: int) -> None:
    firsts = {f"c{number}": text for number, text in enumerate(asked)}
    before = assign({id: firsts[id] for id in list(firsts)[:first]}, {})
    after = assign(firsts, before)
    for id in firsts.keys() - before.keys():
        same = [other for other in before if firsts[other] == firsts[id]]
        assert not same or after[id] is before[same[0]]


def test_a_group_goes_to_one_side_and_new_ones_follow() -> None:
    firsts = {f"c{number}": text for number, text in enumerate(ASKED)}
    placed = assign(firsts, {})
    assert len({placed[f"c{n}"] for n in range(5)}) == 1 == len({placed[f"c{n}"] for n in (5, 6, 7)})
    assert placed["c10"] is split_of(ASKED[10]), "a question of its own goes where its hash says"
    for split in Split:
        assert assign(firsts, {"c2": split})["c4"] is split
    both = assign(firsts, {"c0": TRAIN, "c3": GATE})
    assert both["c0"] is TRAIN and both["c3"] is GATE


@given(st.text().filter(lambda text: re.search(r"\w", text) is not None))
def test_a_question_has_one_side_however_it_is_typed(question: str) -> None:
    assert split_of(f"  {question}\n") is split_of(question)
    assert split_of("what is the capital") is split_of("WHAT  is the Capital?!")


def test_the_shares_are_kept() -> None:
    counted = [split_of(f"question {number}") for number in range(5000)]
    assert abs(counted.count(GATE) / 5000 - 0.4) < 0.02
    assert abs(counted.count(DEV) / 5000 - 0.1) < 0.015
    counted = [split_of(f"question {number}", 0.1) for number in range(5000)]
    assert [abs(counted.count(split) / 5000 - 0.1) < 0.015 for split in (GATE, DEV)] == [True, True]


def test_where_much_is_asked_that_nobody_rates_the_gate_gets_few_approved_answers() -> None:
    answers = [collected(n, f"Where is number {n}?", None, approved=n % 2 == 0) for n in range(4000)]
    answers += [collected(5000 + n, f"Where's number {n}?", None, approved=n % 2 == 1) for n in range(100)]
    groups, splits = settle(answers, 0)

    def share(of: Sequence[CollectedAnswer]) -> float:
        return sum(splits[one.conversation_id] is GATE for one in of) / len(of)

    assert abs(share([one for one in answers[:4000] if one.approved]) - 0.1) < 0.02
    assert abs(share([one for one in answers[100:4000] if not one.approved]) - 0.4) < 0.03
    pairs = zip(answers[:100], answers[4000:], strict=True)
    assert all(splits[one.conversation_id] is splits[other.conversation_id] for one, other in pairs)


def test_when_the_gate_has_enough_most_new_answers_are_trained_on() -> None:
    def gate_of(count: int, there: int = 0) -> int:
        settled = [collected(n, f"Which is number {n}?", GATE if n < there else TRAIN) for n in range(200)]
        new = [collected(1000 + n, f"Where is number {n}?", None) for n in range(count)]
        splits = settle([*settled, *new])[1]
        return sum(splits[one.conversation_id] is GATE for one in new)

    assert abs(gate_of(100) - 40) < 12, "four tenths, which are less than enough"
    assert abs(gate_of(400) - 60) < 20, "as many as are enough"
    assert abs(gate_of(400, there=60) - 40) < 16, "a tenth, where there are enough"
    assert abs(gate_of(100, there=40) - 20) < 10


def rate(scene: Scene, questions: list[str], first: int) -> None:
    turns = [
        ImportedTurn(f"n{first + n}", text, f"answer {n % 7}", Verdict.UP) for n, text in enumerate(questions)
    ]
    load_turns(scene.store, "bank", turns)


def test_a_snapshot_says_which_rule_left_what_out_and_later_ratings_do_not_move_the_gate(
    scene: Scene,
) -> None:
    scene.rate(20)
    rate(scene, list(ASKED[:5]), 0)
    scene.store.splits.record({"n0": GATE, "n1": TRAIN})
    dataset = scene.snapshot()
    assert list(dataset.dropped) == [DropReason.NEAR_GATE.value]
    gate = {e.message_id for e in dataset.examples if e.split is GATE}
    assert draft_for_model(scene.context, "bank").examples == dataset.examples, "a run can go on"
    assert new_examples(scene.store, "bank", SETTINGS) == 0, "what was left out is not news for ever"
    rate(scene, [*ASKED[5:], "Please tell me how to change my pin now"], 5)
    later = draft_for_model(scene.context, "bank").examples
    assert gate <= {e.message_id for e in later if e.split is GATE}
    assert not {e.message_id for e in later if e.split is not GATE} & gate


def test_the_settings_reach_the_dataset(scene: Scene) -> None:
    rate(scene, list(ASKED[:5]), 0)
    scene.store.splits.record({f"n{n}": TRAIN for n in range(5)})
    assert len(draft_for_model(scene.context, "bank").examples) == 3
    for changes, count in (({"similar_cap": 0}, 5), ({"similar_cap": 1}, 1)):
        w = replace(scene.context, settings=replace(SETTINGS, **changes))
        assert len(draft_for_model(w, "bank").examples) == count
    assert len(collect(scene.store, "bank", SETTINGS).answers) == 5


@pytest.mark.parametrize("split", [TRAIN, GATE])
def test_questions_that_are_one_without_personal_data_are_on_one_side(scene: Scene, split: Split) -> None:
    rate(scene, [f"Is {name}@example.com registered with you?" for name in ("ann", "bo")], 0)
    scene.store.splits.record({"n0": split})
    assert {e.split for e in draft_for_model(scene.context, "bank").examples} == {split}
