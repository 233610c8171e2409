"""Quantization that keeps its PQ: parts return to float, the most harmful first, until the loss is within a bound."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from panoptic_blend.coco.images import EvaluationDataset
from panoptic_blend.errors import CheckpointError
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.runtime.exported import ExportedModel

if TYPE_CHECKING:  # of an extra
    from onnx import ModelProto

    from panoptic_blend.exporting.quantization import Images

COMPARED = 4
"""Images that tell how much a part suffers."""


@dataclass(frozen=True)
class Guard:
    """What an int8 model is held to.

    Attributes:
        truth: annotated images.
        most_pq_loss: in points.
    """

    truth: EvaluationDataset
    most_pq_loss: float


def quantize_within(
    network: ModelProto,
    images: Sequence[Images],
    write: Callable[[ModelProto], ExportedModel],
    guard: Guard | None,
    said: Callable[[str], None],
) -> dict[str, object]:
    """Quantize a network, write it, and say what was measured, as `model.json` holds it.

    Args:
        network: in float.
        images: to calibrate on, as the network takes them.
        write: writes the model with a network inside and opens it, in place of what it wrote before: that must be
            closed, since OpenVINO reads weights from the file as long as it is open.
        guard: what it is held to; without one everything is quantized, and PQ is not measured.
        said: told how it goes on.

    Raises:
        CheckpointError: the guard's bound cannot be kept.
    """
    from panoptic_blend.exporting.quantization import damages, quantize

    measured: dict[str, object] = {"calibration_images": len(images)}
    if guard is None:
        said("quantizing; PQ is not measured without --guard")
        write(quantize(network, images))
        return measured
    truth = guard.truth
    before = measure_pq(write(network), truth)
    said(f"PQ {before:.2f} in fp32, on {len(truth)} images")

    def pq_with(in_float: Collection[str]) -> float:
        return measure_pq(write(quantize(network, images, in_float)), truth)

    def most_harmful() -> list[str]:
        said("measuring how much each part suffers")
        found = dict(damages(network, images[:COMPARED]))
        return sorted(found, key=lambda part: -found[part])

    in_float, after = fewest_in_float(most_harmful, pq_with, before, guard.most_pq_loss, said)
    return measured | {
        "pq_fp32": round(before, 3),
        "pq_int8": round(after, 3),
        "pq_images": len(truth),
        "in_float": in_float,
    }


def measure_pq(model: ExportedModel, truth: EvaluationDataset) -> float:
    """Panoptic quality of an exported model, 0..100, on annotated images of its categories."""
    quality = PanopticQuality(model.categories)
    for index in range(len(truth)):
        sample = truth[index]
        (found,) = model.predict([sample.image])
        quality.update(ImagePair.of(sample, found.id_map, found.segments))
    return 100 * quality.compute().all.pq


def fewest_in_float(
    most_harmful: Callable[[], list[str]],
    pq_with: Callable[[Collection[str]], float],
    pq_before: float,
    most_loss: float,
    said: Callable[[str], None],
) -> tuple[list[str], float]:
    """Parts that have to stay in float for the bound, and the PQ with them.

    Args:
        most_harmful: parts of the network, the most harmful first; asked for when all in integers is too bad.
        pq_with: PQ when some parts stay in float.
        pq_before: of the whole network in float.
        most_loss: in points of PQ.
        said: told what was found at each trial.

    Raises:
        CheckpointError: even one quantized part loses more.
    """
    in_float: list[str] = []
    harmful: list[str] | None = None
    while True:
        pq = pq_with(in_float)
        said(f"PQ {pq:.2f} ({pq - pq_before:+.2f}) with {', '.join(in_float) or 'nothing'} in float")
        if pq_before - pq <= most_loss:
            return in_float, pq
        harmful = most_harmful() if harmful is None else harmful
        in_float = harmful[: len(in_float) + 1]
        if len(in_float) == len(harmful):
            raise CheckpointError(
                f"int8 costs more than {most_loss:g} points of PQ (of {pq_before:.2f}) whichever part stays in float: "
                "nothing was written. Give more calibration images, allow more loss, or export in fp32."
            )
