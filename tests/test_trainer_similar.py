"""What is one question in other words and what is not, and clusters of questions: in any order, and without chains."""

import random
import re
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.records import Role
from trainer.examples.similar import grouped, near_pairs, question_of
from trainer.examples.wording import misspelled, stem, wording
from trainer.examples.wording import near as near_wordings


def near(one: str, other: str) -> bool:
    return near_wordings(wording(one), wording(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I activate my card?", "HOW DO I ACTIVATE MY CARD"),
        ("How do I activate my card?", "hi, could you please tell me how to activate my card? thanks a lot!"),
        ("How do I activate my card?", "What do I need to do to activate my new card"),
        ("How do I activate my card?", "I would like to activate the card."),
        ("Why isn't my card working?", "why is my card not working"),
        ("Why was my card declined?", "How come my card has been declined?"),
        ("What states border Texas?", "which state borders texas"),
        ("When will my transfer arrive?", "my transfer, when will it arrive?"),
        (
            "How long does a transfer from Europe take?",
            "If my transfer is from Europe, how long will it take",
        ),
        ("Where can I buy a ticket?", "Where can I purchase tickets?"),
        ("What is the largest city in Texas?", "Give me the biggest city in texas"),
        ("Can I top up with Google Pay?", "Is it possible to top up with google pay?"),
        ("How do I exchange currencies here?", "How do I exchagne currencies here?"),
        ("How do I exchange currencies here?", "Waht do I do to exchange curencies"),
        ("Wie kündige ich meinen Vertrag?", "wie kündige ich meinen vertrag"),
        ("Is <EMAIL_1> registered?", "is <EMAIL_2> registered"),
        ("do(type=tv;usb=false;hdmi=2)", "do(hdmi=2;type=tv;usb=false)"),
        ("From here to here, how?", "from here to here how"),
        ("to from how", "TO FROM HOW?"),
    ],
)
def test_one_question_in_other_words(one: str, other: str) -> None:
    assert near(one, other) and near(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("When will my card arrive?", "When will my card be linked?"),
        ("How long does a transfer to Spain take?", "How long does a transfer to France take?"),
        ("How long does a transfer take?", "How long does a transfer to Spain take?"),
        ("Can I transfer money to Spain?", "Can I transfer money from Spain?"),
        ("How do I change pounds to euros?", "How do I change euros to pounds?"),
        ("My pin is 1234, is that safe?", "My pin is 4321, is that safe?"),
        ("What is 17 times 4?", "What is 17 times 5?"),
        ("Which colour has number 2?", "Which colour has number 12?"),
        ("Why is my card working?", "Why is my card not working?"),
        ("How do I verify my identity?", "Why do I verify my identity?"),
        ("Is my card lost?", "When is my card lost?"),
        ("Are you open on Sunday?", "Are you open on Monday?"),
        ("Do you open before noon?", "Do you open after noon?"),
        ("Is a flight to Gambia cheap?", "Is a flight to Zambia cheap?"),
        ("Was there a duplicate charge on my statement?", "Was there a duplicate change on my statement?"),
        ("What is the population of the largest state?", "What state has the largest population?"),
        ("What states border states that border Texas?", "What states border Texas?"),
        ("Is Ann taller than Bob?", "Is Bob taller than Ann?"),
        ("Is <EMAIL_1> registered?", "Is <PHONE_1> registered?"),
        ("do(type=tv;usb=false;hdmi=2)", "do(type=tv;usb=true;hdmi=2)"),
        ("西班牙转账要多久", "法国转账要多久"),
        ("Wie kündige ich meinen Vertrag?", "Wie verlängere ich meinen Vertrag?"),
        ("+1", "-1"),
        ("?", "!"),
    ],
)
def test_two_questions_however_alike_they_look(one: str, other: str) -> None:
    assert not near(one, other) and not near(other, one)


SOME = """how do i change my pin card to from transfer spain money not 3 please the largest state get charged arrive"""
WORDS = st.sampled_from(re.findall(r"\w+", SOME))


@given(st.lists(WORDS, min_size=1, max_size=9), st.lists(WORDS, min_size=1, max_size=9))
def test_near_is_symmetric_and_a_question_is_near_itself(one: list[str], other: list[str]) -> None:
    assert near(" ".join(one), " ".join(other)) is near(" ".join(other), " ".join(one))
    assert near(" ".join(one), " ".join(one).upper() + "?")


@given(st.text(max_size=60))
def test_every_text_has_a_wording(text: str) -> None:
    assert wording(text).words and near(text, text) and wording(f"  {text}\n") == wording(text)


def test_what_may_be_a_typing_error() -> None:
    errors = "transfer tarnsfer, transfer transfr, transfer trannsfer, florida lorida"
    others = "receiver receive, house horse, kansas arkansas, 2024 2025, pin pni"
    for pairs, expected in ((errors, True), (others, False)):
        for one, other in map(str.split, pairs.split(", ")):
            assert misspelled(one, other) is misspelled(other, one) is expected, (one, other)


def test_forms_of_a_word() -> None:
    same = "card cards, arrive arrives arrived arriving, city cities, stop stopped stopping, bus buses"
    same += ", cancelled canceled cancel, wait waiting waited"
    for words, expected in ((same, 1), ("need seed, king kind", 2)):
        for forms in words.split(", "):
            assert len({stem(form) for form in forms.split()}) == expected, forms


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
    assert found == {(one, other) for one, other in combinations(every, 2) if near_wordings(one, other)}


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
    assert all(near_wordings(one, other) for one, other in pairwise(questions))
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
