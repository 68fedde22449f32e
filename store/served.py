"""A deployment → what it answered in chat, with what people think of it: what is looked at after a swap.

In: a deployment's id. Out: `ServedAnswer`s. Does not know what is good or bad.
"""

from __future__ import annotations

from store.columns import ids_json
from store.ratings import LATEST_OF_MESSAGES, ratings_by_message
from store.records import MessageStatus, ServedAnswer
from store.repository import Repository

# Two indexes, one for what was measured and one for what failed before it could be.
ANSWERS = """
    SELECT * FROM (
        SELECT m.seq, m.id, m.conversation_id, c.owner, m.status, m.text, m.created_at
        FROM messages m CROSS JOIN conversations c ON c.id = m.conversation_id
        WHERE m.deployment_id = ?1 AND m.prompt_tokens IS NOT NULL AND m.status IN ('complete', 'stopped')
            AND c.source = 'chat'
        ORDER BY m.created_at DESC LIMIT ?2)
    UNION ALL SELECT * FROM (
        SELECT m.seq, m.id, m.conversation_id, c.owner, m.status, m.text, m.created_at
        FROM messages m CROSS JOIN conversations c ON c.id = m.conversation_id
        WHERE m.deployment_id = ?1 AND m.status = 'failed' AND c.source = 'chat'
        ORDER BY m.created_at DESC LIMIT ?2)
    ORDER BY created_at DESC, seq DESC LIMIT ?2"""


class Served(Repository):
    def served(self, deployment_id: int, limit: int) -> list[ServedAnswer]:
        """The newest `limit` answers that have ended, oldest first; samples and imports were served elsewhere."""
        with self._file.reading() as transaction:
            rows = transaction.rows(ANSWERS, [deployment_id, limit])
            wanted = ids_json({row["id"] for row in rows})
            ratings = ratings_by_message(transaction.rows(LATEST_OF_MESSAGES, [wanted]))
        return [
            ServedAnswer(
                message_id=row["id"],
                conversation_id=row["conversation_id"],
                owner=row["owner"],
                status=MessageStatus(row["status"]),
                text=row["text"],
                created_at=row["created_at"],
                ratings=ratings.get(row["id"], ()),
            )
            for row in reversed(rows)
        ]
