"""The commands that say what became of answers: `why`, `datasets` and `disagreements`.

In: arguments. Out: lines or JSON, exit status 0, and 2 for what is not there. Place in the flow: commands of
`python -m trainer`. They work while the app is running and while it is not: without its tokenizer, so an answer that
outgrows the model's context is known from the newest run alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from store import Store, StoreError
from store.records import Dataset
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
from trainer.examples.contradictions import contradictions
from trainer.examples.intake import take_in
from trainer.examples.reasons import reason
from trainer.examples.selection import Drop
from trainer.examples.thinning import Thinned, thin
from trainer.examples.versions import compare, listed
from trainer.freezing import redact_taken
from trainer.redaction.entities import RedactionError
from trainer.settings import TrainerSettings

AsJson = Annotated[bool, typer.Option("--json", help="Everything, as JSON.")]


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
    try:
        found = store.messages.get(message)
        name = store.conversations.get(found.conversation_id).assistant_id
        if assistant and assistant != name:
            fail(f"Message {message} belongs to assistant {name}, not to {assistant}.")
        versions = store.datasets.versions(name)
        newest = store.datasets.get(versions[0].id) if versions else None
        left_out = store.datasets.left_out(newest.id) if newest else {}
        rated = {answer.message_id: answer for answer in store.answers.rated(name)}
        said = reason(found, rated, _now(store, name, settings_from(changed or ())), newest, left_out)
    except (StoreError, RedactionError) as error:
        fail(str(error))
    if as_json:
        print(json.dumps(asdict(said), indent=1))
        return
    for line in said.lines():
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def datasets(
    old: Annotated[int | None, typer.Argument(help="Compare this version ...")] = None,
    new: Annotated[int | None, typer.Argument(help="... with this one; by default the newest.")] = None,
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    as_json: AsJson = False,
) -> None:
    """The versions of the dataset: number, time (UTC), examples, hash and adapters. Or what differs between two."""
    store = open_store(data_dir)
    try:
        name = assistant_id(store, assistant)
        versions = store.datasets.versions(name)
        if old is None:
            if as_json:
                print(json.dumps([asdict(one) for one in versions], indent=1))
            for line in listed(versions) if not as_json else ():
                console.print(line, soft_wrap=True, markup=False, highlight=False)
            if not versions and not as_json:
                console.print("No dataset yet. Rate some answers, then: python -m trainer once")
            return
        known = [one.id for one in versions]
        for id in (old, new):
            if id is not None and id not in known:
                there = ", ".join(map(str, sorted(known))) or "none"
                fail(f"Assistant {name} has no dataset {id}. There are: {there}.")
        before, after = store.datasets.get(old), store.datasets.get(known[0] if new is None else new)
        found = compare(before, after, _rules(store, name, after))
    except (StoreError, RedactionError) as error:
        fail(str(error))
    if as_json:
        print(json.dumps(found.as_record(), indent=1))
        return
    for line in found.lines():
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def disagreements(data_dir: DataDir = Path("data"), assistant: Assistant = "", changed: Set = None) -> None:
    """Questions whose approved answers differ, with who approved of each: rate down or correct what is wrong.

    First those that were asked in the same words, then those that were reworded. Long answers differ where numbers,
    negations or days do, or more than about a third of their words.
    """
    store = open_store(data_dir)
    try:
        examples = take_in(store, assistant_id(store, assistant), settings_from(changed or ())).examples()
    except StoreError as error:
        fail(str(error))
    found = contradictions(examples)
    for one in found:
        console.print(
            one.question if one.exact else f"{one.question} (and reworded)",
            style="bold",
            markup=False,
            highlight=False,
        )
        for example in one.examples:
            said = "corrected to" if example.corrected else "rated up"
            asked = "" if one.exact else f"asked “{example.context[-1][1]}”, "
            line = f"  {asked}{example.rater} {said}: {example.completion}  (message {example.message_id})"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not found:
        console.print("No question has approved answers that disagree.")


def _now(store: Store, name: str, settings: TrainerSettings) -> Thinned:
    """What a dataset would hold now, as far as it can be told without the model."""
    redacted = redact_taken(store, name, settings).intake
    outgrown = _outgrown(store, name)
    left = [item for item in redacted.approved if item.answer.message_id not in outgrown]
    dropped = {
        item.answer.message_id: Drop.OUTGROWN
        for item in redacted.approved
        if item.answer.message_id in outgrown
    }
    fitted = replace(redacted, approved=left, dropped={**redacted.dropped, **dropped})
    return thin(fitted, settings.similar_cap, settings.max_train)


def _outgrown(store: Store, name: str) -> set[str]:
    """What the newest run that looked at the examples could not fit into the model's context."""
    for run in store.runs.all(name):
        for event in store.runs.events(run.id, "dataset"):
            return set(event.data.get("outgrown", ()))
    return set()


def _rules(store: Store, name: str, dataset: Dataset) -> Mapping[str, str]:
    """Message id -> why it is not in the dataset: as it was noted, else as it is today."""
    today = {id: rule.value for id, rule in _now(store, name, TrainerSettings()).intake.dropped.items()}
    return {**today, **store.datasets.left_out(dataset.id)}
