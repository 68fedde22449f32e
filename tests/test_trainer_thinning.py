"""What is left of an intake: nothing that the gate asks, not too much of one question, and every kind of question."""

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retrain_scene import SETTINGS, Scene

from store.records import ImportedTurn, RatedAnswer, Rating, Role, Split, Verdict
from trainer.examples.intake import Intake, take_in
from trainer.examples.selection import Approved, Drop
from trainer.examples.similar import grouped, near_questions, question_of
from trainer.examples.splits import assign, split_of
from trainer.examples.thinning import level, thin
from trainer.examples.topics import topics
from trainer.freezing import freeze, prepare
from trainer.progress import RunProgress
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


def approved(number: int, question: str, corrected: bool = False, at: float | None = None) -> Approved:
    rating = Rating(f"r{number}", f"m{number}", "ann", Verdict.UP, number if at is None else at)
    answer = RatedAnswer(f"m{number}", f"c{number}", ((Role.USER, question),), "a", (rating,), None)
    return Approved(answer, f"answer {number}", corrected, "ann")


def intake(items: list[Approved], splits: dict[str, Split]) -> Intake:
    return Intake(1, items, {}, splits, [], None)


def all_train(items: list[Approved]) -> dict[str, Split]:
    return {item.answer.conversation_id: Split.TRAIN for item in items}


def ids(found: Intake) -> list[str]:
    return [item.answer.message_id for item in found.approved]


def test_of_a_cluster_so_many_train_corrected_ones_first_then_the_newest() -> None:
    items = [approved(n, ASKED[n], corrected=n == 1) for n in range(5)] + [approved(5, ASKED[5])]
    found = thin(intake(items, all_train(items)), 3, 0)
    assert ids(found.intake) == ["m1", "m3", "m4", "m5"]
    assert found.intake.dropped == {"m0": Drop.SIMILAR, "m2": Drop.SIMILAR}
    assert set(found.others["m0"]) == {"m1", "m3", "m4"}
    assert ids(thin(intake(items, all_train(items)), 0, 0).intake) == ids(intake(items, {}))


def test_the_cap_is_for_training_alone() -> None:
    items = [approved(n, ASKED[n]) for n in range(5)]
    gate = {item.answer.conversation_id: Split.GATE for item in items}
    assert not thin(intake(items, gate), 1, 0).intake.dropped


def test_what_the_gate_asks_is_left_out_of_training_and_the_gate_stays() -> None:
    items = [approved(n, ASKED[n]) for n in range(4)] + [approved(5, ASKED[5])]
    splits = {"c0": Split.GATE, "c1": Split.TRAIN, "c2": Split.DEV, "c3": Split.TRAIN, "c5": Split.TRAIN}
    found = thin(intake(items, splits), 3, 0)
    assert ids(found.intake) == ["m0", "m5"]
    assert found.intake.dropped == dict.fromkeys(("m1", "m2", "m3"), Drop.NEAR_GATE)
    assert found.others["m1"] == ("m0",)


def test_later_turns_are_kept_from_the_gates_questions_too() -> None:
    late = approved(1, "Hello")
    context = (
        (Role.USER, "Hello"),
        (Role.ASSISTANT, "Hello!"),
        (Role.USER, "What do I do to change the PIN"),
    )
    late = replace(late, answer=replace(late.answer, context=context))
    items = [approved(0, ASKED[0]), late]
    found = thin(intake(items, {"c0": Split.GATE, "c1": Split.TRAIN}), 3, 0)
    assert found.intake.dropped == {"m1": Drop.NEAR_GATE}


def test_the_teachers_answers_to_what_the_gate_asks_are_not_followed() -> None:
    taken = intake([approved(0, ASKED[0]), approved(5, ASKED[5])], {"c0": Split.GATE, "c5": Split.TRAIN})
    (example,) = [e for e in taken.examples() if e.split is Split.TRAIN]
    distillation_examples = [
        replace(example, message_id=str(n), context=((Role.USER, text),), approved=False)
        for n, text in enumerate((ASKED[1], ASKED[8]))
    ]
    found = thin(replace(taken, distillation_examples=distillation_examples), 3, 0).intake
    assert [e.message_id for e in found.distillation_examples] == ["1"]
    again = [replace(distillation_examples[1], message_id=str(n), conversation_id=str(n)) for n in range(5)]
    assert len(thin(replace(taken, distillation_examples=again), 3, 0).intake.distillation_examples) == 3, (
        "nor one question too often"
    )
    assert len(thin(replace(taken, distillation_examples=again), 0, 0).intake.distillation_examples) == 5


