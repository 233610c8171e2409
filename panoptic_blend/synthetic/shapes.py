"""The *shapes* data set: generated images with exact panoptic truth, for demos, tests and first steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from panoptic_blend.coco.truth import TruthWriter
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.room import written_as
from panoptic_blend.synthetic.scene import SHAPES, paint_scene

VERSION = 1
"""Raised whenever the images change, so that an older set is not mistaken for the current one."""


def generate_shapes(
    root: Path | str, train: int = 400, val: int = 60, seed: int = 0, progress: Callable[[], None] | None = None
) -> Path:
    """Write the shapes data set in COCO panoptic layout, or find it already written.

    `root` gets `train/`, `val/` (JPEG), `annotations/panoptic_{train,val}.json` and `panoptic_{train,val}/` (PNG):
    what `DataConfig` looks for by default. The same arguments write the same bytes.

    Args:
        root: folder to fill; made when missing.
        train: number of training images.
        val: number of validation images, which never repeat a training image.
        seed: of everything.
        progress: called after each image that is drawn.

    Returns:
        `root`.

    Raises:
        DatasetError: `root` already holds other annotations.
    """
    root = Path(root)
    infos = {split: _info(split, count, seed) for split, count in (("train", train), ("val", val))}
    missing = [split for split, info in infos.items() if not _is_written(_annotations(root, split), info)]
    for salt, (split, count) in enumerate((("train", train), ("val", val))):
        if split not in missing:
            continue
        (root / split).mkdir(parents=True, exist_ok=True)
        with TruthWriter(root, split, SHAPES, infos[split]) as writer:
            for index in range(count):
                scene = paint_scene(np.random.default_rng([seed, salt, index]))
                name = f"{split}_{index:06d}.jpg"
                encoded = BytesIO()  # Pillow would not notice a disk that is full
                Image.fromarray(scene.image).save(encoded, format="JPEG", quality=95, subsampling=0)
                with written_as(root / split / name):
                    (root / split / name).write_bytes(encoded.getvalue())
                writer.write(name, scene.id_map, scene.segments)
                if progress is not None:
                    progress()
    return root


def _annotations(root: Path, split: str) -> Path:
    return root / "annotations" / f"panoptic_{split}.json"


def _info(split: str, count: int, seed: int) -> dict[str, object]:
    return {
        "description": "panoptic_blend shapes",
        "version": VERSION,
        "split": split,
        "images": count,
        "seed": seed,
    }


def _is_written(path: Path, info: dict[str, object]) -> bool:
    """Whether `path`, written after everything it lists, is the JSON of this very set."""
    if not path.exists():
        return False
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("info")
    except (ValueError, AttributeError):
        found = None
    if found != info:
        raise DatasetError(
            f"{path}: holds something other than the shapes data set asked for ({json.dumps(info)}). "
            "Choose another folder, or remove this one to generate it again."
        )
    return True
