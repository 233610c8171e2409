"""Another project's checkpoint file into one of ours."""

from __future__ import annotations

from pathlib import Path

from panoptic_blend.categories import Categories
from panoptic_blend.checkpoints.adelaidet import Conversion, convert, fill
from panoptic_blend.checkpoints.files import read_weights
from panoptic_blend.checkpoints.native import save_model
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.coco2017 import coco_categories
from panoptic_blend.config_files import read_config
from panoptic_blend.errors import CheckpointError
from panoptic_blend.modeling.build import build_model


def convert_adelaidet(
    source: Path, output: Path, config: Path | None = None, annotations: Path | None = None
) -> Conversion:
    """Convert an AdelaiDet BlendMask checkpoint and write it.

    Args:
        source: the `.pth` or `.pkl` file; a training state's optimiser is left behind.
        output: the `.safetensors` file to write.
        config: AdelaiDet's YAML; without it, the architecture is inferred from the tensors.
        annotations: a COCO panoptic JSON with the categories it was trained on.

    Raises:
        CheckpointError: the source is unreadable or hostile, or does not fit its configuration or the categories.
        DatasetError: the JSON has no usable categories.
    """
    if output.suffix != ".safetensors":
        raise CheckpointError(f"{output}: the output must be named .safetensors, the kind of file it will be.")
    categories = PanopticAnnotations.load(annotations).categories if annotations else None
    tensors = read_weights(source)
    try:
        conversion = convert(tensors, config, categories)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    output.parent.mkdir(parents=True, exist_ok=True)
    save_model(conversion.model, output)
    return conversion


def convert_published(source: Path, output: Path, configuration: str) -> None:
    """Convert a checkpoint that AdelaiDet published for COCO, with all that our configuration of it says.

    Args:
        source: AdelaiDet's file.
        output: the `.safetensors` file to write.
        configuration: a YAML file, or a name such as `coco/r50_3x.yaml`.

    Raises:
        CheckpointError: the source is unreadable or hostile, or is another model's.
    """
    config = read_config(configuration).model
    coco = coco_categories()
    model = build_model(config, coco if config.semantic.enabled else Categories(coco.things))
    try:
        fill(model, read_weights(source))
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    save_model(model, output)
