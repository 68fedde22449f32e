"""A first retrain of the sample on two cores, thinned out: seconds from its start, phase and what was recorded.

It ended two epochs early, as runs did then; `steps` are those that it took.
"""

from typing import Any

from store.records import RunEvent

SIZES = {"train": 150, "dev": 31, "gate": 134}
# What another run of it took, by phase: as this one, without the third of the gate that the base model without a
# prompt had then.
EARLIER = [{"train": 446.97, "variants": 53.55, "gate": 95.3, "probe": 11.74}]
ENDED = 674.6
_ROWS: list[tuple[float, str, dict[str, Any]]] = [
    (0.3, "dataset", {"train": 150, "dev": 31, "gate": 134}),
    (0.8, "train", {"dev_loss": 3.588, "step": 0, "steps": 152}),
    (34.5, "train", {"eta_s": 1445, "step": 1, "steps": 152}),
    (34.5, "train", {"eta_s": 964, "step": 2, "steps": 152}),
    (34.5, "train", {"eta_s": 791, "step": 3, "steps": 152}),
    (39.8, "train", {"eta_s": 528, "step": 12, "steps": 152}),
    (58.5, "train", {"dev_loss": 0.57, "step": 19, "steps": 152}),
    (77.1, "train", {"eta_s": 496, "step": 24, "steps": 152}),
    (108.5, "train", {"eta_s": 434, "step": 36, "steps": 152}),
    (111.7, "train", {"dev_loss": 0.107, "step": 38, "steps": 152}),
    (142.4, "train", {"eta_s": 405, "step": 48, "steps": 152}),
    (164.7, "train", {"dev_loss": 0.078, "step": 57, "steps": 152}),
    (176.4, "train", {"eta_s": 371, "step": 60, "steps": 152}),
    (210.5, "train", {"eta_s": 332, "step": 72, "steps": 152}),
    (221.5, "train", {"dev_loss": 0.086, "step": 76, "steps": 152}),
    (249.3, "train", {"eta_s": 303, "step": 84, "steps": 152}),
    (273.5, "train", {"dev_loss": 0.065, "step": 95, "steps": 152}),
    (286.4, "train", {"eta_s": 271, "step": 96, "steps": 152}),
    (329.1, "train", {"eta_s": 244, "step": 108, "steps": 152}),
    (347.1, "train", {"dev_loss": 0.065, "step": 114, "steps": 152}),
    (365.1, "train", {"eta_s": 208, "step": 120, "steps": 152}),
    (393.5, "train", {"eta_s": 169, "step": 132, "steps": 152}),
    (395.5, "train", {"dev_loss": 0.065, "step": 133, "steps": 152}),
    (431.8, "train", {"eta_s": 136, "step": 144, "steps": 152}),
    (455.8, "train", {"dev_loss": 0.065, "step": 152, "steps": 152}),
    (459.8, "variants", {"done": 1, "total": 14}),
    (475.1, "variants", {"done": 5, "total": 14}),
    (494.1, "variants", {"done": 10, "total": 14}),
    (509.4, "variants", {"done": 14, "total": 14}),
    (513.2, "variants", {"done": 1, "total": 4}),
    (524.7, "variants", {"done": 4, "total": 4}),
    (531.5, "gate", {"what": "base_full", "done": 0, "total": 134}),
    (546.3, "gate", {"what": "base_full", "done": 23, "total": 134}),
    (560.8, "gate", {"what": "base_full", "done": 69, "total": 134}),
    (581.0, "gate", {"what": "base_full", "done": 125, "total": 134}),
    (590.3, "gate", {"what": "variant 3", "done": 0, "total": 134}),
    (604.7, "gate", {"what": "variant 3", "done": 44, "total": 134}),
    (619.0, "gate", {"what": "variant 3", "done": 113, "total": 134}),
    (649.0, "gate", {"what": "variant 3", "done": 132, "total": 134}),
    (649.0, "gate", {"what": "general questions, base_full", "done": 0, "total": 24}),
    (657.1, "gate", {"what": "general questions, variant 3", "done": 0, "total": 24}),
    (663.3, "swap", {}),
]


def recorded() -> list[RunEvent]:
    return [RunEvent(7, at, phase, dict(data)) for at, phase, data in _ROWS]
