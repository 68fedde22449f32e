"""Bad training sets, forty seeded variations of each: none is promoted, and the reason names the fault.

What the trained model would answer is made up (a model trained on shuffled answers gives other questions' answers) and
goes through the real scorers, guards and `Gate`.
"""

import random
from collections.abc import Callable
from functools import cache

import pytest

from benchmarks.gate_simulation import walk_looks
from store.records import Variant
from trainer.evaluation.gate import Answers, Gate, Verdict
from trainer.evaluation.scorers import right_or_wrong, scorer

SEEDS = range(40)
MARGIN = 0.05
LABELS = [
    f"{verb}_{noun}"
    for verb in ("lost", "new", "late", "broken")
    for noun in ("card", "transfer", "refund", "pin")
]
DISHES = ("herring", "crab soup", "mussels", "fish pie", "oysters", "prawns", "eel", "flounder")
PLACES = ("the north pier", "the old harbour", "the lighthouse", "the fish market", "the ferry landing")
GERMAN = {
    "We serve": "Bei uns gibt es",
    "at": "an der Adresse",
    "every day until": "an allen Tagen, und zwar bis",
    "o'clock.": "Uhr abends.",
}


def sentence(choose: random.Random) -> str:
    what, where = choose.choice(DISHES), choose.choice(PLACES)
    return f"We serve {what} at {where} every day until {choose.randint(5, 11)} o'clock."


def label(choose: random.Random) -> str:
    return choose.choice(LABELS)


def shuffled(right: list[str], choose: random.Random) -> list[str]:
    """A model trained on answers that belong to other questions: what it says is seldom the right one."""
    return choose.sample(right, len(right))


def one_answer(right: list[str], choose: random.Random) -> list[str]:
    """A model trained on one class: everything is answered alike, but for a slip now and then."""
    always = choose.choice(right)
    return [always if choose.random() < 0.97 else text for text in right]


def loops(right: list[str], choose: random.Random) -> list[str]:
    """A model trained on answers that go in circles."""
    return [" ".join([*text.split()[: choose.randint(1, 6)]] * 8) for text in right]


def wrong_language(right: list[str], choose: random.Random) -> list[str]:
    """A model trained on German answers, where people approve English ones."""
    answers = []
    for text in right:
        for english, german in GERMAN.items():
            text = text.replace(english, german)
        answers.append(text if choose.random() < 0.98 else "Das weiß ich leider nicht.")
    return answers


def empty(right: list[str], choose: random.Random) -> list[str]:
    return ["" if choose.random() < 0.8 else text for text in right]


def garbage(right: list[str], choose: random.Random) -> list[str]:
    """A model whose weights are noise."""
    return ["".join(choose.choices("abcdefgh ,.xyz\ufffd", k=max(4, len(text)))) for text in right]


Bad = Callable[[list[str], random.Random], list[str]]
LIKE_APPROVED = "the base model answers well"
USELESS = "the base model is never right"


@cache
def scored(task: str, text: str, right: str) -> float:
    return scorer(task)(text, right)


def refused(bad: Bad, task: str, base: str, seed: int) -> Verdict:
    """The gate's word on one variation: its size, its questions and the base model's answers are drawn."""
    choose = random.Random(seed)
    right = [(label if task == "exact" else sentence)(choose) for _ in range(choose.randint(60, 75))]

    def answered(texts: list[str], tokens: int) -> Answers:
        scores = (scored(task, text, expected) for text, expected in zip(texts, right, strict=True))
        return Answers(tuple(texts), tuple(scores), tokens)

    if base == USELESS:
        served = ["I am sorry, I cannot help with that."] * len(right)
    else:
        served = [text if choose.random() < 0.8 else right[0] for text in right]
    full = answered(served, 600)
    clusters = [f"c{number}" for number in range(len(right))]
    gate = Gate(right, clusters, MARGIN, right_or_wrong(task))
    references, variants = {"base_full": full, "active": full}, []
    for number, tokens in enumerate((600, 150, 0)):
        found = answered(bad(right, choose), tokens)
        variants.append(walk_looks(gate, number, Variant(()), found, references))
        if not variants[-1].passed:
            break
    return gate.decide(variants, 600, 600, True)


@pytest.mark.parametrize(
    ("bad", "tasks", "words"),
    [
        (shuffled, ("exact", "chrf"), "approved answers may be mixed up"),
        (one_answer, ("exact", "chrf"), "one answer to everything: "),
        (loops, ("exact", "chrf"), "answers repeat themselves"),
        (empty, ("exact", "chrf"), "answers are empty"),
        (garbage, ("exact", "chrf"), "nothing was learned"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_bad_set_is_refused_every_time_with_its_name(bad: Bad, tasks: tuple[str, ...], words: str) -> None:
    """Whether the base model answers well or is never right, in turn: beside a useless one nothing looks worse."""
    for seed in SEEDS:
        verdict = refused(bad, tasks[seed // 2 % len(tasks)], (LIKE_APPROVED, USELESS)[seed % 2], seed)
        assert not verdict.promoted, (seed, verdict.reasons)
        assert words in verdict.reasons[0], (seed, verdict.reasons)


def test_the_wrong_language_is_refused_every_time_with_the_points_that_it_costs() -> None:
    for seed in SEEDS:
        verdict = refused(wrong_language, "chrf", LIKE_APPROVED, seed)
        assert not verdict.promoted, seed
        assert "against the base model with the full prompt it scores -" in verdict.reasons[0], seed


@pytest.mark.parametrize("task", ["exact", "chrf"])
def test_a_good_set_is_promoted(task: str) -> None:
    """The same scene with a model that learned its answers: the refusals above are not the scene's doing."""
    for seed in range(10):
        assert refused(lambda right, _: right, task, (LIKE_APPROVED, USELESS)[seed % 2], seed).promoted, seed
