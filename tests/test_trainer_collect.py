"""Which answers count, how much one rater may give, which unrated ones join, and how much is missing."""

import math
from dataclasses import replace

import pytest
from imported_turns import ImportedTurn, load_turns
from retrain_scene import SETTINGS
from word_embedder import WordEmbedder

from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import (
    Decision,
    Example,
    MessageStatus,
    RatedAnswer,
    Rating,
    Role,
    Ruling,
    Segment,
    SegmentKind,
    Split,
    Usage,
    Verdict,
)
from trainer.examples.dataset import collect, content_hash, draft, shortage, sizes
from trainer.examples.deduplicate import deduplicate, settle, split_of
from trainer.examples.selection import CollectedAnswer, DropReason, exclude_raters, select, unrated_example
from trainer.examples.traffic import choose_traffic, confidence_threshold, confident_answers
from trainer.settings import TrainerSettings, override
from trainer.training.rows import CORRECTION_WEIGHT, UNRATED_WEIGHT, row_of

UP, DOWN = Verdict.UP, Verdict.DOWN


def rating(
    verdict: Verdict | None, rater: str = "ann", correction: str | None = None, at: float = 0.0
) -> Rating:
    return Rating(f"{rater}{at}", "m", rater, verdict, at, correction=correction)


def rated(
    *ratings: Rating, answer: str = "Paris.", question: str = "Capital of France?", id: str = "m1"
) -> RatedAnswer:
    return RatedAnswer(id, f"c-{id}", ((Role.USER, question),), answer, ratings, None)


def numbered(number: int, *ratings: tuple[str, Verdict | None, str | None]) -> RatedAnswer:
    """An answer to a question of its own; the later its number, the later its ratings."""
    made = (rating(verdict, rater, correction, float(number)) for rater, verdict, correction in ratings)
    return rated(*made, answer=f"answer {number}", question=f"question {number}", id=f"m{number}")


REVIEWED_AT = 9.0


def decided(ruling: Ruling, correction: str | None = None) -> Decision:
    return Decision("d", "m1", "rev", ruling, REVIEWED_AT, correction)


@pytest.mark.parametrize(
    ("ratings", "decision", "outcome"),
    [
        ([rating(UP)], None, ("Paris.", False, "ann")),
        ([rating(UP), rating(UP, "bob", at=1)], None, ("Paris.", False, "bob")),
        ([rating(UP), rating(None, "bob")], None, ("Paris.", False, "ann")),
        ([rating(UP), rating(DOWN, "bob")], None, DropReason.RATED_DOWN),
        ([rating(DOWN)], None, DropReason.RATED_DOWN),
        ([rating(None)], None, DropReason.UNRATED),
        ([], None, DropReason.UNRATED),
        ([rating(DOWN, correction=" Lyon? ")], None, ("Lyon?", True, "ann")),
        ([rating(UP), rating(DOWN, "bob", correction="Lyon")], None, ("Lyon", True, "bob")),
        (
            [rating(DOWN, correction="old", at=1), rating(DOWN, "bob", "new", at=2)],
            None,
            ("new", True, "bob"),
        ),
        ([rating(DOWN, correction="  ")], None, DropReason.EMPTY),
        ([rating(DOWN, correction="\x8b")], None, DropReason.EMPTY),
        ([rating(DOWN, correction="x" * 101)], None, DropReason.TOO_LONG),
        ([rating(UP)], decided(Ruling.REJECT), DropReason.REJECTED),
        ([rating(DOWN, correction="Lyon")], decided(Ruling.REJECT), DropReason.REJECTED),
        ([rating(DOWN)], decided(Ruling.APPROVE), ("Paris.", False, "rev")),
        ([], decided(Ruling.APPROVE), ("Paris.", False, "rev")),
        ([rating(DOWN, correction="Lyon")], decided(Ruling.APPROVE), ("Paris.", False, "rev")),
        ([rating(DOWN, correction="Lyon")], decided(Ruling.APPROVE, " Lyon "), ("Lyon", True, "ann")),
        ([rating(UP, correction="Lyon", at=99)], decided(Ruling.CORRECT, "Nice"), ("Nice", True, "rev")),
        ([rating(UP)], decided(Ruling.CORRECT, " "), DropReason.EMPTY),
    ],
)
def test_what_counts_as_an_example_and_a_reviewer_outranks_raters(
    ratings: list[Rating], decision: Decision | None, outcome: tuple[str, bool, str] | DropReason
) -> None:
    approved, dropped = select([replace(rated(*ratings), decision=decision)], 100)
    if isinstance(outcome, DropReason):
        assert not approved and dropped == {"m1": outcome}
        return
    (one,) = approved
    assert (one.completion, one.corrected, one.rater) == outcome and not dropped
    assert one.reviewed is (decision is not None)
    times = [each.created_at for each in ratings]
    assert one.judged_at == max([*times, REVIEWED_AT] if decision else times)


