"""Panoptic JSONs that data sets come with: COCO's format, taken as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import ndimage

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.counting import contiguous_labels
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.convert.source import ImageLabels, Region, SourceCategory, SourceImage
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.names import check_file_name


@dataclass(frozen=True)
class PanopticFile:
    """One JSON.

    Attributes:
        path: of the file.
        images: folder of its images.
        split: of its images.
        maps: folder of its id maps; None takes the one named like the JSON.
    """

    path: Path
    images: Path
    split: str = ""
    maps: Path | None = None


def open_panoptic_json(
    files: Sequence[PanopticFile], image_name: Callable[[ImageRecord], str] = lambda record: record.file_name
) -> PanopticJson:
    """All images of some JSONs of equal categories.

    Args:
        files: at least one.
        image_name: of an image, relative to its folder, where the JSON's `file_name` is not that.

    Raises:
        DatasetError: a JSON does not hold together, or two have other categories.
    """
    images, records, maps, paths = [], [], [], []
    categories: Categories | None = None
    for file in files:
        annotations = PanopticAnnotations.load(file.path)
        if categories is None:
            categories = annotations.categories
        different = categories.differences(annotations.categories, str(files[0].path), str(file.path))
        if different:
            raise DatasetError(
                f"{file.path}: other categories than in {files[0].path}: {different}. Convert them apart."
            )
        for record in annotations:
            name = check_file_name(image_name(record), f"{file.path}: image {record.image_id}")
            images.append(SourceImage(file.images / name, name, file.split))
            records.append(record)
            maps.append(file.maps or annotations.default_segments_folder)
            paths.append(file.path)
    if categories is None or not records:
        raise DatasetError(f"{', '.join(str(file.path) for file in files)}: lists no images.")
    return PanopticJson(categories, images, records, maps, paths)


@dataclass(frozen=True)
class PanopticJson:
    """A data set of this format; see `Source`.

    Attributes:
        truth: its categories.
        records: of the images.
        maps: folder of each image's id map.
        paths: the JSON each image is from.
    """

    truth: Categories
    images: list[SourceImage]
    records: list[ImageRecord]
    maps: list[Path]
    paths: list[Path]

    @property
    def categories(self) -> list[SourceCategory]:
        """As the JSON has them."""
        return [SourceCategory(each.name, each.is_thing, each.id, each.color) for each in self.truth]

    def read(self, index: int) -> ImageLabels:
        """The segments of one image."""
        record = self.records[index]
        id_map = read_segments(record, self.maps[index], self.truth, self.paths[index])
        segments = {segment.id: segment for segment in record.segments}
        ids, positions = contiguous_labels(id_map)
        regions = []
        for position, (segment_id, (y, x)) in enumerate(
            zip(ids.tolist(), ndimage.find_objects(positions + 1), strict=True)
        ):
            if segment_id:
                segment = segments[segment_id]
                name = self.truth.by_id(segment.category_id).name
                mask = positions[y, x] == position
                regions.append(Region(name, y.start, x.start, mask, is_crowd=segment.is_crowd))
        return ImageLabels(record.height, record.width, regions)
