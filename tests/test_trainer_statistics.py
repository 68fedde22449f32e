"""The bound holds what its docstring claims: a loss of exactly the margin passes in at most 5 % of gates.

Exact where answers are right or wrong and separate; simulated elsewhere, on a small part of the table in
`benchmarks/results/gate_simulation.json`, with three standard errors of the simulation allowed. And better answers
never turn a pass into a refusal.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.gate_simulation import (
    EQUAL,
    LEVEL,
    LONGER,
    MARGIN,
    SEPARATE,
    WORSE,
    Conversations,
    Kind,
    critical,
    power,
    row,
    worst_exactly,
)
from trainer.evaluation.statistics import POWER, Pairs, gaffke_p_value, interval, p_value

TRIALS = 400
RESULT = json.loads(
    (Path(__file__).parent.parent / "benchmarks" / "results" / "gate_simulation.json").read_text()
)
GRADED = [kind for kind in WORSE if not kind.right_or_wrong]


def at_most(trials: int, cells: int = 1) -> float:
    """5 % and what chance adds to the largest of so many cells, once in a thousand times."""
    return float(stats.binom.isf(0.001 / cells, trials, LEVEL)) / trials


def test_right_or_wrong_answers_of_exactly_the_margin_pass_in_5_percent_at_most() -> None:
    """Exactly, whatever the share of answers that are won; every size is in the benchmark's result."""
    worst, n = worst_exactly([*range(20, 120, 7), 150, 195, 250, 389])
    assert worst <= 0.05, n
    assert RESULT["worst_exact"]["passed"] <= 0.05


@pytest.mark.parametrize("kind", GRADED[::2], ids=lambda kind: kind.name)
@pytest.mark.parametrize("n", [46, 60, 150])
def test_graded_scores_of_exactly_the_margin_pass_in_5_percent_at_most(kind: Kind, n: int) -> None:
    assert row(kind, SEPARATE, n, TRIALS, 2).gate <= at_most(TRIALS, 18)


@pytest.mark.parametrize("shape", LONGER, ids=lambda shape: shape.name)
@pytest.mark.parametrize("kind", [WORSE[0], WORSE[3], GRADED[0], GRADED[6]], ids=lambda kind: kind.name)
def test_whole_conversations_lost_together_count_once(kind: Kind, shape: Conversations) -> None:
    assert row(kind, shape, 180, TRIALS, 3).gate <= at_most(TRIALS, 12)


def test_the_result_of_the_benchmark_keeps_the_promise() -> None:
    rows = [r for r in RESULT["rows"] if r["at_margin"]]
    simulated = [r for r in rows if not r["exact"]]
    assert max(r["gate"] for r in simulated) <= at_most(RESULT["trials"], len(simulated))
    assert {r["kind"] for r in RESULT["rows"]} == {kind.name for kind in (*WORSE, *EQUAL)}


@pytest.mark.parametrize(("n", "passes"), [(58, False), (59, True)])
def test_a_flawless_candidate_needs_59_examples(n: int, passes: bool) -> None:
    """0.95 to the power of 59 is the first below 5 %: no valid test does with fewer."""
    for right_or_wrong in (True, False):
        assert Pairs([1.0] * n, [1.0] * n, range(n), right_or_wrong).rule_out(MARGIN) == passes


def test_a_few_flips_either_way_are_no_loss() -> None:
    assert power(200, 0.02, 0.02, MARGIN, LEVEL) > 0.9
    assert power(110, 0.01, 0.01, MARGIN, LEVEL) > 0.8


def test_the_p_value_is_the_sum_over_all_counts() -> None:
    """Against brute force: every count of 12, every share on a fine grid."""
    n, loss, won, lost = 12, 0.2, 3, 1
    shares = np.linspace(0.0, (1 - loss) / 2, 300)
    cells = [
        (up, down)
        for up in range(n + 1)
        for down in range(n + 1 - up)
        if p_value(up, down, n, loss) <= p_value(won, lost, n, loss)
    ]
    chances = [
        sum(
            stats.multinomial.pmf([up, down, n - up - down], n, [q, q + loss, 1 - 2 * q - loss])
            for up, down in cells
        )
        for q in shares
    ]
    assert p_value(won, lost, n, loss) == pytest.approx(max(chances), abs=0.001)