@given(st.dictionaries(st.integers(0, 9), st.integers(1, 40), min_size=1), st.integers(1, 200))
def test_the_largest_topics_give_way_first(sizes: dict[int, int], total: int) -> None:
    segment_ids = level(sizes, total)
    assert sum(segment_ids.values()) == min(total, sum(sizes.values()))
    assert all(0 <= segment_ids[topic] <= size for topic, size in sizes.items())
    gave = [segment_ids[topic] for topic, size in sizes.items() if segment_ids[topic] < size]
    assert all(segment_ids[topic] <= min(gave) + 1 for topic in sizes) if gave else True


def test_rare_kinds_of_question_keep_their_examples() -> None:
    towns = ("Spain", "France", "Italy", "Greece", "Norway", "Chile", "Peru", "Kenya", "Ghana", "Japan")
    many = [f"How long does a transfer to {town} take?" for town in towns]
    rare = ["When do you open on Sunday?", "Is my dog allowed in the canoe?"]
    items = [approved(n, text) for n, text in enumerate([*many, *rare])]
    found = thin(intake(items, all_train(items)), 3, 6)
    assert len(found.intake.approved) == 6 and {"m10", "m11"} <= set(ids(found.intake))
    assert set(found.intake.dropped.values()) == {Drop.CROWDED}
    assert found.topics == 3 and found.largest_topic == 4 / 6
    assert ids(found.intake)[:4] == ["m6", "m7", "m8", "m9"], "the newest stay"


def test_topics_are_of_the_questions_and_not_of_their_order() -> None:
    questions = [question_of(((Role.USER, text),)) for text in ASKED]
    found = topics(questions)
    assert len({*found[:5]}) == 1 == len({*found[5:8]}) and len(set(found)) == 4
    assert topics(questions[::-1]) == found[::-1] and topics([]) == []


ENDS = ("", " today", " at home", " in Spain", " again please")
questions = st.builds(lambda text, end: text.rstrip("?") + end, st.sampled_from(ASKED), st.sampled_from(ENDS))


@given(st.lists(questions, min_size=1, max_size=25), st.data())
def test_no_near_duplicate_is_on_both_sides_of_the_gate(asked: list[str], data: st.DataObject) -> None:
    """Whatever was placed where before near-duplicates were looked for."""
    items = [approved(number, text) for number, text in enumerate(asked)]
    firsts = {item.answer.conversation_id: item.answer.context[0][1] for item in items}
    known = data.draw(st.sets(st.sampled_from(sorted(firsts))))
    recorded = {conversation: data.draw(st.sampled_from(Split)) for conversation in known}
    splits = assign(firsts, recorded)
    found = thin(intake(items, splits), 2, 8)
    examples = found.intake.examples()
    for one, other in product(examples, examples):
        if one.split is Split.GATE and other.split is not Split.GATE:
            pair = (question_of(one.context), question_of(other.context))
            assert pair[0] != pair[1] and not near_questions(pair)
    gate = {f"m{id[1:]}" for id, split in splits.items() if split is Split.GATE}
    assert {e.message_id for e in examples if e.split is Split.GATE} == gate, "the gate loses none"
    assert set(ids(found.intake)) | set(found.intake.dropped) == {f"m{n}" for n in range(len(items))}
    groups = grouped(question_of(e.context) for e in examples)
    trained = Counter(
        groups.representative[question_of(e.context)] for e in examples if e.split is Split.TRAIN
    )
    assert trained.total() <= 8
    # Frozen again with the splits that it settled, it is the same.
    again = thin(intake(items, assign(firsts, splits)), 2, 8)
    assert again.intake == found.intake


