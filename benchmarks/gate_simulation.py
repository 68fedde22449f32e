"""Simulated gates: how often what is worse by the margin passes, and how often what is as good does.

The result has one row for each kind of difference, number of examples and length of conversations, with the share of
gates that pass, and the share of whole gates (three shorter variants, two references) that promote a variant which is
truly worse. Right-or-wrong scores of separate examples are computed exactly. Nothing is generated or scored.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from scipy import stats

from benchmarks.record import write_result
from store.records import Variant
from trainer.evaluation.gate import LOOKS, Answers, Gate, VariantVerdict
from trainer.evaluation.statistics import ALLOWANCE, Pairs, chance, largest_chance, most_lost

MARGIN, LEVEL = 0.05, 0.05
RESULT = Path("benchmarks/results/gate_simulation.json")
EXACTLY = (20, 30, 46, 60, 68, 90, 110, 150, 200, 300, 400)
SIZES, CLUSTERED = (30, 46, 60, 90, 150, 200), (60, 180)
WHOLE_GATE_EXAMPLES = 100


def walk_looks(
    gate: Gate, number: int, sent: Variant, answers: Answers, references: Mapping[str, Answers]
) -> VariantVerdict:
    """What the gate says of a variant of which all answers are there, look after look until it is settled."""
    for look in gate.looks():
        found = gate.look(number, sent, answers, references, look)
        if found.is_settled:
            break
    return found


Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """Differences as one kind of candidate makes them; the mean of those at the margin is exactly -MARGIN."""

    name: str
    right_or_wrong: bool
    at_margin: bool
    draw: Draw
    shares: tuple[float, float] = (0.0, 0.0)  # won and lost, where answers are right or wrong


@dataclass(frozen=True)
class Row:
    """`gate` is the share of gates that pass."""

    kind: str
    right_or_wrong: bool
    at_margin: bool
    conversation: str
    examples: int
    gate: float
    exact: bool


def proportions(won: float, lost: float, at_margin: bool) -> Kind:
    def draw(random: np.random.Generator, n: int) -> np.ndarray:
        return random.choice([-1.0, 1.0, 0.0], size=n, p=[lost, won, 1 - won - lost])

    return Kind(f"{won:.1%} won, {lost:.1%} lost", True, at_margin, draw, (won, lost))


def _some(share: float, what: Callable[[np.random.Generator, int], np.ndarray]) -> Draw:
    return lambda random, n: np.where(random.random(n) < share, what(random, n), 0.0)


def _sum(*parts: Draw) -> Draw:
    return lambda random, n: np.clip(sum((part(random, n) for part in parts), np.zeros(n)), -1.0, 1.0)


def _noise(scatter: float, mean: float = 0.0) -> Draw:
    return lambda random, n: random.normal(mean, scatter, n)


def _constant(value: float) -> Draw:
    return lambda random, n: np.full(n, value)


def _between(low: float, high: float) -> Draw:
    return lambda random, n: random.uniform(low, high, n)


def _either(share: float, one: Draw, other: Draw) -> Draw:
    return lambda random, n: np.where(random.random(n) < share, one(random, n), other(random, n))


_GRADED_WORSE: dict[str, Draw] = {
    "5 % lost wholly, the rest equal": _some(0.05, _constant(-1.0)),
    "5.6 % lost by 80-100 points": _some(MARGIN / 0.9, _between(-1.0, -0.8)),
    "10.2 % lost by 49 points": _some(MARGIN / 0.49, _constant(-0.49)),
    "20 % lost by 25 points": _some(0.2, _constant(-0.25)),
    "scatter 5, 5 % lost wholly": _sum(_noise(0.05), _some(0.05, _constant(-1.0))),
    "scatter 8, 5.9 % lost by 85": _sum(_noise(0.08), _some(MARGIN / 0.85, _constant(-0.85))),
    "scatter 8, 10 % lost by about 50": _sum(
        _noise(0.08), _some(0.1, lambda random, n: -random.beta(4, 4, n))
    ),
    "all lose 2 (scatter 5), 4 % lose 75": _sum(_noise(0.05, -0.02), _some(0.04, _constant(-0.75))),
    "half differ, by -10 (scatter 20)": _some(0.5, _noise(0.2, -0.1)),
    "all lose 5 (scatter 10)": _noise(0.1, -MARGIN),
    "15 % lost, 6.7 % won by 30-90": _sum(
        _some(0.15, _between(-0.9, -0.3)), _some(0.04 / 0.6, _between(0.3, 0.9))
    ),
    "a third lose 40 (scatter 15), the rest win 12.5 (13)": _either(
        1 / 3, _noise(0.15, -0.4), _noise(0.13, 0.125)
    ),
    "all win 5 (scatter 5), 9.5 % lost wholly": _either(0.1 / 1.05, _constant(-1.0), _noise(0.05, MARGIN)),
}
_GRADED_EQUAL: dict[str, Draw] = {
    "equal": _constant(0.0),
    "scatter 8": _noise(0.08),
    "scatter 20": _noise(0.2),
    "half differ (scatter 25)": _some(0.5, _noise(0.25)),
    "2 % won, 2 % lost by 30-90": _sum(_some(0.02, _between(-0.9, -0.3)), _some(0.02, _between(0.3, 0.9))),
    "a quarter lose 36 (scatter 15), the rest win 12 (13)": _either(
        0.25, _noise(0.15, -0.36), _noise(0.13, 0.12)
    ),
}
WORSE = [
    *(proportions(won, won + MARGIN, True) for won in (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)),
    *(Kind(name, False, True, draw) for name, draw in _GRADED_WORSE.items()),
]
EQUAL = [
    *(proportions(share / 2, share / 2, False) for share in (0.0, 0.02, 0.04, 0.08, 0.15)),
    *(Kind(name, False, False, draw) for name, draw in _GRADED_EQUAL.items()),
]


@dataclass(frozen=True)
class Conversations:
    """How examples lie in conversations; `alike`: those of one conversation share their fate."""

    name: str
    mean_size: float
    alike: bool


SEPARATE = Conversations("one example each", 1, False)
LONGER = (
    Conversations("3 examples each, independent", 3, False),
    Conversations("3 examples each, alike", 3, True),
    Conversations("1 to 12 examples, alike", -3, True),
)


def clusters(shape: Conversations, n: int, random: np.random.Generator) -> list[int]:
    """The conversation of each of about n examples; sizes are geometric where the mean is negative."""
    if shape.mean_size > 0:
        return [at // int(shape.mean_size) for at in range(n)]
    sizes: list[int] = []
    while sum(sizes) < n:
        sizes.append(min(12, int(random.geometric(1 / -shape.mean_size))))
    return [number for number, size in enumerate(sizes) for _ in range(size)]


def sample(
    kind: Kind, shape: Conversations, n: int, random: np.random.Generator
) -> tuple[list[float], list[float], list[int]]:
    """Scores of candidate and reference with the wanted differences, and conversations."""
    of = clusters(shape, n, random)
    drawn = kind.draw(random, of[-1] + 1 if shape.alike else len(of))
    differences = drawn[of] if shape.alike else drawn
    candidate, reference = np.clip(differences, 0.0, 1.0), np.clip(-differences, 0.0, 1.0)
    return candidate.tolist(), reference.tolist(), of


def row(kind: Kind, shape: Conversations, n: int, trials: int, seed: int) -> Row:
    """One cell of the table; seeded by its own name, so that each can be repeated alone."""
    exact = kind.right_or_wrong and shape == SEPARATE
    if exact:
        passed = power(n, *kind.shares, MARGIN, LEVEL)
    else:
        name = f"{kind.name}|{shape.name}|{n}|{kind.at_margin}"
        random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        pairs = (Pairs(*sample(kind, shape, n, random), kind.right_or_wrong) for _ in range(trials))
        passed = float(np.mean([one.rule_out(MARGIN) for one in pairs]))
    return Row(kind.name, kind.right_or_wrong, kind.at_margin, shape.name, n, round(passed, 4), exact)


def cells() -> Iterator[tuple[Kind, Conversations, int]]:
    for kind in (*WORSE, *EQUAL):
        for n in EXACTLY if kind.right_or_wrong else SIZES:
            yield kind, SEPARATE, n
    for right_or_wrong in (True, False):
        for kind in [kind for kind in WORSE if kind.right_or_wrong is right_or_wrong][::2]:
            for shape in LONGER:
                for n in CLUSTERED:
                    yield kind, shape, n


@lru_cache(maxsize=256)
def critical(n: int, loss: float, level: float) -> tuple[int, ...]:
    """For each number of won answers, the most that may be lost to rule the loss out; -1 when none may."""

    def holds(threshold: float) -> bool:
        return largest_chance(most_lost(threshold, n, loss), n, loss) + ALLOWANCE <= level

    low, high = 0.0, float(n)  # no count reaches a score of n
    while high - low > 0.0005:
        threshold = (low + high) / 2
        low, high = (low, threshold) if holds(threshold) else (threshold, high)
    return tuple(int(m) for m in most_lost(high, n, loss))


def power(n: int, won: float, lost: float, loss: float, level: float) -> float:
    """Chance that n answers rule the loss out, when the true shares won and lost are these."""
    return float(chance(np.array(critical(n, loss, level)), n, np.array([won]), np.array([lost]))[0])


def worst_exactly(sizes: Iterable[int] = range(20, 401)) -> tuple[float, int]:
    """The largest chance that right-or-wrong answers of exactly the margin pass, over 400 shares won; and n."""
    won = np.linspace(0.0, 1.0, 400) ** 3 * (1 - MARGIN) / 2
    found = []
    for n in sizes:
        most = np.array(critical(n, MARGIN, LEVEL))
        counts = np.flatnonzero(most >= 0)
        wins = stats.binom.pmf(counts, n, won[:, None])
        rest = np.minimum(1.0, (won + MARGIN) / (1 - won))
        losses = stats.binom.cdf(most[counts], n - counts, rest[:, None])
        found.append((float((wins * losses).sum(1).max()), n))
    return max(found)


@dataclass(frozen=True)
class Truth:
    """The share of answers that each variant gets right, the full prompt first, and which is the first bad one."""

    name: str
    right: tuple[float, ...]
    bad_from: int
    graded: bool


# A right answer scores 0.6 more than a wrong one where scores are graded, so that 8.3 % fewer are a loss of 5 points.
TRUTHS = [
    Truth("worse from variant 1", (0.97, 0.92, 0.92, 0.92), 1, False),
    Truth("worse at variant 2", (0.97, 0.97, 0.92, 0.90), 2, False),
    Truth("worse from variant 1, graded", (0.97, 0.97 - MARGIN / 0.6, 0.85, 0.80), 1, True),
    Truth("worse at variant 3, graded", (0.97, 0.97, 0.97, 0.97 - MARGIN / 0.6), 3, True),
]


def promotes_worse(truth: Truth, gates: int, seed: int) -> float:
    """The share of gates that promote a variant which is truly worse by the margin or more."""
    random = np.random.default_rng(seed)
    return sum(_promoted_variant(truth, random) >= truth.bad_from for _ in range(gates)) / gates


def _promoted_variant(truth: Truth, random: np.random.Generator) -> int:
    """The variant that one gate promotes; -1 when it promotes none."""
    texts = tuple(f"answer {number}" for number in range(WHOLE_GATE_EXAMPLES))
    easy = random.random(WHOLE_GATE_EXAMPLES)

    def answers(right: float, tokens: int) -> Answers:
        own = np.where(random.random(WHOLE_GATE_EXAMPLES) < 0.85, easy, random.random(WHOLE_GATE_EXAMPLES))
        scores = (own < right).astype(float)
        if truth.graded:
            scores = 0.2 + 0.6 * scores + 0.2 * random.random(WHOLE_GATE_EXAMPLES)
        return Answers(texts, tuple(scores.tolist()), tokens)

    references = {name: answers(truth.right[0], 100) for name in ("base_full", "active")}
    gate, variants = Gate(texts, texts, MARGIN, not truth.graded), list[VariantVerdict]()
    for number, right in enumerate(truth.right):
        found = answers(right, 100 - 10 * number)
        variants.append(walk_looks(gate, number, Variant(()), found, references))
        if not variants[-1].passed:
            break
    verdict = gate.decide(variants, 100, 100, True)
    return verdict.variant.variant if verdict.promoted else -1


@dataclass(frozen=True)
class LookRow:
    """Gates with few rated and many unrated questions: the share that pass, and how many questions people judge (mean,
    and of those that pass).
    """

    won: float
    lost: float
    rated: int
    unrated: int
    passed: float
    judged: float
    judged_where_passed: float | None


LOOKED_AT = [(won, won + MARGIN) for won in (0.0, 0.01, 0.05, 0.2)]
LOOKED_AT += [(0.01, 0.01), (0.02, 0.02), (0.05, 0.05), (0.1, 0.05), (0.3, 0.2), (0.35, 0.02)]
FEW_RATED = ((11, 180), (11, 250), (40, 250))


@cache
def _tested(won: int, lost: int, n: int, unrated: int, level: float) -> tuple[bool, bool]:
    """Whether these counts pass a look, and whether they end it."""
    one = [1.0] * won + [0.0] * (n - won)
    pairs = Pairs(one, [0.0] * won + [1.0] * lost + [0.0] * (n - won - lost), range(n), True)
    passed = pairs.rule_out(MARGIN, 1 - level)
    return passed, passed or (unrated > LOOKS[0][0] and pairs.more_needed(MARGIN, 1 - level) is None)


def look_row(won: float, lost: float, rated: int, unrated: int, trials: int, seed: int) -> LookRow:
    """Every question on which two answers differ, and that nobody rated, is judged as soon as a look takes it."""
    random = np.random.default_rng([seed, rated, unrated, round(1e6 * won), round(1e6 * lost)])
    names = [str(number) for number in range(rated + unrated)]
    looks = Gate(names, names, MARGIN, True, unrated=unrated).looks()
    passed, judged = np.zeros(trials, bool), np.zeros(trials)
    for trial in range(trials):
        drawn = random.choice([1, -1, 0], size=rated + unrated, p=[won, lost, 1 - won - lost])
        for taken, level in looks:
            seen = drawn[: rated + taken]
            counts = int((seen == 1).sum()), int((seen == -1).sum())
            passed[trial], ends = _tested(*counts, len(seen), taken, level)
            judged[trial] = np.count_nonzero(drawn[rated : rated + taken])
            if ends:
                break
    of_passed = float(judged[passed].mean()) if passed.any() else None
    return LookRow(won, lost, rated, unrated, float(passed.mean()), float(judged.mean()), of_passed)


def main(
    trials: Annotated[int, typer.Option(min=10, help="Simulated gates a cell.")] = 1000,
    seed: Annotated[int, typer.Option(help="Every cell is seeded by this and its name.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
) -> None:
    """Simulate gates of known truth. 1,000 a cell take about ten minutes of one core.

    Example: python -m benchmarks.gate_simulation --trials 100 --out /tmp/gates.json
    """
    console = Console(stderr=True)
    rows = [
        row(kind, shape, n, trials, seed)
        for kind, shape, n in track(list(cells()), description="Gates", console=console)
    ]
    exactly, at = worst_exactly(track(range(20, 401), description="Exact", console=console))
    with console.status("Whole gates ..."):
        whole = {truth.name: promotes_worse(truth, trials // 5, seed) for truth in TRUTHS}
    with console.status("Looks ..."):
        looks = [look_row(*shares, *few, trials, seed) for few in FEW_RATED for shares in LOOKED_AT]
    worst = max((r for r in rows if r.at_margin and not r.exact), key=lambda r: r.gate)
    result = {
        "margin": MARGIN,
        "level": LEVEL,
        "trials": trials,
        "worst_exact": {"passed": round(exactly, 5), "examples": at},
        "worst_simulated": asdict(worst),
        "whole_gates": {"gates": trials // 5, "promoted_worse": whole},
        "looks": [asdict(r) for r in looks],
        "rows": [asdict(r) for r in rows],
    }
    write_result(out, "gate_simulation", seed, result)
    console.print(
        f"At a loss of exactly the margin at most {exactly:.2%} pass (right or wrong, exact, {at} examples) and "
        f"{worst.gate:.2%} in simulation ({worst.kind}, {worst.conversation}, {worst.examples}). Written to {out}."
    )


if __name__ == "__main__":
    typer.run(main)
