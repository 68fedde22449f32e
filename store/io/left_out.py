"""What is left out of imported conversations and counted: system messages, and parts of answers that nobody reads.

Reasoning and calls of tools stand in the text itself in most exports. What stands in a code block is part of the
answer, and so is a tag within a line.
"""

from __future__ import annotations

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
_OPENING = re.compile(
    r'<details\b[^>]*\btype="(?P<details>reasoning|tool_calls|code_interpreter)"[^>]*>'
    rf"|^[ \t]*<(?P<tag>{_TAGS})>"
    r"|^[ \t]*(?P<other>\[THINK\]|<\|begin_of_thought\|>|<\|START_THINKING\|>|◁think▷"
    r"|<\|channel\|>analysis<\|message\|>)",
    re.MULTILINE,
)
_CLOSING = {
    "[THINK]": "[/THINK]",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "◁think▷": "◁/think▷",
    "<|channel|>analysis<|message|>": "<|end|>",
}
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
            messages.append(message if message.role is Role.USER else _spoken(message, found))
    changed = found or any(new is not old for new, old in zip(messages, given.messages, strict=True))
    return replace(given, messages=tuple(messages)) if changed else given, found


def _spoken(message: ImportedMessage, found: list[str]) -> ImportedMessage:
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
    kept: list[str] = []
    before, start = len(found), 0
    channels = text.rfind(_FINAL)
    if channels >= 0:
        found.append(REASONING)
        start, text = channels + len(_FINAL), _ENDS.sub("", text)
    elif (end := _END_ALONE.search(text)) and not _OPENING.search(text, 0, end.start()):
        found.append(REASONING)
        start = end.end()
    at = start
    while opening := _OPENING.search(text, at):
        closing, kind = _closing(opening)
        end_at = text.find(closing, opening.end())
        is_code = text.count("```", start, opening.start()) % 2 == 1
        is_word = end_at < 0 and text[start : opening.start()].strip() != ""
        kept.append(text[at : opening.end() if is_code or is_word else opening.start()])
        if is_code or is_word:
            at = opening.end()
        else:
            found.append(kind)
            at = len(text) if end_at < 0 else end_at + len(closing)
    return ("".join(kept) + text[at:]).strip() if len(found) > before else text


def _closing(opening: re.Match[str]) -> tuple[str, str]:
    if details := opening["details"]:
        return "</details>", REASONING if details == REASONING else TOOL_CALL
    return f"</{opening['tag']}>" if opening["tag"] else _CLOSING[opening["other"]], REASONING
