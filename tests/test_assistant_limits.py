"""What fits into the model's context: prompts, messages and conversations that outgrow it."""

import pytest
from desk_scene import Desk

from assistant.assistants import create_assistant, load_sample, save_prompt
from assistant.chat import Chat
from assistant.limits import MAX_MESSAGE_CHARACTERS, ChatError, ChatLimits
from assistant.web import words
from store.records import Segment, SegmentKind


@pytest.mark.parametrize("saves", ["create", "save", "sample"])
def test_a_prompt_that_leaves_no_room_is_refused_where_it_is_saved(desk: Desk, saves: str) -> None:
    long = (Segment("long", SegmentKind.INSTRUCTION, text="word " * 1500),)
    limits, before = ChatLimits(1024, 32), desk.store.prompts.latest("bank")
    with pytest.raises(
        ChatError, match=r"prompt takes [\d,]+ tokens.*(1,024|256) in all.*Shorten it by about"
    ):
        if saves == "create":
            create_assistant(desk.store, desk.tokenizer, "New", "exact", long, limits=limits)
        elif saves == "save":
            save_prompt(desk.store, desk.tokenizer, "bank", long, limits)
        else:
            load_sample(desk.store, desk.tokenizer, ChatLimits(256, 32))
    assert [one.id for one in desk.store.assistants.all()] == ["bank"]
    assert desk.store.prompts.latest("bank") == before


def test_a_prompt_that_a_smaller_context_has_outgrown_is_named_on_the_page(desk: Desk) -> None:
    desk.limits = ChatLimits(context=128, answer=100)

    async def act(chat: Chat) -> tuple[int, list[str]]:
        chat._pool.context = 80
        return chat.limits.answer, chat.notices()

    answer_tokens, notices = desk.run(act)
    assert answer_tokens == 40, "a request has room for more than its answer"
    assert len(notices) == 1 and notices[0].startswith("Bank: The prompt takes")


def test_the_oldest_turns_leave_when_the_conversation_outgrows_the_context(desk: Desk) -> None:
    desk.vllm.answer = lambda model, ids: "ok"
    said = desk.ask("first question " * 10)
    for number in range(12):
        said = desk.ask(f"question number {number} " * 5, said.conversation_id)
    shown, body = desk.shown(), desk.vllm.asked()[-1]
    sent = shown.count("<|im_start|>") - 4  # without the prompt's three turns and the answer to come
    assert said.usage and said.usage.left_out_turns == 25 - sent > 0
    assert "earlier messages left out" in words.usage(said.usage)
    assert "first question" not in shown and "number 11" in shown and "number 10" in shown
    assert len(body["prompt"]) + body["max_tokens"] <= 1024
    assert "Answer with one word." in shown and "Paris." in shown
    turns = shown.split("<|im_start|>")[4:]
    assert turns[0].startswith("user")  # a question never leaves without its answer


def test_a_message_that_does_not_fit_alone_is_refused_with_both_numbers(desk: Desk) -> None:
    with pytest.raises(ChatError, match=r"take [\d,]+ tokens.*room for 992"):
        desk.ask("word " * 1500)
    assert not desk.vllm.asked()


@pytest.mark.parametrize("text", ["", "  \n", "x" * (MAX_MESSAGE_CHARACTERS + 1)])
def test_an_empty_or_endless_message_is_refused_before_anything_is_stored(desk: Desk, text: str) -> None:
    with pytest.raises(ChatError):
        desk.ask(text)
    assert not desk.store.conversations.all("bank")
