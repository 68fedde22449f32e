"""Chats of which each message names the one before it, with the answers that were regenerated: trees of messages.

open-webui, LibreChat, ChatGPT, Claude and OASST write the same things under different names. A broken message keeps
out no branch but its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from store.errors import BadRow
from store.io.chats import Raw, rating_of, read_message, sender_of, words
from store.io.left_out import MARKS, TOOL_CALL
from store.io.meaning import Meaning
from store.io.records import ImportedConversation, ImportedMessage
from store.records import Role

Branches = list[ImportedConversation | BadRow]

_MESSAGES = ("messages", "mapping", "chat_messages")
_SHOWN = ("currentId", "current_node", "current_leaf_message_uuid")
_KEYS = ("conversation_id", "conversationId", "message_tree_id", "uuid", "id")
_IDS = ("messageId", "message_id", "uuid", "id")
_PARENTS = ("parentMessageId", "parent_message_uuid", "parentId", "parent")


@dataclass(frozen=True)
class Tree:
    """Messages by id, with the id of the one before each; `shown` is the last one of the branch that people saw."""

    nodes: Mapping[str, Raw]
    parents: Mapping[str, str | None]
    shown: str
    key: str
    title: str
    rater: str

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
                    found.append(self.conversation(path, meaning, end != self.shown))
                    covered.update(path)
            except BadRow as error:
                found.append(error)
        if found and isinstance(found[0], ImportedConversation):
            found[0] = replace(found[0], others=len(covered.union(answers)) - len(covered))
        return found

    def path(self, end: str) -> list[str]:
        found: dict[str, None] = {}
        id: str | None = end
        while id is not None:
            if id not in self.nodes or id in found:
                raise BadRow(f"message {id!r}, which leads to {end!r}, is missing or its own parent.")
            found[id] = None
            id = self.parents[id]
        return [*reversed(found)]

    def conversation(self, path: Iterable[str], meaning: Meaning, is_context: bool) -> ImportedConversation:
        """What one turn of an assistant has in several messages, with calls of tools between them, is one answer."""
        found: list[ImportedMessage] = []
        for id in path:
            one = _message(self.nodes[id], f"message {id!r}", meaning)
            if one is None:
                continue
            ratings = tuple(replace(rating, rater=self.rater) for rating in one.ratings)
            one = replace(one, ratings=ratings, is_context=is_context or one.is_context)
            if found and found[-1].role is one.role is Role.ASSISTANT:
                before = found.pop()
                text = "\n\n".join(filter(None, (before.text, one.text)))
                ratings = before.ratings + one.ratings
                one = replace(one, text=text, created_at=before.created_at, ratings=ratings)
            found.append(one)
        return ImportedConversation(tuple(found), self.key, self.title)


def _message(raw: Raw, name: str, meaning: Meaning) -> ImportedMessage | None:
    """None for what only holds others together, or is hidden."""
    metadata, content = raw.get("metadata"), raw.get("content")
    if not raw or (isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation")):
        return None
    if isinstance(content, dict) and str(content.get("content_type")).endswith("editable_context"):
        return ImportedMessage(Role.USER, "", is_system=True)  # a person's own instructions in ChatGPT
    if sender_of(raw) == "tool" or raw.get("recipient", "all") not in ("all", None):
        return ImportedMessage(Role.ASSISTANT, MARKS[TOOL_CALL], is_context=True)
    return read_message(raw, name, meaning)


def _first(row: Raw, keys: Iterable[str], default: Any = None) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), default)


def tree_of(row: Raw) -> Tree:
    """The chat may lie within its record, and its history within the chat."""
    title, found = _first(row, ("title", "name")), row
    for name in ("chat", "chat", "history"):
        if isinstance(found.get(name), dict):
            found = found[name]
            title = title or found.get("title")
    nodes: dict[str, Raw] = {}
    parents: dict[str, str | None] = {}
    for id, parent, raw in _listed(_first(found, _MESSAGES)):
        if "mapping" in found:  # ChatGPT's nodes hold the messages
            raw = one if isinstance(one := raw.get("message"), dict) else {}
        nodes[id] = raw
        # The first message of LibreChat and Claude follows an id of zeros.
        parents[id] = None if parent is None or str(parent).startswith("00000000-") else str(parent)
    shown = str(_first(found, _SHOWN))
    shown = shown if shown in nodes else next(reversed(nodes), "")
    return Tree(nodes, parents, shown, words(_first(row, _KEYS)), words(title), words(row.get("user_id")))


def _listed(messages: Any) -> Iterator[tuple[str, Any, Raw]]:
    """Id, id of the one before, and message: of messages by id, or in a list, which may hold those that follow them.

    What does not say in a list which one it follows, follows the one before it.
    """
    waiting: list[tuple[str, Any, Raw]] = []
    if isinstance(messages, dict):
        waiting = [(id, None, raw) for id, raw in messages.items() if isinstance(raw, dict)]
    for number, raw in enumerate(_objects(messages)):
        waiting.append((str(_first(raw, _IDS, number)), waiting[-1][0] if waiting else None, raw))
    waiting.reverse()
    while waiting:
        id, above, raw = waiting.pop()
        yield id, next((raw[key] for key in _PARENTS if key in raw), above), raw
        below = _objects(raw.get("replies") or raw.get("children"))
        waiting += [(str(_first(one, _IDS)), id, one) for one in reversed(below)]


def _objects(found: Any) -> list[Raw]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def read_chat(row: Raw, meaning: Meaning) -> Branches:
    return tree_of(row).branches(meaning)


def read_oasst(row: Raw, meaning: Meaning) -> Branches:
    """The branch of the replies that were ranked best."""
    best: Any = row["prompt"]
    while replies := _objects(best.get("replies")):
        last = len(replies)
        best = min(replies, key=lambda one: rank if isinstance(rank := one.get("rank"), int) else last)
    return read_chat({**row, "messages": [row["prompt"]], "currentId": _first(best, _IDS)}, meaning)


def read_feedback(row: Raw, meaning: Meaning) -> Branches:
    """open-webui's feedback export: a rating (`data`), which message it is about (`meta`) and the chat (`snapshot`)."""
    rated = str(row["meta"].get("message_id"))
    tree = tree_of(row["snapshot"] if isinstance(row.get("snapshot"), dict) else {})
    if rated not in tree.nodes:
        raise BadRow(
            f"its snapshot does not have the rated message {rated!r}. Export the feedback as JSON, under "
            "Evaluations → Feedback, from a server that keeps snapshots."
        )
    found = tree.conversation(tree.path(rated), meaning, is_context=True)
    if not found.messages or found.messages[-1].role is not Role.ASSISTANT:
        raise BadRow(f"the rated message {rated!r} is no answer.")
    at = meaning.time(row.get("updated_at") or row.get("created_at"), "updated_at")
    rating = replace(rating_of(row["data"]), rater=words(row.get("user_id")), created_at=at)
    *before, answer = (replace(one, ratings=()) for one in found.messages)
    messages = (*before, replace(answer, ratings=(rating,)))
    return [replace(found, messages=messages, key=words(row["meta"].get("chat_id")))]
