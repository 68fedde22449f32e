"""How much fits into a request, and the error that says so to the person who chats."""

from dataclasses import dataclass

MAX_MESSAGE_CHARACTERS = 20_000
_SHORTEST_MESSAGE = 64  # tokens, with what the template puts around it


class ChatError(Exception):
    """The turn did not happen or broke off; the message is written for the person who chats."""


@dataclass(frozen=True)
class ChatLimits:
    """In tokens: what a request may hold in all, and what an answer may take of it."""

    context: int = 4096
    answer: int = 256

    @property
    def room(self) -> int:
        """For prompt and conversation."""
        return self.context - self.answer

    def complaint(self, prompt_tokens: int) -> str | None:
        """Why a prompt that costs so much cannot be served; None where a message has room beside it."""
        too_many = prompt_tokens + _SHORTEST_MESSAGE - self.room
        if too_many <= 0:
            return None
        return (
            f"The prompt takes {prompt_tokens:,} tokens, which leaves no room for a message: the model takes "
            f"{self.context:,} in all, of which {self.answer:,} are for the answer. Shorten it by about "
            f"{too_many:,} tokens, or choose a model with a longer context."
        )

    def check(self, prompt_tokens: int) -> None:
        """Raises ChatError where there is a complaint."""
        if complaint := self.complaint(prompt_tokens):
            raise ChatError(complaint)
