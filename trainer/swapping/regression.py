"""What two deployments answered in chat, to whether the newer one is worse: pure.

In: answers of the active deployment and of the one before it, with ratings. Out: a sentence that says what is worse, or
None. Place in the flow: `watch` asks it after each swap, and what it says is the reason of a rollback. The gate
compared both on the same questions; here people ask whatever they like, so only large differences are told.

No one person decides. Of a rater's opinions at most as many count as of the busiest other one, and what is found must
hold without any one of them; failures in a row are one failure, because a server that is down says nothing about an
adapter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from scipy.stats import fisher_exact

from store.records import MessageStatus, ServedAnswer, Verdict
from trainer.proof.guards import is_looping

# Opinions after which it looks, and how sure it must be each time: over all five looks a deployment that is no worse is
# rolled back with at most 2.5 % (Bonferroni; Fisher's exact test, Fisher 1935, keeps less than its level).
_LOOKS = (10, 20, 40, 80, 160)
_LEVEL = 0.005
_WITHOUT_ONE = 0.05  # the level that is left when one person's opinions are left out
_RISE = 0.1  # smaller differences are not worth more prompt tokens, however certain
_FEW = 5  # of one person always count
_ENOUGH = 20  # answers, before their length says anything
_OF_ONE_CONVERSATION = 5
_LENGTHS = 4.0  # so many times as long or as short as before and as approved answers


_Item = TypeVar("_Item")


@dataclass(frozen=True)
class _Opinion:
    person: str
    bad: bool


def regression(
    before: Sequence[ServedAnswer], after: Sequence[ServedAnswer], approved: Sequence[str]
) -> str | None:
    """`approved` are texts that people approved of; answers are ordered by time, oldest first."""
    return _disliked(before, after) or _broken(before, after) or _of_other_length(before, after, approved)


def _disliked(before: Sequence[ServedAnswer], after: Sequence[ServedAnswer]) -> str | None:
    then, now = _fair(_opinions(before)), _fair(_opinions(after))
    people = {opinion.person for opinion in now}
    if len(people) == 1 and {opinion.person for opinion in then} != people:
        return None  # others thought well of the one before, and have not said what they think of this one
    seen = _worse_at_some_look(then, now)
    if not seen:
        return None
    return f"rated down {_share(seen)}, before the swap {_share(then)}"


def _broken(before: Sequence[ServedAnswer], after: Sequence[ServedAnswer]) -> str | None:
    then = _faults(before)
    seen = _worse_at_some_look(then, _faults(after))
    if not seen:
        return None
    return f"empty, failed or repeating itself {_share(seen)}, before the swap {_share(then)}"


def _worse_at_some_look(then: Sequence[_Opinion], now: Sequence[_Opinion]) -> list[_Opinion]:
    """What had been said at the first look that shows it, also without any one person; nothing if none does."""
    for look in _LOOKS:
        seen = list(now[:look])
        if look > len(now) or len(then) < _LOOKS[0]:
            break
        people = {opinion.person for opinion in seen}
        others = [[o for o in seen if o.person != person] for person in people] if len(people) > 1 else []
        if _worse(then, seen, _LEVEL) and all(_worse(then, rest, _WITHOUT_ONE) for rest in others):
            return seen
    return []


def _of_other_length(
    before: Sequence[ServedAnswer], after: Sequence[ServedAnswer], approved: Sequence[str]
) -> str | None:
    """Longer or shorter than both: an adapter may well have learned that answers should be shorter."""
    then, now = _lengths(before), _lengths(after)
    if min(len(then), len(now), len(approved)) < _ENOUGH:
        return None
    length, usual = median(now), (median(then), median(len(text) for text in approved))
    if length > _LENGTHS * max(usual) or length * _LENGTHS < min(usual):
        return (
            f"the median answer has {length:.0f} characters; {usual[0]:.0f} before the swap and {usual[1]:.0f} where "
            "people approved"
        )
    return None


def _opinions(answers: Iterable[ServedAnswer]) -> list[_Opinion]:
    """In the order in which they were given."""
    given = sorted(
        (rating for answer in answers for rating in answer.ratings if rating.verdict is not None),
        key=lambda rating: (rating.created_at, rating.id),
    )
    return [_Opinion(rating.rater, rating.verdict is Verdict.DOWN) for rating in given]


def _fair(opinions: Sequence[_Opinion]) -> list[_Opinion]:
    """The first ones of each person, as many as the busiest other one gave; all where there is but one person."""
    counts = Counter(opinion.person for opinion in opinions)
    if len(counts) < 2:
        return list(opinions)
    second = counts.most_common(2)[1][1]
    return _first_of_each(opinions, [opinion.person for opinion in opinions], max(_FEW, second))


def _faults(answers: Sequence[ServedAnswer]) -> list[_Opinion]:
    """Whether each answer is of no use to anybody; of failures in a row the first."""
    counted: list[ServedAnswer] = []
    for answer in answers:
        if not (answer.status is MessageStatus.FAILED and counted and counted[-1].status is answer.status):
            counted.append(answer)
    few = _first_of_each(counted, [answer.conversation_id for answer in counted], _OF_ONE_CONVERSATION)
    return [_Opinion(a.owner, a.status is not MessageStatus.STOPPED and _is_useless(a.text)) for a in few]


def _is_useless(text: str) -> bool:
    return not text.strip() or is_looping(text)


def _lengths(answers: Sequence[ServedAnswer]) -> list[int]:
    """In characters."""
    whole = [answer for answer in answers if answer.status is MessageStatus.COMPLETE and answer.text]
    few = _first_of_each(whole, [answer.conversation_id for answer in whole], _OF_ONE_CONVERSATION)
    return [len(answer.text) for answer in few]


def _first_of_each(items: Sequence[_Item], owners: Sequence[str], most: int) -> list[_Item]:
    taken: Counter[str] = Counter()
    kept = []
    for item, owner in zip(items, owners, strict=True):
        taken[owner] += 1
        if taken[owner] <= most:
            kept.append(item)
    return kept


def _worse(then: Sequence[_Opinion], now: Sequence[_Opinion], level: float) -> bool:
    (bad_then, all_then), (bad_now, all_now) = _count(then), _count(now)
    if not all_now or bad_now / all_now < bad_then / all_then + _RISE:
        return False
    table = [[bad_now, all_now - bad_now], [bad_then, all_then - bad_then]]
    return bool(fisher_exact(table, alternative="greater").pvalue <= level)


def _count(opinions: Sequence[_Opinion]) -> tuple[int, int]:
    return sum(opinion.bad for opinion in opinions), len(opinions)


def _share(opinions: Sequence[_Opinion]) -> str:
    bad, count = _count(opinions)
    return f"{bad} of {count} times"
