"""What a model sees in one image, ready to be looked at and written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from panoptic_blend.categories import Categories
from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.errors import ConfigError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.images import Bands
from panoptic_blend.inference.visualize import draw_overlay
from panoptic_blend.structures import IdMap, PanopticMap, Segment


@dataclass
class Prediction:
    """What the model sees in one image.

    Attributes:
        image: the image itself, RGB [H, W, 3] or the bands that the model reads; uint8, or uint16 of 16 bits.
        panoptic: the id map and its segments, at the image's size; a model of torch gives a `PanopticPrediction`, which
            has every detection as well.
        categories: what the segments' category ids mean.
    """

    image: Bands
    panoptic: PanopticMap
    categories: Categories

    @property
    def id_map(self) -> IdMap:
        """Segment id per pixel, int32 [H, W]; 0 is void."""
        return self.panoptic.id_map

    @property
    def segments(self) -> list[Segment]:
        """One entry per id in the map."""
        return self.panoptic.segments

    def overlay(self) -> Image.Image:
        """The image with its segments painted over it and named."""
        return draw_overlay(self.image, self.id_map, self.segments, self.categories)

    def save(self, path: Path | str) -> None:
        """Write `out.png`, the id map as a COCO panoptic PNG, and `out.json`, what its ids mean.

        The JSON is the image's row of a COCO panoptic `annotations` list, with the categories' names and the scores
        added. To write many predictions as one COCO data set, use `coco.predictions.PredictionWriter`; for an image
        to look at, `overlay().save(...)`.

        Raises:
            ConfigError: the path does not end in .png; other formats would alter the ids.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ConfigError(f"{path}: id maps are PNG files; name it {path.with_suffix('.png').name}.")
        write_id_map(path, self.id_map)
        rows = describe_segments(self.segments, self.categories)
        with atomic_path(path.with_suffix(".json")) as unfinished:
            text = json.dumps({"file_name": path.name, "segments_info": rows}, indent=1, ensure_ascii=False)
            unfinished.write_text(text + "\n", encoding="utf-8")


def describe_segments(segments: Sequence[Segment], categories: Categories) -> list[dict[str, Any]]:
    """Segments as JSON says them: COCO panoptic's `segments_info`, with the categories' names and the scores added."""
    rows = []
    for segment in segments:
        category = categories.by_id(segment.category_id)
        rows.append(
            {
                "id": segment.id,
                "category_id": category.id,
                "category": category.name,
                "isthing": int(category.is_thing),
                "area": segment.area,
                "score": round(segment.score, 6),
            }
        )
    return rows
