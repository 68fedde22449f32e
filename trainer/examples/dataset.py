"""The path from the store to a frozen dataset: collect, redact, fit to the context, deduplicate and split, freeze."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from assistant import rendering
from assistant.retrieval import Embeds
from store import Store
from store.outdated import OutdatedFacts
from store.records import Dataset, Example, Split, TrainingRun
from trainer.context import RunProgress, TrainingContext
from trainer.evaluation.gate import MOST_UNRATED
from trainer.evaluation.scorers import right_or_wrong
from trainer.examples.deduplicate import (
    DEV_SHARE,
    ENOUGH_IN_GATE,
    GATE_SHARE,
    SMALL_GATE_SHARE,
    Deduplicated,
    deduplicate,
    position_of,
    settle,
)
from trainer.examples.outlier_raters import OutlierRater, find_outlier_raters
from trainer.examples.selection import (
    CollectedAnswer,
    Context,
    DropReason,
    exclude_raters,
    judge,
    select,
    unrated_example,
)
from trainer.examples.similar import contradictions, is_understood_alone
from trainer.examples.teacher import TEACHER, Teacher, TeacherResult
from trainer.examples.traffic import choose_traffic, confident_answers, questions_to_learn
from trainer.redaction.redactor import RedactedAnswers, Redactor, redact_answers
from trainer.settings import TrainerSettings

# A context cut to what the model can read, None where even the last question does not fit.
Fit = Callable[[CollectedAnswer], Context | None]

_NO_LOSS = (DropReason.UNRATED, DropReason.REJECTED, DropReason.RATED_DOWN, DropReason.REPEATED)
_DUPLICATES = (DropReason.NEAR_GATE, DropReason.SIMILAR)


@dataclass(frozen=True)
class Collection:
    """Approved answers, and unrated ones, of which `sure` has the log-probability of those that are worth learning.

    `dropped` has the reason for each rated answer that is not in `answers`; `older` rated answers were not read.
    """

    prompt_id: int
    answers: tuple[CollectedAnswer, ...]
    sure: Mapping[str, float]
    has_traffic: bool  # at least as many answers that nobody rated as approved ones
    dropped: dict[str, DropReason]
    older: int
    outlier_raters: tuple[OutlierRater, ...]


@dataclass(frozen=True)
class DatasetDraft:
    """What a dataset would hold now. `dropped` has the reason for each answer read that is no example; `unrated` are
    the questions that nobody rated, without those of the gate and of dev, the newest last.
    """

    collection: Collection
    redacted: RedactedAnswers
    deduplicated: Deduplicated
    examples: tuple[Example, ...]
    dropped: dict[str, DropReason]
    taught: TeacherResult
    unrated: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> how many answers it dropped; the older ones are counted, too many to be named one by one."""
        counts = Counter(reason.value for reason in self.dropped.values())
        counts[DropReason.OLDER.value] = self.collection.older
        return dict(+counts)

    def replaced(self) -> dict[str, int]:
        """Kind of personal data -> how many passages of the examples are placeholders."""
        found = (self.redacted.replacements.get(one.message_id, ()) for one in self.examples)
        return dict(sorted(Counter(each.kind for some in found for each in some).items()))

    def contradictions(self) -> int:
        """Questions whose approved answers disagree."""
        return len(contradictions(self.deduplicated.answers, self.deduplicated.groups))


def collect(store: Store, assistant_id: str, settings: TrainerSettings) -> Collection:
    """Read the newest rated answers and apply approval and raters; then the newest unrated ones.

    Raises NotFound without a prompt.
    """
    prompt_id = store.prompts.latest(assistant_id).id
    limit, excluded = settings.newest_answers, settings.without_raters
    newest = store.answers.rated(assistant_id, limit, excluded)
    rated = sum(bool(answer.ratings) for answer in newest)  # the others were reviewed, not rated
    older = store.answers.rated_count(assistant_id, excluded) - rated if rated >= limit else 0
    answers, _ = exclude_raters(newest, excluded)
    outliers: tuple[OutlierRater, ...] = ()
    if settings.exclude_outliers:
        approved = [one for one in map(judge, answers) if isinstance(one, CollectedAnswer)]
        outliers = find_outlier_raters(approved, settings.trusted_raters)
    answers, left_out = exclude_raters(answers, {one.rater for one in outliers})
    outdated = OutdatedFacts(store.prompts.all(assistant_id))
    selected, dropped = select(answers, settings.max_answer_characters, outdated)
    dropped |= dict.fromkeys(left_out, DropReason.OUTLIER_RATER)
    unrated = store.answers.unrated(prompt_id, settings.unrated_answers)
    has_traffic = bool(selected) and store.answers.has_unrated(prompt_id, len(selected))
    traffic = map(unrated_example, unrated)
    selected += [one for one in traffic if 0 < len(one.completion) <= settings.max_answer_characters]
    sure = confident_answers(answers, unrated)
    return Collection(prompt_id, tuple(selected), sure, has_traffic, dropped, older, outliers)


