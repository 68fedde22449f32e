"""Answered requests → the points of the savings plot.

In: an assistant. Out: `RequestPoint`s, what each answered chat request cost. Samples and imports have no cost
here. Does not know prices.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from store.part import Part
from store.records import RequestPoint

SERVED_LAST = """
    SELECT d.id, (SELECT max(m.created_at) FROM messages m
        WHERE m.deployment_id = d.id AND m.prompt_tokens IS NOT NULL) AS last
    FROM deployments d WHERE d.assistant_id = ?"""
# Of one deployment, since the index has the requests of each in their order. First what orders them, and then the
# columns in the order of `RequestPoint`: 5,000 rows are made into as many points.
POINTS = """
    SELECT m.created_at, m.seq, m.deployment_id, m.prompt_tokens, m.prompt_part_tokens, m.cached_tokens, m.first_token_s
    FROM messages m CROSS JOIN conversations c ON c.id = m.conversation_id
    WHERE m.deployment_id = ? AND m.prompt_tokens IS NOT NULL AND m.created_at >= ?
        AND m.status IN ('complete', 'stopped') AND m.role = 'assistant' AND c.source = 'chat'
    ORDER BY m.created_at DESC, m.seq DESC LIMIT ?"""


class Savings(Part):
    def request_points(self, assistant_id: str, since: float = 0.0, limit: int = 5000) -> list[RequestPoint]:
        """The newest `limit` requests at or after `since` (UTC seconds), oldest first."""
        newest: list[tuple[Any, ...]] = []
        with self._file.reading() as transaction:
            served = [row for row in transaction.rows(SERVED_LAST, [assistant_id]) if row["last"] is not None]
            served.sort(key=lambda row: row["last"], reverse=True)
            for deployment in served:
                if len(newest) >= limit:  # they follow each other, so two or three are read
                    newest = _newest(newest, limit)
                    since = max(since, newest[-1][0])
                    if deployment["last"] < since:
                        break
                newest += transaction.tuples(POINTS, [deployment["id"], since, limit])
        return [RequestPoint(at, *rest) for at, _, *rest in reversed(_newest(newest, limit))]


def _newest(rows: list[tuple[Any, ...]], limit: int) -> list[tuple[Any, ...]]:
    return sorted(rows, key=itemgetter(0, 1), reverse=True)[:limit]
