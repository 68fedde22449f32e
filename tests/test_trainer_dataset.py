"""What a dataset holds: examples in an order of their own, a hash of all that is trained, and how much is missing."""

import pytest

from store.records import Example, Role, Split
from trainer.examples.dataset import content_hash, shortage, sizes
from trainer.examples.deduplicate import deduplicate
from trainer.examples.records import CollectedAnswer
from trainer.settings import TrainerSettings


def example(number: int, split: Split = Split.TRAIN, completion: str | None = None) -> Example:
    text = f"answer {number}" if completion is None else completion
    return Example(f"m{number:03}", f"c{number}", ((Role.USER, "q"),), text, False, split)


def collected(completion: str, id: str) -> CollectedAnswer:
    return CollectedAnswer(id, id, ((Role.USER, "q"),), completion, "q", Split.TRAIN)


def test_examples_come_in_an_order_of_their_own() -> None:
    answers = [collected("b", "m1"), collected("a", "m2")]
    examples = deduplicate(answers, 0, 0).examples(1)
    assert [e.message_id for e in examples] == ["m2", "m1"]
    assert examples == deduplicate(answers[::-1], 0, 0).examples(1)


def test_the_hash_covers_ids_texts_and_splits() -> None:
    plain = content_hash([example(1), example(2)])
    assert plain == content_hash([example(1), example(2)])
    changed = [
        [example(1)],
        [example(2), example(1)],
        [example(1), example(3)],
        [example(1), example(2, Split.GATE)],
        [example(1), example(2, completion="other")],
    ]
    assert len({plain, *map(content_hash, changed)}) == 6


SETTINGS = TrainerSettings(min_train=6, min_gate=3)


def some(train: int, dev: int, gate: int, completion: str | None = None) -> list[Example]:
    wanted = [Split.TRAIN] * train + [Split.DEV] * dev + [Split.GATE] * gate
    return [example(number, split, completion) for number, split in enumerate(wanted)]


@pytest.mark.parametrize(("train", "dev", "gate"), [(0, 0, 0), (5, 1, 3), (6, 0, 3), (6, 1, 2), (2, 1, 3)])
def test_a_shortage_says_how_many_more(train: int, dev: int, gate: int) -> None:
    sentence = shortage(some(train, dev, gate), SETTINGS)
    assert sentence is not None
    assert sentence.startswith("Not enough yet: about ") and f"There are {train + dev + gate}" in sentence
    assert int(sentence.split()[4]) >= 1
    assert f"{train} to train on (6 needed) and {gate} to prove it on (3 needed)" in sentence


def test_enough_is_enough() -> None:
    assert shortage(some(6, 1, 3), SETTINGS) is None
    assert sizes(some(6, 1, 3)) == {Split.TRAIN: 6, Split.DEV: 1, Split.GATE: 3}


def test_one_answer_to_everything_teaches_nothing() -> None:
    sentence = shortage(some(6, 1, 3, completion="yes"), SETTINGS)
    assert sentence is not None and "the same text (“yes”)" in sentence and "Not enough yet" in sentence
