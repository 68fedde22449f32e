"""The order in which answers to review help most, each with the reasons that a reviewer sees. Pure."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from store.ratings import approved_text
from store.records import JudgementRequest, Rating, Verdict
from store.reviews import ReviewItem
from store.search import words_alone

# A question is rare when this share of its words stands in no other question; with few questions or words every one is.
_RARE_SHARE = 0.5
_RARE_WORDS, _RARE_QUESTIONS = 3, 20
# The model was unsure of this share of the answers, those whose tokens it found least likely; of fewer nothing is said.
_UNSURE_SHARE, _UNSURE_ANSWERS = 0.1, 20


class ReviewReason(StrEnum):
    """Why an answer is worth a look, as the page says it; the weightiest first."""

    JUDGEMENT = "judgement wanted"
    OUTDATED = "the prompt says otherwise now"
    DISAGREE = "people disagree"
    DIFFER = "approved answers differ"
    DOWN = "rated down, no correction"
    UNSURE = "the model was unsure"
    RARE = "rare question"


# A judgement may be all that stands between a refused candidate and a shorter prompt; a disagreement is one person's
# mistake and says nothing until it is settled; two different approved answers both teach, one of them wrongly; an
# answer rated down is lost until somebody corrects it; an answer that the model was unsure of is more often wrong than
# others (least confidence, Lewis and Gale 1994); a rare question has no other example beside it.
WEIGHTS = dict(zip(ReviewReason, (10.0, 9.0, 8.0, 6.0, 4.0, 3.0, 2.0), strict=True))


@dataclass(frozen=True)
class Ranked:
    """An answer with its reasons, the weightiest first; without any it is only what was asked for.

    A card that asks for a judgement has the answers instead, as they are numbered.
    """

    item: ReviewItem
    reasons: tuple[ReviewReason, ...]
    others: tuple[str, ...] = ()  # what else was approved for the same question
    asked: tuple[JudgementRequest, ...] = ()

    @property
    def id(self) -> str:
        return f"judgement:{self.item.message_id}" if self.asked else self.item.message_id


def ranked(
    items: Sequence[ReviewItem], decided: Sequence[ReviewItem] = (), asked: Sequence[str] = ()
) -> list[Ranked]:
    """The weightiest first, and of equal ones in the order given. `asked` are questions, the items' own among them."""
    others = _contradicting([*items, *decided])
    rare = rarities([item.question for item in items], asked)
    known = sorted(item.mean_ln_p for item in items if item.mean_ln_p is not None)
    limit = known[int(_UNSURE_SHARE * len(known))] if len(known) >= _UNSURE_ANSWERS else -math.inf
    weighed = []
    for item, rarity in zip(items, rare, strict=True):
        differing = others.get(item.message_id, ())
        unsure = item.mean_ln_p is not None and item.mean_ln_p < limit
        reasons = _reasons(item, bool(differing), unsure, rarity >= _RARE_SHARE)
        weight = sum(WEIGHTS[why] for why in reasons) + rarity
        if unsure and item.mean_ln_p is not None:
            weight += 1 - math.exp(min(0.0, item.mean_ln_p))  # of unsure ones the least sure first
        weighed.append((weight, Ranked(item, reasons, differing)))
    return [one for _, one in sorted(weighed, key=lambda pair: -pair[0])]


def _reasons(item: ReviewItem, differs: bool, unsure: bool, rare: bool) -> tuple[ReviewReason, ...]:
    corrected = any(rating.correction is not None for rating in item.ratings)
    down = any(rating.verdict is Verdict.DOWN for rating in item.ratings)
    holds = (False, False, disagree(item.ratings), differs, down and not corrected, unsure, rare)
    return tuple(why for why, true in zip(ReviewReason, holds, strict=True) if true)


def disagree(ratings: Sequence[Rating]) -> bool:
    """Whether one person finds the answer good and another does not, or two wrote different corrections."""
    good = {r.rater for r in ratings if r.verdict is Verdict.UP and r.correction is None}
    bad = {r.rater for r in ratings if r.verdict is Verdict.DOWN or r.correction is not None}
    corrections = {words_alone(r.correction) for r in ratings if r.correction is not None}
    return bool(good and bad) or len(corrections) > 1


def _contradicting(items: Sequence[ReviewItem]) -> dict[str, tuple[str, ...]]:
    """Message id → the other texts that are approved for its question. Later turns depend on those before."""
    asked: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for item in items:
        text = approved_text(item.answer, item.ratings, item.decision, item.is_whole)
        if item.opens and text is not None and text.strip():
            asked[words_alone(item.question)].append((item.message_id, text.strip()))
    found = {}
    for answers in asked.values():
        if len({words_alone(text) for _, text in answers}) > 1:
            for id, mine in answers:
                others = [text for _, text in answers if words_alone(text) != words_alone(mine)]
                found[id] = tuple(dict.fromkeys(others))
    return found


def rarities(questions: Sequence[str], asked: Sequence[str] = ()) -> list[float]:
    """For each question the share of its different words, 0 to 1, that stand in no other one, of these or of `asked`.

    0 where there are too few questions, or words in the question, to say so. The same question twice is one.
    """
    texts = [words_alone(question) for question in questions]
    words = {text: set(re.findall(r"\w{3,}", text)) for text in {*texts, *map(words_alone, asked)}}
    if len(words) < _RARE_QUESTIONS:
        return [0.0] * len(texts)
    spread = Counter(word for found in words.values() for word in found)
    return [
        math.fsum(spread[word] == 1 for word in words[text]) / len(words[text])
        if len(words[text]) >= _RARE_WORDS
        else 0.0
        for text in texts
    ]


def reason_counts(found: Sequence[Ranked]) -> dict[ReviewReason, int]:
    """How many there are of each reason, in the order of their weight; none of those that nothing has."""
    counts = Counter(why for one in found for why in one.reasons)
    return {why: counts[why] for why in ReviewReason if counts[why]}
