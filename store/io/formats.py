"""The table of file formats. Readers raise BadRow or msgspec.ValidationError for a row that cannot be imported."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from store.errors import BadRow, StoreError
from store.io import chats, shorthand, table, traces, trees
from store.io.chats import Raw, read_messages
from store.io.meaning import COLUMNS, Meaning
from store.io.records import FullConversation, ImportedConversation, ImportedMessage, ImportedRating
from store.records import Role

Found = ImportedConversation | FullConversation | BadRow


@dataclass(frozen=True)
class Format:
    """A format of JSON rows, or a table. `columns` are those whose meaning the whole file decides."""

    name: str
    tool: str  # what writes such files
    matches: Callable[[Raw], bool] = lambda row: False
    read: Callable[[Any, Meaning], Iterable[Found]] = lambda row, meaning: ()
    columns: tuple[str, ...] = ()
    # The rows of a conversation; None: only read.
    write: Callable[[FullConversation], Iterator[Any]] | None = None


def _holds(*keys: str, **kinds: type | tuple[type, ...]) -> Callable[[Raw], bool]:
    return lambda row: (
        row.keys() >= {*keys} and all(isinstance(row.get(key), kind) for key, kind in kinds.items())
    )


def _is_librechat(row: Raw) -> bool:
    messages = row.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    return isinstance(first, dict) and ("messageId" in first or "isCreatedByUser" in first)


def _list_of(name: str, tool: str, key: str, write: Any = None) -> Format:
    return Format(name, tool, _holds(**{key: list}), partial(chats.read_list, key=key), ("verdict",), write)


def _read_completion(row: Raw, meaning: Meaning) -> list[ImportedConversation]:
    context = read_messages(row["prompt"], is_context=True)
    completion = _ending_with_answer(read_messages(row["completion"], Role.ASSISTANT), "completion")
    return [chats.with_ending([*context, *completion], row, meaning)]


def _read_preference(row: Raw, meaning: Meaning) -> list[ImportedConversation]:
    """What was chosen is the correction of what was rejected."""
    (*before_chosen, chosen), (*before, rejected) = (
        _ending_with_answer(read_messages(row[key], Role.ASSISTANT, is_context=True), key)
        for key in ("chosen", "rejected")
    )
    if before_chosen != before:
        raise BadRow("its 'chosen' and 'rejected' differ before the last message.")
    prompt = _prompt(row, meaning)
    asked, repeated = ([one for one in some if not one.is_system] for some in (prompt, before))
    if asked != repeated[: len(asked)]:  # many files repeat the prompt in both lists
        before = [*prompt, *before]
    rating = ImportedRating(None, correction=chosen.text)
    return [ImportedConversation((*before, replace(rejected, ratings=(rating,))))]


def _prompt(row: Raw, meaning: Meaning) -> list[ImportedMessage]:
    for key in ("prompt", "conversations", "messages"):
        if isinstance(row.get(key), list):
            found = read_messages(row[key], is_context=True)
            while found and found[-1].role is Role.ASSISTANT:  # many repeat what was chosen
                found.pop()
            return found
    question = meaning.cells(row).get("question")
    return read_messages(question, is_context=True) if question else []


def _ending_with_answer(messages: list[ImportedMessage], name: str) -> list[ImportedMessage]:
    if not messages or messages[-1].role is not Role.ASSISTANT:
        raise BadRow(f"its {name!r} does not end with an assistant's message.")
    return messages


def _write_openai(conversation: FullConversation) -> Iterator[Any]:
    weight: dict[Role, dict[str, Any]] = {Role.USER: {}, Role.ASSISTANT: {"weight": 0}}
    for answer, text in conversation.approved_answers():
        context = [{"role": one.role, "content": one.text, **weight[one.role]} for one in answer.context]
        yield {"messages": [*context, {"role": Role.ASSISTANT, "content": text}]}


SHORTHAND = Format("shorthand", "Shorthand", shorthand.matches, shorthand.read, write=shorthand.write)
RECORDS = Format("records", "JSON rows with columns, such as Alpaca's", columns=COLUMNS)
CSV = Format("csv", "a table", write=table.write, columns=COLUMNS)
FORMATS = (  # the first that matches a row reads it; what holds more comes first
    SHORTHAND,
    Format("trl-preference", "preferences", _holds("chosen", "rejected"), _read_preference, ("question",)),
    # With plain texts it is a table's row.
    Format(
        "trl-completion", "TRL", _holds("completion", prompt=(list, dict)), _read_completion, ("verdict",)
    ),
    Format("open-webui", "open-webui's feedback", _holds(data=dict, meta=dict), trees.read_feedback),
    Format("open-webui-chats", "open-webui's chats", _holds(chat=dict), trees.read_chat),
    Format("librechat", "LibreChat", _is_librechat, trees.read_chat),
    Format("chatgpt", "ChatGPT", _holds(mapping=dict), trees.read_chat),
    Format("oasst", "OASST", _holds(prompt=dict), trees.read_oasst),
    Format("langfuse", "Langfuse", traces.is_trace, traces.read_trace),
    Format("otlp", "OpenTelemetry", traces.is_spans, lambda row, meaning: traces.read_spans(row)),
    _list_of("openai", "OpenAI", "messages", _write_openai),
    _list_of("sharegpt", "ShareGPT", "conversations"),
    _list_of("lmsys", "LMSYS", "conversation"),
    Format("claude", "Claude", _holds(chat_messages=list), trees.read_chat),
    _list_of("gemini", "Gemini", "contents"),
    RECORDS,
    CSV,
)
NAMES = tuple(format.name for format in FORMATS)
WRITTEN = tuple(format.name for format in FORMATS if format.write)


def find_format(name: str) -> Format:
    """Raises StoreError when there is none of that name."""
    if found := next((format for format in FORMATS if format.name == name), None):
        return found
    raise StoreError(f"There is no format {name!r}. Choose one of {', '.join(NAMES)}.")
