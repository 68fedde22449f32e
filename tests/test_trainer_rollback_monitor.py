"""When a swap is taken back: what people say and what answers look like, and that no one person decides."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.records import MessageStatus, Rating, ServedAnswer, Verdict
from trainer.deployment.rollback_monitor import BOUND, find_regression

APPROVED = ["It opens at nine in the morning."] * 30


def answers(
    verdicts: Iterable[bool], rater: Callable[[int], str] = lambda n: f"p{n % 5}", first: int = 0
) -> list[ServedAnswer]:
    """One rated answer each; True is rated down."""
    made = []
    for n, down in enumerate(verdicts, start=first):
        verdict = Verdict.DOWN if down else Verdict.UP
        rating = Rating(f"r{n:04}", f"m{n}", rater(n), verdict, float(n), "", "", None)
        made.append(
            ServedAnswer(
                f"m{n}", f"c{n}", rater(n), MessageStatus.COMPLETE, "It opens at nine.", float(n), (rating,)
            )
        )
    return made


def some(bad: int, count: int) -> list[bool]:
    return [n * bad // count != (n + 1) * bad // count for n in range(count)]


BEFORE = answers(some(10, 100))


def test_people_who_like_it_less_take_it_back() -> None:
    found = find_regression(BEFORE, answers(some(30, 40)), APPROVED)
    assert found == "rated down 7 of 10 times, before the swap 10 of 100 times"


def test_people_who_like_it_as_much_or_have_said_too_little_do_not() -> None:
    assert find_regression(BEFORE, answers(some(4, 40)), APPROVED) is None
    assert find_regression(BEFORE, answers([True] * 9), APPROVED) is None
    assert find_regression(BEFORE[:9], answers([True] * 40), APPROVED) is None
    assert find_regression([], [], []) is None


LENGTHS = ("ok", "It opens at nine.", "It opens at nine in the morning, and it closes at noon. " * 3)


def draw(chance: random.Random, count: int, down: float, broken: float) -> list[ServedAnswer]:
    """Answers of seven people, each rated: independent, with these shares rated down and of no use."""
    made = answers([chance.random() < down for _ in range(count)], lambda n: f"p{n % 7}")
    return [replace(a, text="" if chance.random() < broken else chance.choice(LENGTHS)) for a in made]


@pytest.mark.parametrize(("down", "broken"), [(0.05, 0.05), (0.2, 0.2), (0.5, 0.5)])
def test_a_deployment_that_is_no_worse_is_rarely_rolled_back(down: float, broken: float) -> None:
    """The bound holds for all tests and all their looks together; 170 answers reach the last look of each."""
    chance = random.Random(1)
    runs = 200
    wrong = sum(
        find_regression(draw(chance, 120, down, broken), draw(chance, 170, down, broken), APPROVED)
        is not None
        for _ in range(runs)
    )
    assert wrong <= runs * BOUND


def test_a_worse_deployment_is_mostly_rolled_back() -> None:
    chance = random.Random(2)
    for down, broken in ((0.55, 0.2), (0.2, 0.55)):
        right = sum(
            find_regression(draw(chance, 120, 0.2, 0.2), draw(chance, 80, down, broken), APPROVED) is not None
            for _ in range(50)
        )
        assert right >= 45


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), down=st.floats(0.2, 0.6), people=st.integers(1, 5))
def test_later_answers_never_change_what_an_earlier_look_saw(seed: int, down: float, people: int) -> None:
    """Else every answer would be another look, and the bound would not hold."""
    chance = random.Random(seed)
    before = answers([chance.random() < 0.2 for _ in range(40)])
    now = answers([chance.random() < down for _ in range(90)], lambda n: f"p{chance.randrange(people)}")
    found = [find_regression(before, now[:end], APPROVED) for end in range(len(now) + 1)]
    first = next((one for one in found if one), None)
    assert found == [None] * found.index(first) + [first] * (len(found) - found.index(first))


@pytest.mark.parametrize("flood", [40, 2_000])
def test_a_flood_of_one_person_does_not_cause_it(flood: int) -> None:
    """The others are as content as before."""
    now = answers(some(3, 30)) + answers([True] * flood, lambda n: "mallory", first=1000)
    assert find_regression(BEFORE, now, APPROVED) is None
    alone = answers([True] * flood, lambda n: "mallory")
    assert find_regression(BEFORE, alone, APPROVED) is None


@pytest.mark.parametrize("flood", [40, 2_000])
def test_a_flood_of_one_person_does_not_prevent_it(flood: int) -> None:
    praise = answers([False] * flood, lambda n: "mallory")
    now = praise + answers(some(60, 80), first=5000)
    assert find_regression(BEFORE, now, APPROVED) is not None
    before = answers([True] * flood, lambda n: "mallory") + answers(some(10, 100), first=5000)
    assert find_regression(before, answers(some(60, 80)), APPROVED) is not None


def test_the_opinion_of_who_works_alone_counts() -> None:
    def me(n: int) -> str:
        return "local"

    before, now = answers(some(10, 100), me), answers(some(30, 40), me)
    assert find_regression(before, now, APPROVED) is not None
    assert find_regression(before, answers(some(4, 40), me), APPROVED) is None


def unrated(texts: Iterable[str], status: MessageStatus = MessageStatus.COMPLETE) -> list[ServedAnswer]:
    return [
        ServedAnswer(f"m{n}", f"c{n}", f"p{n % 5}", status, text, float(n)) for n, text in enumerate(texts)
    ]


GOOD = unrated(["It opens at nine."] * 60)


def test_answers_of_no_use_take_it_back() -> None:
    loop = "and so on and " * 9
    assert find_regression(GOOD, unrated([loop, "It opens at nine."] * 20), APPROVED) == (
        "empty, failed or repeating itself 5 of 10 times, before the swap 0 of 60 times"
    )
    assert "empty" in (find_regression(GOOD, unrated([""] * 20), APPROVED) or "")
    assert find_regression(GOOD, unrated([loop, *["It opens at nine."] * 19]), APPROVED) is None
    one_talk = [replace(answer, conversation_id="c") for answer in unrated([loop] * 40)]
    assert find_regression(GOOD, one_talk, APPROVED) is None


def test_a_server_that_was_down_says_nothing_about_the_adapter() -> None:
    down = unrated([""] * 40, MessageStatus.FAILED)
    assert find_regression(GOOD, down, APPROVED) is None
    assert find_regression(GOOD, GOOD[:10] + down + GOOD[10:], APPROVED) is None
    between = [answer for pair in zip(down, GOOD, strict=False) for answer in pair]  # every other one
    assert "failed" in (find_regression(GOOD, between, APPROVED) or "")


def test_what_a_person_stopped_is_no_fault() -> None:
    assert find_regression(GOOD, unrated([""] * 40, MessageStatus.STOPPED), APPROVED) is None


def test_a_length_unlike_before_and_unlike_what_people_approved() -> None:
    rambling = "A word, another one, and one that nobody has seen in this sentence before now. " * 3
    found = find_regression(GOOD, unrated([rambling] * 20), APPROVED)
    assert found is not None and found.startswith("the median answer has 237 characters; 17 before the swap")
    assert find_regression(GOOD, unrated(["9"] * 20), APPROVED) is not None
    rambled = unrated([rambling] * 60)
    assert find_regression(rambled, GOOD, APPROVED) is None, "shorter, as people approved"
    assert find_regression(GOOD, unrated([rambling] * 19), APPROVED) is None
