"""The ablation's variants: settings that exist, and the examples that each trains on."""

from dataclasses import replace

import pytest

from benchmarks.ablation import table
from benchmarks.tasks.variants import VARIANTS, Variant, examples_of
from store.records import Example, RatedAnswer, Role, Split
from trainer.settings import TrainerSettings


def example(number: int, split: Split = Split.TRAIN) -> Example:
    context = ((Role.USER, f"question {number}"),)
    return Example(f"m{number}", f"c{number}", context, f"right {number}", number % 2 == 0, split, "ann")


EXAMPLES = (
    [example(n) for n in range(20)]
    + [example(n, Split.DEV) for n in range(20, 24)]
    + [example(30, Split.GATE)]
)
ANSWERS = [
    RatedAnswer(e.message_id, e.conversation_id, e.context, f"given {e.message_id}", (), None)
    for e in EXAMPLES
]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_changes_settings_that_exist(name: str) -> None:
    changed = replace(TrainerSettings(), **VARIANTS[name].changes)
    assert (
        name == "defaults"
        or changed != TrainerSettings()
        or VARIANTS[name] != Variant(VARIANTS[name].question)
    )


def test_no_variant_sees_the_gate_and_each_stops_on_the_same_dev_examples() -> None:
    for variant in VARIANTS.values():
        chosen = examples_of(variant, EXAMPLES, ANSWERS, 0)
        assert not [e for e in chosen if e.split is Split.GATE]
        assert [e.message_id for e in chosen if e.split is Split.DEV] == ["m20", "m21", "m22", "m23"]


def test_a_share_of_the_examples_is_seeded() -> None:
    half = Variant("", share=0.5)
    train = [e for e in examples_of(half, EXAMPLES, ANSWERS, 0) if e.split is Split.TRAIN]
    assert len(train) == 10 and train == [e for e in examples_of(half, EXAMPLES, ANSWERS, 0)[:10]]
    assert train != examples_of(half, EXAMPLES, ANSWERS, 1)[:10]


def test_low_rated_answers_join_beside_their_corrections_as_if_approved() -> None:
    chosen = examples_of(Variant("", low_rated=True), EXAMPLES, ANSWERS, 0)
    added = [e for e in chosen if e.message_id.endswith("-as-given")]
    assert len(added) == 10 and all(e.completion.startswith("given") and not e.corrected for e in added)
    assert all(e.split is Split.TRAIN and e.approved for e in added)


def test_the_table_says_what_a_variant_cost_and_from_where_on_it_was_timed() -> None:
    quality = {"shortest": {"mean": 0.4, "low": 0.3, "high": 0.5}, "full": None}
    trained = {
        "question": "Why?",
        "quality": quality,
        "shortest_less_full": None,
        "examples": 87,
        "row_tokens": 1234,
        "seconds": 61.4,
        "peak_memory_mib": 4500,
        "best_epoch": 3,
        "resumed_at": 0,
    }
    variants = {
        "whole": trained,
        "went on": trained | {"resumed_at": 90},
        "wild": {"question": "How fast?", "diverged": "NaN"},
    }
    _, _, whole, went_on, wild = table({"variants": variants}).splitlines()
    assert whole == (
        "| whole | Why? | 0.400 (0.300-0.500) | – | – | "
        "87 examples, 1,234 tokens, 61 s, at most 4.4 GiB, best of epoch 3 |"
    )
    assert went_on.endswith("61 s (timed from step 90 on), at most 4.4 GiB, best of epoch 3 |")
    assert wild == "| wild | How fast? | diverged | diverged | | |"
