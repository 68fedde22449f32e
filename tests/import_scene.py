"""Stores with everything that can be exported, for the tests of import and export."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from store import Store
from store.io.exporting import export_file
from store.io.importing import ImportResult, import_planned, plan_import
from store.io.records import ImportOptions
from store.records import MessageStatus, Role, Ruling, Split, Verdict

OPTIONS = ImportOptions("bank", "importer", approve=False, at=1_940_000_000.0)
APPROVING = replace(OPTIONS, approve=True)

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
# Formulas, guards against formulas, quotation marks, delimiters and line ends.
tricky = st.text(st.sampled_from("=+-@\t\r\n'\",;＝\ufeffä😀 x\\{}[]"), max_size=8)
any_text = texts | tricky
rating = st.fixed_dictionaries(
    {
        "rater": st.sampled_from(["ann", "bob", "=cmd", "é"]),
        "verdict": st.none() | st.sampled_from(Verdict),
        "reason": any_text,
        "comment": any_text,
        "correction": st.none() | any_text,
    }
)
# (parent among the messages so far, text, ratings): even ones are questions below any answer, odd ones answers.
turn = st.tuples(st.integers(0, 9), any_text, st.lists(rating, max_size=3))
branching = st.lists(turn, min_size=2, max_size=8)
stores = st.lists(branching, max_size=3)


def table(names: str, *rows: str) -> str:
    return "\n".join([names, *rows]) + "\n"


def new_store(path: Path) -> Store:
    """An empty store with the assistant “bank”, on a clock of its own."""
    ticks, ids = itertools.count(1_700_000_000), itertools.count()
    # Quarters of seconds: exact in every form that a time is written in.
    store = Store(path, clock=lambda: next(ticks) + 0.25, new_id=lambda: f"id{next(ids):08d}")
    store.assistants.create("bank", "Bank", "exact", ["How?"])
    return store


# What happens to one answer after the other.
RULINGS = [
    ("rev", Ruling.APPROVE),
    None,
    ("rev", Ruling.REJECT),
    ("sue", Ruling.CORRECT, "as it should be"),
    ("sue", Ruling.REJECT),
    ("rev", Ruling.APPROVE, "a rater's"),
]

Branches = Sequence[Sequence[tuple[int, str, list[dict]]]]


def fill(
    store: Store, conversations: Branches, unique: bool = True, failing: bool = True, reviewed: bool = False
) -> None:
    """Conversations that branch; with `unique` no two messages say the same, with `failing` some failed."""
    number = itertools.count()
    rulings = itertools.cycle(RULINGS if reviewed else [None])
    for title, messages in enumerate(conversations):
        conversation = store.conversations.create("bank", f"Title {title}")
        questions: list[str] = []
        answers: list[str] = []
        for place, (parent, text, ratings) in enumerate(messages):
            text = f"{text}·{next(number)}" if unique else text
            if place % 2 == 0:
                above = answers[parent % len(answers)] if answers and parent else None
                questions.append(store.messages.add(conversation.id, above, Role.USER, text).id)
                continue
            above = questions[parent % len(questions)]
            status = MessageStatus.FAILED if failing and parent == 9 else MessageStatus.COMPLETE
            answers.append(store.messages.add(conversation.id, above, Role.ASSISTANT, text, status).id)
            for given in ratings:
                store.ratings.add(answers[-1], **given)
            if decided := next(rulings):
                store.decisions.add(answers[-1], *decided)
        store.splits.record({conversation.id: list(Split)[title % 3]})


def export_data(store: Store, folder: Path, format: str) -> bytes:
    path = folder / f"out-{next(_FILES)}"
    export_file(store, "bank", path, format)
    return path.read_bytes()


def import_file(
    store: Store, path: Path, options: ImportOptions = OPTIONS, format: str | None = None
) -> ImportResult:
    return import_planned(store, plan_import(path, options, format))


def import_data(
    store: Store, folder: Path, data: bytes | str, options: ImportOptions = OPTIONS, format: str | None = None
) -> ImportResult:
    path = folder / f"in-{next(_FILES)}"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return import_file(store, path, options, format)


Load = Callable[..., ImportResult]  # the fixture `load`: import_data into the store `bank`
_FILES = itertools.count()


CHAT = '{"messages":[{"role":"user","content":"q%d"},{"role":"assistant","content":"a%d"}]}'


def chats(*numbers: int) -> str:
    return "".join(CHAT % (number, number) + "\n" for number in numbers)


def rated_answers_in(store: Store) -> list[tuple[list[str], str, list[tuple]]]:
    """Context, answer, and each rating's rater, verdict and correction."""
    return [
        ([text for _, text in a.context], a.answer, [(r.rater, r.verdict, r.correction) for r in a.ratings])
        for a in store.answers.rated("bank")
    ]


def message(role: str, content: object, **more: object) -> dict:
    return {"role": role, "content": content, **more}


TABLE = """Conversation,Turn,Question,Answer,Rating,Correction,Rater,created_at
7,1,q1,a1,up,,ann,2031-05-01T09:30:00
7,1,q1,a1,-1,c1,bob,
7,2,q2,a2,,,,
8,1,"q, ""3""\nand more",'=1+1,1,,,1935392400.5
"""
