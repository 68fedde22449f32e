"""What a JSON file format is to the commands: its name, what it cannot carry, and how its rows read and write.

In: nothing. Out: the type that every module of this folder fills in. Does not know files, containers or the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from store.carried import AssistantCard, CarriedConversation, WholeConversation

Read = Callable[[bytes], CarriedConversation | WholeConversation | None]
Write = Callable[[WholeConversation], Iterator[object]]


@dataclass(frozen=True)
class Format:
    """Rows of JSON, one a line or all in one list."""

    name: str
    carries: str  # what a row is, to end “one row for ”
    leaves: str  # what is left behind
    recognises: Callable[[Mapping[str, Any]], bool]  # whether a row is of this format
    read: Read  # raises BadRow, msgspec.DecodeError or UnicodeDecodeError; None for a row that holds no conversation
    write: Write
    is_list: bool = False  # written as one JSON list, where the file's name does not say otherwise
    heading: Callable[[AssistantCard], object] | None = None  # the first row, if there is a special one
