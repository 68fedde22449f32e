"""The gate's word: fixed sequence, reasons with numbers, and bad candidates that never pass."""

import random
import re

import pytest

from trainer.gate import Answers, RungVerdict, as_record, conclude, guards, is_looping, judge_rung
from trainer.gate import performance_index as index
from trainer.scorers import exact

N, MARGIN = 120, 0.05
APPROVED = [f"answer {number % 17}" for number in range(N)]
CLUSTERS = [f"c{number}" for number in range(N)]


def answers(texts: list[str], tokens: int = 100) -> Answers:
    scores = tuple(exact(text, right) for text, right in zip(texts, APPROVED, strict=True))
    return Answers(tuple(texts), scores, tokens)


def spoiled(count: int, text: str = "something else") -> list[str]:
    """The approved answers, the first `count` of them replaced."""
    return [text] * count + APPROVED[count:]


def judged(number: int, texts: list[str], tokens: int, reference: list[str] | None = None) -> RungVerdict:
    full = answers(reference or APPROVED)
    references = {"base_full": full, "active": full}
    return judge_rung(number, ("a",), answers(texts, tokens), references, APPROVED, CLUSTERS, MARGIN)


def test_the_shortest_rung_that_passed_in_sequence_is_promoted() -> None:
    rungs = [judged(0, APPROVED, 100), judged(1, APPROVED, 60), judged(2, spoiled(40), 10)]
    verdict = conclude(rungs, 100, True, MARGIN)
    assert verdict.promoted and verdict.chosen is rungs[1]
    assert verdict.reasons[0].startswith("Rung 1 needs 60 prompt tokens instead of 100")
    assert "Rung 2 (10 prompt tokens) failed" in verdict.reasons[1]


def test_nothing_counts_after_the_first_failure() -> None:
    rungs = [judged(0, APPROVED, 100), judged(1, spoiled(40), 60), judged(2, APPROVED, 10)]
    verdict = conclude(rungs, 100, True, MARGIN)
    assert verdict.chosen is rungs[0] and not verdict.promoted  # rung 0 saves nothing


def test_a_candidate_that_fails_at_once_is_refused_with_numbers() -> None:
    verdict = conclude([judged(0, spoiled(40), 100)], 100, True, MARGIN)
    assert not verdict.promoted and verdict.chosen is None and verdict.more_examples is None
    (reason,) = verdict.reasons
    assert reason.startswith("Rung 0 (100 prompt tokens) failed: against the base model with the full prompt")
    assert "-33.3 points" in reason and "(5 allowed)" in reason and reason.endswith(".")
    assert float(re.search(r"a loss of ([\d.]+) cannot be ruled out", reason)[1]) > 33.3  # type: ignore[index]


def test_too_few_examples_are_told_from_a_bad_candidate() -> None:
    few = 20
    full = Answers(tuple(APPROVED[:few]), (1.0,) * few, 100)
    rung = judge_rung(0, (), full, {"base_full": full}, APPROVED[:few], CLUSTERS[:few], MARGIN)
    verdict = conclude([rung], 100, True, MARGIN)
    assert not verdict.promoted and verdict.more_examples is not None and verdict.more_examples > 0
    assert f"not enough evidence, about {verdict.more_examples} more gate examples" in verdict.reasons[0]


def test_nothing_gained_is_no_promotion() -> None:
    verdict = conclude([judged(0, APPROVED, 100)], 100, True, MARGIN)
    assert not verdict.promoted and "Nothing is gained" in verdict.reasons[0] and "100" in verdict.reasons[0]


def test_better_answers_at_equal_length_are_worth_a_swap() -> None:
    verdict = conclude([judged(0, APPROVED, 100, spoiled(40))], 100, True, MARGIN)
    assert verdict.promoted and "stays at 100 tokens" in verdict.reasons[0]
    assert "better than the active ones by 33.3 points" in verdict.reasons[0]


def test_better_answers_do_not_pay_for_a_longer_prompt() -> None:
    assert not conclude([judged(0, APPROVED, 140, spoiled(40))], 100, True, MARGIN).promoted


def test_an_edited_prompt_may_be_longer_than_the_one_before() -> None:
    verdict = conclude([judged(0, APPROVED, 140)], 100, False, MARGIN)
    assert verdict.promoted
    assert "140 prompt tokens instead of 100" in verdict.reasons[0]


def test_a_rung_must_hold_against_every_reference() -> None:
    full, worse = answers(APPROVED), answers(spoiled(30))
    rung = judge_rung(
        1,
        (),
        worse,
        {"base_full": worse, "active": worse, "candidate_full": full},
        APPROVED,
        CLUSTERS,
        MARGIN,
    )
    assert [(c.reference, c.passed) for c in rung.comparisons] == [
        ("base_full", True),
        ("active", True),
        ("candidate_full", False),
    ]
    assert not rung.passed


@pytest.mark.parametrize(
    ("texts", "failing"),
    [
        (APPROVED, set()),
        (["x" * 100] * N, {"length"}),
        (["x"] * N, {"length"}),
        (spoiled(3, " "), {"empty answers"}),
        (spoiled(3, "and so on and " * 5), {"looping answers"}),
        (spoiled(2, ""), set()),
    ],
)
def test_guards_see_what_a_mean_hides(texts: list[str], failing: set[str]) -> None:
    assert {guard.name for guard in guards(texts, APPROVED) if not guard.passed} == failing


def test_a_failing_guard_refuses_with_its_detail() -> None:
    verdict = conclude([judged(0, spoiled(3, " "), 50)], 100, True, 0.5)
    assert not verdict.promoted and "3 of 120 answers are empty" in verdict.reasons[0]


def test_what_counts_as_going_in_circles() -> None:
    assert is_looping("you can do it " * 4)
    assert not is_looping("you can do it " * 3)
    assert not is_looping("The quick brown fox jumps over the lazy dog. " * 1)


def shuffled(choose: random.Random) -> list[str]:
    return choose.sample(APPROVED, N)


def one_answer_to_everything(choose: random.Random) -> list[str]:
    return [choose.choice(APPROVED)] * N


def empty(choose: random.Random) -> list[str]:
    return ["" if choose.random() < 0.9 else text for text in APPROVED]


def loops(choose: random.Random) -> list[str]:
    return ["round and round it goes " * choose.randint(4, 9)] * N


@pytest.mark.parametrize("bad", [shuffled, one_answer_to_everything, empty, loops])
def test_a_bad_candidate_is_refused_every_time(bad: object) -> None:
    for seed in range(100):
        choose = random.Random(seed)
        base = [text if choose.random() < 0.7 else "wrong" for text in APPROVED]  # a mediocre reference
        verdict = conclude([judged(0, bad(choose), 10, base)], 100, True, MARGIN)  # type: ignore[operator]
        assert not verdict.promoted, seed


def test_the_performance_index_is_silent_where_the_base_ignores_its_prompt() -> None:
    assert index(0.8, 0.8, 0.2) == pytest.approx(1.0)
    assert index(0.5, 0.8, 0.2) == pytest.approx(0.5)
    assert index(0.9, 0.5, 0.495) is None
    assert index(0.9, 0.2, 0.5) is None


def test_a_verdict_is_plain_json() -> None:
    import json

    record = as_record(judged(1, APPROVED, 60))
    assert json.loads(json.dumps(record))["passed"] is True and record["tested"] is True
