"""An assistant in the store → how many examples its dataset would have now, and why the other answers would not count.

In: a store and an assistant. Out: numbers as a run's report has them. Nothing is recorded. Place in the flow: for the
Review page, which shows what decisions change. Does not know prompts or token counts, so answers that outgrow the
model's context are still counted.
"""

from __future__ import annotations

from typing import Any

from store import Store
from trainer.examples.contradictions import contradictions
from trainer.examples.dataset import shortage, sizes
from trainer.examples.intake import take_in
from trainer.examples.thinning import thin
from trainer.settings import TrainerSettings


def census(store: Store, assistant_id: str, settings: TrainerSettings) -> dict[str, Any]:
    """`train`, `dev`, `gate`, `dropped` (rule -> answers), `corrected`, `reviewed`, `contradictions` (questions), and
    `shortage`: in words, None where there is enough. Reads what a retrain would read. Raises NotFound without a prompt.
    """
    taken = take_in(store, assistant_id, settings)
    intake = thin(taken, settings.similar_cap, settings.max_train).intake
    examples = intake.examples()
    return {
        **{split.value: count for split, count in sizes(examples).items()},
        "dropped": intake.rules,
        "corrected": sum(item.corrected for item in intake.approved),
        "reviewed": sum(item.reviewed for item in intake.approved),
        "contradictions": len(contradictions(examples)),
        "shortage": shortage(examples, settings),
    }
