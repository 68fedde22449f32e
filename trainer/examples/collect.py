"""Collect what a dataset could hold: approved answers, and unrated ones of a teacher that people approve of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from store import Store
from store.approval import Approval, approval
from store.garbage import without_collecting
from store.records import RatedAnswer
from trainer.examples.outlier_raters import OutlierRater, find_outlier_raters
from trainer.examples.raters import exclude_raters, over_share
from trainer.examples.records import CollectedAnswer, Context, DropReason
from trainer.settings import TrainerSettings

ENOUGH_RATED = 10  # rated answers of the teacher before their share says anything


@dataclass(frozen=True)
class Collection:
    """`dropped` has the reason for each answer read that is not in `answers`; `older` rated answers were not read.

    `teacher_approval` is the share of the teacher's rated answers that people approve of, None while too few are rated.
    """

    prompt_id: int
    answers: tuple[CollectedAnswer, ...]
    dropped: dict[str, DropReason]
    older: int = 0
    outlier_raters: tuple[OutlierRater, ...] = ()
    teacher_approval: float | None = None


@without_collecting()
def collect(store: Store, assistant_id: str, settings: TrainerSettings) -> Collection:
    """Read the newest rated answers and apply approval, raters and share. Raises NotFound without a prompt."""
    prompt_id = store.prompts.latest(assistant_id).id
    limit, excluded = settings.newest_answers, settings.without_raters
    newest = store.answers.rated(assistant_id, limit, excluded)
    rated = sum(bool(answer.ratings) for answer in newest)  # the others were reviewed, not rated
    older = store.answers.rated_count(assistant_id, excluded) - rated if rated >= limit else 0
    answers, _ = exclude_raters(newest, excluded, decisions_too=True)
    outliers: tuple[OutlierRater, ...] = ()
    if settings.exclude_outliers:
        outliers = find_outlier_raters(_approved(answers), settings.trusted_raters)
    answers, left_out = exclude_raters(answers, {one.rater for one in outliers})
    approved, dropped = select(answers, settings.max_answer_characters, settings.rater_share)
    dropped |= dict.fromkeys(left_out, DropReason.OUTLIER_RATER)
    share = approval_of_teacher(answers, prompt_id)
    unrated: list[CollectedAnswer] = []
    if settings.distillation > 0 and share is not None and share >= settings.teacher_approval:
        found = store.answers.unrated_of_teacher(prompt_id, settings.teacher_answers)
        unrated = [unrated_of_teacher(answer) for answer in found]
        unrated = [one for one in unrated if 0 < len(one.completion) <= settings.max_answer_characters]
    return Collection(prompt_id, (*approved, *unrated), dropped, older, outliers, share)


def select(
    answers: Sequence[RatedAnswer], max_characters: int, rater_share: float = 1.0
) -> tuple[list[CollectedAnswer], dict[str, DropReason]]:
    """Approved answers in the order given, and message id -> reason for all others.

    No rater gives more than `rater_share` of them, where there are raters enough; reviewed ones do not count for that.
    """
    approved: list[CollectedAnswer] = []
    dropped: dict[str, DropReason] = {}
    seen: set[tuple[Context, str]] = set()
    for answer in answers:
        found = judge(answer)
        if isinstance(found, CollectedAnswer):
            if not found.completion or not found.context[-1][1].strip():
                found = DropReason.EMPTY
            elif len(found.completion) > max_characters:
                found = DropReason.TOO_LONG
            elif (found.context, found.completion) in seen:
                found = DropReason.REPEATED
            else:
                seen.add((found.context, found.completion))
                approved.append(found)
                continue
        dropped[answer.message_id] = found
    over = over_share([one for one in approved if not one.reviewed], rater_share)
    dropped |= dict.fromkeys(over, DropReason.ONE_RATER)
    return [one for one in approved if one.message_id not in over], dropped


def judge(answer: RatedAnswer) -> CollectedAnswer | DropReason:
    """What ratings and decision alone make of an answer."""
    found = approval(answer.answer, answer.ratings, answer.decision)
    if not isinstance(found, Approval):
        return DropReason(found)
    return CollectedAnswer(
        answer.message_id,
        answer.conversation_id,
        answer.context,
        found.text.strip(),
        answer.context[0][1],
        answer.split,
        found.rater,
        found.corrected,
        found.reviewed,
        judged_at=last_judged(answer),
        teacher_prompt_id=None if found.corrected else answer.teacher_prompt_id,
    )


def last_judged(answer: RatedAnswer) -> float:
    """When somebody rated or reviewed it last (UTC seconds); 0 if nobody did."""
    judged = [rating.created_at for rating in answer.ratings]
    return max([*judged, answer.decision.created_at] if answer.decision else judged, default=0.0)


def approval_of_teacher(answers: Sequence[RatedAnswer], prompt_id: int) -> float | None:
    """Share of the teacher's rated answers that people approve of as given; None while too few are rated."""
    judged = [judge(answer) for answer in answers if answer.teacher_prompt_id == prompt_id]
    rated = [one for one in judged if one is not DropReason.UNRATED]
    if len(rated) < ENOUGH_RATED:
        return None
    return sum(isinstance(one, CollectedAnswer) and not one.corrected for one in rated) / len(rated)


def unrated_of_teacher(answer: RatedAnswer) -> CollectedAnswer:
    """An answer that nobody rated, to learn from the teacher's log-probabilities alone."""
    return CollectedAnswer(
        answer.message_id,
        answer.conversation_id,
        answer.context,
        answer.answer.strip(),
        answer.context[0][1],
        answer.split,
        approved=False,
        teacher_prompt_id=answer.teacher_prompt_id,
    )


def dropped_counts(dropped: dict[str, DropReason], older: int) -> dict[str, int]:
    """Reason -> how many answers; the older ones are counted, too many to be named one by one."""
    counts = Counter(reason.value for reason in dropped.values())
    return {**counts, **({DropReason.OLDER.value: older} if older else {})}


def _approved(answers: Sequence[RatedAnswer]) -> list[CollectedAnswer]:
    return [one for one in map(judge, answers) if isinstance(one, CollectedAnswer)]
