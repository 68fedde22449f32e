"""A larger model answers questions that nobody rated: asked once, with the prompt, and never for the gate."""

from collections.abc import Iterator

import pytest
from fake_chat_model import FakeChatModel, serving
from imported_turns import ImportedTurn, load_turns
from retrain_scene import PROMPT, Scene, colour

from store.records import Dataset, Split, Verdict
from trainer.examples.dataset import newest_record, notices
from trainer.examples.teacher import TEACHER, TEACHER_KEY
from trainer.settings import BadSetting, TrainerSettings, override


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeChatModel]:
    with serving(monkeypatch) as fake:
        fake.answer = colour
        yield fake


@pytest.fixture
def traffic(scene: Scene) -> Scene:
    scene.rate(20)
    scene.ask_unrated(60)
    return scene


def taught(scene: Scene, teacher: FakeChatModel, name: str = "large") -> Dataset:
    return scene.snapshot(teacher=f"{teacher.url}/v1#{name}")


def test_it_is_asked_once_with_the_whole_prompt_and_its_answers_are_trained_on(
    traffic: Scene, teacher: FakeChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TEACHER_KEY, "secret")
    dataset = taught(traffic, teacher)
    learned = [e for e in dataset.examples if not e.approved and e.split is Split.TRAIN]
    assert learned and {e.completion for e in learned} == {colour(e.context[-1][1]) for e in learned}
    first = teacher.asked[0]
    assert first["model"] == "large" and set(teacher.keys) == {"Bearer secret"}
    system, example, *_ = (message["content"] for message in first["messages"])
    assert PROMPT[0].text in system and PROMPT[1].text in system and example == PROMPT[2].user
    asked = {one["messages"][-1]["content"] for one in teacher.asked}
    held_out = {e.context[-1][1] for e in dataset.examples if e.split is not Split.TRAIN}
    assert len(asked) == len(teacher.asked) and not asked & held_out
    again = taught(traffic, teacher)
    assert len(teacher.asked) == len(asked) and again.hash == dataset.hash
    record = newest_record(traffic.store, "bank")
    assert record["taught"] == {"texts": len(asked), "asked": len(asked), "failure": ""}
    assert any("The teacher answered" in text for text in notices(record))
    (run, *_) = traffic.store.runs.all("bank")[::-1]
    assert traffic.store.runs.events(run.id, TEACHER)[0].data["total"] == len(asked)
    taught(traffic, teacher, "larger")
    assert len(teacher.asked) == 2 * len(asked), "another model may say something else"


def test_without_a_teacher_nothing_leaves_the_machine(traffic: Scene, teacher: FakeChatModel) -> None:
    traffic.snapshot()
    assert not teacher.asked and not TrainerSettings().teacher


def test_one_that_is_away_is_named_and_not_asked_for_ever(traffic: Scene, teacher: FakeChatModel) -> None:
    teacher.answer, teacher.replies = None, [401]
    dataset = taught(traffic, teacher)
    assert "grey" not in {e.completion for e in dataset.examples if e.split is Split.TRAIN}
    found = newest_record(traffic.store, "bank")["taught"]
    assert found["texts"] == 0 and found["asked"] > 20 and "large at http" in found["failure"]
    assert len(teacher.asked) < 20
    teacher.answer = colour
    taught(traffic, teacher)
    assert newest_record(traffic.store, "bank")["taught"]["texts"] == found["asked"], "the next retrain asks"


def test_personal_data_do_not_leave_and_do_not_come_back(traffic: Scene, teacher: FakeChatModel) -> None:
    words = "Which colour has the letter to ann.smith@example.com, number {}?"
    with traffic.store.writing():
        turns = [ImportedTurn(f"p{n}", words.format(n), "red", Verdict.UP) for n in range(9)]
        load_turns(traffic.store, "bank", turns)
    traffic.ask_unrated(40, "Whom do I ask about house {0}? bob{0}@example.com", "q")
    teacher.answer = lambda question: "Write to carol@example.com."
    dataset = taught(traffic, teacher)
    sent = str(teacher.asked)
    assert "@example.com" not in sent and "<EMAIL_1>" in sent
    learned = {e.completion for e in dataset.examples if not e.approved and e.split is Split.TRAIN}
    assert learned and all("carol" not in text and "<EMAIL_" in text for text in learned)


def test_an_answer_goes_with_its_conversation(traffic: Scene, teacher: FakeChatModel) -> None:
    dataset = taught(traffic, teacher)
    one = next(e for e in dataset.examples if not e.approved and e.split is Split.TRAIN)
    traffic.store.conversations.delete(one.conversation_id)
    with traffic.store._file.reading() as transaction:
        assert not transaction.rows("SELECT * FROM teacher_answers WHERE message_id = ?", [one.message_id])


@pytest.mark.parametrize("value", ["http://127.0.0.1:1", "127.0.0.1#m", "http://#"])
def test_an_address_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(BadSetting, match="teacher cannot be"):
        override(TrainerSettings(), [f"teacher={value}"])
