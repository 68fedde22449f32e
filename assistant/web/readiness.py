"""Whether a message can be answered now, and what is said until then.

In: the server's state. Out: HTML above the input, or a ChatError. Does not know what is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from assistant.chat import ChatError
from assistant.vllm_server import Phase, ServerState
from assistant.web import words


class Readiness:
    def __init__(self, server_state: Callable[[], ServerState]):
        self._state = server_state

    def __bool__(self) -> bool:
        return self._state().phase is Phase.READY

    def hint(self) -> str:
        """Above the input while the server is not ready."""
        state = self._state()
        if state.phase is Phase.READY:
            return ""
        return f'<p class="notice">{escape(words.server(state))}. What you type stays here until then.</p>'

    def pill(self) -> str:
        """In the header."""
        state = self._state()
        return f'<span class="pill {state.phase}" role="status">{escape(words.server(state))}</span>'

    def refuse_until_ready(self, assistant_id: str | None) -> None:
        """Raises ChatError."""
        if assistant_id is None:
            raise ChatError("There is no assistant yet. Load the sample, or write a prompt on its page.")
        state = self._state()
        if state.phase is not Phase.READY:
            raise ChatError(f"{words.server(state)}. Your message stays in the box until then.")