@given(st.lists(questions, min_size=2, max_size=25), st.integers(1, 24))
def test_what_is_rated_later_moves_nothing(asked: list[str], first: int) -> None:
    firsts = {f"c{number}": text for number, text in enumerate(asked)}
    before = assign({id: firsts[id] for id in list(firsts)[:first]}, {})
    after = assign(firsts, before)
    assert all(after[id] is split for id, split in before.items())
    for id in firsts.keys() - before.keys():
        same = [other for other in before if firsts[other] == firsts[id]]
        assert not same or after[id] is before[same[0]]


def test_a_cluster_goes_to_one_side_and_new_ones_follow() -> None:
    firsts = {f"c{number}": text for number, text in enumerate(ASKED)}
    placed = assign(firsts, {})
    assert len({placed[f"c{n}"] for n in range(5)}) == 1 == len({placed[f"c{n}"] for n in (5, 6, 7)})
    assert placed["c10"] is split_of(ASKED[10]), "a question of its own goes where it always went"
    for split in Split:
        assert assign(firsts, {"c2": split})["c4"] is split
    both = assign(firsts, {"c0": Split.TRAIN, "c3": Split.GATE})
    assert both["c0"] is Split.TRAIN and both["c3"] is Split.GATE


def rate(scene: Scene, questions: list[str], first: int) -> None:
    scene.store.transfer.load(
        "bank",
        [
            ImportedTurn(f"n{first + n}", text, f"answer {n % 7}", Verdict.UP)
            for n, text in enumerate(questions)
        ],
    )


def test_a_frozen_dataset_says_which_rule_left_what_out_and_later_ratings_do_not_move_the_gate(
    scene: Scene,
) -> None:
    scene.rate(20)
    rate(scene, list(ASKED[:5]), 0)
    # As an older version placed them: the same question on both sides.
    scene.store.splits.record({"n0": Split.GATE, "n1": Split.TRAIN})
    run = scene.store.runs.start("bank", SETTINGS.as_record(), "test")
    dataset = freeze(scene.workshop, run, RunProgress(scene.store, run.id))
    assert not isinstance(dataset, str), dataset
    left_out = scene.store.datasets.left_out(dataset.id)
    assert set(left_out.values()) == {Drop.NEAR_GATE.value}
    assert dataset.dropped == Counter(left_out.values())
    gate = {e.message_id for e in dataset.examples if e.split is Split.GATE}
    assert prepare(scene.workshop, "bank").examples == dataset.examples, "an interrupted run can go on"
    scene.store.runs.finish(run.id, scene.store.runs.get(run.id).status.REFUSED, "", {})
    assert new_examples(scene.store, "bank", SETTINGS) == 0, "what was left out is not news for ever"
    rate(scene, [*ASKED[5:], "Please tell me how to change my pin now"], 5)
    later = prepare(scene.workshop, "bank").examples
    assert gate <= {e.message_id for e in later if e.split is Split.GATE}
    assert not {e.message_id for e in later if e.split is not Split.GATE} & gate


def test_the_settings_reach_the_dataset(scene: Scene) -> None:
    rate(scene, list(ASKED[:5]), 0)
    scene.store.splits.record({f"n{n}": Split.TRAIN for n in range(5)})
    assert len(prepare(scene.workshop, "bank").examples) == 3
    for changes, count in (({"similar_cap": 0}, 5), ({"similar_cap": 1}, 1), ({"max_train": 2}, 2)):
        w = replace(scene.workshop, settings=replace(SETTINGS, **changes))
        assert len(prepare(w, "bank").examples) == count
    assert len(take_in(scene.store, "bank", SETTINGS).approved) == 5


@pytest.mark.parametrize("split", [Split.TRAIN, Split.GATE])
def test_questions_that_are_one_without_personal_data_are_on_one_side(scene: Scene, split: Split) -> None:
    texts = [f"Is {name}@example.com registered with you?" for name in ("ann", "bo")]
    rate(scene, texts, 0)
    scene.store.splits.record({"n0": split})
    assert {e.split for e in prepare(scene.workshop, "bank").examples} == {split}