def test_an_empty_text_teaches_nothing_the_same_pair_counts_once_and_another_answer_too() -> None:
    answers = [
        rated(rating(UP)),
        rated(rating(UP), id="same"),
        rated(rating(DOWN, correction="PARIS"), id="m3"),
        rated(rating(UP), answer=" ", id="silent"),
        rated(rating(UP), question=" \n", id="unasked"),
    ]
    approved, dropped = select(answers, 100)
    assert [one.message_id for one in approved] == ["m1", "m3"]
    assert dropped == {"same": DropReason.REPEATED, "silent": DropReason.EMPTY, "unasked": DropReason.EMPTY}


def test_an_excluded_rater_neither_approves_nor_objects_nor_corrects() -> None:
    answers = [
        numbered(1, ("ann", UP, None), ("mal", DOWN, None)),
        numbered(2, ("mal", UP, None)),
        numbered(3, ("ann", UP, None), ("mal", None, "spam")),
    ]
    approved, _ = select(answers, 100)
    assert [one.completion for one in approved] == ["answer 2", "spam"]
    left, gone = exclude_raters(answers, {"mal"})
    approved, dropped = select(left, 100)
    assert [one.completion for one in approved] == ["answer 1", "answer 3"] and not dropped
    assert gone == ["m2"] and exclude_raters(answers, ()) == (answers, [])


def test_an_excluded_raters_decisions_do_not_count_and_those_of_others_do() -> None:
    reviewed = replace(numbered(3, ("mal", UP, None)), decision=decided(Ruling.APPROVE))
    left, gone = exclude_raters([reviewed], {"mal"})
    assert [(one.ratings, one.decision) for one in left] == [((), reviewed.decision)] and not gone
    assert exclude_raters([reviewed], {"mal", "rev"}) == ([], ["m3"])


@pytest.fixture
def bank(store: Store) -> Store:
    store.assistants.create("bank", "Bank", "exact")
    store.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    return store


def test_the_settings_reach_what_is_collected(bank: Store) -> None:
    load_turns(bank, "bank", [ImportedTurn(f"c{n}", f"{n}?", "yes", UP) for n in range(3)])
    rater = bank.answers.rated("bank")[0].ratings[0].rater
    assert len(collect(bank, "bank", SETTINGS).answers) == 3
    without = override(SETTINGS, [f"without_raters={rater},other"])
    assert without.without_raters == (rater, "other")
    assert collect(bank, "bank", without).answers == ()


def test_only_the_newest_rated_answers_are_read_and_the_older_ones_are_counted(bank: Store) -> None:
    load_turns(bank, "bank", [ImportedTurn(f"c{n}", f"{n}?", "yes", UP) for n in range(5)])
    for n in (1, 3):
        bank.ratings.add(f"c{n}.1.assistant", "ann", UP)
    found = draft(bank, "bank", override(SETTINGS, ["newest_answers=2"]))
    assert [one.conversation_id for one in found.collection.answers] == ["c1", "c3"]
    assert found.counts == {DropReason.OLDER.value: 3}
    assert collect(bank, "bank", override(SETTINGS, ["newest_answers=5"])).older == 0
    only = collect(bank, "bank", override(SETTINGS, ["newest_answers=1", "without_raters=sample"]))
    assert [one.conversation_id for one in only.answers] == ["c3"] and only.older == 1


def served(number: int, ln_p: float | None, verdict: Verdict | None = None, by: int = 1) -> RatedAnswer:
    ratings = [("ann", verdict, None)] if verdict else []
    return replace(numbered(number, *ratings), deployment_id=by, mean_ln_p=ln_p)


def test_an_answer_is_sure_enough_where_people_approve_of_seven_in_ten_that_were_as_sure() -> None:
    good, bad = [(-0.1, True)] * 9, [(-1.0, False)] * 30
    assert confidence_threshold(good) == math.inf, "nine say nothing"
    assert confidence_threshold([*good, (-0.2, True)]) == -0.2
    assert confidence_threshold([*good, (-0.2, False), *bad]) == -0.2, "the others are too unsure"
    assert confidence_threshold([(-0.1, False)] * 9 + [(-0.2, True)] * 9) == math.inf
    assert confidence_threshold([]) == math.inf


