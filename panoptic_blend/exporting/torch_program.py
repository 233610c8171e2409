"""The network alone as a `torch.export` program."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from panoptic_blend.errors import CheckpointError
from panoptic_blend.exporting.network import example_input, padded_size, prepare_network
from panoptic_blend.exporting.settings import ExportSettings
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.manifest import MODEL, Manifest
from panoptic_blend.runtime.model_files import describe_files

NAME = "model.pt2"


def write_program(model: PanopticBlend, folder: Path, settings: ExportSettings, about: Manifest) -> Manifest:
    """Write a model's network into a folder, read it again and compare it with the model's in fp32 on random numbers.

    Args:
        model: stays as it is.
        folder: for the file.
        settings: of the export.
        about: what is known without the file.

    Returns:
        `about` with the file and what was measured.

    Raises:
        CheckpointError: the program gives numbers without end, as half precision may where weights are large.
    """
    half = settings.precision == "fp16"
    images, dynamic = example_input(half, None if settings.size is None else padded_size(model, settings.size))
    network = prepare_network(model, half)
    program = torch.export.export(network, (images,), dynamic_shapes=None if dynamic is None else (dynamic,))
    for node in program.graph.nodes:  # lines of source code, with paths of this machine
        node.meta.pop("stack_trace", None)
    torch.export.save(program, folder / NAME)
    loaded = torch.export.load(folder / NAME).module()
    numbers = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pairs = zip(prepare_network(model, False)(numbers), loaded(numbers.to(images.dtype)), strict=True)
        difference = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    if not math.isfinite(difference):
        raise CheckpointError(
            f"In {settings.precision}, this network gives numbers without end, and was not written. Export it in fp32, "
            "if its checkpoint predicts well."
        )
    return replace(about, files=describe_files(folder, {MODEL: NAME}), measured={"largest_difference": difference})
