"""Chats as other tools write them: messages in a list, or messages of which each names the one before it.

Only what is read is looked at, so that a broken message keeps out no branch but its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from store.errors import BadRow
from store.io.left_out import MARKS, REASONING, TOOL_CALL
from store.io.meaning import Meaning
from store.io.records import ImportedConversation, ImportedMessage, ImportedRating, finish_reason_of
from store.io.scales import Scale, is_verdict
from store.records import Role

Raw = Mapping[str, Any]

_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), Role.USER),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "ai"), Role.ASSISTANT),
}
_REASONING_PARTS = (
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reasoning",
    "reasoning_recap",
    "redacted_thinking",
)
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
_FILES = ("files", "attachments", "images", "videos", "audios")
_TIMES = ("timestamp", "create_time", "createdAt", "created_at", "created_date")
_THUMBS = Scale(zero=None)


def read_messages(messages: Any, role: Role = Role.USER, is_context: bool = False) -> list[ImportedMessage]:
    """A plain text is one message of `role`. Times are not read."""
    if isinstance(messages, str):
        return [ImportedMessage(role, messages, is_context=is_context)]
    if not isinstance(messages, (list, dict)):
        raise BadRow(f"its messages are of type {type(messages).__name__}; a list is needed.")
    listed = messages if isinstance(messages, list) else [messages]
    found = [_message(raw, f"message {number}") for number, raw in enumerate(listed, start=1)]
    return [replace(one, is_context=True) for one in found] if is_context else found


def read_list(row: Raw, meaning: Meaning, key: str) -> ImportedConversation:
    """The verdict that a row may have is about its last answer."""
    _refuse_files(row, "it")
    messages = read_messages(row[key])
    verdict = meaning.verdict(row)
    if verdict is not None and messages and messages[-1].role is Role.ASSISTANT:
        messages[-1] = replace(messages[-1], ratings=(ImportedRating(verdict),))
    return ImportedConversation(ended(messages, row))


def ended(messages: list[ImportedMessage], row: Raw) -> tuple[ImportedMessage, ...]:
    """Where the row itself says how its answer ended, the last message has it."""
    if (reason := finish_reason_of(row)) and messages:
        messages[-1] = replace(messages[-1], finish_reason=reason)
    return tuple(messages)


def _message(raw: Any, name: str, meaning: Meaning | None = None) -> ImportedMessage:
    if not isinstance(raw, Mapping):
        raise BadRow(f"{name} is no object.")
    sender = _sender(raw)
    if sender in ("system", "developer"):
        return ImportedMessage(Role.USER, "", is_system=True)
    if sender not in _ROLES:
        raise BadRow(f"{name} has the role {sender!r}. Only system, user and assistant can be imported.")
    role = _ROLES[sender]
    if role is Role.USER:
        _refuse_files(raw, name)
    given = next((raw[key] for key in _TIMES if raw.get(key) is not None), None)
    at = meaning.time(given, "time") if meaning else None
    if role is Role.USER:
        return ImportedMessage(role, _text(raw, role, name), at)
    thought = MARKS[REASONING] if any(raw.get(field) for field in _REASONING_FIELDS) else ""
    text = thought + _text(raw, role, name)
    return ImportedMessage(role, text, at, _ratings(raw), raw.get("weight") == 0, _end_of(raw))


def _end_of(raw: Raw) -> str | None:
    """Why it ended; LibreChat and open-webui mark what was interrupted, and ChatGPT has the reason one level down."""
    if raw.get("unfinished") is True or raw.get("done") is False or raw.get("error"):
        return "interrupted"
    usage = raw.get("usage")
    details = metadata.get("finish_details") if isinstance(metadata := raw.get("metadata"), dict) else None
    if isinstance(details, dict) and isinstance(details.get("type"), str):
        return str(details["type"])
    return finish_reason_of(raw) or (finish_reason_of(usage) if isinstance(usage, dict) else None)


def _sender(raw: Any) -> str:
    if not isinstance(raw, dict):
        return ""
    if isinstance(is_user := raw.get("isCreatedByUser"), bool):
        return "user" if is_user else "assistant"
    author = raw.get("author")
    names = (
        raw.get("role"),
        raw.get("from"),
        raw.get("sender"),
        author.get("role") if isinstance(author, dict) else "",
    )
    return next((name.lower() for name in names if isinstance(name, str)), "")


def _refuse_files(raw: Raw, name: str) -> None:
    metadata = raw.get("metadata")
    for holder in (raw, metadata if isinstance(metadata, dict) else {}):
        if kind := next((key for key in _FILES if holder.get(key)), None):
            raise BadRow(f"{name} comes with {kind}, without which its answer means something else.")


def _text(raw: Raw, role: Role, name: str) -> str:
    found = [raw[key] for key in ("content", "value", "text", "parts", "output") if raw.get(key) is not None]
    if not found:
        raise BadRow(f"{name} has no content. Tool calls cannot be imported.")
    return _joined(next(filter(None, found), ""), role, name)


def _joined(content: Any, role: Role, name: str) -> str:
    if isinstance(content, list):
        return "".join(_part(part, role, name) for part in content)
    return content if isinstance(content, str) else _part(content, role, name)


def _part(part: Any, role: Role, name: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise BadRow(f"{name} has a part that is {str(part)[:40]}. Only text can be imported.")
    kind = str(part.get("type") or part.get("content_type") or ", ".join(part))
    if part.get("thought") is True or kind in _REASONING_PARTS:
        return MARKS[REASONING]
    if kind in ("message", "text", "multimodal_text") and ("content" in part or "parts" in part):
        return _joined(part.get("content") or part.get("parts") or "", role, name)
    text = part.get("text")
    text = text.get("value") if isinstance(text, dict) else text
    if isinstance(text, str):
        return text
    if role is Role.ASSISTANT and any(
        word in kind.lower() for word in ("tool", "function", "code", "execution")
    ):
        return MARKS[TOOL_CALL]
    raise BadRow(f"{name} has a part of type {kind!r}. Only text can be imported.")


def _ratings(raw: Raw) -> tuple[ImportedRating, ...]:
    given = raw.get("annotation") or raw.get("feedback")
    if given is None and raw.get("score") in (1, -1):
        given = raw["score"]
    if not isinstance(given, dict):
        given = {"rating": given if is_verdict(str(given)) else None}
    verdict = _THUMBS.verdict(given.get("rating"))
    comment = _words(given.get("comment") or given.get("text"))
    if verdict is None and not comment:
        return ()
    return (ImportedRating(verdict, _words(given.get("reason") or given.get("tag")), comment),)


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(_words, value)))
    return value if isinstance(value, str) else ""


@dataclass(frozen=True)
class Tree:
    """Messages by id, with the id of the one before each; `shown` is the last one of the branch that people saw."""

    nodes: Mapping[str, Any]
    parents: Mapping[str, str | None]
    shown: str
    key: str
    title: str
    rater: str = ""

    @classmethod
    def of(
        cls, nodes: Iterable[tuple[Any, Any, Any]], row: Raw, shown: Any, key: Any, title: Any = ""
    ) -> Tree:
        """`nodes`: id, id of the one before, and the message."""
        listed = [(str(id), parent, raw) for id, parent, raw in nodes]
        by_id = {id: raw for id, _, raw in listed}
        # The first message of LibreChat follows an id of zeros.
        parents = {
            id: None if parent is None or str(parent).startswith("00000000-") else str(parent)
            for id, parent, _ in listed
        }
        last = str(shown) if str(shown) in by_id else next(reversed(by_id), "")
        return cls(by_id, parents, last, _words(key), _words(title), _words(row.get("user_id")))

    def branches(self, meaning: Meaning) -> list[ImportedConversation | BadRow]:
        """The one that is shown, and those down to other rated answers, which are all that is learned of those."""
        answers = [id for id, raw in self.nodes.items() if _sender(raw) == "assistant"]
        rated = [id for id in answers if self.nodes[id].get("annotation") or self.nodes[id].get("feedback")]
        covered: set[str] = set()
        found: list[ImportedConversation | BadRow] = []
        for end in dict.fromkeys((self.shown, *reversed(rated))):
            try:
                if end not in covered:
                    path = self.path(end)
                    messages = [
                        self._of_rater(one, end != self.shown) for one in self.messages(path, meaning)
                    ]
                    covered.update(path)
                    found.append(ImportedConversation(tuple(messages), self.key, self.title))
            except BadRow as error:
                found.append(error)
        if found and isinstance(found[0], ImportedConversation):
            found[0] = replace(found[0], others=len(covered.union(answers)) - len(covered))
        return found

    def _of_rater(self, message: ImportedMessage, is_context: bool) -> ImportedMessage:
        ratings = tuple(replace(rating, rater=self.rater) for rating in message.ratings)
        return replace(message, ratings=ratings, is_context=is_context or message.is_context)

    def path(self, end: str) -> list[str]:
        found: dict[str, None] = {}
        id: str | None = end
        while id is not None:
            if id not in self.nodes or id in found:
                raise BadRow(f"message {id!r}, which leads to {end!r}, is missing or its own parent.")
            found[id] = None
            id = self.parents[id]
        return [*reversed(found)]

    def messages(self, path: Iterable[str], meaning: Meaning) -> list[ImportedMessage]:
        """What one turn of an assistant has in several messages, with calls of tools between them, is one answer."""
        found: list[ImportedMessage] = []
        for id in path:
            message = _node(self.nodes[id], f"message {id!r}", meaning)
            if message is None:
                continue
            before = found[-1] if found else message
            if found and before.role is message.role is Role.ASSISTANT and not before.is_system:
                text = "\n\n".join(filter(None, (before.text, message.text)))
                found[-1] = replace(
                    message, text=text, created_at=before.created_at, ratings=before.ratings + message.ratings
                )
            else:
                found.append(message)
        return found


def _node(raw: Any, name: str, meaning: Meaning) -> ImportedMessage | None:
    """None for what only holds others together, or is hidden."""
    if not raw or not isinstance(raw, dict):
        return None
    metadata, content = raw.get("metadata"), raw.get("content")
    if isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation"):
        return None
    if isinstance(content, dict) and str(content.get("content_type")).endswith("editable_context"):
        return ImportedMessage(Role.USER, "", is_system=True)  # a person's own instructions in ChatGPT
    if _sender(raw) == "tool" or raw.get("recipient", "all") not in ("all", None):
        return ImportedMessage(Role.ASSISTANT, MARKS[TOOL_CALL], is_context=True)
    return _message(raw, name, meaning)


def nested(messages: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Of messages that may hold those that follow them: id, id of the one before, and the message."""
    waiting = [(raw, None) for raw in reversed(messages if isinstance(messages, list) else [])]
    while waiting:
        raw, above = waiting.pop()
        if isinstance(raw, dict):
            id = raw.get("messageId") or raw.get("message_id")
            yield id, raw.get("parentMessageId", above), raw
            below = raw.get("replies") or raw.get("children") or []
            waiting += [(one, id) for one in reversed(below if isinstance(below, list) else [])]


