"""What the prompt itself teaches: its worked examples, and its own words.

In: segments. Out: examples to train on beside the approved ones, and a row that reads the whole prompt. Pure but for
the tokenizer. Place in the flow: beside the dataset, which holds what people rated and nothing else. Does not know how
often either is practised.
"""

from __future__ import annotations

from collections.abc import Sequence

from assistant.rendering import render
from assistant.tokenizer import ChatTokenizer
from store.records import Example, Role, Segment, SegmentKind, Split
from trainer.learning.packing import Item, PackedRow, pack


def worked_examples(segments: Sequence[Segment]) -> list[Example]:
    """The prompt's worked examples as if a person had written each as a correction."""
    return [
        Example(
            message_id=f"segment/{segment.id}",
            conversation_id=f"segment/{segment.id}",
            context=((Role.USER, segment.user),),
            completion=segment.assistant.strip(),
            corrected=True,
            split=Split.TRAIN,
        )
        for segment in segments
        if segment.kind is SegmentKind.EXAMPLE and segment.user.strip() and segment.assistant.strip()
    ]


def reading_row(tokenizer: ChatTokenizer, segments: Sequence[Segment]) -> PackedRow:
    """Every token of the full prompt is predicted from those before it, as when a model reads a text."""
    request = render(tokenizer, segments, ((Role.USER, ""),))
    ids = request.ids[: request.prompt_part]
    return pack([Item(ids[:1], ids[1:])])
