"""Answered requests → the points of the savings plot.

In: an assistant. Out: `RequestPoints`, the prompt tokens of answered chat requests. Samples and imports have no cost
here. Does not know prices.
"""

from __future__ import annotations

from store.columns import from_json
from store.records import RequestPoints
from store.repository import Repository

SERVED_LAST = """
    SELECT d.id, (SELECT max(m.created_at) FROM messages m
        WHERE m.deployment_id = d.id AND m.prompt_tokens IS NOT NULL) AS last
    FROM deployments d WHERE d.assistant_id = ?"""
# Of one deployment, since the index has the requests of each in their order. As two JSON lists: of 5,000 rows Python
# would make as many objects, and its collection of garbage fell into more than one call of twenty for that (60 ms).
POINTS = """
    SELECT json_group_array(at) AS at, json_group_array(tokens) AS tokens FROM (
        SELECT m.created_at AS at, m.prompt_part_tokens AS tokens
        FROM messages m CROSS JOIN conversations c ON c.id = m.conversation_id
        WHERE m.deployment_id = ? AND m.prompt_tokens IS NOT NULL AND m.created_at >= ?
            AND m.status IN ('complete', 'stopped') AND m.role = 'assistant' AND c.source = 'chat'
        ORDER BY m.created_at DESC, m.seq DESC LIMIT ?)"""


class Savings(Repository):
    def request_points(self, assistant_id: str, since: float = 0.0, limit: int = 5000) -> RequestPoints:
        """The newest `limit` requests at or after `since` (UTC seconds), oldest first."""
        at: list[float] = []
        tokens: list[int] = []
        with self._file.reading() as transaction:
            served = [row for row in transaction.rows(SERVED_LAST, [assistant_id]) if row["last"] is not None]
            served.sort(key=lambda row: row["last"], reverse=True)
            for deployment in served:
                if len(at) >= limit:  # they follow each other, so two or three are read
                    since = max(since, sorted(at, reverse=True)[limit - 1])
                    if deployment["last"] < since:
                        break
                for row in transaction.rows(POINTS, [deployment["id"], since, limit]):
                    at += from_json(row["at"])
                    tokens += from_json(row["tokens"])
        newest = sorted(range(len(at)), key=lambda place: at[place], reverse=True)[:limit]
        newest.reverse()
        return RequestPoints(tuple(at[place] for place in newest), tuple(tokens[place] for place in newest))