@pytest.mark.parametrize(
    ("n", "lost", "value"), [(1, 0, -0.5), (20, 2, -0.3), (68, 0, -0.05), (400, 11, -0.05)]
)
def test_gaffkes_bound_is_clopper_and_pearsons_for_losses(n: int, lost: int, value: float) -> None:
    values = np.array([-1.0] * lost + [0.0] * (n - lost))
    found = gaffke_p_value(values, np.ones(n), np.ones(n), value, 1.0, 1.0)
    assert found == pytest.approx(stats.beta.sf(-value, lost + 1, n - lost), abs=1e-6)


def test_gaffkes_bound_is_that_of_simulated_weights() -> None:
    random = np.random.default_rng(3)
    values, sizes = random.uniform(-1.0, 0.9, 15), random.integers(1, 4, 15).astype(float)
    weights = random.exponential(size=(200_000, 15))
    pseudo = random.gamma(0.5, size=200_000)
    means = (weights @ (values * sizes) - pseudo) / (weights @ sizes + pseudo)
    found = gaffke_p_value(values * sizes, sizes, np.ones(15), -0.25, 1.0, 0.5)
    assert found == pytest.approx(float(np.mean(means <= -0.25)), abs=0.005)


SCORES = st.lists(
    st.tuples(*[st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1))] * 3), min_size=3, max_size=90
)


