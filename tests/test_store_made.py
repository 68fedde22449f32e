"""The made-up store is what it says, the same every time, and the benchmark judges what it measures rightly."""

from pathlib import Path

from rich.console import Console

from benchmarks.made_store import ASSISTANTS, make_store
from benchmarks.record import Screen
from benchmarks.store_size import draw_subjects, measure
from store import Store


def made(path: Path, messages: int, ratings: int, seed: int = 1) -> Store:
    store = Store(path)
    make_store(store, messages, ratings, seed, lambda done, total: None)
    return store


def test_it_has_as_much_as_was_asked_for_and_is_sound(tmp_path: Path) -> None:
    with made(tmp_path / "a.sqlite", 3000, 900) as store:
        stats = store.maintenance.stats()
        assert 3000 <= stats["messages"] <= 3002 and 800 <= stats["ratings"] <= 900
        assert store.maintenance.check() == []
        answers = store.answers.rated(ASSISTANTS[0])
        assert len({rating.rater for answer in answers for rating in answer.ratings}) > 5
        assert any(len(answer.context) > 1 for answer in answers)
        assert any(rating.correction for answer in answers for rating in answer.ratings)
        found = [
            store.search.find(subject.assistant_id, subject.words) for subject in draw_subjects(store, 20, 1)
        ]
        assert all(found), "words are drawn from texts, so something has them"


def test_a_seed_makes_the_same_store(tmp_path: Path) -> None:
    with made(tmp_path / "a.sqlite", 1000, 300) as one, made(tmp_path / "b.sqlite", 1000, 300) as other:
        assert list(one.transfer.conversations(ASSISTANTS[0])) == list(
            other.transfer.conversations(ASSISTANTS[0])
        )


def test_everything_is_measured_and_compared_with_its_target(tmp_path: Path) -> None:
    result, aims = measure(tmp_path, 2000, 600, 50, 1, Screen(Console(quiet=True)), calls=3)
    assert {aim.name.split(",")[0] for aim in aims} >= {"training set", "savings page", "rating", "import"}
    for aim in aims:
        most = float(aim.target.split()[1])
        assert aim.met is (aim.measured >= most if aim.target.startswith("≥") else aim.measured <= most)
    assert result["import"]["first"]["rows"] == 50 * 4 and result["import"]["again"]["rows"] == 0
