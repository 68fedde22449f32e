"""Conversations, ratings and decisions → rated answers: what the trainer selects its examples from.

In: an assistant, or a prompt for what its teacher answered and nobody judged. Out: `RatedAnswer`s with the turns before
each, in the same order every time. Does not know which answers are good enough to learn from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from store.columns import to_json
from store.decisions import IS_STANDING, standing_by_message
from store.part import Part
from store.ratings import IS_LATEST, ratings_by_message
from store.records import Decision, RatedAnswer, Rating, Role, Split

LATEST_OF_ASSISTANT = f"""
    SELECT r.* FROM conversations c
    CROSS JOIN messages m ON m.conversation_id = c.id
    CROSS JOIN ratings r ON r.message_id = m.id
    WHERE c.assistant_id = ? AND m.role = 'assistant' AND m.status IN ('complete', 'stopped') AND {IS_LATEST}
    ORDER BY r.seq"""

DECIDED_OF_ASSISTANT = f"""
    SELECT d.* FROM conversations c
    CROSS JOIN messages m ON m.conversation_id = c.id
    CROSS JOIN decisions d ON d.message_id = m.id
    WHERE c.assistant_id = ? AND m.role = 'assistant' AND m.status IN ('complete', 'stopped') AND {IS_STANDING}
    ORDER BY d.seq"""

# The teacher is the base model with the full prompt: no adapter, rung 0.
_TURN = """m.id, m.conversation_id, m.parent_id, m.role, m.text, m.created_at, s.split,
    CASE WHEN d.adapter IS NULL AND d.rung = 0 THEN d.prompt_id END AS teacher_prompt_id"""

TURNS_OF_RATED = f"""
    SELECT {_TURN}
    FROM conversations c
    CROSS JOIN messages m ON m.conversation_id = c.id
    LEFT JOIN splits s ON s.conversation_id = c.id
    LEFT JOIN deployments d ON d.id = m.deployment_id
    WHERE c.assistant_id = ? AND (EXISTS (
        SELECT 1 FROM messages a CROSS JOIN ratings r ON r.message_id = a.id WHERE a.conversation_id = c.id)
        OR EXISTS (
        SELECT 1 FROM messages a CROSS JOIN decisions d ON d.message_id = a.id WHERE a.conversation_id = c.id))
    ORDER BY m.created_at, m.id"""

# Newest first; every served answer has its tokens measured, so the index on those finds them by deployment.
UNRATED_OF_TEACHER = f"""
    SELECT m.id, m.conversation_id
    FROM deployments d
    CROSS JOIN messages m ON m.deployment_id = d.id AND m.prompt_tokens IS NOT NULL
    WHERE d.prompt_id = ? AND d.adapter IS NULL AND d.rung = 0 AND m.status = 'complete' AND m.text <> ''
        AND NOT EXISTS (SELECT 1 FROM ratings r WHERE r.message_id = m.id)
        AND NOT EXISTS (SELECT 1 FROM decisions d WHERE d.message_id = m.id AND {IS_STANDING})
    ORDER BY m.created_at DESC LIMIT ?"""

TURNS_OF = f"""
    SELECT {_TURN}
    FROM json_each(?) wanted
    CROSS JOIN messages m ON m.conversation_id = wanted.value
    LEFT JOIN splits s ON s.conversation_id = m.conversation_id
    LEFT JOIN deployments d ON d.id = m.deployment_id
    ORDER BY m.created_at, m.id"""


class Answers(Part):
    def rated_answers(self, assistant_id: str) -> list[RatedAnswer]:
        """Finished answers with a rating (also one that was taken back) or a decision, oldest first, then by id."""
        with self._file.reading() as transaction:
            ratings = ratings_by_message(transaction.rows(LATEST_OF_ASSISTANT, [assistant_id]))
            decided = standing_by_message(transaction.rows(DECIDED_OF_ASSISTANT, [assistant_id]))
            turns = {row["id"]: row for row in transaction.rows(TURNS_OF_RATED, [assistant_id])}
        return [
            _rated_answer(row, turns, ratings.get(id, ()), decided.get(id))
            for id, row in turns.items()
            if id in ratings or id in decided
        ]

    def unrated_answers_of_teacher(self, prompt_id: int, limit: int) -> list[RatedAnswer]:
        """Finished answers of the base model under this prompt in full that nobody rated or reviewed; the newest,
        oldest first."""
        with self._file.reading() as transaction:
            found = {
                row["id"]: row["conversation_id"]
                for row in transaction.rows(UNRATED_OF_TEACHER, [prompt_id, limit])
            }
            wanted = [to_json(sorted(set(found.values())))]
            turns = {row["id"]: row for row in transaction.rows(TURNS_OF, wanted)}
        return [_rated_answer(row, turns, ()) for id, row in turns.items() if id in found]


def _rated_answer(
    row: sqlite3.Row,
    turns: Mapping[str, sqlite3.Row],
    ratings: tuple[Rating, ...],
    decision: Decision | None = None,
) -> RatedAnswer:
    context: list[tuple[Role, str]] = []
    parent_id = row["parent_id"]
    while parent_id is not None:
        parent = turns[parent_id]
        if parent["role"] == Role.USER or parent["text"]:  # as chat sends it: without answers that failed
            context.append((Role(parent["role"]), parent["text"]))
        parent_id = parent["parent_id"]
    return RatedAnswer(
        message_id=row["id"],
        conversation_id=row["conversation_id"],
        context=tuple(reversed(context)),
        answer=row["text"],
        ratings=ratings,
        split=None if row["split"] is None else Split(row["split"]),
        teacher_prompt_id=row["teacher_prompt_id"],
        decision=decision,
    )
