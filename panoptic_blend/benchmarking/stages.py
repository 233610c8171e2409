"""A prediction taken apart into stages that are timed one by one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from panoptic_blend.benchmarking.timing import Clock
from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.data.images import read_image
from panoptic_blend.inference.preparation import PreparedNetwork
from panoptic_blend.modeling.network import Network, NetworkOutput
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.modeling.postprocess.instances import place_in_output

STAGES = ("load", "preprocess", "backbone", "FPN", "heads", "decode", "masks", "semantic", "merge", "encode")
NETWORK, PREDICT = "network", "predict"


@torch.no_grad()
def time_stages(model: PanopticBlend, file: Path, batch: int, rounds: int, scratch: Path) -> tuple[Clock, int]:
    """Time every stage, the network as a whole and whole predictions, after a round that does not count.

    Args:
        model: prepared for inference.
        file: of the image, at the network's size.
        batch: how many times it is predicted at once; the stages after the network count for all of them.
        rounds: measurements.
        scratch: file that id maps are written to.

    Returns:
        The measurements, and the detections an image had.
    """
    device = model.device
    _one_round(model, file, batch, Clock(device), scratch)
    clock = Clock(device)
    for _ in range(rounds):
        detections = _one_round(model, file, batch, clock, scratch)
    return clock, detections


def _one_round(model: PanopticBlend, file: Path, batch: int, clock: Clock, scratch: Path) -> int:
    with clock.measure("load"):
        for _ in range(batch):
            image = read_image(file)
    with clock.measure("preprocess"):
        images = [model.resize(image) for _ in range(batch)]
        pixels = model.input_rule(images)
    if isinstance(model.network, PreparedNetwork):  # a compiled one has no parts
        _time_parts(model.network, pixels, clock)
    with clock.measure(NETWORK):
        output = model.network(pixels)
    image_size, size = ((each.shape[1], each.shape[2]) for each in (images[0], image))
    _time_rest(model, output, batch, image_size, size, clock)
    with clock.measure(PREDICT):
        predictions = model.predict([model.resize(image) for _ in range(batch)], [size] * batch)
    with clock.measure("merge"):
        for prediction in predictions:
            model.postprocess.merge(prediction.instances, torch.from_numpy(prediction.semantic))
    with clock.measure("encode"):
        for prediction in predictions:
            write_id_map(scratch, prediction.id_map)
    return len(predictions[0].instances)


def _time_parts(prepared: PreparedNetwork, pixels: Tensor, clock: Clock) -> None:
    network = prepared.network
    assert isinstance(network, Network)
    pixels = pixels.to(prepared.dtype, memory_format=torch.channels_last)
    with clock.measure("backbone"):
        features = network.backbone(pixels)
    read_again = list(features)
    with clock.measure("FPN"):
        pyramid = network.fpn(features)
    with clock.measure("heads"):
        network.read_pyramid(read_again, pyramid)


def _time_rest(
    model: PanopticBlend,
    output: NetworkOutput,
    batch: int,
    image_size: tuple[int, int],
    size: tuple[int, int],
    clock: Clock,
) -> None:
    steps = model.postprocess
    with clock.measure("decode"):
        found = [steps.detect(output, index) for index in range(batch)]
    with clock.measure("masks"):
        for detections in found:
            place_in_output(detections, steps.draw_masks(output, detections), image_size, size)
    with clock.measure("semantic"):
        for index in range(batch):
            steps.label_stuff(output, index, image_size, size)