def read_open_webui(row: Raw, meaning: Meaning) -> list[ImportedConversation | BadRow]:
    return _open_webui(row, row.get("id")).branches(meaning)


def read_feedback(row: Raw, meaning: Meaning) -> ImportedConversation:
    """open-webui's feedback export: a rating (`data`), which message it is about (`meta`) and the chat (`snapshot`)."""
    data, meta, snapshot = (
        found if isinstance(found := row.get(name), dict) else {} for name in ("data", "meta", "snapshot")
    )
    tree, rated = _open_webui(snapshot, meta.get("chat_id")), str(meta.get("message_id"))
    if rated not in tree.nodes:
        raise BadRow(
            f"its snapshot does not have the rated message {rated!r}. Export the feedback as JSON, under "
            "Evaluations → Feedback, from a server that keeps snapshots."
        )
    messages = [replace(one, is_context=True, ratings=()) for one in tree.messages(tree.path(rated), meaning)]
    if not messages or messages[-1].role is not Role.ASSISTANT:
        raise BadRow(f"the rated message {rated!r} is no answer.")
    at = meaning.time(row.get("updated_at") or row.get("created_at"), "updated_at")
    verdict, rater = _THUMBS.verdict(data.get("rating")), _words(row.get("user_id"))
    rating = ImportedRating(verdict, _words(data.get("reason")), _words(data.get("comment")), None, rater, at)
    messages[-1] = replace(messages[-1], ratings=(rating,))
    return ImportedConversation(tuple(messages), tree.key, tree.title)


