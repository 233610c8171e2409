"""What a panoptic map was merged from, as a line of a journal holds it: detections and, if wanted, stuff."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle

from panoptic_blend.evaluation.image_pair import Detections
from panoptic_blend.inference.prediction import Prediction
from panoptic_blend.structures import Instances, PanopticPrediction

_STUFF = np.dtype("<u2")
"""How labels are written."""


def describe_unmerged(prediction: Prediction, stuff: bool) -> dict[str, Any] | None:
    """The fields of `Detections` and, if asked for, the labels of stuff; None for a panoptic map alone."""
    if not isinstance(prediction.panoptic, PanopticPrediction):
        return None
    instances = prediction.panoptic.instances
    described: dict[str, Any] = {
        "scores": instances.scores.tolist(),
        "labels": instances.labels.tolist(),
        "rles": [{**mask, "counts": mask["counts"].decode("ascii")} for mask in encode_masks(instances)],
    }
    if stuff:
        labels = prediction.panoptic.semantic.astype(_STUFF).tobytes()
        described["stuff"] = base64.b64encode(zlib.compress(labels)).decode("ascii")
    return described


def recall_detections(described: Mapping[str, Any] | None) -> Detections | None:
    """The detections that were described."""
    if described is None:
        return None
    return Detections(described["scores"], described["labels"], described["rles"])


def recall_stuff(described: Mapping[str, Any] | None, size: tuple[int, ...]) -> npt.NDArray[np.uint16] | None:
    """The labels [H, W] of stuff that were described, where they were."""
    if described is None or "stuff" not in described:
        return None
    return np.frombuffer(zlib.decompress(base64.b64decode(described["stuff"])), _STUFF).reshape(size)


def encode_masks(instances: Instances) -> list[dict[str, Any]]:
    """COCO run-length encodings of the instances' masks, one full-size mask in memory at a time."""
    from panoptic_blend.pasting import FOREGROUND, paste_mask

    mask = np.zeros(instances.size, np.uint8, order="F")
    encoded = []
    for patch, box in zip(instances.mask_patches.cpu(), instances.boxes.cpu(), strict=True):
        region, values = paste_mask(patch, box, instances.size)
        mask[region] = values.numpy() >= FOREGROUND
        encoded.append(rle.encode(mask))
        mask[region] = 0
    return encoded
