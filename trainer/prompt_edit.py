"""What was served before an edit of the prompt, and which segments it needs now. Nothing here loads a model.

What an adapter learned of the unchanged segments stays learned, and what has changed is sent: right after an edit that
goes to the gate, and nothing is trained for it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from store import Store
from store.records import Deployment, RunStatus, Segment, TrainingRun

TRIGGER = "the prompt was edited"
WITHOUT_ADAPTER = f"{TRIGGER}, without the adapter"  # which was refused
TRIGGERS = (TRIGGER, WITHOUT_ADAPTER)
_TRIES = 3  # of a run that was interrupted


@dataclass(frozen=True)
class EditTry:
    """What is evaluated next after an edit, by its trigger: what was `served` before, or the base model instead."""

    trigger: str
    served: Deployment


def next_try(store: Store, assistant_id: str) -> EditTry | None:
    """The last deployment that was served in less than the full prompt; where its adapter was refused, the base model.

    None where there was none, where it would be no shorter now, where both were tried already, where people went back
    to the full prompt, and where one is served.
    """
    active = store.deployments.active(assistant_id)
    if active is None or active.adapter or active.variant:  # as mostly: the watch asks every second
        return None
    prompts = store.prompts.all(assistant_id)
    if active.prompt_id != prompts[-1].id:
        return None
    runs, since = store.runs.all(assistant_id), prompts[-1].created_at
    trigger = _untried([run for run in runs if run.started_at >= since])
    if trigger is None:
        return None
    for prompt in reversed(prompts[:-1]):
        served = store.deployments.served([prompt.id])
        if any(one.adapter or one.variant for one in served):
            last, after = served[0], prompts[-1].segments
            if not (last.adapter or last.variant):
                return None
            sent = segments_after_edit(prompt.segments, last.segment_ids, after)
            return EditTry(trigger, last) if len(sent) < len(after) else None
    return None


def _untried(runs: Sequence[TrainingRun]) -> str | None:
    """A refused adapter may still say what the prompt no longer says, which the base model does not."""
    for trigger in TRIGGERS:
        tries = [run for run in runs if run.trigger == trigger]
        ended = [run for run in tries if run.status is not RunStatus.INTERRUPTED]
        if not ended:
            return trigger if len(tries) < _TRIES else None
        if ended[0].status is not RunStatus.REFUSED or ended[0].adapter is None:
            return None
    return None


def segments_after_edit(
    before: Sequence[Segment], sent: Collection[str], after: Sequence[Segment]
) -> tuple[str, ...]:
    """Ids of the segments of `after` that are new, protected, or the same as one of `before` that was `sent`."""
    known = {_text(one): one.id for one in reversed(before)}
    return tuple(s.id for s in after if s.protected or known.get(_text(s)) in {None, *sent})


def _text(segment: Segment) -> Segment:
    return replace(segment, id="", protected=False)
