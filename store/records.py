"""The values that the store keeps, as frozen dataclasses. Times are UTC seconds since 1970, durations are seconds."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class SegmentKind(StrEnum):
    INSTRUCTION = "instruction"
    EXAMPLE = "example"
    VARYING = "varying"  # lines that differ from request to request: they stand before the question instead


class Role(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"


class MessageStatus(StrEnum):
    STREAMING = "streaming"  # being generated now, or left behind by a crash
    COMPLETE = "complete"
    STOPPED = "stopped"  # the person pressed stop; the text up to there stays
    FAILED = "failed"  # the server failed; the text up to there stays


# What servers and other tools call the end of an answer that ended by itself; there are more words for the others.
_ENDS = "stop end_turn stop_sequence eos eos_token complete completed finished_successfully"


def is_whole(status: MessageStatus, finish_reason: str | None) -> bool:
    """Whether an answer ended by itself, as far as anybody said: not at a limit, a filter, a stop or a failure."""
    return status is MessageStatus.COMPLETE and (finish_reason or "stop").casefold() in _ENDS.split()


class Verdict(StrEnum):
    UP = "up"
    DOWN = "down"


class Ruling(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    CORRECT = "correct"  # the reviewer wrote the answer as it should have been


class DeploymentStatus(StrEnum):
    CANDIDATE = "candidate"
    ACTIVE = "active"
    RETIRED = "retired"
    REJECTED = "rejected"


WITHOUT_TRAINING = "without training"  # the end of the trigger of a run that one that trains follows


class RunStatus(StrEnum):
    RUNNING = "running"
    PROMOTED = "promoted"
    REFUSED = "refused"  # by the gate: a result with reasons
    NOT_ENOUGH = "not enough"  # too few examples to train or to prove anything
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class RedactionAction(StrEnum):
    REPLACE = "replace"
    KEEP = "keep"  # a false alarm


class Split(StrEnum):
    TRAIN = "train"
    DEV = "dev"
    GATE = "gate"


@dataclass(frozen=True)
class Segment:
    """One piece of a prompt: an instruction (`text`), a worked example (`user`, `assistant`), or the place of lines
    that vary, which costs the prompt nothing.
    """

    id: str
    kind: SegmentKind
    text: str = ""
    user: str = ""
    assistant: str = ""
    protected: bool = False


@dataclass(frozen=True)
class Assistant:
    """A name, the scorer that judges its answers, and (in other tables) its prompt versions and deployments."""

    id: str
    name: str
    scorer: str
    created_at: float
    starters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """One immutable version of an assistant's prompt; an edit makes the next version."""

    id: int
    assistant_id: str
    version: int
    segments: tuple[Segment, ...]
    created_at: float


@dataclass(frozen=True)
class Variant:
    """What is sent before a conversation: these segments of the prompt, and so many demonstrations.

    Where a question is at least `copy_at` like those that have one approved answer, nothing is sent: that is given.
    """

    segment_ids: tuple[str, ...]
    demonstrations: int = 0
    copy_at: float | None = None


@dataclass(frozen=True)
class Deployment:
    """The pair (adapter, variant): what a request is served with."""

    id: int
    assistant_id: str
    prompt_id: int
    adapter: str | None  # the name it is served under; None is the base model
    segment_ids: tuple[str, ...]  # those that are sent
    variant: int  # index in the prompt variants; 0 is the full prompt
    prompt_tokens: int  # of these segments and the demonstrations, as measured
    status: DeploymentStatus
    created_at: float
    run_id: int | None = None
    activated_at: float | None = None
    reason: str = ""  # why it was retired or rejected
    demonstrations: int = 0
    copy_at: float | None = None  # as in `Variant`


@dataclass(frozen=True)
class Conversation:
    id: str
    assistant_id: str
    title: str
    created_at: float
    updated_at: float
    owner: str = "local"
    source: str = "chat"  # or import; tools: from a program whose model could call some, and never trained on
    head_id: str | None = None  # the last message of the branch that is shown


@dataclass(frozen=True)
class Usage:
    """What one request cost: tokens, and seconds from sending it."""

    prompt_tokens: int
    prompt_part_tokens: int  # the part that comes from the assistant's prompt
    cached_tokens: int
    completion_tokens: int
    first_token_s: float
    total_s: float
    mean_ln_p: float | None = None  # mean log-probability of a token of the answer (nats), where it is known
    left_out_turns: int | None = None  # of the conversation, the oldest, for want of room
    demonstration_tokens: int = 0
    demonstrations: tuple[str, ...] = ()  # ids of the messages whose approved answers were sent along


