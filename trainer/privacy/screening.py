"""An assistant in the store to the Screen that its examples pass.

In: the store's rules and the segments of the prompt. Out: a Screen. Does not know what it does, nor whether it is
switched on.
"""

from __future__ import annotations

from collections.abc import Sequence

from store import Store
from store.records import Segment
from trainer.privacy.finding import Detector
from trainer.privacy.replacing import Screen


def screen_of(
    store: Store, assistant_id: str, segments: Sequence[Segment], names: Detector | None = None
) -> Screen:
    """What the prompt says is the team's own and no secret. Raises BadPattern."""
    own = [text for segment in segments for text in (segment.text, segment.user, segment.assistant) if text]
    return Screen(store.privacy_rules(assistant_id), own, names)
