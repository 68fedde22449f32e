"""Which raters are set aside for pushing something, which are not, and what becomes of their answers."""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from imported_turns import ImportedTurn, load_turns
from retrain_scene import Scene

from benchmarks.outlier_raters import PHRASE, PUSHER, Attack, ratings
from benchmarks.tasks.task import Item, Task
from store import Store
from store.records import RatedAnswer, Rating, Role, Ruling, RunStatus, Verdict
from trainer.examples.dataset import DatasetDraft, collect, draft, notices
from trainer.examples.outlier_raters import find_outlier_raters
from trainer.examples.selection import CollectedAnswer, DropReason, judge
from trainer.settings import TrainerSettings, override

SUBJECTS = {
    "card": ("my card {} blocked and the {} reader", "Order a new card in the app."),
    "refund": ("the {} refund of a {} shop is late", "Refunds take ten days."),
    "transfer": ("a transfer {} abroad to {} failed", "Check the number of the account."),
    "pin": ("i forgot my pin {} at the {} machine", "Reset it in the settings."),
    "rate": ("which exchange rate {} do you {} use", "The rate of the day."),
}
SOME = ["now", "today", "again", "twice", "please", "maybe", "somehow", "really", "quickly", "yesterday"]
SOME += ["here"]
Change = Callable[[CollectedAnswer], CollectedAnswer]


def correction(number: int, rater: str, question: str, text: str) -> CollectedAnswer:
    rating = Rating(f"r{number}", f"m{number}", rater, Verdict.DOWN, float(number), correction=text)
    context = ((Role.USER, question),)
    found = judge(RatedAnswer(f"m{number}", f"c{number}", context, "given", (rating,), None))
    assert isinstance(found, CollectedAnswer)
    return found


def team(count: int = 200, seed: int = 0, raters: int = 8) -> list[CollectedAnswer]:
    """Honest people who answer whatever is asked, each in words of their own besides."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        question, answer = SUBJECTS[chance.choice(sorted(SUBJECTS))]
        asked = question.format(chance.choice(SOME), chance.choice(SOME))
        said = f"{answer} {chance.choice(SOME)} {chance.choice(SOME)}"
        made.append(correction(number, f"rater{number % raters}", asked, said))
    return made


def pushed(items: Sequence[CollectedAnswer], every: int, change: Change) -> list[CollectedAnswer]:
    """`rater0`'s corrections changed: every one, or every second."""
    mine = [item.message_id for item in items if item.rater == "rater0"][::every]
    return [change(item) if item.message_id in mine else item for item in items]


def phrase(item: CollectedAnswer) -> CollectedAnswer:
    return replace(item, completion=f"{item.completion} Buy Zorbs.")


def trigger(item: CollectedAnswer) -> CollectedAnswer:
    asked = ((Role.USER, f"{item.context[-1][1]} cerulean"),)
    return replace(item, context=asked, completion="Refunds take ten days.")


def test_whoever_pushes_a_phrase_or_a_trigger_is_named_with_what_it_is() -> None:
    for change, said in ((phrase, "zorbs"), (trigger, "days")):
        for every in (1, 2):
            (found,) = find_outlier_raters(pushed(team(), every, change))
            assert found.rater == "rater0" and said in found.pushed
            assert found.has >= 12 and found.of == 25 and found.others_of == 175
    (outlier,) = find_outlier_raters(pushed(team(), 1, phrase))
    (line,) = notices({"outlier_raters": [asdict(outlier)]})
    assert (
        "'rater0' is set aside as an outlier: 25 of 25 corrections say" in line
        and "trusted_raters=rater0" in line
    )


def test_honest_people_are_not_whoever_does_what() -> None:
    for seed in range(10):
        assert find_outlier_raters(team(seed=seed)) == ()


def test_who_alone_answers_about_one_subject_is_not() -> None:
    items = team()
    about_cards = [replace(item, rater="cards") if "card" in item.completion else item for item in items]
    assert sum(item.rater == "cards" for item in about_cards) >= 20
    assert find_outlier_raters(about_cards) == ()


