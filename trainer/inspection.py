"""The commands `why`, `datasets` and `disagreements`: what became of answers, and what differs between datasets.

They work while the app is running and while it is not: without its tokenizer, so an answer that outgrows the model's
context is known from the newest run alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from store import Store
from store.datasets import DatasetVersion
from store.records import Dataset, Example, Message, Role, Split
from trainer.command_line import (
    AsJson,
    Assistant,
    DataDir,
    Set,
    assistant_id,
    console,
    fail,
    open_store,
    print_lines,
    settings_from,
)
from trainer.examples.contradictions import contradictions
from trainer.examples.dataset import DatasetDraft, collect, draft, newest_record
from trainer.examples.selection import DropReason
from trainer.examples.similar import grouped, question_of
from trainer.settings import TrainerSettings

GONE = "no reason recorded: taken back or erased"


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
    record = _explain(store, name, found, _draft(store, name, settings_from(changed)))
    if as_json:
        print(json.dumps(record, indent=1))
    else:
        print_lines(*_in_words(record))


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
        before, after = store.datasets.get(old), store.datasets.get(new or known[0])
        # As it was recorded, else as it is today.
        today = _draft(store, name, TrainerSettings()).dropped
        found = compare(before, after, {**today, **store.datasets.left_out(after.id)})
        if as_json:
            print(json.dumps(found, indent=1))
        else:
            print_lines(*_differences(found))
    elif as_json:
        print(json.dumps([asdict(one) for one in versions], indent=1))
    else:
        print_lines(*map(_version, versions))
        if not versions:
            console.print("No dataset yet. Rate some answers, then: python -m trainer once")


def disagreements(data_dir: DataDir = Path("data"), assistant: Assistant = "", changed: Set = None) -> None:
    """Questions whose approved answers differ, with who approved of each: rate down or correct what is wrong.

    Questions in nearly the same words are one. Long answers differ where numbers, negations or days do, or more than
    about a third of their words.
    """
    store = open_store(data_dir)
    answers = collect(store, assistant_id(store, assistant), settings_from(changed)).answers
    found = contradictions(answers, grouped(question_of(one.context) for one in answers))
    for same in found:
        question = same[0].context[-1][1]
        console.print(question, style="bold", markup=False, highlight=False)
        for answer in same:
            what = "corrected to" if answer.corrected else "rated up"
            asked = "" if answer.context[-1][1] == question else f"asked “{answer.context[-1][1]}”, "
            print_lines(f"  {asked}{answer.rater} {what}: {answer.completion}  (message {answer.message_id})")
    if not found:
        console.print("No question has approved answers that disagree.")


def compare(old: Dataset, new: Dataset, rules: Mapping[str, str]) -> dict[str, Any]:
    """Examples that were added, removed (by which rule), have another answer or moved to another split, by message.

    `rules` are why messages are not in `new`.
    """
    before = {example.message_id: example for example in old.examples}
    after = {example.message_id: example for example in new.examples}
    both = [(before[id], after[id]) for id in before if id in after]
    return {
        "old": old.id,
        "new": new.id,
        "same": sum(a.completion == b.completion and a.split is b.split for a, b in both),
        "added": [_change(one, after=one.completion) for id, one in after.items() if id not in before],
        "removed": [
            _change(one, before=one.completion, rule=rules.get(id, GONE))
            for id, one in before.items()
            if id not in after
        ],
        "changed": [
            _change(b, before=a.completion, after=b.completion)
            for a, b in both
            if a.completion != b.completion
        ],
        "moved": [_change(b, before=a.split, after=b.split) for a, b in both if a.split is not b.split],
    }


def _change(example: Example, **what: str) -> dict[str, str]:
    return {"message_id": example.message_id, "question": example.context[-1][1], **what}


def _differences(found: Mapping[str, Any]) -> Iterator[str]:
    counts = {name: len(found[name]) for name in ("added", "removed", "changed", "moved")}
    yield (
        f"From dataset {found['old']} to {found['new']}: {counts['added']:,} added, {counts['removed']:,} removed, "
        f"{counts['changed']:,} with another answer, {counts['moved']:,} moved, {found['same']:,} the same."
    )
    for name in counts:
        for change in found[name]:
            yield f"{name}  {_short(change['question'])}  (message {change['message_id']})"
            if "before" in change and "after" in change:
                yield f"    {_short(change['before'])} → {_short(change['after'])}"
            elif "rule" in change:
                yield f"    {change['rule']}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _version(one: DatasetVersion) -> str:
    sizes = ", ".join(f"{split.value} {one.sizes[split]:,}" for split in Split)
    unrated = f", unrated {one.unrated:,}" if one.unrated else ""
    made = f"{one.id:>4}  {datetime.fromtimestamp(one.created_at, UTC):%Y-%m-%d %H:%M}"
    return f"{made}  {sizes}{unrated}  {one.hash[:12]}  {', '.join(one.adapters) or 'no adapter'}"


def _explain(store: Store, assistant: str, message: Message, found: DatasetDraft) -> dict[str, Any]:
    """`split` says where an answer is now, `rule` why it is not, `others` what stays instead; `frozen` and
    `frozen_rule` are the same of the newest dataset.
    """
    id = message.id
    versions = store.datasets.versions(assistant)
    newest = store.datasets.get(versions[0].id) if versions else None
    now = {example.message_id: example.split for example in found.examples}
    then = {example.message_id: example.split for example in newest.examples} if newest else {}
    rule = None if id in now else found.dropped.get(id) or _before_any_rule(store, assistant, message)
    return {
        "message_id": id,
        "split": now.get(id),
        "rule": rule,
        "others": found.deduplicated.duplicates_of.get(id, ()),
        "dataset": newest and newest.id,
        "frozen": then.get(id),
        "frozen_rule": store.datasets.left_out(newest.id).get(id) if newest else None,
    }


def _before_any_rule(store: Store, assistant: str, message: Message) -> str:
    if message.role is Role.USER:
        return "it is a question; ask about the message that answers it"
    if message.id not in {answer.message_id for answer in store.answers.rated(assistant)}:
        return "nobody rated it, and the model was not sure enough of it to learn from it unrated"
    return f"{DropReason.UNRATED}, or its raters are left out (without_raters)"


def _in_words(record: Mapping[str, Any]) -> Iterator[str]:
    id, others, dataset = record["message_id"], record["others"], record["dataset"]
    if record["split"]:
        yield f"Message {id} would be in the next dataset, in {record['split']}."
    else:
        yield f"Message {id} would not be in the next dataset: {record['rule']}."
    if others:
        yield f"Instead of it {len(others)} stay: {', '.join(others)}."
    if dataset is None:
        yield "There is no dataset yet."
    elif record["frozen"]:
        yield f"It is in dataset {dataset}, the newest, in {record['frozen']}."
    else:
        rule = record["frozen_rule"]
        why = f"left out as: {rule}" if rule else "not known to it, or no reason recorded"
        yield f"It is not in dataset {dataset}, the newest: {why}."


def _draft(store: Store, name: str, settings: TrainerSettings) -> DatasetDraft:
    """What a dataset would hold now; what outgrows the model's context is taken from the newest run that looked."""
    outgrown = set(newest_record(store, name).get("outgrown", ()))
    return draft(store, name, settings, lambda one: None if one.message_id in outgrown else one.context)
