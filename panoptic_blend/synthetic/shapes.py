"""The *shapes* data set: generated images with exact panoptic truth, for demos, tests and first steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.synthetic.scene import SHAPES, Scene, paint_scene

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
        images: list[object] = []
        annotations: list[object] = []
        (root / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            scene = paint_scene(np.random.default_rng([seed, salt, index]))
            stem = f"{split}_{index:06d}"
            Image.fromarray(scene.image).save(root / split / f"{stem}.jpg", quality=95, subsampling=0)
            write_id_map(root / f"panoptic_{split}" / f"{stem}.png", scene.id_map)
            height, width = scene.id_map.shape
            images.append({"id": index + 1, "file_name": f"{stem}.jpg", "width": width, "height": height})
            rows = _segments_info(scene)
            annotations.append({"image_id": index + 1, "file_name": f"{stem}.png", "segments_info": rows})
            if progress is not None:
                progress()
        content = {
            "info": infos[split],
            "images": images,
            "annotations": annotations,
            "categories": SHAPES.to_json(),
        }
        with atomic_path(_annotations(root, split)) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")
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
            "Choose another folder, or remove this one to generate it anew."
        )
    return True


def _segments_info(scene: Scene) -> list[dict[str, object]]:
    """COCO's `segments_info` rows, by ascending id."""
    ids = sorted(scene.segments)
    numbered = np.searchsorted(ids, scene.id_map) + 1
    numbered[scene.id_map == 0] = 0
    rows: list[dict[str, object]] = []
    for segment_id, area, box in zip(
        ids, np.bincount(numbered.ravel())[1:].tolist(), ndimage.find_objects(numbered), strict=True
    ):
        y, x = box
        category_id, is_crowd = scene.segments[segment_id]
        rows.append(
            {
                "id": segment_id,
                "category_id": category_id,
                "iscrowd": int(is_crowd),
                "area": area,
                "bbox": [x.start, y.start, x.stop - x.start, y.stop - y.start],
            }
        )
    return rows
