"""Renders what the gate asks of each system: the served requests, without the question's own approved answer."""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial

from assistant.approved import Allowed
from assistant.rendering import Context, Rendered, fit_demonstrations, keep, render
from assistant.retrieval import Retriever
from assistant.tokenizer import ChatTokenizer
from store.demonstrations import Demonstration
from store.records import Deployment, Prompt, Segment, Variant
from trainer.examples.similar import question_of
from trainer.examples.wording import near, wording

# Finds demonstrations for a question, of those that are allowed.
Retrieve = Callable[[str, Allowed], Sequence[Demonstration]]


@dataclass(frozen=True)
class System:
    """Who answers: a model with these segments of a prompt, and the demonstrations that it finds for a question; or an
    approved answer, or one that the prompt `prompt_id` lists, from the likeness `copy_at` on, as the run `run_id` has
    it. `finds_all`: also the answers of other gate examples.
    """

    name: str
    model: str
    segments: Sequence[Segment]
    retrieve: Retrieve = lambda question, allowed: ()
    prompt_id: int = 0
    copy_at: float | None = None
    run_id: int | None = None
    finds_all: bool = False


def retrieves(sent: Variant | Deployment) -> bool:
    return sent.demonstrations > 0 or sent.copy_at is not None


@dataclass(frozen=True)
class GateRequests:
    """Of the gate of a run with a prompt; `train_ids` are the train examples' messages, `room` the tokens of a request
    at most.
    """

    run_id: int
    prompt: Prompt
    tokenizer: ChatTokenizer
    retriever: Retriever
    train_ids: Set[str]
    room: int

    def variant(self, name: str, model: str, sent: Variant) -> System:
        def find(question: str, allowed: Allowed) -> Sequence[Demonstration]:
            return self.retriever.nearest(self.prompt.assistant_id, question, sent.demonstrations, allowed)

        segments = keep(self.prompt.segments, sent.segment_ids)
        return System(name, model, segments, find, self.prompt.id, sent.copy_at, self.run_id)

    def served(self, active: Deployment, base: str, prompt: Prompt, finds_all: bool) -> System:
        find = partial(self.retriever.for_deployment, active)
        segments = keep(prompt.segments, active.segment_ids)
        by, copy_at = active.run_id, active.copy_at
        return System("active", active.adapter or base, segments, find, prompt.id, copy_at, by, finds_all)

    def of(self, system: System, contexts: Sequence[Context]) -> list[Rendered]:
        return [self._request(system, context) for context in contexts]

    def _request(self, system: System, context: Context) -> Rendered:
        """It shows train examples of the frozen dataset, unless it finds all, and none that asks the same."""
        asked = question_of(context)

        def allowed(one: Demonstration) -> bool:
            is_known = system.finds_all or one.message_id in self.train_ids
            return is_known and not near(wording(one.question), asked)

        if copied := self.retriever.copied(system, context, allowed):
            return Rendered((), 0, copied=copied.answer)
        found = system.retrieve(context[-1][1], allowed)
        shown = fit_demonstrations(self.tokenizer, system.segments, context, found, self.room)
        return render(self.tokenizer, system.segments, context, shown)


def mean_tokens(requests: Sequence[Rendered]) -> int:
    """Of the prompt's segments and the demonstrations."""
    return round(sum(one.prompt_part + one.demonstration_part for one in requests) / len(requests))
