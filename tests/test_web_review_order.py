"""What helps most comes first, with the reasons that a reviewer sees."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.web.markup import diff
from assistant.web.review_order import ReviewReason, disagree, ranked, rarities, reason_counts
from store.records import Decision, Rating, Ruling, Verdict
from store.reviews import ReviewItem

UP, DOWN = Verdict.UP, Verdict.DOWN


def rating(rater: str, verdict: Verdict | None, correction: str | None = None) -> Rating:
    return Rating(f"r-{rater}", "m", rater, verdict, 0.0, correction=correction)


def item(
    id: str,
    *ratings: Rating,
    question: str = "same",
    answer: str = "yes",
    opens: bool = True,
    decision: Decision | None = None,
) -> ReviewItem:
    return ReviewItem(id, f"c-{id}", question, answer, opens, 0.0, ratings, decision)


@pytest.mark.parametrize(
    ("ratings", "differ"),
    [
        ([], False),
        ([rating("ann", UP), rating("bo", UP)], False),
        ([rating("ann", UP), rating("bo", DOWN)], True),
        ([rating("ann", UP), rating("bo", None)], False),  # bo took it back
        ([rating("ann", UP), rating("bo", None, "no")], True),
        ([rating("ann", DOWN, "At nine."), rating("bo", DOWN, "at nine")], False),
        ([rating("ann", DOWN, "At nine."), rating("bo", DOWN, "At ten.")], True),
        ([rating("ann", UP, "a little better")], False),  # one person does not disagree
    ],
)
def test_when_people_disagree(ratings: list[Rating], differ: bool) -> None:
    assert disagree(ratings) is differ


def test_the_weightiest_reason_comes_first_and_equal_ones_keep_their_order() -> None:
    found = ranked(
        [
            item("plain", rating("ann", UP), question="a"),
            item("down 1", rating("ann", DOWN), question="b"),
            item("differs 1", rating("ann", UP), question="When?", answer="At nine."),
            item("differs 2", rating("bo", DOWN, "At ten."), question="when", answer="Never."),
            item("disagree", rating("ann", UP), rating("bo", DOWN), question="c"),
            item("down 2", rating("ann", DOWN), question="d"),
        ]
    )
    assert [(one.item.message_id, one.reasons) for one in found] == [
        ("disagree", (ReviewReason.DISAGREE, ReviewReason.DOWN)),
        ("differs 1", (ReviewReason.DIFFER,)),
        ("differs 2", (ReviewReason.DIFFER,)),
        ("down 1", (ReviewReason.DOWN,)),
        ("down 2", (ReviewReason.DOWN,)),
        ("plain", ()),
    ]
    assert found[1].others == ("At ten.",) and found[2].others == ("At nine.",)
    assert reason_counts(found) == {ReviewReason.DISAGREE: 1, ReviewReason.DIFFER: 2, ReviewReason.DOWN: 3}


def test_an_answer_contradicts_what_a_reviewer_approved_but_not_what_one_rejected() -> None:
    new = item("new", rating("ann", UP), question="When?", answer="At ten.")

    def decided(ruling: Ruling) -> list[ReviewItem]:
        decision = Decision("d", "old", "rev", ruling, 0.0)
        return [item("old", rating("bo", UP), question="when", answer="At nine.", decision=decision)]

    assert [one.reasons for one in ranked([new], decided(Ruling.APPROVE))] == [(ReviewReason.DIFFER,)]
    assert [one.reasons for one in ranked([new], decided(Ruling.REJECT))] == [()]


def test_later_turns_depend_on_what_was_said_before() -> None:
    answers = [item(str(n), rating("ann", UP), answer=f"answer {n}", opens=False) for n in range(2)]
    assert all(not one.reasons for one in ranked(answers))


def test_a_question_is_rare_where_half_its_words_are_nowhere_else() -> None:
    common = [f"how much does boat number {n} cost" for n in range(30)]
    shares = rarities([*common, "does your quokka sanctuary cost much", "quokka!"])
    assert shares[-2] == pytest.approx(1 / 3)  # of six words “your” and “sanctuary” stand nowhere else
    assert shares[-1] == 0.0  # too few words to say so
    odd = item("odd", question="my periscope needs heated upholstery")
    found = ranked([*(item(str(n), question=text) for n, text in enumerate(common)), odd])
    assert found[0].item is odd and found[0].reasons == (ReviewReason.RARE,)
    assert all(not one.reasons for one in found[1:])


def test_a_question_is_rare_among_all_that_were_asked_not_among_those_found() -> None:
    asked = [f"what is the deposit for boat number {n}" for n in range(30)]
    found = ["deposit for the canoe", "deposit of my kayak please"]
    assert all(share == 0 for share in rarities(found[:1], [*asked, "canoe for hire"]))
    assert rarities(found[1:], asked) == [pytest.approx(2 / 3)]  # “kayak” and “please”, but not “deposit”


def test_the_model_was_unsure_of_the_tenth_whose_tokens_it_found_least_likely() -> None:
    sure = [replace(item(f"sure {n}"), mean_ln_p=-0.1 - n / 1000) for n in range(18)]
    unsure, less_sure = replace(item("unsure"), mean_ln_p=-1.0), replace(item("less sure"), mean_ln_p=-2.0)
    unknown = item("unknown")
    found = ranked([unknown, *sure, unsure, less_sure])
    assert [one.item.message_id for one in found[:2]] == ["less sure", "unsure"]
    assert [one.reasons for one in found[:2]] == [(ReviewReason.UNSURE,)] * 2
    assert not any(one.reasons for one in found[2:])
    assert not any(one.reasons for one in ranked([*sure[:17], unsure, less_sure]))  # too few to say so


def test_what_people_said_weighs_more_than_how_sure_the_model_was() -> None:
    answers = [replace(item(str(n), question=f"q{n}"), mean_ln_p=-0.1) for n in range(20)]
    answers[5] = replace(answers[5], mean_ln_p=-3.0)
    answers[7] = replace(answers[7], ratings=(rating("ann", UP), rating("bo", DOWN)))
    answers[9] = replace(answers[9], mean_ln_p=-3.0, ratings=(rating("ann", DOWN),))
    found = ranked(answers)
    assert [one.item.message_id for one in found[:3]] == ["7", "9", "5"]
    assert found[1].reasons == (ReviewReason.DOWN, ReviewReason.UNSURE)


def test_among_few_questions_none_is_rare() -> None:
    assert rarities(["entirely different words here"]) == [0.0]
    assert ranked([]) == []


@given(st.lists(st.text(alphabet="abcd ", max_size=30), max_size=40))
def test_rarity_is_a_share(questions: list[str]) -> None:
    assert all(0 <= share <= 1 for share in rarities(questions))


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_diff_escapes_everything_and_leaves_nothing_out(before: str, after: str) -> None:
    html = diff(before, after)
    bare = html
    for tag in ("<del>", "</del>", "<ins>", "</ins>", "<br>"):
        bare = bare.replace(tag, "")
    assert "<" not in bare and ">" not in bare


def test_a_diff_marks_words() -> None:
    assert diff("It costs 2 pounds.", "It costs 20 pounds.") == "It costs <del>2</del><ins>20</ins> pounds."
    assert diff("yes", "No, never on Sundays.") == "<del>yes</del><br><ins>No, never on Sundays.</ins>"
    assert "<br>" in diff("word " * 3000, "word " * 3000 + "more")  # too long to compare
    assert diff("", "new") == "<br><ins>new</ins>"
