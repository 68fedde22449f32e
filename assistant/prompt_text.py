"""Turns the prompt that people edit (plain text or Markdown) into segments with stable ids, and back.

- paragraphs (text between blank lines) are instruction segments; a heading belongs to what follows it, and fenced code
  may hold blank lines;
- where a line of dashes (`---`) stands in the text, segments are what stands between such lines instead;
- a segment that starts with `User:` and has a line that starts with `Assistant:` is a worked example;
- `[keep]` at the start of a segment protects it: it is never left out;
- `[varies]` alone stands for lines that a program fills in anew for each request, such as a date.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count

from store.records import Segment, SegmentKind

_KEEP = "[keep]"
VARIES = "[varies]"
_SEPARATOR = re.compile(r"^[^\S\n]*---+[^\S\n]*$", re.MULTILINE)
_HEADING = re.compile(r"\s*(\[keep\]\s*)?#{1,6} ")
_FENCE = re.compile(r"\s*(\[keep\]\s*)?((User|Assistant):\s*)*```")


class PromptTextError(Exception):
    """The text cannot be read as a prompt; the message quotes the segment and says what to do."""


def parse(text: str, previous: Sequence[Segment] = ()) -> tuple[Segment, ...]:
    """Segments of the text; one that also stands in `previous` keeps its id, so its history goes on."""
    known: dict[Segment, list[str]] = defaultdict(list)
    for segment in previous:
        known[_content(segment)].append(segment.id)
    read = _read(text)
    # A new segment must not take the id of one that stays, whichever comes first. Of several alike each keeps its own.
    own = [known[_content(segment)].pop(0) if known[_content(segment)] else None for segment in read]
    taken = {id for id in own if id is not None}
    segments: list[Segment] = []
    for segment, id in zip(read, own, strict=True):
        if id is None:
            slug = _slug(segment)
            names = chain([slug], (f"{slug}-{number}" for number in count(2)))
            id = next(name for name in names if name not in taken)
            taken.add(id)
        segments.append(replace(segment, id=id))
    return tuple(segments)


def to_text(segments: Sequence[Segment]) -> str:
    """The text that `parse` reads as these segments, where `parse` made them.

    Other segments, such as those of a task file, may be read differently: an instruction that begins with `User:` as an
    example, and one with a line of dashes as two.
    """
    written = [
        (f"{_KEEP} " if segment.protected and segment.kind is not SegmentKind.VARYING else "")
        + (
            f"User: {segment.user}\nAssistant: {segment.assistant}"
            if segment.kind is SegmentKind.EXAMPLE
            else segment.text
        )
        for segment in segments
    ]
    text = "\n\n".join(written)
    with suppress(PromptTextError):
        if _read(text) == [replace(segment, id="") for segment in segments]:
            return text
    return "\n\n".join(f"{one}\n\n---" for one in written)


def _read(text: str) -> list[Segment]:
    text = re.sub("\r+\n", "\n", text)
    parts = _SEPARATOR.split(text) if _SEPARATOR.search(text) else _paragraphs(text)
    return [_segment(part.strip()) for part in parts if part.strip()]


def _paragraphs(text: str) -> list[str]:
    """Split at blank lines, except within fences and after headings."""
    paragraphs: list[list[str]] = [[]]
    fenced = heading = False
    for line in text.split("\n"):
        if line.strip() or fenced or heading:
            paragraphs[-1].append(line)
        else:
            paragraphs.append([])
        if _FENCE.match(line):
            fenced = not fenced
        if line.strip():
            heading = not fenced and _HEADING.match(line) is not None
    return ["\n".join(lines) for lines in paragraphs]


def _segment(text: str) -> Segment:
    protected = text.startswith(_KEEP)
    body = text.removeprefix(_KEEP).strip() if protected else text
    if not body:
        raise PromptTextError(
            f"'{_KEEP}' stands alone. Put it at the start of the paragraph that it protects."
        )
    if body == VARIES:
        return Segment("", SegmentKind.VARYING, text=VARIES, protected=True)
    if not body.startswith("User:"):
        return Segment("", SegmentKind.INSTRUCTION, text=body, protected=protected)
    question, _, answer = (part.strip() for part in body.removeprefix("User:").partition("\nAssistant:"))
    if not question or not answer:
        raise PromptTextError(
            f"The worked example “{body[:60]}” needs a question after 'User:' and, on a line of its own, an "
            "answer after 'Assistant:'."
        )
    return Segment("", SegmentKind.EXAMPLE, user=question, assistant=answer, protected=protected)


def _content(segment: Segment) -> Segment:
    """What makes two segments the same: all but the id and whether it is protected."""
    return replace(segment, id="", protected=False)


def _slug(segment: Segment) -> str:
    if segment.kind is SegmentKind.EXAMPLE:
        return "example"
    words = re.findall(r"[a-z0-9]+", segment.text.lower())
    return "-".join(words[:3]) or "instruction"
