"""The gate's word: fixed sequence, reasons with numbers, and bad candidates that never pass."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.gate_simulation import RESULT, TRUTHS, Truth, promotes_worse, walk_looks
from store.records import Variant
from trainer.evaluation.gate import Answers, Gate, VariantVerdict, Verdict
from trainer.evaluation.guards import QUESTIONS, check_general_answers, check_texts, is_broken
from trainer.evaluation.scorers import exact

N, MARGIN = 120, 0.05
APPROVED = [f"answer {number % 17}" for number in range(N)]
CLUSTERS = [f"c{number}" for number in range(N)]
GATE = Gate(APPROVED, CLUSTERS, MARGIN, right_or_wrong=True)
GRADED = Gate(APPROVED, CLUSTERS, MARGIN)


def answers(texts: list[str], tokens: int = 100) -> Answers:
    scores = tuple(exact(text, right) for text, right in zip(texts, APPROVED, strict=True))
    return Answers(tuple(texts), scores, tokens)


def spoiled(count: int, text: str = "something else") -> list[str]:
    """The approved answers, the first `count` of them replaced."""
    return [text] * count + APPROVED[count:]


def judged(number: int, texts: list[str], tokens: int, reference: list[str] | None = None) -> VariantVerdict:
    full = answers(reference or APPROVED)
    return walk_looks(
        GATE, number, Variant(("a",)), answers(texts, tokens), {"base_full": full, "active": full}
    )


def decide(*variants: VariantVerdict, same_prompt: bool = True) -> Verdict:
    """100 tokens are served now."""
    return GATE.decide(variants, 100, 100, same_prompt)


def test_the_shortest_variant_that_passed_in_sequence_is_promoted() -> None:
    variants = [judged(0, APPROVED, 100), judged(1, APPROVED, 60), judged(2, spoiled(40), 10)]
    verdict = decide(*variants)
    assert verdict.promoted and verdict.variant is variants[1]
    assert verdict.reasons[0].startswith("A prompt of 60 tokens instead of 100 is")
    assert "The prompt of 10 tokens failed" in verdict.reasons[1]


def test_nothing_counts_after_the_first_failure() -> None:
    variants = [judged(0, APPROVED, 100), judged(1, spoiled(40), 60), judged(2, APPROVED, 10)]
    verdict = decide(*variants)
    assert verdict.variant is variants[0] and not verdict.promoted  # variant 0 saves nothing


def test_a_candidate_that_fails_at_once_is_refused_with_numbers() -> None:
    verdict = decide(judged(0, spoiled(40), 100))
    assert not verdict.promoted and not verdict.variant.passed and verdict.more_examples is None
    (reason,) = verdict.reasons
    assert reason.startswith("The prompt of 100 tokens failed: against the base model with the full prompt")
    assert "-33.3 points" in reason and "(5 allowed)" in reason and reason.endswith(".")
    assert float(re.search(r"a loss of ([\d.]+) cannot be ruled out", reason)[1]) > 33.3


def test_too_few_examples_are_not_a_bad_candidate() -> None:
    few = 20
    full = Answers(tuple(APPROVED[:few]), (1.0,) * few, 100)
    gate = Gate(APPROVED[:few], CLUSTERS[:few], MARGIN)
    verdict = gate.decide([walk_looks(gate, 0, Variant(()), full, {"base_full": full})], 100, 100, True)
    assert not verdict.promoted and verdict.more_examples is not None and verdict.more_examples > 0
    assert f"not enough evidence, about {verdict.more_examples} more gate examples" in verdict.reasons[0]


def test_only_better_answers_are_worth_a_swap_at_equal_length() -> None:
    verdict = decide(judged(0, APPROVED, 100))
    assert not verdict.promoted and "Nothing is gained" in verdict.reasons[0] and "100" in verdict.reasons[0]
    verdict = decide(judged(0, APPROVED, 102, spoiled(40)))
    assert verdict.promoted and "stays at about 100 tokens" in verdict.reasons[0]
    assert not decide(judged(0, APPROVED, 103, spoiled(40))).promoted, "it is longer"
    assert not decide(judged(0, APPROVED, 100, spoiled(5))).promoted, "4.2 points are less than the margin"
    assert decide(judged(0, APPROVED, 100, spoiled(6))).promoted
    assert "better than the active ones by 33.3 points" in verdict.reasons[0]


def test_what_the_margin_may_cost_is_worth_a_real_cut_alone() -> None:
    assert not decide(judged(0, APPROVED, 96)).promoted and decide(judged(0, APPROVED, 95)).promoted
    assert decide(judged(0, APPROVED, 96, spoiled(6))).promoted, "it is better as well"


def test_an_edited_prompt_may_be_longer_than_the_one_before() -> None:
    verdict = decide(judged(0, APPROVED, 140), same_prompt=False)
    assert verdict.promoted
    assert "A prompt of 140 tokens instead of 100" in verdict.reasons[0]


def test_a_variant_must_hold_against_every_reference() -> None:
    good, worse = answers(APPROVED), answers(spoiled(30))
    variant = walk_looks(GRADED, 1, Variant(()), worse, {"base_full": worse, "active": good})
    assert [(c.reference, c.passed) for c in variant.comparisons] == [("base_full", True), ("active", False)]
    assert not variant.passed


@pytest.mark.parametrize(
    ("texts", "failing"),
    [
        (APPROVED, set()),
        (["x" * 100] * N, {"length", "one answer to everything"}),
        (["x"] * N, {"length", "one answer to everything"}),
        (spoiled(N // 2), set()),
        (spoiled(N - 10), {"one answer to everything"}),
        ([f"answer {number}" for number in range(N)], set()),
        (spoiled(3, " "), {"empty answers"}),
        (spoiled(3, "and so on and " * 5), {"looping answers"}),
        (spoiled(2, ""), set()),
    ],
)
def test_guards_see_what_a_mean_hides(texts: list[str], failing: set[str]) -> None:
    assert {guard.name for guard in check_texts(texts, APPROVED) if not guard.passed} == failing


def test_what_loops_no_oftener_than_what_people_get_now_is_no_worse() -> None:
    looping = "and so on and " * 5

    def fails(now: int) -> bool:
        guards = check_texts(spoiled(6, looping), APPROVED, spoiled(now, looping))
        return any(not guard.passed for guard in guards)

    assert not fails(6) and not fails(9) and fails(5) and fails(0)
    base, active = answers(spoiled(9, looping)), answers(APPROVED)
    references = {"base_full": base, "active": active}
    found = walk_looks(GRADED, 1, Variant(()), answers(spoiled(6, looping)), references)
    assert [guard.name for guard in found.guards if not guard.passed] == ["looping answers"]


def test_a_failing_guard_refuses_with_its_detail() -> None:
    verdict = decide(judged(0, spoiled(3, " "), 50))
    assert not verdict.promoted and "3 of 120 answers are empty" in verdict.reasons[0]
    alike = ["yes"] * 90 + ["no"] * 10
    assert all(guard.passed for guard in check_texts(["yes"] * 100, alike)), "the approved ones are alike"


def test_two_useless_things_are_no_worse_than_each_other_and_that_is_not_enough() -> None:
    """A base model that is never right, and a candidate whose answers belong to other questions."""
    mixed = APPROVED[5:] + APPROVED[:5]
    variant = judged(1, mixed, 10, ["no idea"] * N)
    assert all(item.passed for item in variant.comparisons) and not variant.passed
    reason = decide(variant).reasons[0]
    assert "answers that belong" in reason and "approved answers may be mixed up" in reason


def test_answers_that_a_judge_accepts_need_not_share_a_word_with_the_approved_ones() -> None:
    mixed = tuple(APPROVED[5:] + APPROVED[:5])
    accepted = Answers(mixed, (0.9,) * N, 10)
    assert walk_looks(GRADED, 1, Variant(()), accepted, {"base_full": accepted}).passed


BASE_GENERALLY = [f"Well, {question}" for question in QUESTIONS]


@pytest.mark.parametrize(
    ("answers", "passes"),
    [
        (BASE_GENERALLY, True),
        (["card_arrival"] * len(QUESTIONS), True),
        ([""] * 3 + BASE_GENERALLY[3:], True),
        ([""] * 4 + BASE_GENERALLY[4:], False),
        (["no no no no no no no no"] * len(QUESTIONS), False),
        (["\ufffd\ufffd?"] * len(QUESTIONS), False),
    ],
)
def test_broken_text_to_general_questions_refuses_and_drift_is_reported(
    answers: list[str], passes: bool
) -> None:
    guard = check_general_answers(BASE_GENERALLY, answers, ["card_arrival"])
    assert guard.passed == passes
    taken = sum(answer == "card_arrival" for answer in answers)
    assert f"{taken} are approved answers to other questions (base: 0)" in guard.detail
    assert ("100 % like the base model's" in guard.detail) == (answers == BASE_GENERALLY)
    assert check_general_answers(answers, answers, []).passed, "the base model stumbles itself"


def test_what_counts_as_broken() -> None:
    assert all(map(is_broken, ["", "  \n", "...", "a b c d " * 4]))
    assert not any(map(is_broken, ["4", "四", "Bonjour \ufffd", "a b c d " * 3]))


@settings(deadline=None, max_examples=15)
@given(
    data=st.data(), n=st.integers(5, 40), tokens=st.permutations([100, 60, 60, 10]), same_prompt=st.booleans()
)
def test_a_better_candidate_is_never_refused_where_a_worse_one_is_promoted(
    data: st.DataObject, n: int, tokens: list[int], same_prompt: bool
) -> None:
    """Better at any variants, against the same references: the verdict can only get better, and the prompt shorter."""
    score = st.sampled_from([0.0, 0.3, 0.9, 1.0])
    rows = st.lists(score, min_size=n, max_size=n).map(tuple)
    base, active = data.draw(rows), data.draw(rows)
    gate = Gate(tuple(map(str, range(n))), CLUSTERS[:n], 0.3)
    variants: dict[str, list[VariantVerdict]] = {"worse": [], "better": []}
    for number, cost in enumerate(sorted(tokens, reverse=True)):
        one, other = data.draw(rows), data.draw(rows)
        for name, take in (("worse", min), ("better", max)):
            texts = tuple(map(str, range(n)))
            found = Answers(texts, tuple(map(take, one, other)), cost)
            references = {"base_full": Answers(texts, base, 100), "active": Answers(texts, active, 60)}
            variants[name].append(walk_looks(gate, number, Variant(()), found, references))
    for worse, better in zip(variants["worse"], variants["better"], strict=True):
        assert better.passed or not worse.passed
    verdicts = {name: gate.decide(found, 60, 60, same_prompt) for name, found in variants.items()}
    if verdicts["worse"].promoted:
        assert verdicts["better"].promoted
        better, worse = verdicts["better"].variant, verdicts["worse"].variant
        assert better.prompt_tokens <= worse.prompt_tokens


@pytest.mark.parametrize("truth", [TRUTHS[1], TRUTHS[2]], ids=lambda truth: truth.name)
def test_the_whole_gate_rarely_promotes_a_variant_that_is_worse_by_the_margin(truth: Truth) -> None:
    """Three shorter variants, two references, stopping at the first failure; no correction for several tests
    needed."""
    assert promotes_worse(truth, 15, 1) <= 3 / 15  # more come once in 180 at 5 %, and this is seeded


def test_the_whole_gates_of_the_benchmark_keep_the_promise() -> None:
    whole = json.loads(RESULT.read_text())["whole_gates"]
    limit = stats.binom.isf(0.001, whole["gates"], 0.05) / whole["gates"]
    assert set(whole["promoted_worse"]) == {truth.name for truth in TRUTHS}
    assert max(whole["promoted_worse"].values()) <= limit


def test_a_verdict_is_plain_json() -> None:
    record = judged(1, APPROVED, 60).as_record()
    assert json.loads(json.dumps(record))["passed"] is True and record["tested"] is True
