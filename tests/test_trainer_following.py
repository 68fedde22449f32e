"""Which of the teacher's answers are followed, and how they get into a dataset and into rows."""

from dataclasses import replace

import pytest

from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import MessageStatus, RatedAnswer, Rating, Role, Split, Usage, Verdict
from trainer.examples.dataset import key_of, make_examples, sizes
from trainer.examples.following import ENOUGH_RATED, approval_of_teacher, worth_following
from trainer.examples.intake import take_in
from trainer.examples.selection import select
from trainer.examples.splits import split_of
from trainer.settings import TrainerSettings
from trainer.training.rows import CORRECTION_WEIGHT, row_of

PROMPT_ID = 7


def answer(
    number: int, verdict: Verdict | None, prompt: int | None = PROMPT_ID, correction: str | None = None
) -> RatedAnswer:
    ratings = (
        (Rating(f"r{number}", f"m{number}", "ann", verdict, 1.0, correction=correction),) if verdict else ()
    )
    context = ((Role.USER, f"question {number}"),)
    return RatedAnswer(f"m{number}", f"c{number}", context, f"answer {number}", ratings, None, prompt)


def test_the_teachers_approval_is_the_share_of_its_rated_answers_that_stand() -> None:
    good = [answer(n, Verdict.UP) for n in range(6)]
    bad = [answer(n, Verdict.DOWN) for n in range(6, 9)]
    corrected = [answer(9, Verdict.DOWN, correction="better")]
    others = [answer(n, Verdict.UP, prompt=None) for n in range(10, 30)]
    answers = good + bad + corrected + others
    assert approval_of_teacher(answers, PROMPT_ID) == 6 / 10
    again = [replace(a, message_id=f"{a.message_id}-again") for a in good]
    assert approval_of_teacher([*answers, *again], PROMPT_ID) == 12 / 16, "the same answer is approved twice"
    taken_back = replace(answer(40, Verdict.UP), ratings=())
    assert approval_of_teacher([*answers, taken_back], PROMPT_ID) == 6 / 10
    few = [a for a in answers if a.teacher_prompt_id][: ENOUGH_RATED - 1]
    assert approval_of_teacher(few, PROMPT_ID) is None
    assert approval_of_teacher(answers, PROMPT_ID + 1) is None


def test_only_questions_of_the_training_split_that_nobody_answered_better_are_followed() -> None:
    unrated = [answer(n, None) for n in range(200)]
    known = {make_examples(select([answer(3, Verdict.UP)], 100)[0], {"c3": Split.TRAIN}, None)[0].context}
    distillation_examples = worth_following(unrated, {key_of(c) for c in known}, {"c5": Split.GATE}, 100)
    ids = {example.message_id for example in distillation_examples}
    expected = {f"m{n}" for n in range(200) if split_of(f"question {n}") is Split.TRAIN} - {"m3", "m5"}
    assert ids == expected and [e.context for e in distillation_examples] == sorted(
        e.context for e in distillation_examples
    )
    assert all(e.from_teacher and not e.approved and not e.corrected for e in distillation_examples)
    assert worth_following([replace(answer(1, None), answer=" ")], (), {"c1": Split.TRAIN}, 100) == []
    assert worth_following([answer(1, None)], (), {"c1": Split.TRAIN}, 3) == []


def test_they_weigh_nothing_but_through_the_teacher(tokenizer: ChatTokenizer) -> None:
    (distillation_examples,) = worth_following([answer(1, None)], (), {"c1": Split.TRAIN}, 100)
    approved = replace(distillation_examples, approved=True)
    corrected = replace(approved, corrected=True)
    rows = [row_of(tokenizer, (), [example]) for example in (distillation_examples, approved, corrected)]
    assert [max(row.weights) for row in rows] == [0.0, 1.0, CORRECTION_WEIGHT]


@pytest.fixture
def bank(store: Store) -> Store:
    store.assistants.create("bank", "Bank", "exact")
    prompt = store.prompts.add("bank", [])
    teacher = store.deployments.add("bank", prompt.id, None, (), variant=0, prompt_tokens=0)
    for n in range(40):
        conversation = store.conversations.create("bank", id=f"c{n}")
        question = store.messages.add(conversation.id, None, Role.USER, f"question {n}")
        usage = Usage(50, 40, 32, 9, 0.25, 1.0)
        store.messages.add(
            conversation.id,
            question.id,
            Role.ASSISTANT,
            "a",
            MessageStatus.COMPLETE,
            teacher.id,
            usage,
            f"m{n}",
        )
    return store


@pytest.mark.parametrize(
    ("down", "changes", "expected"),
    [
        (4, {}, True),
        (11, {}, False),
        (11, {"teacher_approval": 0.3}, True),
        (0, {"distillation": 0.0}, False),
        (0, {"teacher_answers": 0}, False),
    ],
    ids=["mostly approved", "mostly not", "a lower bar", "no distillation", "none wanted"],
)
def test_unrated_answers_are_followed_where_people_approve_of_the_rated_ones(
    bank: Store, down: int, changes: dict, expected: bool
) -> None:
    for n in range(20):
        bank.ratings.add(f"m{n}", "ann", Verdict.DOWN if n < down else Verdict.UP)
    taken = take_in(bank, "bank", replace(TrainerSettings(), **changes))
    assert taken.teacher_approval == (20 - down) / 20
    assert bool(taken.distillation_examples) is expected
    examples = taken.examples()
    assert sum(sizes(examples).values()) == 20 - down, "nobody approved of what is only followed"
    assert all(example.from_teacher for example in examples)
    if expected:
        unrated = {f"m{n}" for n in range(20, 40) if split_of(f"question {n}") is Split.TRAIN}
        assert {e.message_id for e in examples if not e.approved} == unrated
