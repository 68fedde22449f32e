"""Reads rated, unrated and served answers, and what requests cost, as the trainer and the Savings page need them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter, itemgetter
from typing import Any

from store.columns import record_of
from store.connection import Repository, Transaction
from store.datasets import Splits
from store.decisions import IS_EFFECTIVE, Decisions
from store.ratings import Ratings
from store.records import MessageStatus, RatedAnswer, Role, ServedAnswer, is_whole
from store.sqlite import sqlite3


@dataclass(frozen=True)
class RequestTokens:
    """What one request cost, by part: segments of the prompt, approved answers, and the conversation itself."""

    at: float
    prompt: int
    demonstrations: int
    conversation: int


_Turn = tuple[Any, ...]  # in the order of _TURNS_OF
_Context = tuple[tuple[Role, str], ...]

_NOT_BY_THESE_ALONE = """
    EXISTS (SELECT 1 FROM ratings r WHERE r.message_id = m.id AND r.rater NOT IN (SELECT value FROM json_each(?)))"""

# Newest first, by the order in which ratings were written.
_NEWEST_RATED = f"""
    SELECT m.id, m.conversation_id
    FROM rated_answers rated CROSS JOIN messages m ON m.seq = rated.seq
    WHERE rated.assistant_id = ? AND m.role = 'assistant' AND m.status IN ('complete', 'stopped')
        AND (? OR {_NOT_BY_THESE_ALONE})
    ORDER BY rated.last_rating DESC LIMIT ?"""
# Decisions are read from the newest back: reviewers make thousands of them where raters give a million ratings.
_NEWEST_DECIDED = f"""
    SELECT m.id, m.conversation_id
    FROM decisions d CROSS JOIN messages m ON m.id = d.message_id CROSS JOIN conversations c ON c.id = m.conversation_id
    WHERE c.assistant_id = ? AND m.role = 'assistant' AND m.status IN ('complete', 'stopped') AND {IS_EFFECTIVE}
        AND d.reviewer NOT IN (SELECT value FROM json_each(?))
    ORDER BY d.seq DESC LIMIT ?"""

# Newest first; every served answer has its tokens measured, so the index on those finds them by deployment.
_SERVING = """
    SELECT d.id, d.prompt_id FROM prompts p CROSS JOIN deployments d ON d.assistant_id = p.assistant_id
    WHERE p.id = ? AND d.activated_at IS NOT NULL ORDER BY d.activated_at DESC"""
_UNRATED = f"""
    SELECT m.id, m.conversation_id, EXISTS (
        SELECT 1 FROM json_each(m.demonstrations) wanted CROSS JOIN messages s ON s.id = wanted.value
        CROSS JOIN splits ON splits.conversation_id = s.conversation_id WHERE splits.split <> 'train') AS saw_held_out
    FROM messages m CROSS JOIN conversations c ON c.id = m.conversation_id AND c.source = 'chat'
    WHERE m.deployment_id = ? AND m.prompt_tokens IS NOT NULL AND m.status = 'complete' AND m.text <> ''
        AND (m.mean_ln_p IS NOT NULL OR m.completion_tokens = 0) AND coalesce(m.finish_reason, 'stop') = 'stop'
        AND NOT EXISTS (SELECT 1 FROM ratings r WHERE r.message_id = m.id)
        AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.message_id = m.id AND {IS_EFFECTIVE})
    ORDER BY m.created_at DESC LIMIT ?"""

# Of an import what its conversations end with; what comes before may be context alone.
_UNRATED_IMPORTS = f"""
    SELECT m.id, m.conversation_id
    FROM prompts p CROSS JOIN conversations c ON c.assistant_id = p.assistant_id
    CROSS JOIN messages m ON m.id = c.head_id
    WHERE p.id = ? AND c.source = 'import' AND m.role = 'assistant' AND m.status = 'complete' AND m.text <> ''
        AND NOT EXISTS (SELECT 1 FROM ratings r WHERE r.message_id = m.id)
        AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.message_id = m.id AND {IS_EFFECTIVE})
    ORDER BY c.updated_at DESC, c.created_at DESC, c.id DESC LIMIT ?"""

_TURNS_OF = """
    SELECT m.id, m.parent_id, m.role, m.text, m.created_at, m.deployment_id, m.mean_ln_p, m.status, m.finish_reason
    FROM json_each(?) wanted CROSS JOIN messages m ON m.conversation_id = wanted.value"""
_WITH_TOOLS = """
    SELECT c.id FROM json_each(?) wanted CROSS JOIN conversations c ON c.id = wanted.value WHERE c.source = 'tools'"""

# Two indexes, one for what was measured and one for what failed before it could be.
_SERVED_WITH = """
    SELECT * FROM (
        SELECT m.seq, m.id AS message_id, m.conversation_id, c.owner, m.status, m.text, m.created_at
        FROM messages m CROSS JOIN conversations c ON c.id = m.conversation_id
        WHERE m.deployment_id = ?1 AND {} AND c.source = 'chat'
        ORDER BY m.created_at DESC LIMIT ?2)"""
_MEASURED = _SERVED_WITH.format("m.prompt_tokens IS NOT NULL AND m.status IN ('complete', 'stopped')")
_FAILED = _SERVED_WITH.format("m.status = 'failed'")
_SERVED = f"{_MEASURED} UNION ALL {_FAILED} ORDER BY created_at DESC, seq DESC LIMIT ?2"


_TOKENS = """
    SELECT created_at, prompt_part_tokens, demonstration_tokens, prompt_tokens FROM messages
    WHERE deployment_id = ? AND prompt_tokens IS NOT NULL ORDER BY created_at DESC LIMIT ?"""
_CORRECTED = """
    SELECT r.created_at FROM rated_answers a CROSS JOIN messages m ON m.seq = a.seq
    CROSS JOIN ratings r ON r.message_id = m.id
    WHERE a.assistant_id = ? AND r.correction IS NOT NULL ORDER BY a.last_rating DESC LIMIT ?"""

_JUDGED = """
    SELECT (SELECT max(seq) FROM ratings), (SELECT count(*) FROM ratings), (SELECT max(seq) FROM decisions),
        (SELECT count(*) FROM decisions), (SELECT max(id) FROM prompts), (SELECT max(id) FROM redaction_rules),
        (SELECT count(*) FROM redaction_rules)"""


class Answers(Repository):
    def rated(
        self, assistant_id: str, newest: int | None = None, without: Collection[str] = ()
    ) -> list[RatedAnswer]:
        """Return finished answers with a rating (also one that was taken back) or a decision, by time and id.

        Only the `newest` ones that were rated last and as many that were decided on last, None for all; those that only
        people of `without` judged are left out before that. Their ratings of the others are still given.
        """
        limit = -1 if newest is None else newest
        with self._file.reading() as transaction:
            decided = transaction.rows(_NEWEST_DECIDED, [assistant_id, list(without), limit])
            values = [assistant_id, not without, list(without), limit]
            return self._rated(transaction, [*transaction.rows(_NEWEST_RATED, values), *decided])

    def rated_count(self, assistant_id: str, without: Collection[str] = ()) -> int:
        """Return how many answers have a rating, also a failed answer, or a rating that was taken back."""
        if not without:
            return self._number("SELECT count(*) FROM rated_answers WHERE assistant_id = ?", [assistant_id])
        query = f"""SELECT count(*) FROM rated_answers a CROSS JOIN messages m ON m.seq = a.seq
            WHERE a.assistant_id = ? AND {_NOT_BY_THESE_ALONE}"""
        return self._number(query, [assistant_id, list(without)])

    def unrated(self, prompt_id: int, limit: int) -> list[RatedAnswer]:
        """Return finished answers that nobody rated or reviewed, with their log-probability; the oldest first.

        They are the newest ones of the deployments that served last, then imported ones. One that saw an answer of the
        gate or of dev has no log-probability, since learning it would pass that on; nor has one under another version
        of the prompt, a copied answer or an imported one: of these the question counts.
        """
        with self._file.reading() as transaction:
            found, unsure = list[sqlite3.Row](), set[str]()
            for serving in transaction.rows(_SERVING, [prompt_id]):
                rows = transaction.rows(_UNRATED, [serving["id"], limit - len(found)])
                other = serving["prompt_id"] != prompt_id
                unsure |= {row["id"] for row in rows if other or row["saw_held_out"]}
                found += rows
            found += transaction.rows(_UNRATED_IMPORTS, [prompt_id, limit - len(found)])
            return [
                replace(one, mean_ln_p=None) if one.message_id in unsure else one
                for one in self._rated(transaction, found)
            ]

    def has_unrated(self, prompt_id: int, count: int) -> bool:
        """Return whether there are as many of them."""
        with self._file.reading() as transaction:
            for serving in transaction.rows(_SERVING, [prompt_id]):
                if count > 0:
                    count -= len(transaction.rows(_UNRATED, [serving["id"], count]))
            return count <= 0 or len(transaction.rows(_UNRATED_IMPORTS, [prompt_id, count])) >= count

    def request_tokens(self, assistant_id: str, limit: int) -> list[RequestTokens]:
        """Return the tokens of the newest requests by part, oldest first, of the deployments that served last."""
        found: list[RequestTokens] = []
        with self._file.reading() as transaction:
            query = """SELECT id FROM deployments WHERE assistant_id = ? AND activated_at IS NOT NULL
                ORDER BY activated_at DESC"""
            for serving in transaction.rows(query, [assistant_id]):
                values = [serving["id"], limit - len(found)]
                for at, prompt, shown, whole in transaction.tuples(_TOKENS, values):
                    found.append(RequestTokens(at, prompt, shown or 0, whole - prompt - (shown or 0)))
        return sorted(found, key=attrgetter("at"))

    def correction_times(self, assistant_id: str, limit: int) -> list[float]:
        """Return when the newest corrections were written (UTC seconds)."""
        return [row["created_at"] for row in self._rows(_CORRECTED, [assistant_id, limit])]

    def judged(self) -> tuple[int, ...]:
        """Return what changes with each rating, decision, prompt version and redaction rule that comes or goes."""
        return tuple(self._rows(_JUDGED)[0])

    def served(self, deployment_id: int, limit: int) -> list[ServedAnswer]:
        """Return the newest `limit` answers that have ended, oldest first; samples and imports do not count."""
        with self._file.reading() as transaction:
            rows = transaction.rows(_SERVED, [deployment_id, limit])
            ratings = self._other(Ratings).latest(row["message_id"] for row in rows)
        rows.reverse()
        return [record_of(ServedAnswer, row, ratings=ratings.get(row["message_id"], ())) for row in rows]

    def _rated(self, transaction: Transaction, found: Iterable[sqlite3.Row]) -> list[RatedAnswer]:
        """Return the answers that `found` names by message and conversation, oldest first."""
        wanted = {row["id"]: row["conversation_id"] for row in found}
        conversations = [list(dict.fromkeys(wanted.values()))]
        ratings = self._other(Ratings).latest(wanted)
        decisions = self._other(Decisions).effective(wanted)
        turns = {row[0]: row for row in transaction.tuples(_TURNS_OF, conversations)}
        splits = self._other(Splits).of(conversations[0])
        with_tools = {id for (id,) in transaction.tuples(_WITH_TOOLS, conversations)}
        contexts: dict[str, _Context] = {}
        chosen = sorted((turns[id] for id in wanted), key=itemgetter(4, 0))
        return [
            RatedAnswer(
                message_id=id,
                conversation_id=wanted[id],
                context=_branch_to(parent_id, turns, contexts),
                answer=text,
                ratings=ratings.get(id, ()),
                split=splits.get(wanted[id]),
                deployment_id=served_by,
                mean_ln_p=ln_p,
                decision=decisions.get(id),
                is_whole=is_whole(MessageStatus(status), reason),
                with_tools=wanted[id] in with_tools,
            )
            for id, parent_id, _, text, _, served_by, ln_p, status, reason in chosen
        ]


def _branch_to(id: str | None, turns: Mapping[str, _Turn], contexts: dict[str, _Context]) -> _Context:
    """The turns from the first one down to this message. `contexts` are those known; they share their turns."""
    unknown = []
    while id is not None and id not in contexts:
        unknown.append(turns[id])
        id = unknown[-1][1]
    context = () if id is None else contexts[id]
    for turn_id, _, role, text, *_ in reversed(unknown):
        if role == "user" or text:  # as chat sends it: without answers that failed
            context = (*context, (Role(role), text))
        contexts[turn_id] = context
    return context
