"""The path from the store to a dataset: collect, redact, fit to the context, deduplicate and split. Records nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from store import Store
from store.records import Example, Split
from trainer.examples.collect import Collection, collect, dropped_counts
from trainer.examples.contradictions import contradictions
from trainer.examples.dataset import content_hash, shortage, sizes
from trainer.examples.deduplicate import Deduplicated, deduplicate
from trainer.examples.records import CollectedAnswer, Context, DropReason
from trainer.redaction.examples import RedactedAnswers
from trainer.redaction.examples import redact as redact_answers
from trainer.settings import TrainerSettings

# A context cut to what the model can read, None where even the last question does not fit.
Fit = Callable[[CollectedAnswer], Context | None]


@dataclass(frozen=True)
class DatasetDraft:
    """What a dataset would hold now. `outgrown` are the messages that do not fit the model's context."""

    collection: Collection
    redacted: RedactedAnswers
    outgrown: tuple[str, ...]
    deduplicated: Deduplicated

    @property
    def prompt_id(self) -> int:
        return self.collection.prompt_id

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        return self.deduplicated.examples(self.prompt_id)

    @property
    def hash(self) -> str:
        return content_hash(self.examples)

    @property
    def dropped(self) -> dict[str, DropReason]:
        """Message id -> why it is no example."""
        outgrown = dict.fromkeys(self.outgrown, DropReason.OUTGROWN)
        return {**self.collection.dropped, **outgrown, **self.deduplicated.dropped}

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> how many answers it dropped."""
        return dropped_counts(self.dropped, self.collection.older)

    @property
    def splits(self) -> dict[str, Split]:
        """What this dataset settles: the splits of conversations with an approved answer or an example in it."""
        unused = {one.conversation_id for one in self.redacted.answers if not one.approved}
        unused -= {one.conversation_id for one in self.redacted.answers if one.approved}
        unused -= {example.conversation_id for example in self.examples}
        return {id: split for id, split in self.deduplicated.splits.items() if id not in unused}

    def replaced(self) -> dict[str, int]:
        """Kind of personal data -> how many passages of the examples are placeholders."""
        return self.redacted.counts({example.message_id for example in self.examples})

    def contradictions(self) -> int:
        """Questions whose approved answers disagree."""
        return len(contradictions(self.deduplicated.answers, self.deduplicated.groups))


def draft(
    store: Store,
    assistant_id: str,
    settings: TrainerSettings,
    fit: Fit | None = None,
    redact: bool = True,
) -> DatasetDraft:
    """Walks the whole path and records nothing. Without `fit` every context is taken as it is.

    Raises NotFound without a prompt; RedactionError where personal data cannot be replaced.
    """
    collection = collect(store, assistant_id, settings)
    redacted = RedactedAnswers(collection.answers)
    if redact and settings.privacy:
        redacted = redact_answers(store, assistant_id, collection.answers)
    fitting, outgrown = [], []
    for one in redacted.answers:
        context = one.context if fit is None else fit(one)
        if context is not None:
            fitting.append(replace(one, context=context))
        elif one.approved:
            outgrown.append(one.message_id)
    found = deduplicate(fitting, settings.similar_cap, settings.max_train)
    return DatasetDraft(collection, redacted, tuple(outgrown), found)


def dataset_stats(store: Store, assistant_id: str, settings: TrainerSettings) -> dict[str, Any]:
    """Numbers for the Review page: `train`, `dev`, `gate`, `dropped` (reason -> answers), `corrected`, `reviewed`,
    `contradictions` (questions), and `shortage` in words, None where there is enough.

    Texts are counted as written and contexts whole, so a retrain may find a few less. Raises NotFound without a prompt.
    """
    found = draft(store, assistant_id, settings, redact=False)
    return {
        **{split.value: count for split, count in sizes(found.examples).items()},
        "dropped": found.counts,
        "corrected": sum(one.corrected for one in found.deduplicated.answers),
        "reviewed": sum(one.reviewed for one in found.deduplicated.answers),
        "contradictions": found.contradictions(),
        "shortage": shortage(found.examples, settings),
    }


def newest_record(store: Store, assistant_id: str) -> Mapping[str, Any]:
    """What the newest run that drafted a dataset recorded about it; empty where none did."""
    for run in store.runs.all(assistant_id):
        for event in store.runs.events(run.id, "dataset"):
            return event.data
    return {}
