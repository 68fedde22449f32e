"""Bytes of a file → its rows of JSON with their numbers, one at a time, however large the file.

In: a file open for reading bytes. Out: rows as bytes, or how large one was that is too large to be taken in. Memory is
bounded by one row. Does not parse what is in a row. The list is taken apart here since the parsers that read one in
pieces stop at the first row that is broken, and the others are to go in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from store.errors import BadRow

MAX_ROW = 16 * 2**20  # bytes; a row is one conversation, and the longest answers have thousands of characters
_CHUNK = 2**20

# Outside of texts: a whole text, or one that does not end in what was read so far, or a sign that nests or divides.
_OUTSIDE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


@dataclass(frozen=True)
class Row:
    """`number` is the line, or the place in the list, from 1; `data` is None for a row of more than MAX_ROW bytes."""

    number: int
    data: bytes | None
    size: int


def lines(file: BinaryIO, limit: int = MAX_ROW) -> Iterator[Row]:
    """One row a line; empty lines are left out but counted."""
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        size = len(line)
        if size > limit and not line.endswith(b"\n"):
            while (rest := file.readline(_CHUNK)) and not rest.endswith(b"\n"):
                size += len(rest)
            yield Row(number, None, size + len(rest))
        elif not line.isspace():
            yield Row(number, line, size)


def items(file: BinaryIO, limit: int = MAX_ROW, chunk: int = _CHUNK) -> Iterator[Row]:
    """The items of one JSON list. Raises BadRow where the list itself is broken: what follows cannot be told apart."""
    return _List(file, limit, chunk).items()


class _List:
    """Finds where items end: at a comma or the closing bracket, outside of texts and of anything nested."""

    def __init__(self, file: BinaryIO, limit: int, chunk: int) -> None:
        self._file, self._limit, self._chunk = file, limit, chunk
        self._data = b""  # read and not yet given out: the item that is being read
        self._place = 0  # how far it was looked at
        self._dropped = 0  # bytes of an item that is too large, which are no longer kept
        self._in_text = False
        self._number = 1

    def items(self) -> Iterator[Row]:
        self._next_sign()  # the list's own bracket
        self._take()
        depth = 1
        while depth:
            sign = self._next_sign()
            depth += (sign in b"[{") - (sign in b"]}")
            if depth == 0 or (depth == 1 and sign == b","):
                item = self._item()
                if depth or item.number > 1 or item.data != b"":  # an empty list has no item
                    yield item
        self._check_end()

    def _size(self) -> int:
        return self._dropped + self._place

    def _take(self) -> bytes:
        taken, self._data = self._data[: self._place], self._data[self._place :]
        self._place = self._dropped = 0
        return taken

    def _item(self) -> Row:
        size, kept = self._size() - 1, not self._dropped
        data = self._take()[:-1]
        number, self._number = self._number, self._number + 1
        return Row(number, data.strip() if kept and size <= self._limit else None, size)

    def _next_sign(self) -> bytes:
        while True:
            if self._in_text:
                inside = _INSIDE.match(self._data, self._place)
                assert inside is not None  # it matches no characters as well
                self._place = inside.end()
                if self._data[self._place : self._place + 1] != b'"':
                    self._read()  # a backslash may be the last byte so far, and belongs to what follows
                    continue
                self._place += 1
                self._in_text = False
            found = _OUTSIDE.search(self._data, self._place)
            if found is None:
                self._place = len(self._data)
                self._read()
                continue
            self._place = found.end()
            if found.group() == b'"':
                self._in_text = True
            elif len(found.group()) == 1:
                return found.group()

    def _read(self) -> None:
        if self._size() > self._limit:
            self._dropped += self._place
            self._data, self._place = self._data[self._place :], 0
        more = self._file.read(self._chunk)
        if not more:
            raise BadRow(
                "the file ends in the middle of it: it was cut off. The rows before it are complete."
            )
        self._data += more

    def _check_end(self) -> None:
        rest = self._data[self._place :] + self._file.read(self._chunk)
        if rest.strip():
            raise BadRow(f"the list has ended, but the file goes on with {rest.strip()[:40]!r}.")
