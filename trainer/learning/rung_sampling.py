"""Which part of the prompt each training step is rendered with: mostly none, sometimes all of it.

In: segments, the number of steps, a seed. Out: for each step the segment ids that are sent. Pure. One adapter
then serves every rung of the ladder. The share of long renderings falls to zero over the run (annealing),
so that the last steps practise what will be served.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from store.records import Segment, SegmentKind


def sample_rungs(segments: Sequence[Segment], steps: int, seed: int, longer: float) -> list[tuple[str, ...]]:
    """For each step the kept segment ids, protected ones always among them.

    `longer` is the share of first steps that see more than the shortest rung: a third of it the full prompt, a third
    the instructions alone, a third a random choice of segments. It falls to zero towards the last step.
    """
    choose = random.Random(seed)
    protected = tuple(s.id for s in segments if s.protected)
    everything = tuple(s.id for s in segments)
    instructions = tuple(s.id for s in segments if s.kind is SegmentKind.INSTRUCTION or s.protected)
    plan: list[tuple[str, ...]] = []
    for step in range(steps):
        left = 1 - step / max(1, steps - 1)  # 1 at the first step, 0 at the last
        draw = choose.random()
        if draw < longer / 3 * left:
            plan.append(everything)
        elif draw < 2 * longer / 3 * left:
            plan.append(instructions)
        elif draw < longer * left:
            share = choose.random()
            plan.append(tuple(s.id for s in segments if s.protected or choose.random() < share))
        else:
            plan.append(protected)
    return plan
