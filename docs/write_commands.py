"""Writes `docs/commands.md` from the help texts of the commands: `python docs/write_commands.py`."""

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import typer
from typer import rich_utils
from typer.core import TyperCommand, TyperGroup

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import app  # noqa: E402
import assistant.api.__main__  # noqa: E402
import store.__main__  # noqa: E402
import trainer.__main__  # noqa: E402
from benchmarks import loop, report  # noqa: E402

SINGLE = typer.Typer(add_completion=False)
SINGLE.command()(app.main)
PROGRAMS = typer.Typer(add_completion=False)
PROGRAMS.command()(assistant.api.__main__.main)
APPS = (
    ("python app.py", SINGLE),
    ("python -m assistant.api", PROGRAMS),
    ("python -m trainer", trainer.__main__.app),
    ("python -m store", store.__main__.app),
    ("python -m benchmarks.loop", loop.app),
    ("python -m benchmarks.report", report.app),
)
INTRODUCTION = (
    "# Commands\n\nWritten by `python docs/write_commands.py` from the commands' own help texts. "
    "`make run` is `python app.py` after installing what is missing; `make run ARGS='--sample'` passes options. "
    "The other benchmarks are listed in [benchmarks.md](benchmarks.md).\n"
)


def page() -> str:
    """The whole page as Markdown: help at a width of 100, without colours."""
    rich_utils.MAX_WIDTH, rich_utils.COLOR_SYSTEM, rich_utils.FORCE_TERMINAL = 100, None, False
    sections = [
        f"## {' '.join([name, *words])}\n\n```text\n{help_text(name, words, root)}\n```\n"
        for name, root in ((name, typer.main.get_command(group)) for name, group in APPS)
        for words in leaves(root)
    ]
    return "\n".join([INTRODUCTION, *sections])


def leaves(command: TyperCommand | TyperGroup) -> Iterator[list[str]]:
    """The words that call each command of a group."""
    if not isinstance(command, TyperGroup):
        yield []
        return
    for name, sub in command.commands.items():
        yield from ([name, *words] for words in leaves(sub))


def help_text(program: str, words: list[str], root: TyperCommand | TyperGroup) -> str:
    printed = StringIO()
    with redirect_stdout(printed):
        root.main([*words, "--help"], prog_name=program, standalone_mode=False)
    return "\n".join(line.rstrip() for line in printed.getvalue().strip("\n").splitlines())


if __name__ == "__main__":
    (ROOT / "docs" / "commands.md").write_text(page(), encoding="utf-8")