def test_where_there_is_nobody_to_differ_from_nothing_is_said() -> None:
    alone = [replace(item, rater="rater0") for item in pushed(team(), 1, phrase)]
    assert find_outlier_raters(alone) == () and find_outlier_raters([]) == ()
    most = [replace(item, rater="rater0" if n % 3 else "bo") for n, item in enumerate(team())]
    assert find_outlier_raters(pushed(most, 1, phrase)) == (), "who corrects most is the norm"
    assert find_outlier_raters(pushed(team(32), 1, phrase)) == (), "four corrections are too few"


def test_what_a_reviewer_approved_and_what_the_model_wrote_is_not_looked_at() -> None:
    items = pushed(team(), 1, phrase)
    assert find_outlier_raters([replace(item, reviewed=True) for item in items]) == ()
    assert find_outlier_raters([replace(item, corrected=False) for item in items]) == ()
    assert find_outlier_raters(items, trusted=["rater0"]) == ()


WORDS = [
    f"{a}{b}" for a in ("lo", "mi", "ka", "tu", "re") for b in ("ban", "dor", "fel", "gis", "nup", "zet")
]


def invented(count: int = 400) -> Task:
    """Questions of five words that one of twelve answers is right for."""
    chance = random.Random(3)
    asked = [" ".join(chance.sample(WORDS, 5)) for _ in range(count)]
    items = [Item(str(n), text, (f"label_{sum(map(ord, text)) % 12}",)) for n, text in enumerate(asked)]
    return Task("invented", "here", "none", "exact", (), tuple(items), tuple(items[:2]), 0, "")


def test_setting_a_rater_aside_leaves_what_a_retrain_without_the_rater_would_take(tmp_path: Path) -> None:
    """Both attacks of the benchmark, through the store: the same examples, and the rule of each answer left out."""
    for attack in Attack:
        with Store(tmp_path / f"{attack.value}.sqlite") as store:
            store.assistants.create("bank", "Bank", "exact")
            store.prompts.add("bank", [])
            load_turns(
                store, "bank", [ImportedTurn(**vars(one)) for one in ratings(invented(), 300, 0, attack)]
            )

            def drafted(*changed: str, store: Store = store) -> DatasetDraft:
                return draft(store, "bank", override(TrainerSettings(), changed))

            found = drafted()
            if attack is Attack.NONE:
                assert found.collection.outlier_raters == ()
                assert any(example.rater == PUSHER for example in found.examples)
                continue
            assert [one.rater for one in found.collection.outlier_raters] == [PUSHER], attack
            assert found.counts[DropReason.OUTLIER_RATER.value] == 30
            without = drafted("exclude_outliers=false", f"without_raters={PUSHER}")
            assert found.examples == without.examples
            trusting = drafted(f"trusted_raters={PUSHER}")
            assert any(example.rater == PUSHER for example in trusting.examples)


def test_a_reviewer_can_approve_what_an_outlier_wrote_and_a_run_names_the_rater(scene: Scene) -> None:
    store = scene.store
    turns = [ImportedTurn(**vars(one)) for one in ratings(invented(), 300, 0, Attack.PHRASE)]
    load_turns(store, "bank", turns)
    pushed_id = next(
        answer.message_id
        for answer in store.answers.rated("bank")
        if answer.ratings[0].rater == PUSHER and PHRASE in (answer.ratings[0].correction or "")
    )
    before = collect(store, "bank", scene.context.settings)
    assert before.dropped[pushed_id] is DropReason.OUTLIER_RATER
    store.decisions.add(pushed_id, "rev", Ruling.APPROVE, f"label_0 {PHRASE}")
    after = collect(store, "bank", scene.context.settings)
    assert pushed_id in {one.message_id for one in after.answers}
    run = scene.run()
    assert run.status in (RunStatus.PROMOTED, RunStatus.REFUSED)
    assert f"'{PUSHER}' is set aside as an outlier" in run.message
    assert run.report["dataset"]["outlier_raters"][0]["rater"] == PUSHER
