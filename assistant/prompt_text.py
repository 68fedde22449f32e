"""The assistant's prompt as people edit it (plain text or Markdown) to segments, and back.

In: text. Out: segments with stable ids. Pure. The rules, as the page states them:

- paragraphs (text between blank lines) are instruction segments; a heading belongs to what follows it;
- a paragraph that starts with `User:` and has a line that starts with `Assistant:` is a worked example;
- `[keep]` at the start of a paragraph protects it: it is never left out;
- blank lines stay inside a paragraph in fenced code, and where the lines after them are indented by four.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from store.records import Segment, SegmentKind

_KEEP = "[keep]"
_INDENT = "    "


class PromptTextError(Exception):
    """The text cannot be read as a prompt; the message quotes the paragraph and says what to do."""


def parse(text: str, previous: Sequence[Segment] = ()) -> tuple[Segment, ...]:
    """Segments of the text; one that also stands in `previous` keeps its id, so its history goes on."""
    known = {_content(segment): segment.id for segment in previous}
    read = [_segment(paragraph) for paragraph in _paragraphs(text)]
    # A new segment must not take the id of one that stays, whichever comes first.
    stays = {known[_content(segment)] for segment in read if _content(segment) in known}
    taken: set[str] = set()
    segments: list[Segment] = []
    for segment in read:
        own = known.get(_content(segment))
        id = own if own and own not in taken else _unique(own or _slug(segment), taken | stays)
        segments.append(replace(segment, id=id))
        taken.add(segments[-1].id)
    return tuple(segments)


def to_text(segments: Sequence[Segment]) -> str:
    """The text that `parse` reads as these segments."""
    paragraphs = []
    for segment in segments:
        keep = f"{_KEEP} " if segment.protected else ""
        if segment.kind is SegmentKind.EXAMPLE:
            body = f"User: {_indent_rest(segment.user)}\nAssistant: {_indent_rest(segment.assistant)}"
        else:
            body = _indent_after_blank(segment.text)
            if re.match(r"(User:|\[keep\]|\\)", body):
                body = "\\" + body
        paragraphs.append(keep + body)
    return "\n\n".join(paragraphs)


def _paragraphs(text: str) -> list[str]:
    """Split at blank lines, except before indented lines and inside fences; headings join what follows."""
    paragraphs: list[list[str]] = []
    fenced = False
    blank = True
    for line in text.replace("\r\n", "\n").split("\n"):
        line = line if fenced else line.expandtabs(4)
        if not fenced and not line.strip():
            blank = True
            continue
        goes_on = bool(paragraphs) and (
            not blank
            or fenced
            or line.startswith(_INDENT)
            or re.fullmatch(r"#{1,6} .*", _bare(paragraphs[-1][-1], first=len(paragraphs[-1]) == 1))
        )
        if goes_on:
            paragraphs[-1] += ["", line] if blank and not fenced else [line]
        else:
            paragraphs.append([line])
        if _bare(line, first=not goes_on).startswith("```"):
            fenced = not fenced
        blank = False
    return ["\n".join(lines).strip() for lines in paragraphs if "".join(lines).strip()]


def _bare(line: str, first: bool) -> str:
    """The line without the mark that may stand before a paragraph's first line."""
    return (line.lstrip().removeprefix(_KEEP) if first else line).lstrip()


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
    text = _dedent_after_blank(body.removeprefix("\\") if body.startswith("\\") else body)
    return Segment("", SegmentKind.INSTRUCTION, text=text, protected=protected)


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
    return "\n".join(line.removeprefix(_INDENT) for line in text.strip().split("\n"))


def _indent_after_blank(text: str) -> str:
    """Indent everything after the first blank line outside a fence, so that the paragraph stays one."""
    return "\n".join(_map_after_blank(text, lambda line: _INDENT + line))


def _dedent_after_blank(text: str) -> str:
    return "\n".join(_map_after_blank(text, lambda line: line.removeprefix(_INDENT)))


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
