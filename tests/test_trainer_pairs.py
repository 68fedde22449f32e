"""Corrected answers to pairs: which of them count, and that their tokens are those that are served."""

from dataclasses import replace

from training_scene import PROMPT, examples

from assistant.rendering import render
from assistant.tokenizer import ChatTokenizer
from store.records import Example, Role, Split
from trainer.learning.pairs import Pair, make_pairs
from trainer.settings import TrainerSettings

ON = TrainerSettings(preference=1.0)
QUESTION = ((Role.USER, "colour?"), (Role.ASSISTANT, "red"), (Role.USER, "another one?"))
CORRECTED = Example("m", "c", QUESTION, "green", True, Split.TRAIN, rejected="a colour")


def test_a_pair_is_what_is_served_at_the_shortest_rung(tokenizer: ChatTokenizer) -> None:
    (pair,) = make_pairs(tokenizer, PROMPT, [CORRECTED], ON)
    law = [segment for segment in PROMPT if segment.protected]
    assert pair.request == render(tokenizer, law, QUESTION).ids
    assert (
        tokenizer.decode(pair.chosen[:-1]) == "green" and tokenizer.decode(pair.rejected[:-1]) == "a colour"
    )
    assert pair.chosen[-1] == pair.rejected[-1] == tokenizer.end_ids[0]
    assert "one word" not in tokenizer.decode(pair.request), "the full prompt has it"


def test_only_corrected_answers_of_the_train_split_make_pairs(tokenizer: ChatTokenizer) -> None:
    others = [
        *examples(6),
        replace(CORRECTED, split=Split.DEV),
        replace(CORRECTED, split=Split.GATE),
        replace(CORRECTED, approved=False),
        replace(CORRECTED, rejected=None),
    ]
    assert make_pairs(tokenizer, PROMPT, others, ON) == []
    assert make_pairs(tokenizer, PROMPT, [CORRECTED], TrainerSettings(preference=0.0)) == []


def test_an_answer_that_somebody_approved_is_not_rejected(tokenizer: ChatTokenizer) -> None:
    liked = replace(CORRECTED, message_id="m2", completion="a colour", corrected=False, rejected=None)
    assert make_pairs(tokenizer, PROMPT, [CORRECTED, liked], ON) == []
    elsewhere = replace(liked, context=QUESTION[2:])
    assert len(make_pairs(tokenizer, PROMPT, [CORRECTED, elsewhere], ON)) == 1


def test_an_answer_longer_than_answers_may_be_is_left_out(tokenizer: ChatTokenizer) -> None:
    (pair,) = make_pairs(tokenizer, PROMPT, [CORRECTED], ON)
    length = len(pair.rejected) - 1  # without its end token

    def found(longest: int) -> list[Pair]:
        return make_pairs(tokenizer, PROMPT, [CORRECTED], replace(ON, max_answer_tokens=longest))

    assert found(length) == [pair] and found(length - 1) == []
