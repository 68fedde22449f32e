"""The help texts of import and export: what a row of each format is, and what the format cannot carry.

In: the formats. Out: paragraphs for `--help`. Pure.
"""

from __future__ import annotations

from store.formats import JSON_FORMATS, table

_FORMATS = [(format.name, format.carries, format.leaves) for format in JSON_FORMATS]
_FORMATS.append((table.NAME, table.CARRIES, table.LEAVES))

EXPORT_HELP = "\n\n".join(
    [
        "Write an assistant's conversations to a new file, also while the product is running.",
        "JSON formats are written a row a line; a name that ends in .json makes one list of it.",
        *(f"{name}: one row for {carries}. Left behind: {leaves}." for name, carries, leaves in _FORMATS),
    ]
)

IMPORT_HELP = "\n\n".join(
    [
        "Bring conversations and ratings along from a file, also while the product is running.",
        "Rated answers and corrections are there to be learned from at once. Answers that the file does not rate stay "
        "unrated unless you say --approve. What is there already does not come in twice. A row that cannot be taken in "
        "is named with its line and the others go in; the exit code is then 1.",
        "Formats: shorthand (what export writes), openai (chat JSONL with messages), trl-completion (prompt and "
        "completion; a label is a rating), trl-preference (chosen is the correction of rejected), sharegpt, open-webui "
        "(its feedback export) and csv (columns question and answer, and where there are any conversation, turn, "
        "verdict, correction, reason, comment, rater and times). JSON may be a row a line or one list.",
    ]
)
