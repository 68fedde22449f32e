"""What was taken in to a frozen dataset: without personal data, and with contexts as chat sends them.

In: a workshop and an assistant. Out: a Dataset in the store, or the sentence that says how much is missing. Place in
the flow: between `intake` and training. Does not know how answers are selected, split, thinned or hashed, nor what is
personal.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from assistant.rendering import fit
from store import Store
from store.records import Dataset, Example, Split, TrainingRun
from trainer.context import TrainingContext
from trainer.examples import dataset as datasets
from trainer.examples.contradictions import contradictions
from trainer.examples.intake import Intake, take_in
from trainer.examples.selection import Approved, Drop
from trainer.examples.thinning import Thinned, left_out, thin
from trainer.progress import RunProgress
from trainer.redaction.entities import Detector
from trainer.redaction.examples import RedactedIntake, redact
from trainer.settings import NO_MODEL, TrainerSettings


@dataclass(frozen=True)
class Unfrozen:
    """What a dataset would hold now; `outgrown` are the messages that only this step drops.

    `placed` are the conversations whose split is settled with this dataset, also those that are not in it.
    """

    redacted: RedactedIntake
    thinned: Thinned
    outgrown: list[str]

    @property
    def intake(self) -> Intake:
        return self.thinned.intake

    @property
    def placed(self) -> dict[str, Split]:
        return {**self.intake.splits, **{e.conversation_id: e.split for e in self.examples}}

    @property
    def examples(self) -> tuple[Example, ...]:
        return self.intake.examples()

    @property
    def hash(self) -> str:
        return datasets.content_hash(self.examples)

    @property
    def rules(self) -> dict[str, int]:
        """Rule -> how many answers it dropped."""
        return self.intake.rules


def prepare(w: TrainingContext, assistant_id: str) -> Unfrozen:
    """Records nothing. Contexts lose their oldest turns where they outgrow the model under the full prompt.

    Raises RedactionError: nothing goes on without what was to be replaced.
    """
    redacted = redact_taken(w.store, assistant_id, w.settings)
    intake = redacted.intake
    segments = w.store.prompts.get(intake.prompt_id).segments
    room = w.address.context - w.settings.max_answer_tokens
    fitting: list[Approved] = []
    outgrown: list[str] = []
    for item in intake.approved:
        context = fit(w.tokenizer, segments, item.answer.context, room)
        if context is None:
            outgrown.append(item.answer.message_id)
        else:
            fitting.append(replace(item, answer=replace(item.answer, context=tuple(context))))
    distillation_examples = [
        replace(example, context=tuple(context))
        for example in intake.distillation_examples
        if (context := fit(w.tokenizer, segments, example.context, room)) is not None
    ]
    dropped = {**intake.dropped, **dict.fromkeys(outgrown, Drop.OUTGROWN)}
    fitted = replace(intake, approved=fitting, dropped=dropped, distillation_examples=distillation_examples)
    thinned = thin(fitted, w.settings.similar_cap, w.settings.max_train)
    return Unfrozen(replace(redacted, intake=thinned.intake), thinned, outgrown)


def redact_taken(store: Store, assistant_id: str, settings: TrainerSettings) -> RedactedIntake:
    """What is taken in, without personal data where the settings say so. Raises RedactionError, NotFound."""
    taken = take_in(store, assistant_id, settings)
    if not settings.privacy:
        return RedactedIntake(taken)
    return redact(store, assistant_id, taken, _names_detector(settings.privacy_model))


def _names_detector(model: str) -> Detector | None:
    if model == NO_MODEL:
        return None
    from trainer.redaction.names import NameFinder  # imports transformers, which takes seconds

    return NameFinder(model).names


def freeze(w: TrainingContext, run: TrainingRun, progress: RunProgress) -> Dataset | str:
    """Record the splits and the dataset; or say how many more examples are needed."""
    unfrozen = prepare(w, run.assistant_id)
    examples = unfrozen.examples
    w.store.splits.record(unfrozen.placed)
    counts = {split.value: count for split, count in datasets.sizes(examples).items()}
    progress.record(
        "dataset",
        **counts,
        distillation_examples=len(unfrozen.intake.distillation_examples),
        teacher_approval=unfrozen.intake.teacher_approval,
        dropped=unfrozen.rules,
        outgrown=unfrozen.outgrown,
        thinned=left_out(unfrozen.thinned),
        replaced=unfrozen.redacted.counts(),
        unasked=len(unfrozen.redacted.unasked),
        quarantined=[asdict(one) for one in unfrozen.intake.quarantined.values()],
        contradictions=len(contradictions(examples)),
        topics=unfrozen.thinned.topics,
        largest_topic=unfrozen.thinned.largest_topic,
    )
    missing = datasets.shortage(examples, w.settings)
    if missing:
        return missing
    dataset = w.store.datasets.add(
        run.assistant_id,
        unfrozen.intake.prompt_id,
        unfrozen.hash,
        examples,
        unfrozen.rules,
        {id: rule.value for id, rule in unfrozen.intake.dropped.items()},
    )
    w.store.runs.update(run.id, dataset_id=dataset.id)
    return dataset
