"""Panoptic quality of a model during training: in memory, one image at a time, shared between processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy

import torch
import torch.distributed as dist

from panoptic_blend.coco.images import EvaluationSample
from panoptic_blend.data.images import to_tensor
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.metric import SomeMetric, merge_states
from panoptic_blend.evaluation.pq import PanopticQuality, PQResult
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.structures import PanopticPrediction
from panoptic_blend.training.stopping import StopRequest


def validate(
    model: PanopticBlend,
    samples: Iterable[EvaluationSample],
    device: torch.device,
    precision: torch.dtype,
    stop: StopRequest,
    watch: Callable[[int, EvaluationSample, PanopticPrediction], None] | None = None,
) -> PQResult | None:
    """Predict this process's samples and score those of all processes together.

    Args:
        model: in any mode.
        samples: this process's share of the images, with their truth.
        device: where the model is.
        precision: of autocast; float32 turns it off.
        stop: looked at after each image.
        watch: called with each sample's position among `samples`, the sample and what was predicted.

    Returns:
        The same result in every process, or None when a stop was requested.
    """
    quality = PanopticQuality(model.categories)
    if dist.is_available() and dist.is_initialized():
        for buffer in model.buffers():  # batch-norm statistics are each process's own between two steps
            dist.broadcast(buffer, 0)
    with torch.no_grad(), torch.autocast(device.type, precision, enabled=precision != torch.float32):
        for position, sample in enumerate(samples):
            image = model.resize(to_tensor(sample.image))
            (prediction,) = model.predict([image], [(sample.record.height, sample.record.width)])
            quality.update(ImagePair.of(sample, prediction.id_map, prediction.segments))
            if watch is not None:
                watch(position, sample, prediction)
            if stop.signal:
                break
    if stop.agree(device):
        return None
    return merge_processes(quality).compute()


def merge_processes(metric: SomeMetric) -> SomeMetric:
    """What all processes counted together, in every one of them; each image must have been counted in one only."""
    if not (dist.is_available() and dist.is_initialized()):
        return metric
    states = [metric.state()] * dist.get_world_size()
    dist.all_gather_object(states, metric.state())
    merged = deepcopy(metric)
    merged.load_state(states[0])
    return merge_states(merged, states[1:])
