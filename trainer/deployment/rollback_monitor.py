"""Compares what the active deployment answers in chat with what the one before it answered, and says when it is worse.

People ask whatever they like here, so only large differences count, and no one person decides: of a rater's opinions at
most as many count as of the busiest other rater, and a finding must hold without any one of them. Failures in a row are
one, because a server that is down says nothing about an adapter.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from scipy.stats import fisher_exact, mannwhitneyu

from store import Store
from store.records import MessageStatus, ServedAnswer, Verdict
from trainer.evaluation.guards import is_looping

# A deployment that is no worse is rolled back with at most this chance, over all tests and all their looks together
# (Bonferroni). Each look is taken once, at a number of opinions or answers; more of them later do not repeat it.
BOUND = 0.025
_LOOKS = (10, 20, 40, 80, 160)
_LEVEL = 0.01 / len(_LOOKS)  # for ratings, and as much for faults
_LENGTH_LOOKS = (20, 40, 80, 160)
_LENGTH_LEVEL = 0.005 / len(_LENGTH_LOOKS)
_WITHOUT_ONE = 0.05  # the level that is left when one person's opinions are left out
_RISE = 0.1  # smaller differences are not worth more prompt tokens, however certain
_FEW = 5  # of one person always count
_OF_ONE_CONVERSATION = 5
_LENGTHS = 4.0  # so many times as long or as short as before and as approved answers

_NEWEST_BEFORE = 500  # answers of the deployment before
_FIRST_ACTIVE = 5_000  # answers of the active one; what is not found in them is not looked for any more

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class _Opinion:
    person: str
    bad: bool


def worse_than_before(store: Store, assistant_id: str) -> str | None:
    """What is worse since the last swap; None also after a rollback, and after an activation by a person."""
    activations = store.deployments.activations(assistant_id)
    active = store.deployments.active(assistant_id)
    if active is None or active.run_id is None or len(activations) < 2:
        return None  # what a person activated is theirs to take back
    if activations[-1].reason.startswith("rollback"):
        return None
    after = store.answers.served(active.id, _FIRST_ACTIVE)
    if len(after) == _FIRST_ACTIVE:
        return None
    run = store.runs.get(active.run_id)
    dataset = store.datasets.get(run.dataset_id) if run.dataset_id is not None else None
    return find_regression(
        store.answers.served(activations[-2].deployment_id, _NEWEST_BEFORE),
        after,
        [example.completion for example in dataset.examples if example.approved] if dataset else [],
    )


def find_regression(
    before: Sequence[ServedAnswer], after: Sequence[ServedAnswer], approved: Sequence[str]
) -> str | None:
    """A sentence that says what is worse, or None. Answers are ordered by time, oldest first."""
    ratings, faults = _opinions(before), _faults(after)
    looks = _fair_looks(_opinions(after), {opinion.person for opinion in ratings})
    looks_at_faults = (faults[:count] for count in _LOOKS if count <= len(faults))
    for what, then, taken in (
        ("rated down", _fair(ratings), looks),
        ("empty, failed or repeating itself", _faults(before), looks_at_faults),
    ):
        for now in taken:
            if _is_worse(then, now):
                return f"{what} {_share(now)}, before the swap {_share(then)}"
    return _other_length(_lengths(before), _lengths(after), [len(text) for text in approved])


def _other_length(then: Sequence[int], now: Sequence[int], approved: Sequence[int]) -> str | None:
    """Longer or shorter than both: an adapter may well have learned that answers should be shorter."""
    if min(len(then), len(approved)) < _LENGTH_LOOKS[0]:
        return None
    usual = (median(then), median(approved))
    for count in _LENGTH_LOOKS:
        if count > len(now):
            break
        length = median(now[:count])
        longer, shorter = length > _LENGTHS * max(usual), length * _LENGTHS < min(usual)
        if not longer and not shorter:
            continue
        # Mann and Whitney's rank test (1947), half of the level for each direction.
        test = mannwhitneyu(now[:count], then, alternative="greater" if longer else "less")
        if test.pvalue <= _LENGTH_LEVEL / 2:
            return (
                f"the median answer has {length:.0f} characters; {usual[0]:.0f} before the swap and "
                f"{usual[1]:.0f} where people approved"
            )
    return None


def _fair_looks(opinions: Sequence[_Opinion], people_before: set[str]) -> Iterator[list[_Opinion]]:
    """The fair opinions at each look.

    When a look is taken depends on who has said something, and never on what. It waits while one person alone has
    spoken and others had before the swap: they have not said yet what they think.
    """
    looks = iter(_LOOKS)
    look = next(looks)
    counts: Counter[str] = Counter()
    for end, opinion in enumerate(opinions, start=1):
        counts[opinion.person] += 1
        if len(counts) == 1 and people_before != set(counts):
            continue
        if sum(min(count, _most_of_one(counts)) for count in counts.values()) >= look:
            yield _fair(opinions[:end])
            if (look := next(looks, 0)) == 0:
                return


def _is_worse(then: Sequence[_Opinion], now: Sequence[_Opinion]) -> bool:
    """Also without any one person."""
    if len(then) < _LOOKS[0]:
        return False
    people = {opinion.person for opinion in now}
    others = [[o for o in now if o.person != person] for person in people] if len(people) > 1 else []
    return _is_higher(then, now, _LEVEL) and all(_is_higher(then, rest, _WITHOUT_ONE) for rest in others)


def _is_higher(then: Sequence[_Opinion], now: Sequence[_Opinion], level: float) -> bool:
    """Fisher's exact test (1935) on the share of bad opinions."""
    if not now:
        return False
    bad_now, bad_then = (sum(opinion.bad for opinion in opinions) for opinions in (now, then))
    if bad_now / len(now) < bad_then / len(then) + _RISE:
        return False
    table = [[bad_now, len(now) - bad_now], [bad_then, len(then) - bad_then]]
    return bool(fisher_exact(table, alternative="greater").pvalue <= level)