def draft(
    store: Store,
    assistant_id: str,
    settings: TrainerSettings,
    fit: Fit | None = None,
    embedder: Embeds | None = None,
    teacher: Teacher | None = None,
) -> DatasetDraft:
    """Walk the whole path and record nothing. Without `fit` every context is taken as it is; without `embedder` no
    unrated question is learned with the answer to another one, without `teacher` none with a larger model's.

    Raises NotFound without a prompt; RedactionError where personal data cannot be replaced.
    """
    collection = collect(store, assistant_id, settings)
    redacted = RedactedAnswers(collection.answers)
    if settings.privacy:
        redacted = redact_answers(collection.answers, Redactor.of(store, assistant_id))
    fitting, outgrown = [], {}
    for one in redacted.answers:
        context = fit(one) if fit else one.context
        if context is not None:
            fitting.append(replace(one, context=context))
        elif one.approved:
            outgrown[one.message_id] = DropReason.OUTGROWN
    # What is right or wrong people can say of any question, so that the gate needs no approved answers to it.
    asks_gate = settings.judgement_requests > 0 and right_or_wrong(store.assistants.get(assistant_id).scorer)
    groups, splits = settle(fitting, 0 if asks_gate and collection.has_traffic else ENOUGH_IN_GATE)
    taught = teacher.answers(questions_to_learn(fitting, splits)) if teacher else TeacherResult()
    segments = store.prompts.get(collection.prompt_id).segments
    chosen = choose_traffic(fitting, splits, collection.sure, embedder, asks_gate, taught.texts, segments)
    found = deduplicate(chosen, groups, splits, settings.similar_cap)
    dropped = {**collection.dropped, **outgrown, **found.dropped}
    train = [one for one in fitting if splits[one.conversation_id] is Split.TRAIN]
    unrated = (o.context[-1][1] for o in train if not o.approved and is_understood_alone(o.context))
    return DatasetDraft(collection, redacted, found, found.examples(), dropped, taught, tuple(unrated))


def draft_for_model(
    context: TrainingContext,
    assistant_id: str,
    embedder: Embeds | None = None,
    on_taught: Callable[[int, int], None] = lambda done, total: None,
) -> DatasetDraft:
    """The draft with contexts as chat sends them: the oldest turns go where they outgrow the model's context.

    The teacher, where there is one, is asked for a draft that has an embedder: one that is trained on. Raises as
    `draft`.
    """
    segments = context.store.prompts.latest(assistant_id).segments
    teaches = embedder is not None and context.settings.teacher
    teacher = Teacher(context.store, assistant_id, segments, context.settings, on_taught) if teaches else None
    room = context.address.context - context.settings.max_answer_tokens

    def fitted(one: CollectedAnswer) -> Context | None:
        turns = rendering.fit(context.tokenizer, segments, one.context, room)
        return None if turns is None else tuple(turns)

    return draft(context.store, assistant_id, context.settings, fitted, embedder, teacher)


def snapshot(
    context: TrainingContext, run: TrainingRun, progress: RunProgress, trains: bool = True
) -> tuple[Dataset, tuple[str, ...]] | str:
    """Record the splits and the dataset, and return it with the questions that nobody rated (`DatasetDraft.unrated`);
    or say how many more examples are needed. Raises as `draft`.

    Where nothing is trained or was (`run.adapter`), every approved answer can be asked or retrieved: half of them prove
    the rest.
    """
    embedder = context.retriever.embedder if trains else None
    found = draft_for_model(context, run.assistant_id, embedder, progress.counter(TEACHER))
    context.store.splits.record(found.deduplicated.splits)
    proves_half = not trains and run.adapter is None
    examples = tuple(halved(found.examples)) if proves_half else found.examples
    progress.record("dataset", **_record(found, examples), trains=trains)
    missing = shortage(examples, context.settings, found.counts)
    if missing:
        return missing
    prompt_id, hash = found.collection.prompt_id, content_hash(examples)
    dataset = context.store.datasets.add(run.assistant_id, prompt_id, hash, examples, found.counts)
    context.store.runs.update(run.id, dataset_id=dataset.id)
    return dataset, found.unrated


def halved(examples: Sequence[Example]) -> Iterator[Example]:
    """The approved examples: but for dev, half of the conversations to be retrieved and half for the gate."""
    for one in examples:
        if one.approved and one.split is not Split.DEV:
            yield replace(one, split=Split.GATE if position_of(one.context[0][1]) < 0.5 else Split.TRAIN)
        elif one.approved:
            yield one


def content_hash(examples: Sequence[Example]) -> str:
    """SHA-256 over ids, texts as trained and splits: two datasets with one hash train alike."""
    rows = [[value for name, value in vars(one).items() if name != "rater"] for one in examples]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def sizes(examples: Sequence[Example]) -> dict[str, int]:
    """Approved examples in each split."""
    counted = Counter(example.split for example in examples if example.approved)
    return {split.value: counted[split] for split in Split}


