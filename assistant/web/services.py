"""What the pages need to work: handed in once, by the program that starts everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assistant.chat import Chat
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_server import ServerState
from assistant.web.access import Access
from assistant.web.rates import Rates
from store import Store


@dataclass(frozen=True)
class Services:
    """`trainer_expected` is False when the app was started without a trainer on purpose.

    `dataset_now` counts what the dataset of an assistant would have now, as a run's report does; it raises StoreError.
    """

    store: Store
    access: Access
    tokenizer: ChatTokenizer
    chat: Chat
    server_state: Callable[[], ServerState]
    trainer_expected: bool
    dataset_now: Callable[[str], Mapping[str, Any]] = lambda assistant_id: {}
    rates: Rates = field(default_factory=Rates)