def test_unrated_answers_are_measured_by_the_rated_ones_of_their_own_deployment() -> None:
    rated_answers = [served(n, -0.1 - n / 100, UP) for n in range(10)]
    rated_answers += [served(20 + n, -0.1, DOWN, by=2) for n in range(20)]
    rated_answers += [replace(served(50, -9.0, UP), ratings=()), served(51, None, UP)]
    unrated = [
        served(100, -0.15),
        served(101, -0.5),
        served(102, -0.12),
        served(103, -0.01, by=2),
        served(104, -0.19),
    ]
    unrated += [served(105, -0.01, by=3), served(106, None)]
    assert confident_answers(rated_answers, unrated) == {"m102": -0.12, "m100": -0.15, "m104": -0.19}


def test_what_traffic_teaches_and_what_the_gate_asks() -> None:
    """The surest come first, then what asks nearly what was approved; the questions of the gate stay as they are."""
    embedder = WordEmbedder()

    def one(name: str, question: str, completion: str, approved: bool = True) -> CollectedAnswer:
        context = ((Role.USER, question),)
        return CollectedAnswer(name, name, context, completion, question, rater="ann", approved=approved)

    things = ("red apple", "green tree", "blue sea", "white snow", "black coal", "brown bear")
    approved = [
        one(f"a{n}", f"{what} {end}", what) for n, what in enumerate(things) for end in ("here", "there")
    ]
    approved = [replace(each, message_id=f"{each.message_id}{n}") for n, each in enumerate(approved)]
    held_out = [one("dev", "grey mouse", "grey mouse"), one("gate", "pink rose", "pink rose")]
    unrated = [
        one("sure", "an unlike question", "as answered", approved=False),
        one("surer", "one more unlike question", "as answered", approved=False),
        one("like", "red apple now", "wrong", approved=False),
        one("unlike", "something else entirely", "wrong", approved=False),
        one("like dev", "grey mouse now", "wrong", approved=False),
        one("asked", "red apple again", "as given", approved=False),
    ]
    splits = {each.conversation_id: Split.TRAIN for each in (*approved, *unrated)}
    splits |= {"dev": Split.DEV, "gate": Split.GATE, "asked": Split.GATE}
    answers, sure = [*approved, *held_out, *unrated], {"sure": -0.2, "surer": -0.1}

    def chosen(embedder: WordEmbedder | None, asks_gate: bool) -> list[tuple[str, str]]:
        found = choose_traffic(answers, splits, sure, embedder, asks_gate)
        return [(each.message_id, each.completion) for each in found if not each.approved]

    known, copied = [("surer", "as answered"), ("sure", "as answered")], [("like", "red apple")]
    assert chosen(embedder, True) == [*known, *copied, ("asked", "as given")]
    assert chosen(embedder, False) == [*known, *copied]
    assert chosen(None, True) == [*known, ("asked", "as given")]
    differing = [replace(each, completion=each.message_id) for each in approved]
    answers = [*differing, *unrated]
    assert chosen(embedder, False) == known, "no likeness is enough where each answer is another one"


def test_unrated_answers_weigh_half(tokenizer: ChatTokenizer) -> None:
    one = replace(unrated_example(served(1, -0.1)), split=Split.TRAIN)
    (unrated,) = deduplicate([one], *settle([one]), 3).examples()
    assert not unrated.approved and not unrated.corrected
    approved = replace(unrated, approved=True)
    corrected = replace(approved, corrected=True)
    rows = [row_of(tokenizer, (), [example]) for example in (unrated, approved, corrected)]
    assert [max(row.weights) for row in rows] == [UNRATED_WEIGHT, 1.0, CORRECTION_WEIGHT]


@pytest.mark.parametrize(
    ("down", "changes", "expected"),
    [
        (4, {}, True),
        (11, {}, False),
        (0, {"unrated_answers": 0}, False),
        (0, {"max_answer_tokens": 0}, False),
    ],
    ids=["mostly approved", "mostly not", "none wanted", "too long"],
)
def test_unrated_answers_join_where_people_approve_of_the_rated_ones(
    bank: Store, down: int, changes: dict, expected: bool
) -> None:
    serving = bank.deployments.add("bank", bank.prompts.latest("bank").id, None, ("a",), 0, 0)
    bank.deployments.activate(serving.id)
    usage = Usage(50, 40, 32, 9, 0.25, 1.0, -0.1)
    with bank._file.writing():
        for n in range(40):
            asked = bank.messages.add(
                bank.conversations.create("bank", id=f"c{n}").id, None, Role.USER, f"question {n}"
            )
            bank.messages.add(
                f"c{n}", asked.id, Role.ASSISTANT, "a", MessageStatus.COMPLETE, serving.id, usage, f"m{n}"
            )
        for n in range(20):
            bank.ratings.add(f"m{n}", "ann", DOWN if n < down else UP)
    found = draft(bank, "bank", replace(TrainerSettings(), **changes))
    approved = 0 if changes.get("max_answer_tokens") == 0 else 20 - down
    assert sum(sizes(found.examples).values()) == approved, "an unrated answer is not approved"
    splits = {f"m{n}": split_of(f"question {n}") for n in range(20, 40)}
    learned = {id for id, split in splits.items() if split is Split.TRAIN and expected}
    asked = {id for id, split in splits.items() if split is Split.GATE and 0 not in changes.values()}
    assert {e.message_id for e in found.examples if not e.approved} == learned | asked


