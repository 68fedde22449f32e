"""What the prompt itself teaches: its worked examples as corrections, and a row that reads its words."""

from dataclasses import replace

from training_scene import QUICK, examples

from assistant.rendering import prompt_tokens
from assistant.tokenizer import ChatTokenizer
from store.records import Role, Segment, SegmentKind
from trainer.learning.lessons import reading_row, worked_examples
from trainer.learning.packing import IGNORE
from trainer.learning.rows import train_rows

PROMPT = (
    Segment("role", SegmentKind.INSTRUCTION, text="Answer with one word."),
    Segment("example-1", SegmentKind.EXAMPLE, user="colour number 9", assistant=" red "),
    Segment("example-2", SegmentKind.EXAMPLE, user=" ", assistant="red"),
)


def test_worked_examples_are_learned_as_if_a_person_had_written_them() -> None:
    (found,) = worked_examples(PROMPT)
    assert found.context == ((Role.USER, "colour number 9"),) and found.completion == "red"
    assert found.corrected and found.approved


def test_the_reading_row_predicts_every_word_of_the_prompt(tokenizer: ChatTokenizer) -> None:
    row = reading_row(tokenizer, PROMPT)
    text = tokenizer.decode([row.ids[0], *row.targets])
    assert "Answer with one word." in text and "colour number 9" in text
    assert IGNORE not in row.targets and len(row.targets) == prompt_tokens(tokenizer, PROMPT) - 1


def test_a_reading_step_comes_before_its_share_of_the_others(tokenizer: ChatTokenizer) -> None:
    plain, plain_ends = train_rows(tokenizer, PROMPT, examples(16), QUICK)
    rows, ends = train_rows(tokenizer, PROMPT, examples(16), replace(QUICK, reading=0.5))
    reading = reading_row(tokenizer, PROMPT)
    assert [row for row in rows if row != reading] == plain
    assert len(plain) < len(rows) < 2 * len(plain) and ends[-1] == len(rows) and plain_ends[-1] == len(plain)
