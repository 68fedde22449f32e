"""What tracing tools write: the input and the output of each request, and the scores that people gave.

Langfuse's traces and generations, as its API, its downloads and its scheduled exports have them
(https://langfuse.com/docs/api-and-data-platform): inputs and outputs may be JSON in a text. OpenTelemetry's spans, as a
collector's file exporter writes them (OTLP as JSON), with contents as its conventions for generative AI have them, or
as OpenLLMetry and OpenInference write them: an attribute for each message.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec

from store.errors import BadRow
from store.io.chats import Raw, read_messages
from store.io.meaning import Meaning
from store.io.records import ImportedConversation, ImportedMessage, ImportedRating
from store.io.values import SCORES
from store.records import Role, Verdict

# Alpaca has inputs and outputs too.
_KEYS = ("traceId", "trace_id", "observations", "projectId", "project_id")
# gen_ai.prompt.0.content, llm.output_messages.0.message.role
_OF_MESSAGE = re.compile(
    r"(?:gen_ai|llm)\.(prompt|completion|input_messages|output_messages)\.(\d{1,6})\.(?:message\.)?(role|content)"
)


def is_trace(row: Raw) -> bool:
    return "input" in row and "output" in row and any(key in row for key in _KEYS)


def read_trace(row: Raw, meaning: Meaning) -> Sequence[ImportedConversation | BadRow]:
    """A generation, or a trace: its own input and output, else the generations in it."""
    kind = str(row.get("type") or "GENERATION").upper()
    if kind != "GENERATION":
        raise BadRow(f"it is a {kind.lower()}; only generations and traces are imported.")
    ratings = _ratings(row.get("scores"))
    if row["output"] is not None:
        return [_conversation(row, ratings)]
    inner = row.get("observations")
    made = [one for one in inner if _is_generation(one)] if isinstance(inner, list) else []
    if not made:
        raise BadRow("it has no output, and no generation in it.")
    return [_conversation(one, ratings if one is made[-1] else ()) for one in made]


def is_spans(row: Raw) -> bool:
    return isinstance(row.get("resourceSpans"), list)


def read_spans(row: Raw) -> Iterator[ImportedConversation | BadRow]:
    """A conversation for each span of a request to a model; other spans are passed over."""
    for span in _listed(row.get("resourceSpans"), "scopeSpans", "spans"):
        attributes = _attributes(span.get("attributes"))
        if not any(key.startswith(("gen_ai.", "llm.")) for key in attributes):
            continue
        asked, output = (
            _messages(attributes, f"gen_ai.{side}.messages", side) for side in ("input", "output")
        )
        if asked and output:
            instructions = _messages(attributes, "gen_ai.system_instructions")
            if instructions:
                asked = [{"role": "system", "parts": instructions}, *asked]
            yield from _read_or_refuse(asked, output[0])
        elif attributes.get("gen_ai.operation.name", "chat") in ("chat", "generate_content"):
            yield BadRow(
                "a span has no messages. Let the program record them, such as with "
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true."
            )


def _read_or_refuse(asked: Any, output: Any) -> Iterator[ImportedConversation | BadRow]:
    try:
        yield _conversation({"input": asked, "output": output}, ())
    except BadRow as error:  # the other spans of the row are good all the same
        yield error


def _listed(rows: Any, *keys: str) -> Iterator[Raw]:
    """The objects in a list, or in lists within them."""
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict):
            yield from _listed(row.get(keys[0]), *keys[1:]) if keys else [row]


def _attributes(listed: Any) -> dict[str, Any]:
    return {str(one.get("key")): _value(one.get("value")) for one in _listed(listed)}


def _value(given: Any) -> Any:
    """Of an OTLP value, such as {"stringValue": "chat"}."""
    kind, value = next(iter(given.items())) if isinstance(given, dict) and given else ("", None)
    listed = value.get("values") if isinstance(value, dict) else None
    if kind == "arrayValue":
        return [_value(one) for one in listed] if isinstance(listed, list) else []
    return _attributes(listed) if kind == "kvlistValue" else value


def _messages(attributes: Raw, name: str, side: str = "") -> list[Any]:
    """A list, or a text that is one in JSON; else, of a side, the messages that are attributes of their own."""
    found = attributes.get(name)
    with suppress(msgspec.DecodeError, RecursionError):
        found = msgspec.json.decode(found) if isinstance(found, str) else found
    if isinstance(found, list):
        return found
    names = {"input": ("prompt", "input_messages"), "output": ("completion", "output_messages")}.get(side, ())
    numbered = defaultdict[int, dict[str, Any]](dict)
    for key, value in attributes.items():
        if (match := _OF_MESSAGE.fullmatch(key)) and match[1] in names:
            numbered[int(match[2])][match[3]] = value
    return [numbered[number] for number in sorted(numbered)]


def _is_generation(row: Any) -> bool:
    return isinstance(row, dict) and row.get("type") == "GENERATION" and row.get("output") is not None


def _conversation(row: Raw, ratings: tuple[ImportedRating, ...]) -> ImportedConversation:
    asked, output = _decoded(row.get("input")), _decoded(row["output"])
    if isinstance(asked, dict):
        asked = asked.get("messages", asked.get("input", asked))
    if isinstance(output, dict) and isinstance(output.get("choices"), list) and output["choices"]:
        output = output["choices"][0]
        output = output.get("message") if isinstance(output, dict) else output
    context = read_messages(asked, is_context=True)
    if isinstance(output, dict):
        output = {"role": "assistant"} | output
    *others, answer = read_messages(output, Role.ASSISTANT) or [ImportedMessage(Role.USER, "")]
    if answer.role is not Role.ASSISTANT:
        raise BadRow("its output is not an assistant's message.")
    return ImportedConversation((*context, *others, replace(answer, ratings=ratings)))


def _decoded(value: Any) -> Any:
    """Of a text that is JSON what it says, where that can be messages; else the text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        with suppress(msgspec.DecodeError, RecursionError):
            decoded = msgspec.json.decode(value)
            listed = decoded if isinstance(decoded, list) else [decoded]
            if any(isinstance(one, dict) and one.keys() & {"role", "messages"} for one in listed):
                return decoded
    return value


def _ratings(scores: Any) -> tuple[ImportedRating, ...]:
    """One of all scores that people gave; those of a judge model (source EVAL) are nobody's rating."""
    verdicts, correction, comments = set[Verdict | None](), None, list[str]()
    for score in scores if isinstance(scores, list) else ():
        if not isinstance(score, dict) or score.get("source") == "EVAL":
            continue
        value = score.get("value")
        text = score.get("stringValue") or score.get("string_value") or value
        if isinstance(score.get("comment"), str):
            comments.append(score["comment"])
        if (score.get("dataType") or score.get("data_type")) == "CORRECTION":
            correction = text if isinstance(text, str) else correction
        elif isinstance(value, (int, float)) and 0 <= value <= 1:
            verdicts.add(SCORES.verdict(value))
    verdict = next((one for one in (Verdict.DOWN, Verdict.UP) if one in verdicts), None)
    if verdict is None and correction is None and not comments:
        return ()
    return (ImportedRating(verdict, comment=" ".join(comments), correction=correction),)
