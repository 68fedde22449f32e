"""Prompts of which some lines differ from request to request: a date, a name, what a search has found.

Such lines are not what a prompt is: they are taken out of it and stand before the question, where they are served,
trained and proven with it, and the rest can become shorter.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from assistant.prompt_text import VARIES
from store.records import Segment, SegmentKind

Lines = tuple[str, ...]
_SHARED = 1 / 3  # of the shorter text's characters, in lines that both have: then the rest varies


@dataclass(frozen=True)
class PromptForms:
    """Texts that are one prompt, by their ids; `lines` has VARIES where some differ."""

    ids: tuple[str, ...]
    lines: Lines


def comparable(text: str) -> Lines:
    """The lines by which texts are compared: without blank ones and spaces at their ends."""
    return tuple(line.rstrip() for line in text.strip().split("\n") if line.strip())


def varying_lines(template: Lines, lines: Lines) -> Lines | None:
    """What stands in the places of VARIES where the other lines are just these; None where they are not."""
    if VARIES not in template:
        return () if template == lines else None
    first, *middle, last = _parts(template)
    end = len(lines) - len(last)
    if end < len(first) or lines[: len(first)] != first or lines[end:] != last:
        return None
    at, found = len(first), list[str]()
    for part in middle:
        places = range(at, end - len(part) + 1)
        place = next((n for n in places if lines[n : n + len(part)] == part), None)
        if place is None:
            return None
        found += lines[at:place]
        at = place + len(part)
    return (*found, *lines[at:end])


def common_template(one: Lines, other: Lines) -> Lines | None:
    """The lines that both have, with VARIES between them; None where they have too little in common."""
    least = _SHARED * min(_characters(one), _characters(other))
    # Counting is quick; where they share too little it spares the comparison of their order.
    if _characters((Counter(one) & Counter(other)).elements()) < least:
        return None
    made, at, other_at = list[str](), 0, 0
    for block in SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks():
        if block.a > at or block.b > other_at:
            made.append(VARIES)
        made += one[block.a : block.a + block.size]
        at, other_at = block.a + block.size, block.b + block.size
    return tuple(made) if _characters(made) >= least else None


def group_forms(texts: Iterable[tuple[str, str]]) -> list[PromptForms]:
    """Put (id, text) pairs that are one prompt together, in the order given."""
    groups: list[PromptForms] = []
    for id, text in texts:
        lines = comparable(text)
        for n, group in enumerate(groups):
            if (common := common_template(group.lines, lines)) is not None:
                groups[n] = PromptForms((*group.ids, id), common)
                break
        else:
            groups.append(PromptForms((id,), lines))
    return groups


def as_segments(text: str, template: Lines) -> tuple[Segment, ...]:
    """The template with the paragraphs of a text that has its lines, and a segment in each place of those that vary."""
    made, rest = list[str](), iter(text.strip().split("\n"))
    for line in template:
        if line == VARIES:
            made += ["", VARIES, ""]
            continue
        passed_over = list(iter(lambda: next(rest).rstrip(), line))
        made += ["", line] if "" in passed_over else [line]
    parts = [part.strip("\n") for part in "\n".join(made).split("\n\n")]
    return tuple(
        Segment(f"part-{n}", SegmentKind.VARYING, text=VARIES, protected=True)
        if part == VARIES
        else Segment(f"part-{n}", SegmentKind.INSTRUCTION, text=part)
        for n, part in enumerate(filter(None, parts), 1)
    )


def _parts(template: Lines) -> list[Lines]:
    """The lines before, between and after those that vary."""
    parts: list[Lines] = [()]
    for line in template:
        if line == VARIES:
            parts.append(())
        else:
            parts[-1] = (*parts[-1], line)
    return parts


def _characters(lines: Iterable[str]) -> int:
    return sum(len(line) for line in lines if line != VARIES)
