"""One label PNG an image: gray, palette or colour, with a list of names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.convert.files import color_code, colors_to_codes, match_maps, read_map
from panoptic_blend.convert.names import LabelName, read_names
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.source import ImageLabels, SourceCategory, SourceImage, regions_of_label_map
from panoptic_blend.errors import DatasetError


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    return (source / "images").is_dir() and (source / "labels").is_dir()


def open_source(source: Path, options: FormatOptions) -> LabelMaps:
    """Images in `images/` and label maps of the same names in `labels/`, or where the options say.

    Raises:
        DatasetError: a folder is missing, an image has no map, or the names cannot be read.
    """
    if options.labels is None:
        raise DatasetError(f"{source}: label maps need names. Give --labels FILE with one 'value name' a line.")
    pairs = match_maps(options.images or source / "images", options.maps or source / "labels")
    names = read_names(options.labels)
    categories = [
        SourceCategory(each.name, each.name in options.things, color=each.color) for each in names if not each.is_void
    ]
    by_value = {each.value: _category(each) for each in names if each.value is not None}
    by_color = {color_code(each.color): _category(each) for each in names if each.color is not None}
    return LabelMaps(categories, [image for image, _ in pairs], [path for _, path in pairs], by_value, by_color)


def _category(name: LabelName) -> str:
    return "" if name.is_void else name.name


@dataclass(frozen=True)
class LabelMaps:
    """A data set of this format; see `Source`.

    Attributes:
        maps: of the images.
        by_value, by_color: category by gray level or palette index, and by `color_code`; "" is void.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    maps: list[Path]
    by_value: dict[int, str]
    by_color: dict[int, str]

    def read(self, index: int) -> ImageLabels:
        """The categories' pixels in one map."""
        path = self.maps[index]
        values = read_map(path)
        names, what = (self.by_value, "values") if values.ndim == 2 else (self.by_color, "colours")
        if not names:
            raise DatasetError(f"{path}: holds {what}, but the list of names has none. Name them.")
        codes = colors_to_codes(values)
        height, width = codes.shape
        return ImageLabels(height, width, regions_of_label_map(codes, names, path))
