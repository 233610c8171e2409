"""One image of a data set, its file and its id map, held against its record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.counting import count_ids
from panoptic_blend.coco.id_maps import check_painted_ids, read_sized_id_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import read_thumbnail
from panoptic_blend.structures import IdMap


@dataclass(frozen=True)
class Sample:
    """What was read of a sample that holds together.

    Attributes:
        thumbnail: the upright image, decoded as small as its format allows, or whole.
        id_map: int32 [H, W].
        pixels: how many pixels each id of the map has, ids ascending; 0 is void.
    """

    thumbnail: Image.Image
    id_map: IdMap
    pixels: dict[int, int]


def read_sample(
    record: ImageRecord, images: Path, segments: Path, categories: Categories, source: Path | str
) -> Sample:
    """Read the image and the id map of a record to their ends, and see that all three fit together.

    Args:
        images: folder of the images.
        segments: folder of the id-map PNGs.
        source: what error messages call the JSON, normally its path.

    Raises:
        DatasetError: something is missing, damaged or contradicts the record; this is what training checks.
    """
    path = images / record.file_name
    size, thumbnail = read_thumbnail(path)
    check_image_size(path, size, record)
    id_map = read_sized_id_map(record, segments, source)
    ids, counts = count_ids(id_map)
    check_painted_ids(record, id_map, ids, segments, categories, source)
    pixels = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    for segment in record.segments:
        if 0 <= segment.area < pixels.get(segment.id, 0):  # no prediction of it could be scored
            raise DatasetError(
                f"{source}: image {record.image_id}: segment {segment.id} has area {segment.area}, but "
                f"{pixels[segment.id]} pixels in its PNG. Write its number of pixels, or leave 'area' out."
            )
    return Sample(thumbnail, id_map, pixels)


def check_image_size(path: Path, size: tuple[int, int], record: ImageRecord) -> None:
    """Raise `DatasetError` unless an upright image's (height, width) is that of its record."""
    if size != (record.height, record.width):
        raise DatasetError(
            f"{path}: is {size[1]} x {size[0]} pixels upright (EXIF orientation applied), but the annotations say "
            f"{record.width} x {record.height}. Correct width and height in the JSON, or replace the image."
        )
