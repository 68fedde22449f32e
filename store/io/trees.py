"""Chats of which each message names the one before it, with the answers that were regenerated: trees of messages.

A broken message keeps out no branch but its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from store.errors import BadRow
from store.io.chats import THUMBS, Raw, read_message, sender_of, words
from store.io.left_out import MARKS, TOOL_CALL
from store.io.meaning import Meaning
from store.io.records import ImportedConversation, ImportedMessage, ImportedRating
from store.records import Role

Branches = list[ImportedConversation | BadRow]


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
        cls,
        nodes: Iterable[tuple[Any, Any, Any]],
        row: Raw,
        shown: Any,
        key: Any,
        title: Any = "",
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
        return cls(by_id, parents, last, words(key), words(title), words(row.get("user_id")))

    def branches(self, meaning: Meaning) -> Branches:
        """The one that is shown, and those down to other rated answers, which are all that is learned of those."""
        answers = [id for id, raw in self.nodes.items() if sender_of(raw) == "assistant"]
        rated = [id for id in answers if self.nodes[id].get("annotation") or self.nodes[id].get("feedback")]
        covered: set[str] = set()
        found: Branches = []
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
                    message,
                    text=text,
                    created_at=before.created_at,
                    ratings=before.ratings + message.ratings,
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
    if sender_of(raw) == "tool" or raw.get("recipient", "all") not in ("all", None):
        return ImportedMessage(Role.ASSISTANT, MARKS[TOOL_CALL], is_context=True)
    return read_message(raw, name, meaning)


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


def read_open_webui(row: Raw, meaning: Meaning) -> Branches:
    return _open_webui(row, row.get("id")).branches(meaning)


def read_feedback(row: Raw, meaning: Meaning) -> ImportedConversation:
    """open-webui's feedback export: a rating (`data`), which message it is about (`meta`) and the chat (`snapshot`)."""
    data, meta, snapshot = (
        found if isinstance(found := row.get(name), dict) else {} for name in ("data", "meta", "snapshot")
    )
    tree, rated = (
        _open_webui(snapshot, meta.get("chat_id")),
        str(meta.get("message_id")),
    )
    if rated not in tree.nodes:
        raise BadRow(
            f"its snapshot does not have the rated message {rated!r}. Export the feedback as JSON, under "
            "Evaluations → Feedback, from a server that keeps snapshots."
        )
    messages = [replace(one, is_context=True, ratings=()) for one in tree.messages(tree.path(rated), meaning)]
    if not messages or messages[-1].role is not Role.ASSISTANT:
        raise BadRow(f"the rated message {rated!r} is no answer.")
    at = meaning.time(row.get("updated_at") or row.get("created_at"), "updated_at")
    verdict, rater = THUMBS.verdict(data.get("rating")), words(row.get("user_id"))
    rating = ImportedRating(verdict, words(data.get("reason")), words(data.get("comment")), None, rater, at)
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


def read_chatgpt(row: Raw, meaning: Meaning) -> Branches:
    nodes = row["mapping"] if isinstance(row["mapping"], dict) else {}
    listed = (
        (id, one.get("parent"), one.get("message")) for id, one in nodes.items() if isinstance(one, dict)
    )
    key = row.get("conversation_id") or row.get("id")
    return Tree.of(listed, row, row.get("current_node"), key, row.get("title")).branches(meaning)


def read_librechat(row: Raw, meaning: Meaning) -> Branches:
    listed = nested(row["messages"])
    return Tree.of(listed, row, None, row.get("conversationId"), row.get("title")).branches(meaning)


def read_claude(row: Raw, meaning: Meaning) -> Branches:
    """Newer exports say which message each one follows; in older ones it is the one before."""
    nodes: list[tuple[Any, Any, Any]] = []
    for number, raw in enumerate(one for one in row["chat_messages"] if isinstance(one, dict)):
        before = nodes[-1][0] if nodes else None
        nodes.append((raw.get("uuid") or number, raw.get("parent_message_uuid", before), raw))
    shown = row.get("current_leaf_message_uuid")
    return Tree.of(nodes, row, shown, row.get("uuid"), row.get("name")).branches(meaning)


def read_oasst(row: Raw, meaning: Meaning) -> Branches:
    """The branch of the replies that were ranked best."""
    best: Any = row["prompt"]
    while replies := [one for one in best.get("replies") or [] if isinstance(one, dict)]:
        best = min(
            replies,
            key=lambda one: rank if isinstance(rank := one.get("rank"), int) else len(replies),
        )
    tree = Tree.of(nested([row["prompt"]]), row, best.get("message_id"), row.get("message_tree_id"))
    return tree.branches(meaning)
