"""The shapes data set without things, for tests: what it tells apart, as stuff."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from panoptic_blend.coco.segments_png import read_id_map, write_id_map


def relabel_as_stuff(shapes: Path, root: Path, before: int = 0) -> Path:
    """Write annotations in which every category is stuff, with one segment a category and image; crowds become void.

    Args:
        shapes: an existing shapes data set; its images are used where they are.
        root: folder to fill.
        before: so many further categories, which no image shows, are listed before those of the shapes.

    Returns:
        `root`.
    """
    for split in ("train", "val"):
        (root / split).parent.mkdir(parents=True, exist_ok=True)
        (root / split).symlink_to(shapes / split)
        content = json.loads((shapes / "annotations" / f"panoptic_{split}.json").read_text())
        for row in content["annotations"]:
            category_map = np.zeros_like(id_map := read_id_map(shapes / f"panoptic_{split}" / row["file_name"]))
            for segment in row["segments_info"]:
                if not segment["iscrowd"]:
                    category_map[id_map == segment["id"]] = segment["category_id"]
            write_id_map(root / f"panoptic_{split}" / row["file_name"], category_map)
            row["segments_info"] = [
                _row(category_map == i, i) for i in np.unique(category_map[category_map > 0]).tolist()
            ]
        more = [{"id": 1000 + number, "name": f"unseen {number}", "isthing": 0} for number in range(before)]
        content["categories"] = more + [{**category, "isthing": 0} for category in content["categories"]]
        path = root / "annotations" / f"panoptic_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return root


def _row(mask: np.ndarray, category_id: int) -> dict[str, object]:
    y, x = np.nonzero(mask)
    box = [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]
    return {"id": category_id, "category_id": category_id, "iscrowd": 0, "area": len(y), "bbox": box}
