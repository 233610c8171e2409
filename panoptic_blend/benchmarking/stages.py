"""A prediction taken apart into stages that are timed one by one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from panoptic_blend.benchmarking.timing import Clock
from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.data.images import read_image
from panoptic_blend.inference.preparation import PreparedNetwork
from panoptic_blend.modeling.network.locations import locate
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskRequest
from panoptic_blend.modeling.network.network import Network, NetworkOutput
from panoptic_blend.modeling.network.semantic import semantic_labels
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

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
    device = model.pixel_mean.device
    _one_round(model, file, batch, Clock(device), scratch)
    clock = Clock(device)
    for _ in range(rounds):
        detections = _one_round(model, file, batch, clock, scratch)
    return clock, detections


def _one_round(model: PanopticBlend, file: Path, batch: int, clock: Clock, scratch: Path) -> int:
    with clock.measure("load"):
        for _ in range(batch):
            image = read_image(file)
    images = [image] * batch
    with clock.measure("preprocess"):
        pixels = model.preprocess(images)
    if isinstance(model.network, PreparedNetwork):  # a compiled one has no parts
        _time_parts(model.network, pixels, clock)
    with clock.measure(NETWORK):
        output = model.network(pixels)
    size = (image.shape[1], image.shape[2])
    _time_rest(model, output, batch, size, clock)
    with clock.measure(PREDICT):
        predictions = model.predict(images)
    with clock.measure("merge"):
        for prediction in predictions:
            model.merge(prediction.instances, torch.from_numpy(prediction.semantic), model.categories)
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


def _time_rest(model: PanopticBlend, output: NetworkOutput, batch: int, size: tuple[int, int], clock: Clock) -> None:
    with clock.measure("decode"):
        locations = locate(output.detector.towers, model.strides)
        found = [model.decode(output.detector, locations, index) for index in range(batch)]
    features = MaskFeatures(output.bases, output.detector.towers, output.pyramid)
    with clock.measure("masks"):
        for each in found:
            request = MaskRequest(each.sites, each.boxes, each.sites.image, each.labels)
            model.mask_head(features, request).float().sigmoid()
    with clock.measure("semantic"):
        for index in range(batch if output.semantic is not None else 0):
            assert output.semantic is not None
            semantic_labels(output.semantic[index], size, size).cpu()
