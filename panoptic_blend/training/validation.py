"""Panoptic quality of a model during training: in memory, one image at a time, shared between processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist

from panoptic_blend.data.dataset import EvaluationSample
from panoptic_blend.evaluation.pq import PanopticQuality, PQResult
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.training.stopping import StopRequest


def validate(
    model: PanopticBlend,
    samples: Iterable[EvaluationSample],
    device: torch.device,
    precision: torch.dtype,
    stop: StopRequest,
) -> PQResult | None:
    """Predict this process's samples and score those of all processes together.

    Args:
        model: in any mode.
        samples: this process's share of the images, with their truth.
        device: where the model is.
        precision: of autocast; float32 turns it off.
        stop: looked at after each image.

    Returns:
        The same result in every process, or None when a stop was requested.
    """
    quality = PanopticQuality(model.categories)
    if dist.is_available() and dist.is_initialized():
        for buffer in model.buffers():  # batch-norm statistics are each process's own between two steps
            dist.broadcast(buffer, 0)
    with torch.no_grad(), torch.autocast(device.type, precision, enabled=precision != torch.float32):
        for sample in samples:
            (prediction,) = model.predict([model.resize(sample.image)], [(sample.record.height, sample.record.width)])
            assert sample.id_map is not None
            found = (prediction.id_map, prediction.segments)
            quality.update(sample.id_map, sample.record.segments, *found, sample.record.file_name)
            if stop.signal:
                break
    if stop.agree(device):
        return None
    return merge_processes(quality).compute()


def merge_processes(quality: PanopticQuality) -> PanopticQuality:
    """Add up what every process counted; each image must have been counted in one process only."""
    if not (dist.is_available() and dist.is_initialized()):
        return quality
    states = [quality.state()] * dist.get_world_size()
    dist.all_gather_object(states, quality.state())
    merged = PanopticQuality(quality.categories)
    for state in states:
        part = PanopticQuality(quality.categories)
        part.load_state(state)
        merged.merge(part)
    return merged
