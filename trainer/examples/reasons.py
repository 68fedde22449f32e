"""One message to why it is in the next dataset or not: the rule that dropped it, in words and as a record.

In: an intake as it would be frozen now, the newest dataset with what it left out, and a message id. Out: a Reason.
Pure. Place in the flow: beside it, for `python -m trainer why`. Does not know the rules: each step names its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from store.records import Dataset, Example, Message, RatedAnswer, Role
from trainer.examples.selection import Drop
from trainer.examples.thinning import Thinned


@dataclass(frozen=True)
class Reason:
    """`split` says where it is now, `rule` why it is not (one of the two is None), `others` what stands for it.

    `frozen` and `frozen_rule` are the same of the newest dataset, number `dataset`; both None where it did not know the
    message, or kept no record of it.
    """

    message_id: str
    split: str | None
    rule: str | None
    others: tuple[str, ...]
    dataset: int | None
    frozen: str | None
    frozen_rule: str | None

    def lines(self) -> list[str]:
        """For people."""
        if self.split is not None:
            found = [f"Message {self.message_id} would be in the next dataset, in {self.split}."]
        else:
            found = [f"Message {self.message_id} would not be in the next dataset: {self.rule}."]
        if self.others:
            found.append(f"For it stand {len(self.others)}: {', '.join(self.others)}.")
        if self.dataset is None:
            return [*found, "There is no dataset yet."]
        if self.frozen is not None:
            return [*found, f"It is in dataset {self.dataset}, the newest, in {self.frozen}."]
        why = f"left out as: {self.frozen_rule}" if self.frozen_rule else "not known to it, or not noted why"
        return [*found, f"It is not in dataset {self.dataset}, the newest: {why}."]


def reason(
    message: Message,
    rated: Mapping[str, RatedAnswer],
    thinned: Thinned,
    newest: Dataset | None,
    left_out: Mapping[str, str],
) -> Reason:
    """`rated` are the answers of the message's assistant that somebody rated, by message id."""
    id = message.id
    now: dict[str, Example] = {example.message_id: example for example in thinned.intake.examples()}
    then = {example.message_id: example for example in newest.examples} if newest else {}
    rule: str | None = None
    if id not in now:
        rule = str(thinned.intake.dropped.get(id) or _before_any_rule(message, rated))
    return Reason(
        id,
        now[id].split.value if id in now else None,
        rule,
        thinned.others.get(id, ()),
        newest.id if newest else None,
        then[id].split.value if id in then else None,
        left_out.get(id),
    )


def _before_any_rule(message: Message, rated: Mapping[str, RatedAnswer]) -> str:
    if message.role is Role.USER:
        return "it is a question; ask about the message that answers it"
    if message.id not in rated:
        return "nobody rated it, and it is not followed as the teacher's"
    return f"{Drop.UNRATED}, or its raters are left out (without_raters)"
