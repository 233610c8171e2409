"""One label PNG an image: gray, palette or colour, with a list of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from glob import escape
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from panoptic_blend.convert.files import (
    list_images,
    match_maps,
    match_splits,
    read_named_map,
    require_folder,
    split_of_folder,
)
from panoptic_blend.convert.names import read_names
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.source import ImageLabels, SourceCategory, SourceImage, regions_of_label_map
from panoptic_blend.errors import DatasetError


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    if (source / "images").is_dir() and not (source / "instances").is_dir():
        return any((source / "labels").rglob("*.png"))
    return bool(_annotated_folders(source))


def open_source(source: Path, options: FormatOptions) -> LabelMaps:
    """Images in `images/` and label maps of the same names in `labels/`, or where the options say.

    The maps' names may all have one more ending, as `_L` in CamVid. Both folders may have a folder a split (train, val,
    test). The layout of SegNet's CamVid is read too: images in `train/`, maps in `trainannot/`, and so on.

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
        images, maps = options.images or source / "images", options.maps or source / "labels"
        pairs = match_splits(images, maps, map_end=_map_end(images, maps))
    names = read_names(options.labels)
    categories = [
        SourceCategory(each.name, each.name in options.things, color=each.color) for each in names if not each.is_void
    ]
    by_key = {each.key: "" if each.is_void else each.name for each in names}
    decode = partial(read_named_map, frozenset(by_key), names[0].value is None)
    return LabelMaps(categories, [image for image, _ in pairs], [path for _, path in pairs], by_key, decode)


def _map_end(images: Path, maps: Path) -> str:
    """What all maps have after the name of their image: ".png", or "_L.png" as in CamVid as it is published."""
    first = PurePosixPath(list_images(images)[0].name).with_suffix("")
    found = [path.name for path in require_folder(maps).glob(f"{escape(str(first))}[._-]*") if path.suffix == ".png"]
    return found[0].removeprefix(first.name) if len(found) == 1 else ".png"


def _annotated_folders(source: Path) -> list[Path]:
    """Folders with another beside them whose name has `annot` at its end."""
    return sorted(folder for folder in source.glob("*/") if Path(f"{folder}annot").is_dir())


@dataclass(frozen=True)
class LabelMaps:
    """A data set of this format; see `Source`.

    Attributes:
        maps: of the images.
        names: category by gray level or palette index, or by `color_code`; "" is void.
        decode: reads a map: values [H, W] that `names` has.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    maps: list[Path]
    names: dict[int, str]
    decode: Callable[[Path], npt.NDArray[np.integer]]

    def read(self, index: int) -> ImageLabels:
        """The categories' pixels in one map."""
        path = self.maps[index]
        values = self.decode(path)
        height, width = values.shape
        return ImageLabels(height, width, regions_of_label_map(values, self.names, path))
