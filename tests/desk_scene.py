"""An assistant at a desk: a store, a fake vLLM, and chats that ask it."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fake_vllm import FakeVllm
from tiny_model import write_adapter

from assistant.assistants import create_assistant
from assistant.chat import Chat
from assistant.limits import ChatLimits
from assistant.retrieval import Retriever
from assistant.sampling import GREEDY, Sampling
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient
from assistant.vllm_pool import VllmPool
from store import Store
from store.records import Deployment, Message, Segment, SegmentKind

PROMPT = (
    Segment("role", SegmentKind.INSTRUCTION, text="Answer with one word."),
    Segment("france", SegmentKind.EXAMPLE, user="What is the capital of France?", assistant="Paris."),
)


@dataclass
class Desk:
    """An assistant, its store and servers; `run` gives the coroutine a chat of its own event loop."""

    store: Store
    tokenizer: ChatTokenizer
    vllm: FakeVllm
    adapters: Path
    limits: ChatLimits
    retriever: Retriever | None = None

    def run(self, act: Callable[[Chat], Coroutine[Any, Any, Any]]) -> Any:
        async def whole() -> Any:
            pool = VllmPool([VllmClient(self.vllm.url)])
            try:
                return await act(
                    Chat(
                        self.store,
                        pool,
                        self.tokenizer,
                        "base hash",
                        self.adapters,
                        self.limits,
                        self.retriever,
                    )
                )
            finally:
                await pool.close()

        return asyncio.run(whole())

    def ask(self, text: str, conversation: str | None = None) -> Message:
        """Ask and take the whole answer."""

        async def act(chat: Chat) -> Message:
            return await answer(chat, chat.ask("bank", conversation, text))

        return self.run(act)

    def deploy(self, name: str, segment_ids: tuple[str, ...] = (), assistant: str = "bank") -> Deployment:
        """A published adapter, active without the examples."""
        write_adapter(self.adapters, name)
        prompt = self.store.prompts.latest(assistant)
        return self.store.deployments.activate(
            self.store.deployments.add(assistant, prompt.id, name, segment_ids, 1, 0).id
        )

    def shown(self) -> str:
        """The last request as text."""
        return self.tokenizer.decode(self.vllm.asked()[-1]["prompt"])


async def answer(chat: Chat, question: Message, sampling: Sampling = GREEDY, begun: str = "") -> Message:
    last = None
    async for progress in chat.answer(question, sampling, begun):
        last = progress.message
    assert last is not None
    return last


def make_desk(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, directory: Path) -> Desk:
    create_assistant(store, tokenizer, "Bank", "exact", PROMPT, assistant_id="bank")
    vllm.answer = lambda model, ids: "Call the front desk."
    return Desk(store, tokenizer, vllm, directory / "adapters", ChatLimits(context=1024, answer=32))
