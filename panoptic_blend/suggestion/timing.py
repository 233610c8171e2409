"""How long a training step takes on this machine, by taking a few."""

from __future__ import annotations

import statistics
import time

import torch

from panoptic_blend.config import Config
from panoptic_blend.data.dataset import TrainingDataset, collate
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.network.winograd import compute_by_tiles
from panoptic_blend.training.optimization import make_optimizer, parameter_groups


def time_steps(config: Config, training: TrainingDataset, device: torch.device, steps: int = 4) -> float:
    """Median seconds of a step: forward, backward and update, without loading, which other processes do meanwhile.

    Args:
        config: of the model and the batch; its precision is settled.
        training: images are taken from its beginning, middle and end alike.
        device: where it computes.
        steps: that are timed; one more goes ahead.
    """
    settings = config.trainer
    model = build_model(config.model, training.categories).train().to(device)
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)
    if settings.tiles and device.type == "cpu" and settings.precision == "fp32":
        compute_by_tiles(model.network)
    groups = parameter_groups(model.named_parameters(), config.optimizer.lr / 1000, config.optimizer.weight_decay, 1.0)
    optimizer = make_optimizer(config.optimizer.name, groups, config.optimizer.momentum)
    images = (steps + 1) * settings.batch_size
    keys = [(position * len(training) // images, position) for position in range(images)]
    seconds = []
    for step in range(steps + 1):
        first = step * settings.batch_size
        batch = collate([training[key] for key in keys[first : first + settings.batch_size]]).to(device)
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            losses = model(batch.images, batch.targets)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        next(model.parameters()).sum().item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])