def shortage(
    examples: Sequence[Example], settings: TrainerSettings, dropped: Mapping[str, int] | None = None
) -> str | None:
    """Why this is not enough to train and to evaluate, as “not enough yet, N more”; None when it is."""
    have = sizes(examples)
    train, total = have[Split.TRAIN], sum(have.values())
    gate = sum(example.split is Split.GATE for example in examples)  # unrated questions among them
    missing = max(
        (settings.min_train - train) / (1 - DEV_SHARE - GATE_SHARE),
        (settings.min_gate - gate) / GATE_SHARE,
        (1 - have[Split.GATE]) / SMALL_GATE_SHARE,
        (1 - have[Split.DEV]) / DEV_SHARE,
    )
    if missing > 0:
        return (
            f"Not enough yet: about {max(1, round(missing))} more approved answers. There are {total}, of which "
            f"{train} to train on ({settings.min_train} needed) and {gate} to prove it on "
            f"({settings.min_gate} needed). Rate answers up or correct them.{_losses(dropped or {}, settings)}"
        )
    answers = {example.completion for example in examples if example.approved}
    if len(answers) == 1:
        return (
            f"Not enough yet: all {total} approved answers are the same text (“{next(iter(answers))[:60]}”). At least "
            "1 more that differs is needed, or there is nothing to learn."
        )
    return None


def _losses(dropped: Mapping[str, int], settings: TrainerSettings) -> str:
    """What people approved of and is left out all the same; what they did not approve of is no loss."""
    losses = [f"{n:,}: {why}" for why, n in dropped.items() if n and why not in _NO_LOSS]
    text = f" Left out, though approved: {'; '.join(losses)}." if losses else ""
    if dropped.get(DropReason.TOO_LONG):
        tokens = settings.max_answer_tokens
        text += (
            f" An answer may have {settings.max_answer_characters:,} characters (max_answer_tokens={tokens}); for "
            f"twice as many say --set max_answer_tokens={2 * tokens}, or set SHORTHAND_SET to that for the app."
        )
    return text


def dataset_stats(store: Store, assistant_id: str, settings: TrainerSettings) -> dict[str, Any]:
    """Numbers for the Review page: `train`, `dev`, `gate`, `dropped` (reason -> answers), `corrected`, `reviewed`,
    `contradictions` (questions), and `shortage` in words, None where there is enough.

    Texts are counted as written and contexts whole, so a retrain may find a few less. Raises NotFound without a prompt.
    """
    found = draft(store, assistant_id, replace(settings, privacy=False))
    return {
        **sizes(found.examples),
        "dropped": found.counts,
        "corrected": sum(one.corrected for one in found.deduplicated.answers),
        "reviewed": sum(one.reviewed for one in found.deduplicated.answers),
        "contradictions": found.contradictions(),
        "shortage": shortage(found.examples, settings, found.counts),
    }


def newest_record(store: Store, assistant_id: str) -> Mapping[str, Any]:
    """What the newest run that drafted a dataset recorded about it; empty where none did."""
    for run in store.runs.all(assistant_id):
        for event in store.runs.events(run.id, "dataset"):
            return event.data
    return {}


def notices(record: Mapping[str, Any]) -> list[str]:
    """What people should know of a dataset, by what its run recorded about it."""
    found = []
    if count := record.get("unasked", 0):
        found.append(
            f"{count:,} approved answer{'s' if count > 1 else ''} with something personal that stands neither in the "
            "question nor in the prompt: the adapter may say the placeholder. If it is the team's own, put it into the "
            "prompt, or: python -m trainer privacy keep TEXT."
        )
    if count := record.get("contradictions", 0):
        some = "A question has" if count == 1 else f"{count:,} questions have"
        found.append(f"{some} approved answers that disagree; to see them: python -m trainer disagreements.")
    if (taught := record.get("taught", {})).get("asked"):
        found.append(
            f"The teacher answered {taught['texts']:,} of {taught['asked']:,} questions that nobody rated, which are "
            f"trained on. {taught['failure']}".strip()
        )
    for one in record.get("outlier_raters", ()):
        found.append(
            f"{OutlierRater(**one)}. Nothing of it is learned; approve what is right on the Review page, or trust this "
            f"rater with --set trusted_raters={one['rater']}."
        )
    return found


def _record(found: DatasetDraft, examples: Sequence[Example]) -> dict[str, Any]:
    """Unrated questions count in the split that they are in."""
    counted = Counter(example.split for example in examples)
    counted[Split.GATE] = min(counted[Split.GATE], sizes(examples)[Split.GATE.value] + MOST_UNRATED)
    return {
        **{split.value: counted[split] for split in Split},
        "dropped": found.counts,
        "outgrown": [id for id, reason in found.dropped.items() if reason is DropReason.OUTGROWN],
        "duplicates": sorted(id for id, reason in found.dropped.items() if reason in _DUPLICATES),
        "replaced": found.replaced(),
        "unasked": len(found.redacted.unasked),
        "taught": {**asdict(found.taught), "texts": len(found.taught.texts)},
        "outlier_raters": [asdict(one) for one in found.collection.outlier_raters],
        "contradictions": found.contradictions(),
    }
