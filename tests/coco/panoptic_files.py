"""Small panoptic data sets on disk for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_blend.categories import Categories
from panoptic_blend.coco.segments_png import write_id_map

CATEGORIES = [
    {"id": 3, "name": "car", "isthing": 1, "color": [10, 20, 30], "supercategory": ""},
    {"id": 90, "name": "sky", "isthing": 0, "color": [1, 2, 3], "supercategory": ""},
    {"id": 7, "name": "person", "isthing": 1, "color": [200, 2, 3], "supercategory": ""},
]


def categories() -> Categories:
    return Categories.from_json(CATEGORIES)


def small_json() -> dict[str, Any]:
    """Two images of 6 x 4 with three segments each, the first one a crowd."""
    segments = [
        {"id": 1, "category_id": 3, "iscrowd": 1, "area": 4, "bbox": [0, 0, 1, 4]},
        {"id": 70000, "category_id": 90, "iscrowd": 0, "area": 8, "bbox": [1, 0, 2, 4]},
        {"id": 5, "category_id": 7, "iscrowd": 0, "area": 4, "bbox": [3, 0, 1, 4]},
    ]
    return {
        "images": [
            {"id": 11, "file_name": "a.jpg", "width": 6, "height": 4},
            {"id": 12, "file_name": "folder/ü b.jpg", "width": 6, "height": 4},
        ],
        "annotations": [
            {"image_id": 12, "file_name": "folder/ü b.png", "segments_info": json.loads(json.dumps(segments))},
            {"image_id": 11, "file_name": "a.png", "segments_info": segments},
        ],
        "categories": json.loads(json.dumps(CATEGORIES)),
    }


def small_id_map() -> np.ndarray:
    """[4, 6]: columns 1 | 70000 70000 | 5 | void void."""
    return np.tile(np.array([1, 70000, 70000, 5, 0, 0], np.int32), (4, 1))


def write_json(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def write_small(root: Path) -> Path:
    """The two images' JSON and id maps; returns the JSON's path."""
    path = write_json(root / "panoptic.json", small_json())
    for row in small_json()["annotations"]:
        write_id_map(root / "panoptic" / row["file_name"], small_id_map())
    return path
