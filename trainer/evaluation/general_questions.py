"""Questions that have nothing to do with the assistant, and the guard on what the candidate answers to them. Pure.

In: answers of the base model with the full prompt and of the candidate with a variant. Out: a guard. Place in the flow:
`gating` asks, after a variant has passed everything else. Text that is broken (empty, in circles, no words at all) refuses
the variant; drift is told as numbers and refuses nothing, because an assistant whose prompt asks for labels alone, or for
“I can only help with the harbour”, answers everything with them and should.
"""

from __future__ import annotations

from collections.abc import Sequence

from store.records import Example, Role, Split
from trainer.evaluation.guards import Guard, is_looping

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
MAX_TOKENS = 32
# Broken answers beyond those of the base model that a variant may give: small models stumble over a question or two.
_FEW = len(QUESTIONS) // 8


def as_examples(answers: Sequence[str] = ("",) * len(QUESTIONS)) -> list[Example]:
    """The questions as an evaluation takes them; `answers` are those that it scores likeness with."""
    return [
        Example(f"general-{at}", f"general-{at}", ((Role.USER, question),), answer, False, Split.GATE)
        for at, (question, answer) in enumerate(zip(QUESTIONS, answers, strict=True))
    ]


def judge(
    base: Sequence[str], candidate: Sequence[str], likeness: Sequence[float], approved: Sequence[str]
) -> Guard:
    """`likeness`: of each of the candidate's answers to the base model's, 0 to 1; `approved`: right in the gate."""
    broken, usual = sum(map(is_broken, candidate)), sum(map(is_broken, base))
    known = {text.strip() for text in approved}
    taken, before = (sum(text.strip() in known for text in texts) for texts in (candidate, base))
    same = max(map([text.strip() for text in candidate].count, {text.strip() for text in candidate}))
    return Guard(
        "general questions",
        broken <= usual + _FEW,
        f"of {len(candidate)} answers to questions that have nothing to do with the assistant, {broken} are broken "
        f"(base model with the full prompt: {usual}); {taken} are approved answers to other questions (base: "
        f"{before}), {same} have the same text, and they are {100 * sum(likeness) / len(likeness):.0f} % like the base "
        "model's",
    )


def is_broken(text: str) -> bool:
    """Empty, without a letter or digit, going in circles, or with characters that are none; a cut-off end is not."""
    segment_ids = text.rstrip("\ufffd").strip()
    return (
        not any(map(str.isalnum, segment_ids))
        or 10 * segment_ids.count("\ufffd") > len(segment_ids)
        or is_looping(segment_ids)
    )
