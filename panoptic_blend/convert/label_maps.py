"""One label PNG an image: gray, palette or colour, with a list of names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.convert.files import (
    match_maps,
    match_splits,
    named_values,
    read_map,
    split_of_folder,
)
from panoptic_blend.convert.names import read_names
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.source import ImageLabels, SourceCategory, SourceImage, regions_of_label_map
from panoptic_blend.errors import DatasetError


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    plain = (source / "images").is_dir() and (source / "labels").is_dir() and not (source / "instances").is_dir()
    return plain or bool(_annotated_folders(source))


def open_source(source: Path, options: FormatOptions) -> LabelMaps:
    """Images in `images/` and label maps of the same names in `labels/`, or where the options say.

    Both may have a folder a split (train, val, test). The layout of SegNet's CamVid is read too: images in `train/`,
    maps in `trainannot/`, and so on.

    Raises:
        DatasetError: a folder is missing, an image has no map, or the names cannot be read.
    """
    if options.labels is None:
        raise DatasetError(f"{source}: label maps need names. Give --labels FILE with one 'value name' a line.")
    annotated = _annotated_folders(source)
    if annotated and options.images is None and options.maps is None:
        pairs = [
            pair
            for folder in annotated
            for pair in match_maps(folder, Path(f"{folder}annot"), split_of_folder(folder.name))
        ]
    else:
        pairs = match_splits(options.images or source / "images", options.maps or source / "labels")
    names = read_names(options.labels)
    categories = [
        SourceCategory(each.name, each.name in options.things, color=each.color) for each in names if not each.is_void
    ]
    by_key = {each.key: "" if each.is_void else each.name for each in names}
    return LabelMaps(
        categories, [image for image, _ in pairs], [path for _, path in pairs], by_key, names[0].value is None
    )


def _annotated_folders(source: Path) -> list[Path]:
    """Folders with another beside them whose name has `annot` at its end."""
    return sorted(folder for folder in source.glob("*/") if Path(f"{folder}annot").is_dir())


@dataclass(frozen=True)
class LabelMaps:
    """A data set of this format; see `Source`.

    Attributes:
        maps: of the images.
        names: category by gray level or palette index, or by `color_code`; "" is void.
        is_color: the names are those of colours.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    maps: list[Path]
    names: dict[int, str]
    is_color: bool

    def read(self, index: int) -> ImageLabels:
        """The categories' pixels in one map."""
        path = self.maps[index]
        values = named_values(read_map(path), self.names, self.is_color, path)
        height, width = values.shape
        return ImageLabels(height, width, regions_of_label_map(values, self.names, path))
