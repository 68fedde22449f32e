"""An intake without personal data: what is replaced, where questions go, and what the run says about it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from imported_turns import ImportedTurn, load_turns
from retrain_scene import SETTINGS, Scene

from store import Store
from store.records import RedactionAction, RunStatus, Segment, SegmentKind, Verdict
from trainer.examples.dataset import collect, draft_for_model, newest_record, notices
from trainer.redaction.redactor import Redactor, redact_answers
from trainer.watch import new_examples


def load(store: Store, turns: Sequence[tuple[str, str]]) -> None:
    made = [ImportedTurn(f"c{n}", user, answer, Verdict.UP) for n, (user, answer) in enumerate(turns)]
    load_turns(store, "bank", made)


@pytest.fixture
def bank(store: Store) -> Store:
    store.assistants.create("bank", "Bank", "exact")
    store.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Write to help@bank.example.com.")])
    return store


def test_the_frozen_dataset_has_placeholders_and_the_conversation_has_not(scene: Scene) -> None:
    load(scene.store, [("I am ann@example.com", "Noted, ann@example.com; ask bo@example.com")])
    (example,) = draft_for_model(scene.context, "bank").examples
    assert example.context[0][1] == "I am <EMAIL_1>"
    assert example.completion == "Noted, <EMAIL_1>; ask <EMAIL_2>"
    (answer,) = scene.store.answers.rated("bank")
    assert answer.context[0][1] == "I am ann@example.com" and "bo@example.com" in answer.answer
    off = replace(scene.context, settings=replace(SETTINGS, privacy=False))
    (as_written,) = draft_for_model(off, "bank").examples
    assert as_written.completion == answer.answer and not draft_for_model(off, "bank").redacted.replacements
    scene.store.ratings.add(answer.message_id, "ann", Verdict.DOWN, correction="It was bo@example.com.")
    draft = draft_for_model(scene.context, "bank")
    assert [e.completion for e in draft.examples] == ["It was <EMAIL_2>."]
    assert draft.replaced() == {"EMAIL": 2} and len(draft.redacted.unasked) == 1


def test_the_teams_own_address_is_learned(bank: Store) -> None:
    load(bank, [("How do I reach you?", "Write to help@bank.example.com.")])
    answers = collect(bank, "bank", SETTINGS).answers
    own = [segment.text for segment in bank.prompts.latest("bank").segments]
    assert redact_answers(answers, Redactor(prompt_texts=own)).answers == answers
    elsewhere = redact_answers(answers, Redactor())
    assert elsewhere.answers[0].completion == "Write to <EMAIL_1>." and elsewhere.unasked


@pytest.mark.parametrize("at", [None, 1_760_000_000_000.0], ids=["now", "milliseconds taken for seconds"])
def test_what_was_replaced_is_not_news_for_ever(scene: Scene, at: float | None) -> None:
    if at is not None:
        scene.store.transfer._clock = lambda: at
    scene.rate(60, answer=lambda question: f"{question[6]}{sum(map(ord, question)) % 3} ann@example.com")
    assert new_examples(scene.store, "bank", SETTINGS) == 120
    dataset = scene.snapshot()
    assert {e.completion[2:] for e in dataset.examples} == {" <EMAIL_1>"}
    assert new_examples(scene.store, "bank", SETTINGS) == 0
    answer = scene.store.answers.rated("bank")[0]
    scene.store.ratings.add(answer.message_id, "ann", Verdict.DOWN, correction="bo@example.com")
    assert new_examples(scene.store, "bank", SETTINGS) == 1


def test_no_retrain_is_asked_for_that_would_find_too_few(scene: Scene) -> None:
    """Every answer becomes the same text, which no run would train on, however often it looked."""
    scene.rate(60, answer=lambda question: f"ann{sum(map(ord, question))}@example.com")
    assert not new_examples(scene.store, "bank", SETTINGS)
    assert new_examples(scene.store, "bank", replace(SETTINGS, privacy=False)) == 120
    rule = scene.store.redaction_rules.add("bank", RedactionAction.REPLACE, "(", "X")
    assert new_examples(scene.store, "bank", SETTINGS) == 120, "the run says what is wrong"
    scene.store.redaction_rules.remove("bank", rule.id)
    assert scene.run().status is RunStatus.NOT_ENOUGH


def test_a_run_says_how_much_it_replaced_and_what_nobody_asked_for(scene: Scene) -> None:
    def answer(question: str) -> str:
        number = sum(map(ord, question))
        return "bo@example.com" if number % 10 == 0 else ("red", "green")[number % 2]

    scene.rate(60, answer=answer)
    scene.store.redaction_rules.add("bank", RedactionAction.REPLACE, "Which", "WORD")
    scene.snapshot()
    record = newest_record(scene.store, "bank")
    assert record["unasked"] and record["replaced"] == {"EMAIL": record["unasked"], "WORD": 120}
    assert f"{record['unasked']} approved answers with something personal" in notices(record)[0]


def test_a_pattern_that_does_not_finish_fails_the_run(scene: Scene) -> None:
    scene.rate(60)
    rule = scene.store.redaction_rules.add("bank", RedactionAction.REPLACE, "(", "X")
    run = scene.run()
    assert run.status is RunStatus.FAILED and "no regular expression" in run.message
    assert run.dataset_id is None, "nothing is frozen that was not screened"
    scene.store.redaction_rules.remove("bank", rule.id)
    assert draft_for_model(scene.context, "bank").examples
