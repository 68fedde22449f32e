"""Checks values on their way to SQLite, and turns plain data into JSON and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from store.errors import StoreError, Unstorable

# SQLite keeps text after a NUL but its functions and most tools cut it there; UTF-8 has no lone surrogates.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any) -> Any:
    """Return `value` unchanged; raise StoreError when it is text with a NUL or half a surrogate pair."""
    # Nearly all texts are ASCII, which is found in a tenth of the time of the search.
    if not isinstance(value, str) or (value.isascii() and "\x00" not in value):
        return value
    if found := _UNSTORABLE.search(value):
        code = ord(found.group())
        what = f"half a surrogate pair (U+{code:04X})" if code else "a NUL character"
        if 0xDC80 <= code <= 0xDCFF:  # as `surrogateescape` reads bytes that are no text
            what = f"the byte 0x{code - 0xDC00:02x}, which is not UTF-8"
        start = max(0, found.start() - 20)
        raise Unstorable(
            f"Cannot save this text: character {found.start()} is {what}, near "
            f"{value[start : found.start() + 20]!r}. Remove or replace that character and save again."
        )
    return value


def to_json(value: Any) -> str:
    """Return JSON with sorted keys, so that equal values are equal text.

    NaN and infinity stay as Python's json writes them: a diverged loss is a thing that a run has to record.
    """
    _check_inside(value)
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"Cannot save this value as JSON: {error}. Use text, numbers, lists and dicts."
        ) from error


def _check_inside(value: Any) -> None:
    # json.dumps escapes a NUL, so the check of the whole column would not see it.
    if isinstance(value, str):
        storable(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_inside(key)
            _check_inside(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_inside(item)


def from_json(text: str) -> Any:
    """Read back what to_json wrote."""
    return json.loads(text)


def ids_json(ids: Iterable[str]) -> str:
    """Return ids as one JSON list for `IN (SELECT value FROM json_each(?))`: no limit on how many."""
    return to_json(list(ids))
