"""Ratings that programs give, in the shapes of TensorZero and Langfuse: they count as those on the page do."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from assistant.api.admission import Caller
from assistant.api.errors import ApiError
from assistant.limits import MAX_MESSAGE_CHARACTERS
from store import Store
from store.io.values import SCORES
from store.ratings import corrected
from store.records import Rating, Verdict
from store.visible import is_blank


class FeedbackBody(msgspec.Struct, kw_only=True):
    """`POST /v1/feedback`: as TensorZero's, with the id of a completion as `inference_id`."""

    inference_id: str
    metric_name: str
    value: bool | float | str
    user: str | None = None
    dryrun: bool | None = None


class ScoreBody(msgspec.Struct, kw_only=True, rename="camel"):
    """`POST /api/public/scores`: as Langfuse's, with the id of a completion as `traceId`."""

    trace_id: str
    name: str
    value: bool | float | str
    data_type: str | None = None
    comment: str | None = None

    def as_feedback(self) -> FeedbackBody:
        value: Any = self.value
        if self.data_type == "BOOLEAN" and not isinstance(value, str):
            value = bool(value)
        name = "demonstration" if self.data_type == "CORRECTION" else self.name
        return FeedbackBody(inference_id=self.trace_id, metric_name=name, value=value)


@dataclass(frozen=True)
class Change:
    """What one piece of feedback changes of a rating; None leaves it as it is."""

    verdict: Verdict | None = None
    correction: str | None = None
    comment: str | None = None
    reason: str | None = None

    def applied(self, rating: Rating) -> Rating:
        given = {name: value for name, value in vars(self).items() if value is not None}
        changed = replace(rating, **given)
        return changed if self.correction is None else corrected(changed, self.correction)


def read_change(metric: str, value: bool | float | str) -> Change:
    """Raises ApiError for what says nothing."""
    if isinstance(value, str):
        if is_blank(value) or len(value) > MAX_MESSAGE_CHARACTERS:
            most = f"one that can be seen, and {MAX_MESSAGE_CHARACTERS:,} at most"
            raise ApiError(400, f"value has {len(value):,} characters; it needs {most}.", param="value")
        if metric == "demonstration":
            return Change(correction=value)
        return Change(comment=value if metric == "comment" else f"{metric}: {value}")
    if metric in ("demonstration", "comment"):
        raise ApiError(400, f"A {metric} is a text; value is {value!r}.", param="value")
    if not 0 <= value <= 1:
        raise ApiError(
            400,
            f"{metric} is {value:g}. Send true or false, or a number from 0 (bad) to 1 (good).",
            param="value",
        )
    verdict = SCORES.verdict(value)
    if verdict is None:
        return Change(comment=f"{metric}: {value:g}")
    return Change(verdict=verdict, reason=metric[:80])


def record_feedback(store: Store, caller: Caller, body: FeedbackBody) -> Rating | None:
    """Keep it as the rater's latest rating of that answer, which keeps what this does not change.

    `caller` sees only answers to what it asked itself. Raises ApiError, StoreError.
    """
    change = read_change(body.metric_name, body.value)
    message_id = body.inference_id.removeprefix("chatcmpl-")
    owner = store.conversations.get(store.messages.get(message_id).conversation_id).owner
    if not caller.owns(owner):
        raise ApiError(404, f"There is no answer {body.inference_id!r}.", param="inference_id")
    if body.dryrun:
        return None
    rater = caller.of_user(body.user) if body.user else owner
    return store.ratings.change(message_id, rater, change.applied)
