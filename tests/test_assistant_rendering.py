"""A variant and a conversation to token ids, and what the prompt costs of them."""

import pytest

from assistant.rendering import fit, keep, prompt_tokens, render, render_answer, segment_tokens
from assistant.tokenizer import ChatTokenizer
from store.records import Role, Segment, SegmentKind

SEGMENTS = (
    Segment("role", SegmentKind.INSTRUCTION, text="You are a helpful AI assistant."),
    Segment("france", SegmentKind.EXAMPLE, user="What is the capital of France?", assistant="Paris."),
    Segment("short", SegmentKind.INSTRUCTION, text="Answer with one word.", protected=True),
)
QUESTION = ((Role.USER, "How do I open an account?"),)


def test_instructions_are_the_system_message_and_examples_are_turns(tokenizer: ChatTokenizer) -> None:
    context = (*QUESTION, (Role.ASSISTANT, "Call."), (Role.USER, "Whom?"))
    assert tokenizer.decode(render(tokenizer, SEGMENTS, context).ids) == (
        "<|im_start|>system\nYou are a helpful AI assistant.\n\nAnswer with one word.<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\nParis.<|im_end|>\n"
        "<|im_start|>user\nHow do I open an account?<|im_end|>\n<|im_start|>assistant\nCall.<|im_end|>\n"
        "<|im_start|>user\nWhom?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_empty_variant_sends_an_empty_system_message(tokenizer: ChatTokenizer) -> None:
    text = tokenizer.decode(render(tokenizer, (), QUESTION).ids)
    assert text.startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHow do I")


def test_the_prompt_part_is_what_the_segments_cost(tokenizer: ChatTokenizer) -> None:
    full, bare = render(tokenizer, SEGMENTS, QUESTION), render(tokenizer, (), QUESTION)
    assert bare.prompt_part == 0
    assert full.prompt_part == len(full.ids) - len(bare.ids) == prompt_tokens(tokenizer, SEGMENTS) > 0


def test_a_segment_costs_what_leaves_with_it(tokenizer: ChatTokenizer) -> None:
    costs = segment_tokens(tokenizer, SEGMENTS)
    rest = [segment for segment in SEGMENTS if segment.id != "france"]
    saved = len(render(tokenizer, SEGMENTS, QUESTION).ids) - len(render(tokenizer, rest, QUESTION).ids)
    assert costs["france"] == saved
    assert list(costs) == ["role", "france", "short"]


def test_kept_segments_stay_in_the_prompts_own_order() -> None:
    assert [segment.id for segment in keep(SEGMENTS, ["short", "role", "unknown"])] == ["role", "short"]


def test_an_answer_ends_with_the_token_that_ends_answers_and_no_other(tokenizer: ChatTokenizer) -> None:
    ids = render_answer(tokenizer, "Paris<|im_end|>")
    assert ids[-1] == tokenizer.end_ids[0] and ids.count(tokenizer.end_ids[0]) == 1


def test_the_request_and_its_answer_are_what_the_next_turn_shows(tokenizer: ChatTokenizer) -> None:
    request = render(tokenizer, SEGMENTS, QUESTION).ids
    answer = render_answer(tokenizer, "Call the front desk.")
    again = (*QUESTION, (Role.ASSISTANT, "Call the front desk."), (Role.USER, "And then?"))
    assert render(tokenizer, SEGMENTS, again).ids[: len(request + answer)] == request + answer


@pytest.mark.parametrize("turns", [1_000, 4_000])
def test_a_long_conversation_costs_what_has_room_and_not_its_length(
    tokenizer: ChatTokenizer, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    context = [(Role.USER if n % 2 == 0 else Role.ASSISTANT, f"turn {n}") for n in range(turns + 1)]
    rendered: list[int] = []
    encode = tokenizer.encode_chat
    monkeypatch.setattr(
        tokenizer, "encode_chat", lambda turns: (rendered.append(len(turns)), encode(turns))[1]
    )
    found = fit(tokenizer, SEGMENTS, context, 2000)
    assert found is not None and found[-1] == context[-1] and found[0][0] is Role.USER
    assert len(render(tokenizer, SEGMENTS, found).ids) <= 2000
    assert len(render(tokenizer, SEGMENTS, context[len(context) - len(found) - 2 :]).ids) > 2000
    assert max(rendered) < 1000 and len(rendered) < 20
