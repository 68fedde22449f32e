"""Finds approved answers that say what the prompt no longer says, such as a price that was changed since.

They teach and are sent along again once somebody has judged them under the present prompt.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

from store.ratings import approved_text
from store.records import Decision, Prompt, RatedAnswer, Rating
from store.store import Store

# Numbers with their currency, and words. Of words only names count: others change with every rewording.
_WORD = re.compile(r"[$€£¥]?\d(?:[\d.,:/]*\d)?|[^\W\d_][\w'’-]*")
_BEGINS = re.compile(r"(^|[.!?:;*•\n-])[\s\"“‘'(]*$")  # a sentence, where a capital letter makes no name


class OutdatedFacts:
    """The numbers and names that each version of a prompt had and the newest one has nowhere."""

    def __init__(self, prompts: Sequence[Prompt]):
        """`prompts` are all versions, oldest first."""
        self._since = [prompt.created_at for prompt in prompts]
        texts = ["\n".join(f"{s.text}\n{s.user}\n{s.assistant}" for s in one.segments) for one in prompts]
        now = _words(texts[-1]) if texts else set()
        self._gone = [_facts(text) - now for text in texts]

    @property
    def is_empty(self) -> bool:
        return not any(self._gone)

    def mentions_any(self, text: str, judged_at: float) -> bool:
        """Whether the text says one that was in the prompt under which it was judged (UTC seconds)."""
        gone = self._gone[max(0, bisect_right(self._since, judged_at) - 1)] if self._gone else set()
        return bool(gone) and not gone.isdisjoint(_words(text))


def outdated_answers(store: Store, assistant_id: str, newest: int = 10_000) -> list[RatedAnswer]:
    """The approved answers that say what was taken out of the prompt since they were judged."""
    facts, found = OutdatedFacts(store.prompts.all(assistant_id)), list[RatedAnswer]()
    if facts.is_empty:  # as mostly: no answer is read then
        return []
    for one in store.answers.rated(assistant_id, newest):
        text = approved_text(one.answer, one.ratings, one.decision, one.is_whole)
        if text is not None and facts.mentions_any(text, judged_at(one.ratings, one.decision)):
            found.append(one)
    return found


def judged_at(ratings: Sequence[Rating], decision: Decision | None) -> float:
    """When an answer was judged last (UTC seconds); 0 where it was not."""
    times = [rating.created_at for rating in ratings]
    return max([*times, decision.created_at] if decision else times, default=0.0)


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text)}


def _facts(text: str) -> set[str]:
    """Numbers, and words with a capital letter within a sentence."""
    found = (match for match in _WORD.finditer(text) if not match[0][0].islower())
    return {
        match[0].casefold()
        for match in found
        if not match[0][0].isalpha() or not _BEGINS.search(text[max(0, match.start() - 20) : match.start()])
    }
