"""What the steps from the store to a dataset hand on: answers with the text to learn, and why others are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from store.approval import NotApproved
from store.records import Role, Split

Context = tuple[tuple[Role, str], ...]


class DropReason(StrEnum):
    """Why an answer is not an example, as pages and commands show it."""

    UNRATED = NotApproved.UNRATED.value
    REJECTED = NotApproved.REJECTED.value
    RATED_DOWN = NotApproved.RATED_DOWN.value
    OUTLIER_RATER = "its rater is set aside as an outlier, and no reviewer approved it"
    EMPTY = "question or approved answer is empty"
    TOO_LONG = "approved answer is longer than an answer may be"
    REPEATED = "same question and approved answer as another example"
    ONE_RATER = "its rater has given as large a share as one may"
    OLDER = "rated before the newest ones that are read (newest_answers)"
    OUTGROWN = "question and prompt are longer than the model's context"
    NEAR_GATE = "asks what a gate question asks, which may not be trained on"
    SIMILAR = "near-duplicate of other examples, of which there are enough"
    OVER_MAX = "more examples than max_train allows"


@dataclass(frozen=True)
class CollectedAnswer:
    """An answer with the text to learn; the steps up to the dataset replace its texts.

    `rater` wrote the completion or approved of it; empty for an unrated answer of the teacher, which is not `approved`.
    `judged_at` is the time of the last rating or decision (UTC seconds).
    `first_question` opened the conversation and decides its split; `split` is the one that is settled, if any.
    `teacher_prompt_id` is the prompt that the base model saw in full when it gave the completion, None for other text.
    """

    message_id: str
    conversation_id: str
    context: Context
    completion: str
    first_question: str
    split: Split | None = None
    rater: str = ""
    corrected: bool = False
    reviewed: bool = False
    approved: bool = True
    judged_at: float = 0.0
    teacher_prompt_id: int | None = None
