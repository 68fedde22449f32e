"""A desk with rated answers, and a reviewer who looks at them."""

from imported_turns import ImportedTurn, load_turns

from assistant.web.review_queue import ReviewQueue, ReviewSession
from store import Store
from store.records import Verdict
from store.reviews import ReviewFilter, ReviewKind

UP, DOWN = Verdict.UP, Verdict.DOWN
ALL = ReviewFilter(ReviewKind.UNDECIDED)


def rated_desk(store: Store) -> Store:
    """Three answers that are rated down, the newest corrected, and a fourth that nobody objects to."""
    store.assistants.create("desk", "Desk", "exact")
    turns = [ImportedTurn(f"c{n}", f"question {n}", f"answer {n}", DOWN, created_at=float(n)) for n in (1, 2)]
    turns.append(
        ImportedTurn("c3", "question 3", "answer 3", DOWN, correction="better", rater="ann", created_at=3.0)
    )
    turns.append(ImportedTurn("c4", "question 4", "answer 4", UP, created_at=4.0))
    load_turns(store, "desk", turns)
    return store


def shown(session: ReviewSession) -> list[str]:
    return [one.item.conversation_id for one in session.waiting]


def message(number: int) -> str:
    return f"c{number}.1.assistant"


def begun(store: Store, wanted: ReviewFilter = ALL) -> tuple[ReviewQueue, ReviewSession]:
    queue, session = ReviewQueue(store, "local"), ReviewSession()
    queue.open(session, "desk", wanted)
    return queue, session
