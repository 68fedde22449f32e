"""What is left out of imported conversations and counted: system messages, and parts of answers that nobody reads.

Reasoning and calls of tools stand in the text itself in most exports. What stands in a code block is part of the
answer, and so is a tag within a line.
"""

import re
from dataclasses import replace

from store.errors import BadRow
from store.io.records import ImportedConversation, ImportedMessage
from store.records import Role

REASONING, TOOL_CALL, SYSTEM, OTHERS = "reasoning", "tool calls", "system messages", "other answers, unrated"
MARKS = {  # what stands in a text for a part that came by itself
    REASONING: "\n<think></think>\n",
    TOOL_CALL: '\n<details type="tool_calls"></details>\n',
}

_TAGS = "think|thinking|thought|thoughts|reasoning|seed:think"
_SIGNS = {
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|channel|>analysis<|message|>": "<|end|>",
}
_PART = re.compile(  # also one without an end
    r'<details\b[^>]*\btype="(?P<details>reasoning|tool_calls|code_interpreter)"[^>]*>(?:.*?</details>|.*)'
    rf"|^[ \t]*<(?P<tag>{_TAGS})>(?:.*?</(?P=tag)>|.*)|^[ \t]*(?:"
    + "|".join(f"{re.escape(start)}(?:.*?{re.escape(end)}|.*)" for start, end in _SIGNS.items())
    + ")",
    re.MULTILINE | re.DOTALL,
)
_CLOSINGS = ("</details>", *_SIGNS.values(), *(f"</{tag}>" for tag in _TAGS.split("|")))
# Templates that open the reasoning themselves leave its end alone in the answer.
_END_ALONE = re.compile(rf"^[ \t]*(?:</(?:{_TAGS})>|\[/THINK\]|◁/think▷)[ \t]*$", re.MULTILINE)
_FINAL = "<|channel|>final<|message|>"  # gpt-oss: the channels before it are not the answer
_ENDS = re.compile(r"<\|(?:return|end)\|>\s*$")


def without_left_out(given: ImportedConversation) -> tuple[ImportedConversation, list[str]]:
    """Return what is imported, and the kind of each thing that was left out. Raises BadRow where no answer is left."""
    found = [OTHERS] * given.others
    messages = []
    for message in given.messages:
        if message.is_system:
            found.append(SYSTEM)
        else:
            messages.append(message if message.role is Role.USER else _without_reasoning(message, found))
    changed = found or any(new is not old for new, old in zip(messages, given.messages, strict=True))
    return replace(given, messages=tuple(messages)) if changed else given, found


def _without_reasoning(message: ImportedMessage, found: list[str]) -> ImportedMessage:
    texts = [message.text, *(rating.correction or "" for rating in message.ratings)]
    left = [take_off(text, found) for text in texts]
    if left == texts:
        return message
    for before, after in zip(texts, left, strict=True):
        if before.strip() and not after and (message.ratings or not message.is_context):
            raise BadRow("an answer is nothing but reasoning or calls of tools, or was cut off within them.")
    ratings = tuple(
        rating if rating.correction is None else replace(rating, correction=text)
        for rating, text in zip(message.ratings, left[1:], strict=True)
    )
    return replace(message, text=left[0], ratings=ratings)


def take_off(text: str, found: list[str]) -> str:
    """Return the answer that people read; a text without such parts as it is."""
    if not any(sign in text for sign in "<[◁"):  # nearly all, in a hundredth of the time
        return text
    before, spoken = len(found), text
    if _FINAL in text:
        found.append(REASONING)
        spoken = _ENDS.sub("", text.rpartition(_FINAL)[2])
    elif (end := _END_ALONE.search(text)) and not _PART.search(text, 0, end.start()):
        found.append(REASONING)
        spoken = text[end.end() :]

    def leave_out(part: re.Match[str]) -> str:
        above = spoken[: part.start()]
        is_word = above.strip() and not part[0].endswith(_CLOSINGS)
        if is_word or above.count("```") % 2 == 1:  # in code
            return part[0]
        found.append(TOOL_CALL if part["details"] in ("tool_calls", "code_interpreter") else REASONING)
        return ""

    left = _PART.sub(leave_out, spoken)
    return left.strip() if len(found) > before else text
