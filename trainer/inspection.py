"""The commands `why` and `disagreements`: what became of answers.

They work while the app is running and while it is not: without its tokenizer, so an answer that outgrows the model's
context is known from the newest run alone.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from store import Store
from store.records import Message, Role
from trainer.command_line import (
    AsJson,
    Assistant,
    DataDir,
    Set,
    console,
    fail,
    open_assistant,
    open_store,
    print_lines,
    settings_from,
)
from trainer.examples.dataset import DatasetDraft, collect, draft, newest_record
from trainer.examples.selection import DropReason
from trainer.examples.similar import contradictions, grouped, question_of


def why(
    message: Annotated[str, typer.Argument(help="The id of an answer; `disagreements` names them.")],
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
    # What outgrows the model's context is taken from the newest run that looked.
    outgrown = newest_record(store, name).get("outgrown", ())
    now = draft(
        store, name, settings_from(changed), lambda o: None if o.message_id in outgrown else o.context
    )
    record = _explain(store, name, found, now)
    if as_json:
        print(json.dumps(record, indent=1))
    else:
        print_lines(*_in_words(record))


def disagreements(data_dir: DataDir = Path("data"), assistant: Assistant = "", changed: Set = None) -> None:
    """Questions whose approved answers differ, with who approved of each: rate down or correct what is wrong.

    Questions in nearly the same words are one. Long answers differ where numbers, negations or days do, or more than
    about a third of their words.
    """
    store, name = open_assistant(data_dir, assistant)
    answers = collect(store, name, settings_from(changed)).answers
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


def _explain(store: Store, assistant: str, message: Message, found: DatasetDraft) -> dict[str, Any]:
    """`split` says where an answer is now, `rule` why it is not, `others` what stays instead; `frozen` is where it is
    in the newest dataset.
    """
    id, newest = message.id, store.datasets.newest(assistant)
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
        yield f"It is not in dataset {dataset}, the newest."
