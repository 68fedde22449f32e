"""Checks of a variant's answers for what a good mean score can hide, and of its answers to general questions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process

from trainer.evaluation.scorers import chrf
from trainer.evaluation.statistics import Pairs

_LOOP = 4  # the same four words this often in a row of the answer: it turns in circles
_LENGTHS = (0.4, 2.5)  # median answer length over median approved length
# Above this share of one approved text, answering everything with it is no sign of a collapse.
_ONE_SIDED = 0.8
# How sure it must be that answers belong to their questions. Stricter than the margin's test: an adapter trained on
# shuffled corrections would pass 5 of 100 times, and answers that belong pass by far.
_BELONGING = 0.9999
_ORDERS = 19_999  # random orders of the approved answers
_ROUNDING = 1e-6  # likeness is computed in 32 bits
_MOST = 200  # answers that are looked at: each is held against the approved answers to all of them


@dataclass(frozen=True)
class Guard:
    """A check that a good score alone would miss."""

    name: str
    passed: bool
    detail: str


def check_texts(
    texts: Sequence[str], approved: Sequence[str], served: Sequence[str] = ()
) -> tuple[Guard, ...]:
    """Length, empty, looping and always equal answers: faults that a mean score can hide.

    `served` are the answers that people get now: what loops no oftener than these is no worse.
    """
    ratio = float(np.median([len(t) for t in texts])) / max(1.0, float(np.median([len(t) for t in approved])))
    empty = sum(not text.strip() for text in texts)
    loops = sum(is_looping(text) for text in texts)
    few = max(1, len(texts) // 50)
    return (
        Guard(
            "length",
            _LENGTHS[0] <= ratio <= _LENGTHS[1],
            f"the median answer is {ratio:.2f} times as long as the median approved one",
        ),
        Guard("empty answers", empty <= few, f"{empty} of {len(texts)} answers are empty"),
        Guard(
            "looping answers",
            loops <= max(few, sum(map(is_looping, served))),
            f"{loops} of {len(texts)} answers repeat themselves",
        ),
        _not_all_the_same(texts, approved),
    )


def answers_belong(
    texts: Sequence[str], approved: Sequence[str], clusters: Sequence[str], scores: Sequence[float]
) -> Guard:
    """Answers are more like their own approved answer than like those of other questions.

    Of two useless things neither is worse: without this, an adapter trained on corrections of other questions passes
    wherever the references are no better (assay sensitivity, ICH E10, section 1.5). A permutation test: how often
    approved answers in a random order are as much like the answers (Indel similarity) as in their own. Scores provably
    above one half and above chrF will do: a judge may accept an answer that shares no word with the approved one.
    """
    random = np.random.default_rng(0)
    some = random.permutation(len(texts))[:_MOST]
    likeness = process.cdist([texts[n] for n in some], [approved[n] for n in some], scorer=fuzz.ratio) / 100
    own, n = likeness.diagonal(), len(some)
    orders = random.permuted(np.tile(np.arange(n), (_ORDERS, 1)), axis=1)
    other = likeness[np.arange(n), orders].mean(axis=1)
    proven = bool((1 + np.sum(other >= own.mean() - _ROUNDING)) / (1 + _ORDERS) <= 1 - _BELONGING)
    if not proven:
        bar = [max(0.5, chrf(texts[n], approved[n])) for n in some]
        pairs = Pairs([scores[n] for n in some], bar, [clusters[n] for n in some])
        proven = pairs.rule_out(0.0, _BELONGING)
    return Guard(
        "answers that belong",
        proven,
        f"answers are {100 * float(own.mean()):.0f} % like the approved answer to their question, and "
        f"{100 * float(other.mean()):.0f} % like those to others"
        + ("" if proven else "; the approved answers may be mixed up, or nothing was learned"),
    )


def _not_all_the_same(texts: Sequence[str], approved: Sequence[str]) -> Guard:
    """One text to most questions, where the approved answers differ: the adapter has collapsed."""
    (text, times), (_, usual) = Counter(texts).most_common(1)[0], Counter(approved).most_common(1)[0]
    share, expected = times / len(texts), usual / len(approved)
    return Guard(
        "one answer to everything",
        expected > _ONE_SIDED or share <= (1 + expected) / 2,
        f"{times} of {len(texts)} answers are “{text.strip()[:40]}”; of the approved ones at most {usual} are alike",
    )


def is_looping(text: str) -> bool:
    """True when some four words in a row occur four times."""
    words = text.split()
    runs = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
    return max(runs.values(), default=0) >= _LOOP


QUESTIONS = (
    "What is 2 + 2?",
    "Name a colour.",
    "What is the capital of Italy?",
    "How many days does a week have?",
    "Write one sentence about the sea.",
    "Say hello.",
    "Which animal barks?",
    "What is the opposite of hot?",
    "Finish this sentence: The sun rises in the",
    "Name two kinds of fruit.",
    "What do people use an umbrella for?",
    "Translate “good morning” into French.",
    "Is ice colder than steam?",
    "What comes after Tuesday?",
    "Give me a word that rhymes with cat.",
    "How do you make a cup of tea?",
    "Who wrote Romeo and Juliet?",
    "What is water made of?",
    "Tell me a short joke.",
    "Which is heavier, a feather or a stone?",
    "Count from one to five.",
    "What does a baker do?",
    "Why do leaves fall in autumn?",
    "Thank you. Goodbye!",
)
GENERAL_MAX_TOKENS = 32
# Broken answers beyond those of the base model that a variant may give: small models stumble over a question or two.
_FEW = len(QUESTIONS) // 8


def check_general_answers(base: Sequence[str], candidate: Sequence[str], approved: Sequence[str]) -> Guard:
    """`base` are the answers of the base model with the full prompt, `approved` those to the gate's questions."""
    broken, usual = sum(map(is_broken, candidate)), sum(map(is_broken, base))
    known = {text.strip() for text in approved}
    taken, before = (sum(text.strip() in known for text in texts) for texts in (candidate, base))
    same = Counter(text.strip() for text in candidate).most_common(1)[0][1]
    likeness = np.mean([chrf(text, reference) for text, reference in zip(candidate, base, strict=True)])
    return Guard(
        "general questions",
        broken <= usual + _FEW,
        f"of {len(candidate)} answers to questions that have nothing to do with the assistant, {broken} are broken "
        f"(base model with the full prompt: {usual}); {taken} are approved answers to other questions (base: "
        f"{before}), {same} have the same text, and they are {100 * likeness:.0f} % like the base "
        "model's",
    )


def check_outdated(of_base: int, found: int, asked: int, margin: float) -> Guard:
    """Answers that say what an edit took out of the prompt, to so many questions that were answered with it before: no
    more than the margin allows beside those of the base model.

    An adapter can say the old price with the new one before its eyes, and no approved answer tells.
    """
    return Guard(
        "what the prompt no longer says",
        found <= of_base + margin * asked,
        f"{found} of {asked} answers still say what was taken out of the prompt (base model with the full prompt: "
        f"{of_base})",
    )


def is_broken(text: str) -> bool:
    """Empty, without a letter or digit, going in circles, or with characters that are none; a cut-off end is not."""
    whole = text.rstrip("\ufffd").strip()
    without_letters = not any(map(str.isalnum, whole))
    return without_letters or 10 * whole.count("\ufffd") > len(whole) or is_looping(whole)
