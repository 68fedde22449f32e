"""Creates assistants, new prompt versions, and the sample that ships with Shorthand.

A new prompt is served in full by the base model until the gate has seen it: an adapter was proven for another text.
"""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from assistant.limits import ChatLimits
from assistant.rendering import prompt_tokens
from assistant.tokenizer import ChatTokenizer
from store import Store, StoreError
from store.io.importing import import_planned, plan_import
from store.io.records import ImportOptions
from store.records import Assistant, Deployment, Segment

_SAMPLE = Path(__file__).parent / "sample.json"
_SAMPLE_ANSWERS = _SAMPLE.with_name("sample_answers.json")
SAMPLE_ID = "otter-quay"


def create_assistant(
    store: Store,
    tokenizer: ChatTokenizer,
    name: str,
    scorer: str,
    segments: Sequence[Segment],
    starters: Sequence[str] = (),
    assistant_id: str | None = None,
    limits: ChatLimits | None = None,
) -> Assistant:
    """An assistant with its first prompt version, served by the base model; raises StoreError, ChatError."""
    if limits:
        limits.check(prompt_tokens(tokenizer, segments))
    made_up = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not (assistant_id or made_up):
        raise StoreError(
            f"The name {name!r} has no letter or digit. Give the assistant a name such as “Help desk”."
        )
    with store.writing():
        assistant = store.assistants.create(assistant_id or made_up, name, scorer, starters)
        save_prompt(store, tokenizer, assistant.id, segments)
    return assistant


def save_prompt(
    store: Store,
    tokenizer: ChatTokenizer,
    assistant_id: str,
    segments: Sequence[Segment],
    limits: ChatLimits | None = None,
) -> Deployment:
    """A new prompt version, active at once: in full, without an adapter, until less is proven to do. One that says
    what an earlier version said is served as that one was, which has been proven already.

    Raises ChatError, and saves nothing, where it leaves no room for a message within `limits`.
    """
    tokens = prompt_tokens(tokenizer, segments)
    if limits:
        limits.check(tokens)
    with store.writing():
        proven = _last_of_same_text(store, assistant_id, segments)
        prompt = store.prompts.add(assistant_id, segments)
        ids = [segment.id for segment in segments]
        full = store.deployments.add(assistant_id, prompt.id, None, ids, variant=0, prompt_tokens=tokens)
        active = store.deployments.activate(full.id)
        if proven is None:
            return active
        earlier = store.prompts.get(proven.prompt_id).segments
        kept = [id for id, segment in zip(ids, earlier, strict=True) if segment.id in proven.segment_ids]
        again = store.deployments.add(
            assistant_id,
            prompt.id,
            proven.adapter,
            kept,
            proven.variant,
            proven.prompt_tokens,
            proven.run_id,
            proven.demonstrations,
            proven.copy_at,
        )
        return store.deployments.activate(again.id)


def _last_of_same_text(store: Store, assistant_id: str, segments: Sequence[Segment]) -> Deployment | None:
    """What served last of the earlier prompt versions with these texts, if that was less than the full prompt."""
    same = [
        prompt.id
        for prompt in store.prompts.all(assistant_id)
        if [replace(one, id="") for one in prompt.segments] == [replace(one, id="") for one in segments]
    ]
    last = next(iter(store.deployments.served(same)), None)
    return last if last and (last.adapter or last.variant) else None


def load_sample(
    store: Store, tokenizer: ChatTokenizer, limits: ChatLimits | None = None
) -> tuple[Assistant, int]:
    """The sample assistant with its rated conversations; a second call adds only what is missing."""
    sample = json.loads(_SAMPLE.read_text(encoding="utf-8"))
    known = {assistant.id: assistant for assistant in store.assistants.all()}
    assistant = known.get(SAMPLE_ID) or create_assistant(
        store,
        tokenizer,
        sample["name"],
        sample["scorer"],
        segments_from(sample["prompt"]),
        sample["starters"],
        SAMPLE_ID,
        limits,
    )
    options = ImportOptions(assistant.id, "sample", approve=False, at=time.time())
    return assistant, import_planned(store, plan_import(_SAMPLE_ANSWERS, options)).counts["conversations"]


def segments_from(rows: Sequence[dict[str, Any]]) -> tuple[Segment, ...]:
    """Segments of the `prompt` of a sample or task file; raises msgspec.ValidationError."""
    return msgspec.convert(rows, tuple[Segment, ...])