def test_what_the_prompt_no_longer_says_is_not_learned_until_it_is_judged_again(bank: Store) -> None:
    def prompt(price: int) -> None:
        bank.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text=f"A card costs ${price}.")])

    prompt(4)
    turns = [ImportedTurn(f"c{n}", f"question {n}", f"It is ${4 + n}.", UP) for n in range(2)]
    load_turns(bank, "bank", turns)
    prompt(5)
    found = collect(bank, "bank", TrainerSettings())
    assert [one.completion for one in found.answers] == ["It is $5."]
    assert set(found.dropped.values()) == {DropReason.OUTDATED}
    bank.ratings.add(next(iter(found.dropped)), "ann", DOWN, correction="It is $5 now.")
    assert len(collect(bank, "bank", TrainerSettings()).answers) == 2


def example(number: int, split: Split = Split.TRAIN, completion: str | None = None) -> Example:
    text = f"answer {number}" if completion is None else completion
    return Example(f"m{number:03}", f"c{number}", ((Role.USER, "q"),), text, False, split)


def test_examples_come_in_an_order_of_their_own() -> None:
    answers = [
        CollectedAnswer(id, id, ((Role.USER, "q"),), completion, "q", Split.TRAIN)
        for completion, id in (("b", "m1"), ("a", "m2"))
    ]
    examples = deduplicate(answers, *settle(answers), 0).examples()
    assert [e.message_id for e in examples] == ["m2", "m1"]
    assert examples == deduplicate(answers[::-1], *settle(answers), 0).examples()


def test_the_hash_covers_ids_texts_and_splits() -> None:
    plain = content_hash([example(1), example(2)])
    assert plain == content_hash([example(1), example(2)])
    changed = [
        [example(1)],
        [example(2), example(1)],
        [example(1), example(3)],
        [example(1), example(2, Split.GATE)],
        [example(1), example(2, completion="other")],
    ]
    assert len({plain, *map(content_hash, changed)}) == 6


def some(train: int, dev: int, gate: int, completion: str | None = None) -> list[Example]:
    wanted = [Split.TRAIN] * train + [Split.DEV] * dev + [Split.GATE] * gate
    return [example(number, split, completion) for number, split in enumerate(wanted)]


@pytest.mark.parametrize(("train", "dev", "gate"), [(0, 0, 0), (5, 1, 3), (6, 0, 3), (6, 1, 2), (2, 1, 3)])
def test_a_shortage_says_how_many_more(train: int, dev: int, gate: int) -> None:
    sentence = shortage(some(train, dev, gate), TrainerSettings(min_train=6, min_gate=3))
    assert sentence is not None
    assert sentence.startswith("Not enough yet: about ") and f"There are {train + dev + gate}" in sentence
    assert int(sentence.split()[4]) >= 1
    assert f"{train} to train on (6 needed) and {gate} to prove it on (3 needed)" in sentence


def test_what_was_approved_and_lost_is_told_with_the_setting_that_takes_it(bank: Store) -> None:
    bank.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Be brief.")])
    turns = [ImportedTurn(f"c{n}", f"question {n}", f"{n:04}" * 300, UP) for n in range(120)]
    load_turns(bank, "bank", [*turns, ImportedTurn("d", "question", "no", DOWN)])
    found = draft(bank, "bank", TrainerSettings())
    said = shortage(found.examples, TrainerSettings(), found.counts)
    assert said is not None and "There are 0" in said and "rated down" not in said
    assert "120: approved answer is longer than an answer may be" in said
    assert "1,024 characters" in said and "--set max_answer_tokens=512" in said
    larger = TrainerSettings(max_answer_tokens=512)
    assert len(draft(bank, "bank", larger).examples) == 120


def test_enough_is_enough_unless_all_answers_are_the_same() -> None:
    settings = TrainerSettings(min_train=6, min_gate=3)
    assert shortage(some(6, 1, 3), settings) is None
    assert sizes(some(6, 1, 3)) == {Split.TRAIN: 6, Split.DEV: 1, Split.GATE: 3}
    sentence = shortage(some(6, 1, 3, completion="yes"), settings)
    assert sentence is not None and "the same text (“yes”)" in sentence and "Not enough yet" in sentence