@dataclass(frozen=True)
class Message:
    """A node of the conversation's tree: regenerating adds a sibling answer, editing a sibling question."""

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    text: str
    created_at: float
    status: MessageStatus = MessageStatus.COMPLETE
    deployment_id: int | None = None
    usage: Usage | None = None
    finish_reason: str | None = None  # as the server or a file says: stop, length, ...

    @property
    def is_whole(self) -> bool:
        return is_whole(self.status, self.finish_reason)


@dataclass(frozen=True)
class Rating:
    """A rating of one answer by one rater. The latest per rater counts; earlier ones stay as history."""

    id: str
    message_id: str
    rater: str
    verdict: Verdict | None  # None takes an earlier verdict back
    created_at: float
    reason: str = ""
    comment: str = ""
    correction: str | None = None


@dataclass(frozen=True)
class Decision:
    """What a reviewer decided about one answer. It outranks every rating; the one of who decided last counts."""

    id: str
    message_id: str
    reviewer: str
    ruling: Ruling
    created_at: float
    correction: str | None = None  # the text to learn, where that is not the answer as given


@dataclass(frozen=True)
class RedactionRule:
    """A pattern that people add for an assistant's examples, beside the personal data that is found without it."""

    id: int
    assistant_id: str
    action: RedactionAction
    kind: str  # the name in placeholders, empty for KEEP
    pattern: str
    literal: bool  # the pattern is plain text, not a regular expression
    added_by: str
    created_at: float


@dataclass(frozen=True)
class ServedAnswer:
    """An answer that a deployment gave in chat, and the latest rating of each rater."""

    message_id: str
    conversation_id: str
    owner: str  # of the conversation
    status: MessageStatus
    text: str
    created_at: float
    ratings: tuple[Rating, ...] = ()


@dataclass(frozen=True)
class RatedAnswer:
    """An answer, the turns before it, the latest rating of each rater and the effective decision."""

    message_id: str
    conversation_id: str
    context: tuple[tuple[Role, str], ...]  # oldest first, ending with the user message that was answered
    answer: str
    ratings: tuple[Rating, ...]
    split: Split | None  # where the conversation was put earlier, if it was
    deployment_id: int | None = None
    mean_ln_p: float | None = None  # of its tokens, where the server said it and it was served here
    decision: Decision | None = None
    is_whole: bool = True  # else never learned as it stands: the adapter would learn to end there
    with_tools: bool = False  # it could call tools


@dataclass(frozen=True)
class Example:
    """A context and its completion: an approved one, or an answer that nobody has rated and the model was sure of."""

    message_id: str
    conversation_id: str
    context: tuple[tuple[Role, str], ...]
    completion: str
    corrected: bool  # a person wrote the completion, not the model
    split: Split
    rater: str = ""
    approved: bool = True  # by a person


@dataclass(frozen=True)
class JudgementRequest:
    """Another answer to what `message_id` answered; `accepted` is None until a person has decided."""

    id: int
    run_id: int
    message_id: str
    text: str
    created_at: float
    accepted: bool | None = None
    decided_by: str = ""
    decided_at: float | None = None


@dataclass(frozen=True)
class Dataset:
    """A frozen, versioned list of examples; `hash` covers ids, texts and splits."""

    id: int
    assistant_id: str
    prompt_id: int
    hash: str
    created_at: float
    examples: tuple[Example, ...]
    dropped: dict[str, int] = field(default_factory=dict)  # rule -> how many answers it dropped


@dataclass(frozen=True)
class Adapter:
    """A published LoRA adapter: immutable, never reused under the same name."""

    name: str
    assistant_id: str
    run_id: int
    path: str
    manifest_hash: str
    created_at: float


@dataclass(frozen=True)
class TrainingRun:
    """One attempt to retrain: its settings, how far it got and the gate's verdict."""

    id: int
    assistant_id: str
    status: RunStatus
    started_at: float
    settings: dict[str, Any]
    trigger: str
    dataset_id: int | None = None
    adapter: str | None = None
    finished_at: float | None = None
    message: str = ""
    report: dict[str, Any] = field(default_factory=dict)  # see `trainer.report`


@dataclass(frozen=True)
class RunEvent:
    """A progress event of a run: `phase` (dataset, train, publish, variants, gate, swap, probe) and its numbers."""

    run_id: int
    at: float
    phase: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Activation:
    """When a deployment began to serve, and why; a rollback is an activation too."""

    deployment_id: int
    at: float
    reason: str
