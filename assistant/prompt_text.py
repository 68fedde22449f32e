"""Turns the prompt that people edit (plain text or Markdown) into segments with stable ids, and back.

- paragraphs (text between blank lines) are instruction segments; a heading belongs to what follows it;
- a paragraph that starts with `User:` and has a line that starts with `Assistant:` is a worked example;
- `[keep]` at the start of a paragraph protects it: it is never left out;
- blank lines stay inside a paragraph in fenced code, and where the lines after them are indented by four columns.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from store.records import Segment, SegmentKind

_KEEP = "[keep]"
_INDENT = "    "
_INDENTED = re.compile(r" {4}| {0,3}\t")  # as people may write it


class PromptTextError(Exception):
    """The text cannot be read as a prompt; the message quotes the paragraph and says what to do."""


def parse(text: str, previous: Sequence[Segment] = ()) -> tuple[Segment, ...]:
    """Segments of the text; one that also stands in `previous` keeps its id, so its history goes on."""
    known: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for segment in previous:
        known[_content(segment)].append(segment.id)
    read = [_segment(paragraph) for paragraph in _paragraphs(text)]
    # A new segment must not take the id of one that stays, whichever comes first. Of several alike each keeps its own.
    own = [known[_content(segment)].pop(0) if known[_content(segment)] else None for segment in read]
    taken = {id for id in own if id is not None}
    segments: list[Segment] = []
    for segment, id in zip(read, own, strict=True):
        if id is None:
            id = _unique(_slug(segment), taken)
            taken.add(id)
        segments.append(replace(segment, id=id))
    return tuple(segments)


def to_text(segments: Sequence[Segment]) -> str:
    """The text that `parse` reads as these segments, where `parse` made them.

    Other segments, such as those of a task file, may be read differently: an instruction that begins with `User:` as an
    example, and one with a code fence that is never closed together with what follows.
    """
    paragraphs = []
    for segment in segments:
        keep = f"{_KEEP} " if segment.protected else ""
        if segment.kind is SegmentKind.EXAMPLE:
            body = f"User: {_indent_rest(segment.user)}\nAssistant: {_indent_rest(segment.assistant)}"
        else:
            body = _indent_after_blank(segment.text)
        paragraphs.append(keep + body)
    return "\n\n".join(paragraphs)


def _paragraphs(text: str) -> list[str]:
    """Split at blank lines, except before indented lines and inside fences; headings join what follows."""
    paragraphs: list[list[str]] = []
    fenced = False
    blank = True
    for line in re.sub("\r+\n", "\n", text).split("\n"):
        if not fenced and not line.strip():
            blank = True
            continue
        goes_on = bool(paragraphs) and (
            not blank
            or fenced
            or _INDENTED.match(line)
            or re.fullmatch(r"#{1,6} .*", _bare(paragraphs[-1][-1], first=len(paragraphs[-1]) == 1))
        )
        if goes_on:
            paragraphs[-1] += ["", line] if blank and not fenced else [line]
        else:
            paragraphs.append([line])
        if _is_fence(line, paragraphs[-1]):
            fenced = not fenced
        blank = False
    return ["\n".join(lines).strip() for lines in paragraphs if "".join(lines).strip()]


def _bare(line: str, first: bool) -> str:
    """The line without the mark that may stand before a paragraph's first line."""
    return (line.lstrip().removeprefix(_KEEP) if first else line).lstrip()


def _is_fence(line: str, paragraph: Sequence[str]) -> bool:
    """Whether the paragraph's last line begins or ends code; in an example code may stand right behind a name."""
    bare = _bare(line, first=len(paragraph) == 1)
    if _bare(paragraph[0], first=True).startswith("User:"):
        bare = re.sub(r"^((User|Assistant):\s*)+", "", bare)
    return bare.startswith("```")


def _segment(paragraph: str) -> Segment:
    protected = paragraph.startswith(_KEEP)
    body = paragraph.removeprefix(_KEEP).strip() if protected else paragraph
    if not body:
        raise PromptTextError(
            f"'{_KEEP}' stands alone. Put it at the start of the paragraph that it protects."
        )
    if body.startswith("User:"):
        question, mark, answer = body.removeprefix("User:").partition("\nAssistant:")
        if not mark or not question.strip() or not answer.strip():
            raise PromptTextError(
                f"The worked example “{body[:60]}” needs a question after 'User:' and, on a line of its own, an "
                "answer after 'Assistant:'."
            )
        return Segment(
            "", SegmentKind.EXAMPLE, user=_dedent(question), assistant=_dedent(answer), protected=protected
        )
    return Segment("", SegmentKind.INSTRUCTION, text=_dedent_after_blank(body), protected=protected)


def _content(segment: Segment) -> tuple[str, str, str, str]:
    return segment.kind.value, segment.text, segment.user, segment.assistant


def _slug(segment: Segment) -> str:
    if segment.kind is SegmentKind.EXAMPLE:
        return "example"
    words = re.findall(r"[a-z0-9]+", segment.text.lower())
    return "-".join(words[:3]) or "instruction"


def _unique(wanted: str, taken: set[str]) -> str:
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _indent_rest(text: str) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(_INDENT + line if line else "" for line in rest)])


def _dedent(text: str) -> str:
    """Without the indent that all lines but the first have; code that is not indented as a whole keeps its own."""
    first, *rest = text.strip().split("\n")
    if all(_INDENTED.match(line) for line in rest if line.strip()):
        rest = [_without_indent(line) for line in rest]
    return "\n".join([first, *rest])


def _without_indent(line: str) -> str:
    indent = _INDENTED.match(line)
    return line[indent.end() :] if indent else line


def _indent_after_blank(text: str) -> str:
    """Indent everything after the first blank line outside a fence, so that the paragraph stays one."""
    return "\n".join(_map_after_blank(text, lambda line: _INDENT + line))


def _dedent_after_blank(text: str) -> str:
    return "\n".join(_map_after_blank(text, _without_indent))


def _map_after_blank(text: str, change: Callable[[str], str]) -> list[str]:
    lines: list[str] = []
    fenced = after_blank = False
    for line in text.split("\n"):
        heading_before = bool(lines) and re.fullmatch(r"#{1,6} .*", lines[-1])
        if not line and not fenced and not heading_before:
            after_blank = True
        lines.append(change(line) if after_blank and line else line)
        if line.lstrip().startswith("```"):
            fenced = not fenced
    return lines
