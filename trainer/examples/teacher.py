"""Lets a larger model answer questions that nobody rated, so that the adapter learns to answer as it does.

Its answers are trained on and prove nothing: the gate asks what people approved of. (Sequence-level distillation, Kim
and Rush 2016, arXiv:1606.07947.)
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from assistant.rendering import turns
from store import Store
from store.records import Segment
from trainer.chat_model import ChatModel, NoReply
from trainer.examples.selection import CollectedAnswer
from trainer.redaction.redactor import Redactor, redact_answers
from trainer.settings import TrainerSettings

TEACHER = "teacher"  # the phase of a run in which it is asked
TEACHER_KEY = "SHORTHAND_TEACHER_KEY"  # the environment variable
_AT_ONCE = 8
_MOST_FAILURES = 3  # before the others are not asked any more

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeacherResult:
    """The teacher's answers by message id; of `asked` questions `failure` says why some have none."""

    texts: Mapping[str, str] = field(default_factory=dict)
    asked: int = 0
    failure: str = ""


class Teacher:
    """Asks what it has not been asked before."""

    def __init__(
        self,
        store: Store,
        assistant_id: str,
        segments: Sequence[Segment],
        settings: TrainerSettings,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ):
        """`settings.teacher` is an address; `on_progress` hears of each question that was asked."""
        self._store, self._assistant_id, self._segments = store, assistant_id, segments
        self._settings, self._on_progress = settings, on_progress
        self._model = ChatModel.at(settings.teacher, TEACHER_KEY)

    def answers(self, questions: Sequence[CollectedAnswer]) -> TeacherResult:
        """Raises RedactionError; a teacher that does not answer is no error, and is asked again at the next retrain."""
        messages = {one.message_id: self._messages(one) for one in questions}
        asked = {id: self._hash(sent) for id, sent in messages.items()}
        known = self._store.teacher_answers.of(asked)
        missing = [id for id in messages if id not in known]
        if missing:
            logger.warning("Sending %d questions that nobody rated to %s ...", len(missing), self._model)
        failures: list[str] = []

        def ask(id: str) -> None:
            if len(failures) >= _MOST_FAILURES:
                return
            try:
                text = self._model.ask(messages[id], self._settings.max_answer_tokens)
            except NoReply as error:
                failures.append(str(error))
            else:
                self._store.teacher_answers.add(id, asked[id], text)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for done, _ in enumerate(pool.map(ask, missing), 1):
                self._on_progress(done, len(missing))
        known |= self._store.teacher_answers.of({id: asked[id] for id in missing})
        return TeacherResult(self._usable(questions, known), len(questions), failures[0] if failures else "")

    def _usable(self, questions: Sequence[CollectedAnswer], texts: Mapping[str, str]) -> dict[str, str]:
        longest = self._settings.max_answer_characters
        answered = [
            replace(one, completion=text)
            for one in questions
            if 0 < len(text := texts.get(one.message_id, "").strip()) <= longest
        ]
        if self._settings.privacy:
            answered = list(redact_answers(answered, Redactor.of(self._store, self._assistant_id)).answers)
        return {one.message_id: one.completion for one in answered}

    def _messages(self, one: CollectedAnswer) -> list[dict[str, str]]:
        sent = turns(self._segments, one.context)
        return [{"role": turn.role, "content": turn.content} for turn in sent if turn.content]

    def _hash(self, messages: Sequence[Mapping[str, str]]) -> str:
        text = json.dumps([str(self._model), self._settings.max_answer_tokens, messages])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
