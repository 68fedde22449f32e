"""Recognises a prompt that a program sends along with its question."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from hashlib import sha256

from assistant.api.chat_request import Turns
from assistant.assistants import save_prompt
from assistant.limits import ChatLimits
from assistant.prompt_text import to_text
from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import Prompt, Role, Segment, SegmentKind
from store.visible import one_line

MOST_FOUND = 100  # prompts that nobody has adopted; one that changes with each request would fill the store


@dataclass(frozen=True)
class Recognised:
    """A version of an assistant's prompt, and the turns after its worked examples."""

    assistant_id: str
    version: int
    turns: Turns


class KnownPrompts:
    """Every version of every assistant's prompt; any number of threads may ask."""

    def __init__(self, store: Store, tokenizer: ChatTokenizer):
        self._store, self._tokenizer = store, tokenizer
        self._lock = threading.Lock()
        self._newest = -1
        self._by_system: dict[str, list[tuple[Turns, Prompt]]] = {}

    def find(self, system: str, turns: Turns, assistant_id: str | None = None) -> Recognised | None:
        """The prompt whose instructions are this system message, and whose worked examples come first among the turns;
        of several the wanted assistant's, then the longest, then the newest. Blank lines and spaces at the ends of
        lines make no difference.
        """
        fitting = [
            (examples, prompt)
            for examples, prompt in self._prompts().get(_comparable(system), ())
            if turns[: len(examples)] == examples and len(turns) > len(examples)
        ]
        if not fitting:
            return None
        examples, prompt = max(
            fitting, key=lambda one: (one[1].assistant_id == assistant_id, len(one[0]), one[1].id)
        )
        return Recognised(prompt.assistant_id, prompt.version, turns[len(examples) :])

    def _prompts(self) -> dict[str, list[tuple[Turns, Prompt]]]:
        with self._lock:
            newest = self._store.prompts.newest_id()
            if newest != self._newest:
                found = defaultdict(list)
                for prompt in self._store.prompts.all():
                    for system, examples in _forms(prompt.segments):
                        found[_comparable(system)].append((examples, prompt))
                self._newest, self._by_system = newest, dict(found)
            return self._by_system

    def add_found(self, system: str, limits: ChatLimits) -> str | None:
        """The id of a new assistant with this prompt, which nobody has adopted yet; None where there are too many.

        Its prompt is served as it was sent. Raises ChatError where it leaves no room for a message.
        """
        id = f"prompt-{sha256(_comparable(system).encode()).hexdigest()[:12]}"
        with self._lock:  # two requests with a new prompt come at the same moment
            known = self._store.assistants.found_ids()
            if id not in known:
                if len(known) >= MOST_FOUND:
                    return None
                limits.check(len(self._tokenizer.encode_text(system)))
                self._store.assistants.create(id, one_line(system, 60), "chrf", found=True)
            if self._store.deployments.active(id) is None:
                save_prompt(self._store, self._tokenizer, id, as_sent(system))
            return id


def _forms(segments: tuple[Segment, ...]) -> list[tuple[str, Turns]]:
    """What a program may send for a prompt: examples as turns, or all of it as the text that stands on its page."""
    instructions = [one.text for one in segments if one.kind is SegmentKind.INSTRUCTION]
    turns = tuple(
        turn
        for one in segments
        if one.kind is SegmentKind.EXAMPLE
        for turn in ((Role.USER, one.user), (Role.ASSISTANT, one.assistant))
    )
    forms: list[tuple[str, Turns]] = [("\n\n".join(instructions), turns)]
    if turns:
        forms.append((to_text([replace(one, protected=False) for one in segments]), ()))
    return [form for form in forms if form[0] or form[1]]  # nothing at all is no sign of a prompt


def as_sent(system: str) -> tuple[Segment, ...]:
    """A segment for each paragraph where they make up just this text, else one for all of it."""
    paragraphs = system.split("\n\n")
    if any(one != one.strip() or not one for one in paragraphs):
        paragraphs = [system]
    return tuple(
        Segment(f"part-{n}", SegmentKind.INSTRUCTION, text=text) for n, text in enumerate(paragraphs, 1)
    )


def _comparable(system: str) -> str:
    return "\n".join(line.rstrip() for line in system.strip().splitlines() if line.strip())
