"""Whether a refused candidate is due for its re-evaluation.

A candidate that was refused for its scores alone asks people about answers that may be as good as the approved ones
(`judgements`). When they have decided about all of them, the same answers are scored once more by what is approved
then. There are two evaluations at most; each may err in half of the 5 % (`gate_evaluation`).
"""

from __future__ import annotations

from store import Store
from store.records import RunStatus, TrainingRun
from trainer.settings import BadSetting, TrainerSettings

TRIGGER = "people have judged its answers"
_TRIES = 3  # of a re-evaluation that failed or was interrupted before it came to a verdict
_NO_VERDICT = {RunStatus.FAILED, RunStatus.INTERRUPTED}


def pending(store: Store, assistant_id: str) -> TrainingRun | None:
    """The newest run, if it was refused, asked people, has their word, and nothing else has changed since.

    One that came to no verdict does not count; after three of them there is no other.
    """
    runs = store.runs.all(assistant_id, _TRIES + 1)
    tries = 0
    while tries < len(runs) and runs[tries].trigger == TRIGGER and runs[tries].status in _NO_VERDICT:
        tries += 1
    if tries >= min(_TRIES, len(runs)):
        return None
    run = runs[tries]
    if run.status is not RunStatus.REFUSED or "candidate" not in run.report or run.trigger == TRIGGER:
        return None
    if run.dataset_id is None or run.report.get("gate", {}).get("evaluation") != 1:
        return None
    asked = store.judgement_requests.of_run(run.id)
    if any(judgement_request.accepted is None for judgement_request in asked) or not any(
        p.accepted for p in asked
    ):
        return None
    active = store.deployments.active(assistant_id)
    same_served = run.report.get("active") == (active.id if active else None)
    same_prompt = store.prompts.latest(assistant_id).id == store.datasets.get(run.dataset_id).prompt_id
    return run if same_served and same_prompt and _is_readable(run) else None


def _is_readable(run: TrainingRun) -> bool:
    try:
        TrainerSettings.from_record(run.settings)
    except BadSetting:
        return False
    return True