@settings(deadline=None, max_examples=100)
@given(
    triples=SCORES, length=st.integers(1, 4), margin=st.sampled_from([0.01, 0.05, 0.2]), whole=st.booleans()
)
def test_better_answers_never_lower_the_bound(
    triples: list[tuple[float, float, float]], length: int, margin: float, whole: bool
) -> None:
    """Graded scores, or whole ones that are right or wrong; in conversations of up to four."""
    if whole:
        triples = [tuple(map(float, map(round, scores))) for scores in triples]
    worse, better = [min(a, b) for a, b, _ in triples], [max(a, b) for a, b, _ in triples]
    reference, of = [c for _, _, c in triples], [at // length for at in range(len(triples))]
    below, above = (Pairs(scores, reference, of, whole).lower_bound(margin) for scores in (worse, better))
    assert above >= below


@pytest.mark.parametrize("n", [20, 59, 68, 90, 123, 200])
def test_every_better_count_passes_where_a_worse_one_does(n: int) -> None:
    """Barnard's condition over all counts: one more won, or one fewer lost, never turns a pass into a refusal."""
    most = critical(n, MARGIN, LEVEL)
    for won in range(n):
        assert most[won + 1] >= min(most[won], n - won - 1)
    for won, lost in [(w, most[w]) for w in range(n // 3) if most[w] >= 0]:
        assert p_value(won, lost, n, MARGIN) <= LEVEL + 0.001, "the critical counts are those of the p-value"


@settings(deadline=None, max_examples=60)
@given(
    pairs=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=60),
    margin=st.floats(0.01, 0.5),
    right_or_wrong=st.booleans(),
)
def test_the_bound_says_what_the_decision_says(
    pairs: list[tuple[float, float]], margin: float, right_or_wrong: bool
) -> None:
    one, other = (
        [float(round(x)) if right_or_wrong else x for x in side] for side in zip(*pairs, strict=True)
    )
    pairs = Pairs(one, other, range(len(one)), right_or_wrong)
    lower = pairs.lower_bound(margin)
    assert (lower > -margin) == pairs.rule_out(margin)
    assert (lower > 0) == pairs.rule_out(0.0)


def test_a_conversation_counts_once_however_long_it_is() -> None:
    random = np.random.default_rng(0)
    scores = random.choice([0.0, 1.0], size=100)
    long = np.repeat(scores, 5), np.repeat(1 - scores, 5)
    separate = Pairs(scores, 1 - scores, range(100))
    repeated, naive = Pairs(*long, np.repeat(np.arange(100), 5).tolist()), Pairs(*long, range(500))
    assert repeated.error == pytest.approx(separate.error, rel=0.05)
    assert repeated.lower_bound(MARGIN) == pytest.approx(separate.lower_bound(MARGIN), abs=0.001)
    assert naive.error < 0.6 * repeated.error and naive.lower_bound(MARGIN) > repeated.lower_bound(MARGIN)


def test_the_difference_is_paired() -> None:
    random = np.random.default_rng(1)
    scores = random.random(100)
    same, mixed = Pairs(scores, scores, range(100)), Pairs(scores, random.permutation(scores), range(100))
    assert same.error == 0 and mixed.error > 0.03 and same.lower_bound(MARGIN) > mixed.lower_bound(MARGIN)


@pytest.mark.parametrize(
    ("one", "other", "right_or_wrong", "words"),
    [
        ([0.5], [1.0], True, "A score is 0.5.*0 or 1"),
        ([1.5], [1.0], False, "A score is 1.5.*between 0 and 1"),
        ([float("nan")], [1.0], False, "A score is nan"),
    ],
)
def test_scores_that_are_no_scores_are_an_error(
    one: list[float], other: list[float], right_or_wrong: bool, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Pairs(one, other, range(len(one)), right_or_wrong)


def test_an_interval_covers_the_truth() -> None:
    random = np.random.default_rng(2)
    found = [interval((random.random(60) < 0.8).astype(float), range(60)) for _ in range(1000)]
    assert np.mean([i.low <= 0.8 <= i.high for i in found]) > 0.93
    assert all(0 <= i.low <= i.mean <= i.high <= 1 for i in found)
    assert interval([1.0] * 20, range(20)).low < 0.95, "perfect scores still admit doubt"


def test_a_gate_of_one_example_gives_numbers() -> None:
    for right_or_wrong in (True, False):
        assert np.isfinite(Pairs([1.0], [0.0], ["a"], right_or_wrong).lower_bound(MARGIN))
    assert np.isfinite(interval([1.0], ["a"]).low)


def drawn_pairs(random: np.random.Generator, n: int, kind: str) -> Pairs:
    if kind == "graded":
        return Pairs(np.clip(0.5 + random.normal(0, 0.2, n), 0, 1), [0.5] * n, range(n))
    length = 3 if kind == "conversations" else 1
    d = random.choice([-1.0, 1.0, 0.0], size=n, p=[0.03, 0.03, 0.94])
    return Pairs(np.maximum(d, 0), np.maximum(-d, 0), [at // length for at in range(n)], True)


@pytest.mark.parametrize("kind", ["separate", "conversations", "graded"])
def test_with_that_many_more_most_gates_of_an_equal_candidate_pass(kind: str) -> None:
    """Gates that failed for want of evidence, each asked again with as many more as it said.

    About 80 % on the whole: a gate that failed saw the candidate worse than it is, but few of its differences.
    """
    random, passed = np.random.default_rng(4), []
    while len(passed) < 30:
        n = 45
        first = drawn_pairs(random, n, kind)
        more = None if first.rule_out(MARGIN) else first.more_needed(MARGIN)
        if more is not None:
            passed.append(drawn_pairs(random, n + more, kind).rule_out(MARGIN))
    assert np.mean(passed) > POWER - 0.2


def test_none_seen_in_twenty_is_not_none_at_all() -> None:
    same = Pairs([1.0] * 20, [1.0] * 20, range(20), True)
    more = same.more_needed(MARGIN)
    assert more is not None and 39 < more < 200


@pytest.mark.parametrize("right_or_wrong", [True, False])
def test_more_examples_do_not_help_what_is_worse_than_the_margin(right_or_wrong: bool) -> None:
    assert Pairs([0.0] * 30, [1.0] * 30, range(30), right_or_wrong).more_needed(MARGIN) is None
    barely = Pairs([0.0] * 5 + [1.0] * 95, [1.0] * 100, range(100), right_or_wrong)
    assert barely.more_needed(MARGIN) is None
