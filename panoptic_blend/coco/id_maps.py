"""The id map of one image, held against its record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.counting import distinct_ids
from panoptic_blend.coco.segments_png import read_id_map, swap_channels
from panoptic_blend.errors import DatasetError
from panoptic_blend.structures import IdMap


def read_segments(record: ImageRecord, segments_folder: Path, categories: Categories, source: Path | str) -> IdMap:
    """Read the id map of one image and check it against its record.

    Args:
        segments_folder: folder `record.segments_file_name` is relative to.
        source: what error messages call the JSON, normally its path.

    Returns:
        int32 [height, width], in which every segment of the record, and no other id but 0 (void), has pixels.

    Raises:
        DatasetError: no PNG, not a PNG of 8-bit colours, another size, or missing or extra segments.
    """
    id_map = read_sized_id_map(record, segments_folder, source)
    check_painted_ids(record, id_map, distinct_ids(id_map), segments_folder, categories, source)
    return id_map


def read_sized_id_map(record: ImageRecord, segments_folder: Path, source: Path | str) -> IdMap:
    """Read the id map of one image as `read_segments` does, without looking for the ids in it.

    Raises:
        DatasetError: no PNG, not a PNG of 8-bit colours, or another size.
    """
    if not record.segments_file_name:
        raise DatasetError(
            f"{source}: image {record.image_id} has no annotation. Give a panoptic JSON with 'annotations'."
        )
    path = segments_folder / record.segments_file_name
    id_map = read_id_map(path)
    check_size(record, id_map.shape, path, source)
    return id_map


def check_size(record: ImageRecord, size: tuple[int, ...], path: Path, source: Path | str) -> None:
    """Raise `DatasetError` when the (height, width) of the id map at `path` is not its image's."""
    if size != (record.height, record.width):
        raise DatasetError(
            f"{source}: image {record.image_id} is {record.width} x {record.height}, but {path} is {size[1]} x "
            f"{size[0]}. Save the id map at the size the JSON gives."
        )


def check_painted_ids(
    record: ImageRecord,
    id_map: IdMap,
    ids: npt.NDArray[np.int64],
    segments_folder: Path,
    categories: Categories,
    source: Path | str,
) -> None:
    """Check the `ids` of an id map against its image's record.

    Raises:
        DatasetError: the ids, 0 (void) aside, are not those of the record.
    """
    where = f"{source}: image {record.image_id}"
    path = segments_folder / record.segments_file_name
    painted, listed = set(ids.tolist()) - {0}, {segment.id for segment in record.segments}
    if painted != listed and set(swap_channels(ids).tolist()) - {0} == listed:
        raise DatasetError(
            f"{where}: the colour channels of {path} look swapped: with red and blue exchanged, its ids are those of "
            "segments_info. Write id = R + 256 G + 65536 B in the order R, G, B; OpenCV writes B, G, R."
        )
    for segment in record.segments:
        if segment.id not in painted or segment.area == 0:
            lack = f"has no pixels in {path}" if segment.id not in painted else "has area 0"
            raise DatasetError(
                f"{where}: segment {segment.id} (category {categories.by_id(segment.category_id).name!r}) {lack}. "
                "Remove it from segments_info or repaint the PNG."
            )
    extra = sorted(painted - listed)
    if extra:
        pixels = int((id_map == extra[0]).sum())
        raise DatasetError(
            f"{where}: {path} has {pixels} pixels of id {extra[0]}, which segments_info does not list. "
            "List it, or paint those pixels 0 (void)."
        )