def _open_webui(row: Raw, key: Any) -> Tree:
    """The chat's record holds the chat itself, which holds its history."""
    title, found = row.get("title"), row
    for name in ("chat", "chat", "history"):
        if isinstance(found.get(name), dict):
            found = found[name]
            title = title or found.get("title")
    listed = found.get("messages")
    if isinstance(listed, list):
        listed = {str(m.get("id")): m for m in listed if isinstance(m, dict)}
    nodes = listed if isinstance(listed, dict) else {}
    parents = ((id, raw.get("parentId") if isinstance(raw, dict) else None, raw) for id, raw in nodes.items())
    return Tree.of(parents, row, found.get("currentId"), key, title)


def read_chatgpt(row: Raw, meaning: Meaning) -> list[ImportedConversation | BadRow]:
    nodes = row["mapping"] if isinstance(row["mapping"], dict) else {}
    listed = (
        (id, one.get("parent"), one.get("message")) for id, one in nodes.items() if isinstance(one, dict)
    )
    key = row.get("conversation_id") or row.get("id")
    return Tree.of(listed, row, row.get("current_node"), key, row.get("title")).branches(meaning)


def read_librechat(row: Raw, meaning: Meaning) -> list[ImportedConversation | BadRow]:
    listed = nested(row["messages"])
    return Tree.of(listed, row, None, row.get("conversationId"), row.get("title")).branches(meaning)


def read_claude(row: Raw, meaning: Meaning) -> list[ImportedConversation | BadRow]:
    """Newer exports say which message each one follows; in older ones it is the one before."""
    nodes: list[tuple[Any, Any, Any]] = []
    for number, raw in enumerate(one for one in row["chat_messages"] if isinstance(one, dict)):
        before = nodes[-1][0] if nodes else None
        nodes.append((raw.get("uuid") or number, raw.get("parent_message_uuid", before), raw))
    shown = row.get("current_leaf_message_uuid")
    return Tree.of(nodes, row, shown, row.get("uuid"), row.get("name")).branches(meaning)


def read_oasst(row: Raw, meaning: Meaning) -> list[ImportedConversation | BadRow]:
    """The branch of the replies that were ranked best."""
    best: Any = row["prompt"]
    while replies := [one for one in best.get("replies") or [] if isinstance(one, dict)]:
        best = min(
            replies, key=lambda one: rank if isinstance(rank := one.get("rank"), int) else len(replies)
        )
    tree = Tree.of(nested([row["prompt"]]), row, best.get("message_id"), row.get("message_tree_id"))
    return tree.branches(meaning)
