"""When a swap is taken back: what people say and what answers look like, and that no one person decides."""

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from store.records import MessageStatus, Rating, ServedAnswer, Verdict
from trainer.swapping.regression import regression

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
    found = regression(BEFORE, answers(some(30, 40)), APPROVED)
    assert found == "rated down 7 of 10 times, before the swap 10 of 100 times"


def test_people_who_like_it_as_much_or_have_said_too_little_do_not() -> None:
    assert regression(BEFORE, answers(some(4, 40)), APPROVED) is None
    assert regression(BEFORE, answers([True] * 9), APPROVED) is None
    assert regression(BEFORE[:9], answers([True] * 40), APPROVED) is None
    assert regression([], [], []) is None


def test_a_deployment_that_is_no_worse_is_rarely_taken_back() -> None:
    """2.5 % are allowed over all looks; Fisher's test keeps less."""
    chance = random.Random(1)

    def draw(count: int, share: float) -> list[ServedAnswer]:
        return answers([chance.random() < share for _ in range(count)], lambda n: f"p{n % 7}")

    wrong = sum(regression(draw(120, share), draw(170, share), []) is not None for share in [0.2, 0.5] * 200)
    assert wrong <= 400 * 0.025
    right = sum(regression(draw(120, 0.2), draw(80, 0.55), []) is not None for _ in range(100))
    assert right >= 90


@pytest.mark.parametrize("flood", [40, 2_000])
def test_a_flood_of_one_person_does_not_cause_it(flood: int) -> None:
    """The others are as content as before."""
    now = answers(some(3, 30)) + answers([True] * flood, lambda n: "mallory", first=1000)
    assert regression(BEFORE, now, APPROVED) is None
    alone = answers([True] * flood, lambda n: "mallory")
    assert regression(BEFORE, alone, APPROVED) is None


@pytest.mark.parametrize("flood", [40, 2_000])
def test_a_flood_of_one_person_does_not_prevent_it(flood: int) -> None:
    praise = answers([False] * flood, lambda n: "mallory")
    now = praise + answers(some(60, 80), first=5000)
    assert regression(BEFORE, now, APPROVED) is not None
    before = answers([True] * flood, lambda n: "mallory") + answers(some(10, 100), first=5000)
    assert regression(before, answers(some(60, 80)), APPROVED) is not None


def test_who_works_alone_is_heard() -> None:
    def me(n: int) -> str:
        return "local"

    before, now = answers(some(10, 100), me), answers(some(30, 40), me)
    assert regression(before, now, APPROVED) is not None
    assert regression(before, answers(some(4, 40), me), APPROVED) is None


def unrated(texts: Iterable[str], status: MessageStatus = MessageStatus.COMPLETE) -> list[ServedAnswer]:
    return [
        ServedAnswer(f"m{n}", f"c{n}", f"p{n % 5}", status, text, float(n)) for n, text in enumerate(texts)
    ]


GOOD = unrated(["It opens at nine."] * 60)


def test_answers_of_no_use_take_it_back() -> None:
    loop = "and so on and " * 9
    assert regression(GOOD, unrated([loop, "It opens at nine."] * 20), APPROVED) == (
        "empty, failed or repeating itself 5 of 10 times, before the swap 0 of 60 times"
    )
    assert "empty" in (regression(GOOD, unrated([""] * 20), APPROVED) or "")
    assert regression(GOOD, unrated([loop, *["It opens at nine."] * 19]), APPROVED) is None
    one_talk = [replace(answer, conversation_id="c") for answer in unrated([loop] * 40)]
    assert regression(GOOD, one_talk, APPROVED) is None


def test_a_server_that_was_down_says_nothing_about_the_adapter() -> None:
    down = unrated([""] * 40, MessageStatus.FAILED)
    assert regression(GOOD, down, APPROVED) is None
    assert regression(GOOD, GOOD[:10] + down + GOOD[10:], APPROVED) is None
    between = [answer for pair in zip(down, GOOD, strict=False) for answer in pair]  # every other one
    assert "failed" in (regression(GOOD, between, APPROVED) or "")


def test_what_a_person_stopped_is_no_fault() -> None:
    assert regression(GOOD, unrated([""] * 40, MessageStatus.STOPPED), APPROVED) is None


def test_a_length_unlike_before_and_unlike_what_people_approved() -> None:
    rambling = "A word, another one, and one that nobody has seen in this sentence before now. " * 3
    found = regression(GOOD, unrated([rambling] * 20), APPROVED)
    assert found is not None and found.startswith("the median answer has 237 characters; 17 before the swap")
    assert regression(GOOD, unrated(["9"] * 20), APPROVED) is not None
    rambled = unrated([rambling] * 60)
    assert regression(rambled, GOOD, APPROVED) is None, "shorter, as people approved"
    assert regression(GOOD, unrated([rambling] * 19), APPROVED) is None