def _opinions(answers: Iterable[ServedAnswer]) -> list[_Opinion]:
    """In the order in which they were given."""
    given = sorted(
        (rating for answer in answers for rating in answer.ratings if rating.verdict is not None),
        key=lambda rating: (rating.created_at, rating.id),
    )
    return [_Opinion(rating.rater, rating.verdict is Verdict.DOWN) for rating in given]


def _fair(opinions: Sequence[_Opinion]) -> list[_Opinion]:
    """The first ones of each person, as many as the busiest other one gave; all where there is but one person."""
    people = [opinion.person for opinion in opinions]
    return _first_of_each(opinions, people, _most_of_one(Counter(people)))


def _most_of_one(counts: Counter[str]) -> int:
    if len(counts) < 2:
        return counts.total()
    return max(_FEW, counts.most_common(2)[1][1])


def _faults(answers: Sequence[ServedAnswer]) -> list[_Opinion]:
    """Whether each answer is of no use to anybody; of failures in a row the first."""
    counted: list[ServedAnswer] = []
    for answer in answers:
        if not (answer.status is MessageStatus.FAILED and counted and counted[-1].status is answer.status):
            counted.append(answer)

    def is_fault(one: ServedAnswer) -> bool:
        return one.status is not MessageStatus.STOPPED and (not one.text.strip() or is_looping(one.text))

    return [_Opinion(one.owner, is_fault(one)) for one in _few_of_each_conversation(counted)]


def _lengths(answers: Sequence[ServedAnswer]) -> list[int]:
    """In characters."""
    whole = [answer for answer in answers if answer.status is MessageStatus.COMPLETE and answer.text]
    return [len(answer.text) for answer in _few_of_each_conversation(whole)]


def _few_of_each_conversation(answers: Sequence[ServedAnswer]) -> list[ServedAnswer]:
    return _first_of_each(answers, [one.conversation_id for one in answers], _OF_ONE_CONVERSATION)


def _first_of_each(items: Sequence[_Item], owners: Sequence[str], most: int) -> list[_Item]:
    taken: Counter[str] = Counter()
    first = []
    for item, owner in zip(items, owners, strict=True):
        taken[owner] += 1
        if taken[owner] <= most:
            first.append(item)
    return first


def _share(opinions: Sequence[_Opinion]) -> str:
    return f"{sum(opinion.bad for opinion in opinions)} of {len(opinions)} times"
