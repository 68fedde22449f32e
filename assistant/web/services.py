"""What the pages need to work: handed in once, by the program that starts everything.

In: the parts that `app.py` built. Out: one value that every page takes. Does not know how any of them is
made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from assistant.chat import Chat
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_server import ServerState
from store import Store

PERSON = "local"  # owner and rater, until there are accounts


@dataclass(frozen=True)
class Services:
    """`trainer_expected` is False when the app was started without a trainer on purpose."""

    store: Store
    tokenizer: ChatTokenizer
    chat: Chat
    server_state: Callable[[], ServerState]
    trainer_expected: bool
