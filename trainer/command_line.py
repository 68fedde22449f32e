"""What the trainer's commands share: their options, how they find the store and the assistant, and how they fail."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from assistant.adapter_files import BadAdapter
from assistant.embedding import EmbeddingError
from assistant.serving import NoServer
from assistant.tokenizer import TokenizerError
from assistant.vllm_client import VllmError
from store import Store, StoreError
from store.lock import LockTaken
from trainer.redaction.entities import RedactionError
from trainer.settings import BadSetting, TrainerSettings, defaults_in_words, override

# What a command may meet outside this program, and wrong input; the messages are for people.
_EXPECTED = (
    BadAdapter,
    BadSetting,
    EmbeddingError,
    LockTaken,
    NoServer,
    RedactionError,
    StoreError,
    TokenizerError,
    VllmError,
)
console = Console()


class Commands(TyperGroup):
    """A group whose commands end with the message and status 2 where something expected goes wrong."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _EXPECTED as error:
            fail(str(error))


DataDir = Annotated[Path, typer.Option(envvar="SHORTHAND_DATA_DIR", help="Where the app keeps its data.")]
Assistant = Annotated[
    str, typer.Option("--assistant", help="Which assistant; needed when there are several.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Everything, as JSON.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        envvar="SHORTHAND_SET",
        metavar="NAME=VALUE",
        help=f"Change a setting of the training; may be repeated. The settings are: {defaults_in_words()}.",
    ),
]


def settings_from(texts: Sequence[str] | None) -> TrainerSettings:
    """The defaults with every `name=value` applied."""
    return override(TrainerSettings(), texts or ())


def open_store(data_dir: Path, create: bool = False) -> Store:
    path = data_dir / "shorthand.sqlite"
    if not create and not path.exists():
        fail(f"There is no store at {path}. Start the app first (make run), or give --data-dir.")
    return Store(path)


def open_assistant(data_dir: Path, wanted: str) -> tuple[Store, str]:
    """The store and the assistant that is wanted; without a wish the only one there is."""
    store = open_store(data_dir)
    names = [assistant.id for assistant in store.assistants.all()]
    if not names:
        fail(
            "Not enough yet: there is no assistant. Load the sample or write a prompt on the page.", status=0
        )
    if wanted not in names and (wanted or len(names) > 1):
        but = f" (not {wanted!r})" if wanted else ""
        fail(f"Choose an assistant with --assistant: {', '.join(names)}{but}.")
    return store, wanted or names[0]


def print_lines(*lines: str) -> None:
    """Print texts as they are: people's words may look like markup."""
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def fail(message: str, status: int = 2) -> NoReturn:
    """Print the message, to stderr where the status is not 0, and end the command."""
    Console(stderr=bool(status)).print(message, soft_wrap=True, markup=False)
    raise typer.Exit(status)
