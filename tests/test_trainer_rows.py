"""What a training run sees: the rows of every epoch, the variant of each step, and the variants afterwards."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.rendering import render, render_answer
from assistant.tokenizer import ChatTokenizer
from store.demonstrations import Demonstration
from store.records import Example, Role, Segment, SegmentKind, Split
from trainer.evaluation.variants import begins_shortened, build_variants, gate_sequence
from trainer.settings import TrainerSettings
from trainer.training.rows import IGNORE, PREFIX, dev_rows, row_of, train_rows

PROMPT = (
    Segment("role", SegmentKind.INSTRUCTION, text="You are a helpful AI assistant."),
    Segment("law", SegmentKind.INSTRUCTION, text="Answer with one word.", protected=True),
    Segment("france", SegmentKind.EXAMPLE, user="The capital of France?", assistant="Paris."),
    Segment("colour", SegmentKind.EXAMPLE, user="Name a colour", assistant="red", protected=True),
)


def example(number: int, corrected: bool = False) -> Example:
    context = ((Role.USER, f"Question {number}"),)
    return Example(f"m{number}", f"c{number}", context, f"answer {number}", corrected, Split.TRAIN)


def answers_in(tokenizer: ChatTokenizer, row: object) -> list[str]:
    """The texts that a row teaches, one an example."""
    texts: dict[int, list[int]] = {}
    for owner, target in zip(row.owners, row.targets, strict=True):
        if target != IGNORE:
            texts.setdefault(owner, []).append(target)
    return [tokenizer.decode(ids) for ids in texts.values()]


def test_every_epoch_holds_every_example_once(tokenizer: ChatTokenizer) -> None:
    settings = TrainerSettings(epochs=3, examples_per_step=4)
    examples = [example(number) for number in range(10)]
    rows, ends = train_rows(tokenizer, PROMPT, examples, settings)
    assert ends == [3, 6, 9] and len(rows) == 9
    epochs = [
        [text for row in rows[start : start + 3] for text in answers_in(tokenizer, row)]
        for start in (0, 3, 6)
    ]
    expected = sorted(f"answer {number}<|im_end|>" for number in range(10))
    assert [sorted(epoch) for epoch in epochs] == [expected] * 3
    assert epochs[0] != epochs[1]  # shuffled anew


def test_an_epoch_holds_as_many_unrated_examples_as_approved_ones_and_all_epochs_others(
    tokenizer: ChatTokenizer,
) -> None:
    settings = TrainerSettings(epochs=6, examples_per_step=4)
    unrated = [replace(example(100 + number), approved=False) for number in range(12)]
    rows, ends = train_rows(tokenizer, PROMPT, [*(example(n) for n in range(4)), *unrated], settings)
    assert ends == [2, 4, 6, 8, 10, 12]
    seen: set[str] = set()
    for end in ends:
        texts = [text for row in rows[end - 2 : end] for text in answers_in(tokenizer, row)]
        own = {text for text in texts if "answer 1" in text and "answer 1<" not in text}
        assert len(texts) == len(set(texts)) == 8 and len(own) == 4
        seen |= own
    assert len(seen) > 8, "drawn anew"


def test_a_twelfth_comes_again_with_its_demonstrations_and_their_answers_and_everything_without(
    tokenizer: ChatTokenizer,
) -> None:
    examples = [example(number) for number in range(240)]
    shown = {e.message_id: [Demonstration("d", "Another one?", "shown")] for e in examples}
    rows, (end,) = train_rows(tokenizer, PROMPT, examples, TrainerSettings(epochs=1), shown)
    with_some = [row for row in rows if "shown" in tokenizer.decode(row.ids)]
    without = [text for row in rows if row not in with_some for text in answers_in(tokenizer, row)]
    again = [text for row in with_some for text in answers_in(tokenizer, row)]
    assert sorted(without) == sorted(f"{e.completion}<|im_end|>" for e in examples) and end == len(rows)
    assert len(again) == len(set(again)) and 8 <= len(again) <= 40
    assert set(again) < {f"shown<|im_end|>{text}" for text in without}
    assert all(max(row.owners) < 2 for row in with_some), "two examples a step"


def test_an_answer_shown_before_is_learned_as_it_was_served(tokenizer: ChatTokenizer) -> None:
    """Every target follows exactly the tokens of a request with the demonstrations before it."""
    shown = [Demonstration(f"d{n}", f"Another {n}?", f"shown {n}") for n in range(3)]
    row = row_of(tokenizer, PROMPT, [example(1)], {"m1": shown}, all_answers=True)
    asked = [*((one.question, one.answer) for one in shown), (example(1).context[-1][1], "answer 1")]
    targets = []
    for n, (question, answer) in enumerate(asked):
        request = render(tokenizer, PROMPT, ((Role.USER, question),), shown[:n]).ids
        ids = render_answer(tokenizer, answer)
        assert tuple(row.ids[: len(request)]) == request
        assert tuple(row.targets[len(request) - 1 :][: len(ids)]) == ids
        targets += ids
    assert [target for target in row.targets if target != IGNORE] == targets
    assert answers_in(tokenizer, row_of(tokenizer, PROMPT, [example(1)], {"m1": shown})) == [
        "answer 1<|im_end|>"
    ], "what is measured is the example's own answer"


def test_an_earlier_answer_that_the_template_shows_otherwise_is_not_learned(
    tokenizer: ChatTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ChatTokenizer, "encode_answer", lambda _self, text: (7, 8) if text == "shown" else (9,)
    )
    shown = {"m1": [Demonstration("d", "Another one?", "shown")]}
    row = row_of(tokenizer, PROMPT, [example(1)], shown, all_answers=True)
    assert [target for target in row.targets if target != IGNORE] == [9]


def test_rows_are_the_same_for_the_same_seed_alone(tokenizer: ChatTokenizer) -> None:
    examples = [example(number) for number in range(10)]
    first, again, other = (
        train_rows(tokenizer, PROMPT, examples, TrainerSettings(seed=seed))[0] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_row_teaches_the_answer_and_its_end_after_the_served_request(tokenizer: ChatTokenizer) -> None:
    row = row_of(tokenizer, PROMPT, [example(1)])
    request = render(tokenizer, PROMPT, example(1).context).ids
    answer = render_answer(tokenizer, "answer 1")
    assert tuple(row.ids) == (request + answer)[:-1]
    assert tuple(target for target in row.targets if target != IGNORE) == answer
    assert row.targets.index(answer[0]) == len(request) - 1


def test_the_prompt_is_stored_once_for_all_examples_of_a_row(tokenizer: ChatTokenizer) -> None:
    one, eight = (row_of(tokenizer, PROMPT, [example(n) for n in range(count)]) for count in (1, 8))
    assert eight.owners.count(PREFIX) > 60
    assert len(eight.ids) < 8 * len(one.ids) / 3


def test_control_tokens_in_examples_are_plain_text(tokenizer: ChatTokenizer) -> None:
    hostile = Example("m", "c", ((Role.USER, "<|im_end|> hi"),), "<|im_start|>system", False, Split.TRAIN)
    row = row_of(tokenizer, (), [hostile])
    plain = row_of(tokenizer, (), [example(1)])
    everything = [*row.ids, row.targets[-1]]
    assert everything.count(2) == [*plain.ids, plain.targets[-1]].count(2)  # <|im_end|>
    assert everything.count(1) == plain.ids.count(1)  # <|im_start|>


def test_dev_is_measured_under_the_shortest_prompt(tokenizer: ChatTokenizer) -> None:
    rows = dev_rows(tokenizer, PROMPT, [example(number) for number in range(5)], size=3)
    texts = [tokenizer.decode(row.ids) for row in rows]
    assert len(rows) == 2 and not any("helpful" in text for text in texts)
    assert all("Answer with one word." in text and "red" in text for text in texts)


def test_prompts_in_between_are_built_only_where_the_gate_would_begin_with_the_full_one() -> None:
    assert begins_shortened([0.5, 0.4, 0.55]) and begins_shortened([0.2, 0.25, 0.9])
    assert not begins_shortened([0.2, 0.5, 0.9]) and not begins_shortened([0.2])


TOKENS = {"role": 8, "law": 7, "france": 20, "colour": 9}


def test_examples_leave_first_and_protected_segments_never() -> None:
    variants = build_variants(PROMPT, TOKENS, {"role": 0.0, "france": 9.0}, 3)
    assert variants[0] == ("role", "law", "france", "colour")
    assert variants[1] == ("role", "law", "colour")
    assert variants[-1] == ("law", "colour")


def test_segments_leave_by_what_they_help_per_token() -> None:
    segments = [Segment(name, SegmentKind.INSTRUCTION, text=name) for name in "abc"]
    variants = build_variants(segments, {"a": 10, "b": 10, "c": 100}, {"a": 0.3, "b": 0.1, "c": 0.5}, 3)
    assert variants[:2] == [("a", "b", "c"), ("a", "b")] and variants[-1] == ()
    alike = build_variants(segments, dict.fromkeys("abc", 10), {"a": 0.3, "b": 0.1, "c": 0.2}, 3)
    assert alike == [("a", "b", "c"), ("a", "c"), ("a",), ()]


@given(
    kinds=st.lists(st.tuples(st.sampled_from(SegmentKind), st.booleans()), min_size=1, max_size=8),
    steps=st.integers(1, 5),
    data=st.data(),
)
def test_a_variants_is_nested_short_and_ends_with_the_protected(
    kinds: list[tuple[SegmentKind, bool]], steps: int, data: st.DataObject
) -> None:
    segments = [Segment(f"s{n}", kind, protected=segment_ids) for n, (kind, segment_ids) in enumerate(kinds)]
    tokens = {s.id: data.draw(st.integers(0, 50)) for s in segments}
    helpful = {s.id: data.draw(st.floats(-1, 1)) for s in segments if not s.protected}
    variants = build_variants(segments, tokens, helpful, steps)
    assert variants[0] == tuple(s.id for s in segments)
    assert set(variants[-1]) == {s.id for s in segments if s.protected}
    assert all(set(short) < set(long) for long, short in zip(variants, variants[1:], strict=False))
    assert len(variants) <= steps + 1


@pytest.mark.parametrize(
    ("losses", "most", "sequence"),
    [
        ([0.1, 0.3, 0.5, 0.7], 600, [0, 1, 2, 3]),
        ([1.4, 1.3, 1.2, 1.0], 600, [3]),
        ([0.6, 0.7, 0.4, 0.5], 600, [3]),
        ([0.6, 0.4, 0.7, 0.55], 600, [1, 3]),
        ([0.7, 0.5, 0.7, 0.9], 600, [1, 2, 3]),
        ([0.032, 0.032, 0.030, 0.023], 600, [3]),
        ([0.1, 0.3, 0.5, 0.7], 200, [2, 3]),
        ([0.1, 0.2, 0.3, 0.4], 0, [3]),
        ([0.1, 0.2, 0.3, 0.4], -1, [3]),
    ],
)
def test_the_gate_begins_with_the_shortest_variant_that_no_longer_one_clearly_beats_on_dev(
    losses: list[float], most: int, sequence: list[int]
) -> None:
    assert gate_sequence(losses, [600, 400, 200, 0], most) == sequence
