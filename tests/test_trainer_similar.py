"""Clusters of questions: the same whatever the order, and without chains."""

import random
from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from store.records import Role
from trainer.examples.similar import grouped, near_pairs, question_of
from trainer.examples.wording import near, wording

STEMS = (
    "how do i change my pin",
    "where is my card",
    "why was the transfer to spain declined",
    "when do you open",
)
ENDS = ("", " please", " today", " at home", " thanks", " for the new account")
ERRORS = ("", "trasnfer", "cadr", "declinedd", "again")

texts = st.builds(
    lambda stem, end, error, cut: " ".join([*stem.split()[cut:], error, *end.split()]),
    st.sampled_from(STEMS),
    st.sampled_from(ENDS),
    st.sampled_from(ERRORS),
    st.integers(0, 2),
)


def turns(*texts: str) -> list[tuple[Role, str]]:
    roles = (Role.USER, Role.ASSISTANT)
    return [(roles[place % 2], text) for place, text in enumerate(texts)]


@given(st.lists(texts, max_size=25), st.randoms(use_true_random=False))
def test_clusters_are_a_partition_that_the_order_does_not_change(
    asked: list[str], chance: random.Random
) -> None:
    questions = [wording(text) for text in asked]
    groups = grouped(questions)
    assert set(groups.representative) == set(questions)
    for question, first in groups.representative.items():
        assert groups.representative[first] == first and first in groups.near[question]
    chance.shuffle(questions)
    again = grouped([*questions, *questions])
    assert again.representative == groups.representative and again.near == groups.near


@given(st.lists(texts, min_size=2, max_size=20))
def test_looking_up_finds_what_comparing_all_finds(asked: list[str]) -> None:
    every = sorted({wording(text) for text in asked})
    found = {tuple(sorted(pair)) for pair in near_pairs(every)}
    assert found == {(one, other) for one, other in combinations(every, 2) if near(one, other)}


@given(st.lists(texts, min_size=1, max_size=12), texts)
def test_another_question_does_not_change_what_is_near(asked: list[str], another: str) -> None:
    questions = {wording(text) for text in asked}
    before, after = grouped(questions), grouped([*questions, wording(another)])
    for question in questions:
        assert before.near[question] <= after.near[question]
        assert {q for q in after.near[question] if q in questions} == before.near[question]


def test_chains_do_not_merge_everything() -> None:
    """Each is near the next, and the first is not near the last."""
    words = ["withdrawal", "international", "restaurant", "supermarket", "yesterday", "statement"]
    wrong = ["withdrawla", "internatoinal", "restuarant", "supermraket", "yesterady", "statemnet"]
    chain = [" ".join([*wrong[:n], *words[n:]]) for n in range(len(words) + 1)]
    questions = [wording(text) for text in chain]
    assert all(near(one, other) for one, other in pairwise(questions))
    groups = grouped(questions)
    assert 1 < len(set(groups.representative.values())) < len(chain)
    assert all(groups.representative[q] in groups.near[q] for q in questions)


def test_a_follow_up_is_read_with_what_came_before_unless_it_speaks_for_itself() -> None:
    kayak = question_of(turns("What does a kayak cost?", "$14.", "And for two hours?"))
    canoe = question_of(turns("What does a canoe cost?", "$22.", "And for two hours?"))
    again = question_of(turns("how much does the kayak cost", "14 dollars", "and for 2 hours"))
    found = grouped([kayak, canoe, again]).representative
    assert found[kayak] == found[again] != found[canoe]
    alone = question_of(turns("Hello", "Hello!", "When does the boat house open on Sunday?"))
    assert alone == question_of(turns("When does the boat house open on Sunday?"))
    refers = question_of(
        turns("Tell me of the boat house.", "It is old.", "When does it open on Sunday morning?")
    )
    assert refers != question_of(turns("When does it open on Sunday morning?"))
