"""Answered requests → the points of the savings plot.

In: an assistant. Out: `RequestPoint`s, what each answered chat request cost. Samples and imports have no cost
here. Does not know prices.
"""

from __future__ import annotations

from store.part import Part
from store.records import RequestPoint

POINTS = """
    SELECT m.created_at, m.deployment_id, m.prompt_tokens, m.prompt_part_tokens, m.cached_tokens,
        m.first_token_s
    FROM deployments d
    CROSS JOIN messages m ON m.deployment_id = d.id AND m.prompt_tokens IS NOT NULL
    CROSS JOIN conversations c ON c.id = m.conversation_id
    WHERE d.assistant_id = ? AND m.created_at >= ? AND m.status IN ('complete', 'stopped')
        AND m.role = 'assistant' AND c.source = 'chat'
    ORDER BY m.created_at DESC, m.seq DESC LIMIT ?"""


class Savings(Part):
    def request_points(self, assistant_id: str, since: float = 0.0, limit: int = 5000) -> list[RequestPoint]:
        """The newest `limit` requests at or after `since` (UTC seconds), oldest first."""
        with self._file.reading() as transaction:
            rows = transaction.rows(POINTS, [assistant_id, since, limit])
        return [
            RequestPoint(
                at=row["created_at"],
                deployment_id=row["deployment_id"],
                prompt_tokens=row["prompt_tokens"],
                prompt_part_tokens=row["prompt_part_tokens"],
                cached_tokens=row["cached_tokens"],
                first_token_s=row["first_token_s"],
            )
            for row in reversed(rows)
        ]
