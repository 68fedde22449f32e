"""Swaps without training: an assistant, random adapters, and the product's own way to publish and swap them."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from assistant.assistants import create_assistant
from assistant.rendering import keep, prompt_tokens
from assistant.serving import load_deployment, reconcile
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_pool import VllmPool
from benchmarks.faults.references import System
from store import Store
from store.records import Deployment, Segment, SegmentKind
from trainer.deployment.swap import hot_swap, unload_older
from trainer.training.publish import publish_run

ASSISTANT = "swapped"
PROMPT = (
    Segment("role", SegmentKind.INSTRUCTION, text="Answer in one short sentence."),
    Segment("tone", SegmentKind.INSTRUCTION, text="Be polite."),
)
FULL = tuple(segment.id for segment in PROMPT)


@dataclass(frozen=True)
class CopiedModel:
    """Weights that were made once, to be published under many names, as `trainer.training.publish` takes a model."""

    files: Path

    def save_pretrained(self, directory: str, *, save_embedding_layers: bool) -> None:
        Path(directory).mkdir()
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (Path(directory) / name).write_bytes((self.files / name).read_bytes())


def create_swapped_assistant(store: Store, tokenizer: ChatTokenizer) -> None:
    """Unless it is there."""
    if ASSISTANT not in {assistant.id for assistant in store.assistants.all()}:
        create_assistant(store, tokenizer, "Swapped", "exact", PROMPT, assistant_id=ASSISTANT)


def add_candidate(
    store: Store,
    tokenizer: ChatTokenizer,
    adapters: Path,
    templates: Path,
    base: str,
    system: System,
    assistant: str = ASSISTANT,
) -> Deployment:
    """Publish a candidate of a run of its own that never trained anything; the base model needs no adapter."""
    adapter, run_id = None, None
    if system.weights is not None:
        run = store.runs.start(assistant, {}, f"swap to {system.weights}")
        run_id, model = run.id, CopiedModel(templates / system.weights)
        adapter = publish_run(store, run, model, adapters, base)
    tokens = prompt_tokens(tokenizer, keep(PROMPT, system.segment_ids))
    prompt = store.prompts.latest(assistant)
    return store.deployments.add(assistant, prompt.id, adapter, system.segment_ids, 1, tokens, run_id)


class Scene:
    """One assistant in one data directory; `templates` holds the random adapters by name."""

    def __init__(
        self,
        store: Store,
        pool: VllmPool,
        tokenizer: ChatTokenizer,
        adapters: Path,
        templates: Path,
        base: str,
    ):
        self.store, self.pool, self.tokenizer = store, pool, tokenizer
        self.adapters, self.templates, self.base = adapters, templates, base
        create_swapped_assistant(store, tokenizer)

    def candidate(self, system: System) -> Deployment:
        return add_candidate(self.store, self.tokenizer, self.adapters, self.templates, self.base, system)

    async def swap_to(self, candidate: Deployment) -> Deployment:
        active = await asyncio.to_thread(self.store.deployments.active, ASSISTANT)
        await load_deployment(self.pool, candidate, self.adapters, self.base)
        deployment = await hot_swap(self.store, self.pool, self.tokenizer, self.adapters, candidate, active)
        await unload_older(self.store, self.pool, ASSISTANT)
        return deployment

    async def roll_back(self) -> Deployment:
        """As `python -m trainer rollback` does."""
        deployment = await asyncio.to_thread(
            self.store.deployments.rollback, ASSISTANT, "as the benchmark wants it"
        )
        await reconcile(self.store, self.pool, self.adapters, self.base)
        return deployment
