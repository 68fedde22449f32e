"""`python -m trainer privacy`: shows what is replaced before a retrain, and corrects it.

Exit status 2 for wrong usage or a pattern that is refused.
"""

import getpass
import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from store.records import RedactionAction, RedactionRule
from trainer.command_line import AsJson, Assistant, DataDir, console, open_assistant, print_lines
from trainer.context import TrainingContext
from trainer.examples.dataset import content_hash, draft_for_model, notices
from trainer.redaction.entities import Kind
from trainer.redaction.rules import checked_pattern, kind_name
from trainer.settings import TrainerSettings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Shows and corrects what personal data and secrets become placeholders before training.",
)
_SHOWN_CHARACTERS = 80


@app.command(epilog="Example: python -m trainer privacy show --data-dir data")
def show(data_dir: DataDir = Path("data"), assistant: Assistant = "") -> None:
    """The rules that people added, with their numbers."""
    store, name = open_assistant(data_dir, assistant)
    print_lines(f"Replaced without a rule: {', '.join(kind.value for kind in Kind)}.")
    rules = [_described(rule) for rule in store.redaction_rules.all(name)]
    print_lines(*(rules or ["No rules. Add one: python -m trainer privacy add ORDER 'ORD-[0-9]{6}'"]))


@app.command(epilog="Example: python -m trainer privacy preview --data-dir data --limit 20")
def preview(
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    limit: Annotated[int, typer.Option(min=0, help="How many replaced passages are listed.")] = 50,
    as_json: AsJson = False,
) -> None:
    """What would be replaced if the dataset were frozen now. It prints the passages themselves; nothing is recorded."""
    store, name = open_assistant(data_dir, assistant)
    draft = draft_for_model(TrainingContext.open(store, data_dir, TrainerSettings()), name)
    rows = [
        {"message": one.message_id, "kind": each.kind, "placeholder": each.placeholder, "text": each.text}
        for one in draft.examples
        for each in draft.redacted.replacements.get(one.message_id, ())
    ]
    if as_json:
        record = {
            "examples": len(draft.examples),
            "hash": content_hash(draft.examples),
            "replaced": draft.replaced(),
            "unasked": list(draft.redacted.unasked),
            "passages": rows,
        }
        print(json.dumps(record, indent=1))
        return
    kinds = Counter(row["kind"] for row in rows).most_common()
    counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds) or "nothing to replace"
    examples = len({row["message"] for row in rows})
    print_lines(f"{len(rows):,} passages in {examples:,} of {len(draft.examples):,} examples: {counted}.")
    if rows and limit:
        table = Table("message", "placeholder", "what stands there")
        for row in rows[:limit]:
            table.add_row(row["message"], row["placeholder"], escape(_shortened(row["text"])))
        console.print(table)
    if len(rows) > limit:
        print_lines(f"{len(rows) - limit:,} more: --limit, or --json for all.")
    print_lines(*notices({"unasked": len(draft.redacted.unasked)}))


@app.command(epilog="Example: python -m trainer privacy add ORDER 'ORD-[0-9]{6}'")
def add(
    kind: Annotated[str, typer.Argument(help="What its placeholders are called: ORDER becomes <ORDER_1>.")],
    text: Annotated[str, typer.Argument(help="A regular expression; with --text a text as it stands.")],
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    literal: Annotated[bool, typer.Option("--text", help="It is a text, not a regular expression.")] = False,
) -> None:
    """Replace something more. A pattern that could take for ever is refused."""
    _add(data_dir, assistant, RedactionAction.REPLACE, text, literal, kind_name(kind))


@app.command(epilog="Example: python -m trainer privacy keep support@example.com")
def keep(
    text: Annotated[
        str, typer.Argument(help="What is no secret, as it stands; with --pattern a regular expression.")
    ],
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    as_pattern: Annotated[
        bool, typer.Option("--pattern", help="It is a regular expression that matches a whole passage.")
    ] = False,
) -> None:
    """Mark a false alarm, or something public: it is no longer replaced. What stands in the prompt is kept anyway."""
    _add(data_dir, assistant, RedactionAction.KEEP, text, not as_pattern)


@app.command(epilog="Example: python -m trainer privacy remove 3")
def remove(
    rule: Annotated[int, typer.Argument(help="The rule's number; see python -m trainer privacy show.")],
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
) -> None:
    """Take a rule back."""
    store, name = open_assistant(data_dir, assistant)
    print_lines(f"Removed: {_described(store.redaction_rules.remove(name, rule))}")


def _add(
    data_dir: Path, assistant: str, action: RedactionAction, text: str, literal: bool, kind: str = ""
) -> None:
    checked_pattern(text, literal)
    store, name = open_assistant(data_dir, assistant)
    rule = store.redaction_rules.add(name, action, text, kind, literal, getpass.getuser())
    print_lines(_described(rule), "The next retrain follows it.")


def _described(rule: RedactionRule) -> str:
    what = f"{rule.action.value} {rule.kind}".strip()
    return f"{rule.id:>4}  {what:<16} {'text' if rule.literal else 'pattern':<8} {rule.pattern}  (by {rule.added_by})"


def _shortened(text: str) -> str:
    shown = text if text.isprintable() else text.encode("unicode_escape", "replace").decode()
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[: _SHOWN_CHARACTERS - 1]}…"
