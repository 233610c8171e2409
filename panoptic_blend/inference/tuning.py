"""Search the thresholds of the merge that give the highest panoptic quality, from one run of the network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.evaluation.merging import Grid, Thresholds
from panoptic_blend.evaluation.sweep_file import SWEEP, read_sweep
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.inference.summaries import TUNING
from panoptic_blend.inference.tuning_figure import draw_tuning
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

TUNED = "tuned.safetensors"
_AREAS = (0, 1 / 16, 1 / 4, 1 / 2, 1, 2, 4, 16)
"""Of the model's own smallest area of stuff, which images' size decides."""
_USUAL_AREA = 4096
"""Stands for it where that is 0."""


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
        before, after: the model's own thresholds, and the best.
        pq_before, pq_after: panoptic quality in percent, on the images that it was tuned on.
        tried: how many combinations.
    """

    before: Thresholds
    after: Thresholds
    pq_before: float
    pq_after: float
    tried: int

    @property
    def note(self) -> str:
        """What a reader of the numbers must know."""
        return (
            "The thresholds were chosen on these images, where their PQ is therefore too good. Evaluate the tuned "
            "model on others before you believe it."
        )


def tuning_grid(own: Thresholds) -> Grid:
    """Scores 0.1, 0.15, ... 0.9, overlaps 0.1, 0.2, ... 0.9 and areas from none to 16 times the model's own."""
    return Grid(
        min_score=tuple(n / 20 for n in range(2, 19)),
        max_overlap=tuple(n / 10 for n in range(1, 10)),
        min_stuff_area=tuple(sorted({round((own.min_stuff_area or _USUAL_AREA) * share) for share in _AREAS})),
    ).including(own)


def write_tuned(model: PanopticBlend, output: Path) -> Tuned:
    """Choose the best thresholds of a sweep, and write the model that has them.

    Args:
        model: whose predictions were swept; its settings are changed.
        output: has `sweep.json`; gets `tuned.safetensors`, `tuning.json` and `tuning.png`.

    Raises:
        DatasetError: the sweep cannot be read.
    """
    sweep = read_sweep(output / SWEEP)
    own, best = sweep.own, sweep.best
    tuned = Tuned(own, best, sweep.pq[own], sweep.pq[best], len(sweep.pq))
    for name, value in asdict(tuned.after).items():
        setattr(model.settings, name, value)
    save_model(model, output / TUNED)
    with atomic_path(output / f"{TUNING}.png") as unfinished:
        draw_tuning(sweep).savefig(unfinished, format="png", dpi=110)
    content = {
        "images": sweep.images,
        "tried": tuned.tried,
        "before": asdict(tuned.before) | {"PQ": tuned.pq_before},
        "after": asdict(tuned.after) | {"PQ": tuned.pq_after},
        "note": tuned.note,
    }
    with atomic_path(output / f"{TUNING}.json") as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return tuned
