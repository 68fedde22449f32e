"""The commands `why`, `datasets` and `disagreements`: what became of answers, and what differs between datasets.

They work while the app is running and while it is not: without its tokenizer, so an answer that outgrows the model's
context is known from the newest run alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from store import Store
from store.records import Dataset, Message, Role
from trainer.command_line import (
    Assistant,
    DataDir,
    Set,
    assistant_id,
    console,
    fail,
    open_store,
    settings_from,
)
from trainer.examples.collect import collect
from trainer.examples.comparison import compare, version_lines
from trainer.examples.contradictions import contradictions
from trainer.examples.draft import DatasetDraft, draft, newest_record
from trainer.examples.records import CollectedAnswer, Context, DropReason
from trainer.examples.similar import grouped, question_of
from trainer.settings import TrainerSettings

AsJson = Annotated[bool, typer.Option("--json", help="Everything, as JSON.")]


@dataclass(frozen=True)
class Reason:
    """`split` says where an answer is now, `rule` why it is not (one of the two is None), `others` what stays instead.

    `frozen` and `frozen_rule` are the same of the newest dataset, number `dataset`; both None where it did not know the
    message, or kept no record of it.
    """

    message_id: str
    split: str | None
    rule: str | None
    others: tuple[str, ...]
    dataset: int | None
    frozen: str | None
    frozen_rule: str | None

    def lines(self) -> list[str]:
        """For people."""
        if self.split is not None:
            found = [f"Message {self.message_id} would be in the next dataset, in {self.split}."]
        else:
            found = [f"Message {self.message_id} would not be in the next dataset: {self.rule}."]
        if self.others:
            found.append(f"Instead of it {len(self.others)} stay: {', '.join(self.others)}.")
        if self.dataset is None:
            return [*found, "There is no dataset yet."]
        if self.frozen is not None:
            return [*found, f"It is in dataset {self.dataset}, the newest, in {self.frozen}."]
        why = (
            f"left out as: {self.frozen_rule}"
            if self.frozen_rule
            else "not known to it, or no reason recorded"
        )
        return [*found, f"It is not in dataset {self.dataset}, the newest: {why}."]


def why(
    message: Annotated[
        str, typer.Argument(help="The id of an answer; disagreements and datasets name them.")
    ],
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    changed: Set = None,
    as_json: AsJson = False,
) -> None:
    """Whether an answer would be trained on or prove something now, whether it did, and if not by which rule.

    Splits are those that are settled; of conversations that no retrain has seen, those that the next one would settle.
    """
    store = open_store(data_dir)
    found = store.messages.get(message)
    name = store.conversations.get(found.conversation_id).assistant_id
    if assistant and assistant != name:
        fail(f"Message {message} belongs to assistant {name}, not to {assistant}.")
    reason = _reason(store, found, _draft(store, name, settings_from(changed or ())))
    if as_json:
        print(json.dumps(asdict(reason), indent=1))
    else:
        _print_lines(reason.lines())


def datasets(
    old: Annotated[int | None, typer.Argument(help="Compare this version ...")] = None,
    new: Annotated[int | None, typer.Argument(help="... with this one; by default the newest.")] = None,
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    as_json: AsJson = False,
) -> None:
    """The versions of the dataset: number, time (UTC), examples, hash and adapters. Or what differs between two."""
    store = open_store(data_dir)
    name = assistant_id(store, assistant)
    versions = store.datasets.versions(name)
    known = [one.id for one in versions]
    for id in (old, new):
        if id is not None and id not in known:
            there = ", ".join(map(str, sorted(known))) or "none"
            fail(f"Assistant {name} has no dataset {id}. There are: {there}.")
    if old is not None:
        before, after = store.datasets.get(old), store.datasets.get(known[0] if new is None else new)
        found = compare(before, after, _rules(store, name, after))
    if as_json:
        print(json.dumps([asdict(one) for one in versions] if old is None else asdict(found), indent=1))
    elif old is not None:
        _print_lines(found.lines())
    elif versions:
        _print_lines(version_lines(versions))
    else:
        console.print("No dataset yet. Rate some answers, then: python -m trainer once")


def disagreements(data_dir: DataDir = Path("data"), assistant: Assistant = "", changed: Set = None) -> None:
    """Questions whose approved answers differ, with who approved of each: rate down or correct what is wrong.

    First those that were asked in the same words, then those that were reworded. Long answers differ where numbers,
    negations or days do, or more than about a third of their words.
    """
    store = open_store(data_dir)
    answers = collect(store, assistant_id(store, assistant), settings_from(changed or ())).answers
    found = contradictions(answers, grouped(question_of(one.context) for one in answers))
    for one in found:
        heading = one.question if one.exact else f"{one.question} (and reworded)"
        console.print(heading, style="bold", markup=False, highlight=False)
        for answer in one.answers:
            what = "corrected to" if answer.corrected else "rated up"
            asked = "" if one.exact else f"asked “{answer.context[-1][1]}”, "
            _print_lines(
                [f"  {asked}{answer.rater} {what}: {answer.completion}  (message {answer.message_id})"]
            )
    if not found:
        console.print("No question has approved answers that disagree.")


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _reason(store: Store, message: Message, found: DatasetDraft) -> Reason:
    id = message.id
    assistant = store.conversations.get(message.conversation_id).assistant_id
    versions = store.datasets.versions(assistant)
    newest = store.datasets.get(versions[0].id) if versions else None
    now = {example.message_id: example.split.value for example in found.examples}
    then = {example.message_id: example.split.value for example in newest.examples} if newest else {}
    rule = None
    if id not in now:
        dropped = found.dropped.get(id)
        rule = dropped.value if dropped else _before_any_rule(store, assistant, message)
    return Reason(
        id,
        now.get(id),
        rule,
        found.deduplicated.duplicates_of.get(id, ()),
        newest.id if newest else None,
        then.get(id),
        store.datasets.left_out(newest.id).get(id) if newest else None,
    )


def _before_any_rule(store: Store, assistant: str, message: Message) -> str:
    if message.role is Role.USER:
        return "it is a question; ask about the message that answers it"
    if message.id not in {answer.message_id for answer in store.answers.rated(assistant)}:
        return "nobody rated it, and it is not learned from as the teacher's"
    return f"{DropReason.UNRATED}, or its raters are left out (without_raters)"


def _draft(store: Store, name: str, settings: TrainerSettings) -> DatasetDraft:
    """What a dataset would hold now; what outgrows the model's context is taken from the newest run that looked."""
    outgrown = set(newest_record(store, name).get("outgrown", ()))

    def fit(one: CollectedAnswer) -> Context | None:
        return None if one.message_id in outgrown else one.context

    return draft(store, name, settings, fit)


def _rules(store: Store, name: str, dataset: Dataset) -> Mapping[str, str]:
    """Message id -> why it is not in the dataset: as it was recorded, else as it is today."""
    today = {id: rule.value for id, rule in _draft(store, name, TrainerSettings()).dropped.items()}
    return {**today, **store.datasets.left_out(dataset.id)}
