"""One folder an image with a mask file an object, as in the Data Science Bowl 2018."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic_blend.convert.files import list_images, read_map, require_folder, visible
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.source import ImageLabels, SourceCategory, SourceImage, region_from_mask
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.images import check_image


def recognise(source: Path) -> bool:
    """Whether a folder looks like this format."""
    return any((folder / "masks").is_dir() and _has_one_image(folder / "images") for folder in source.glob("*/"))


def _has_one_image(folder: Path) -> bool:
    return folder.is_dir() and len(visible(folder, "*")) == 1


def open_source(source: Path, options: FormatOptions) -> MaskFolders:
    """`NAME/images/` with one image and `NAME/masks/` with a mask for each of its objects, for every name.

    Raises:
        DatasetError: no such folders, not exactly one image in one, or not one category of things and at most one of
            stuff, for all that no mask covers.
    """
    if len(options.things) != 1 or len(options.stuff) > 1:
        raise DatasetError(
            f"{source}: say what the masks show with --things NAME, and with --stuff NAME what the rest is, if any."
        )
    images, masks = [], []
    for folder in sorted(path.parent for path in require_folder(source).glob("*/masks")):
        found = list_images(folder / "images")
        if len(found) != 1:
            raise DatasetError(f"{folder / 'images'}: has {len(found)} images, but the masks beside it belong to one.")
        images.append(SourceImage(found[0].path, folder.name + found[0].path.suffix))
        masks.append([mask.path for mask in list_images(folder / "masks")] if visible(folder / "masks", "*") else [])
    if not images:
        raise DatasetError(f"{source}: no folder in it has images/ and masks/.")
    categories = [SourceCategory(options.things[0], True), *(SourceCategory(name, False) for name in options.stuff)]
    return MaskFolders(categories, images, masks)


@dataclass(frozen=True)
class MaskFolders:
    """A data set of this format; see `Source`."""

    categories: list[SourceCategory]
    images: list[SourceImage]
    masks: list[list[Path]]

    def read(self, index: int) -> ImageLabels:
        """An object for every mask of one image."""
        height, width = check_image(self.images[index].path)
        labels = ImageLabels(height, width, rest=self.categories[1].name if len(self.categories) > 1 else "")
        for path in self.masks[index]:
            mask = read_map(path, palette_as_colors=True)
            if mask.shape[:2] != (height, width):
                raise DatasetError(
                    f"{path}: is {mask.shape[1]} x {mask.shape[0]}, but its image {self.images[index].path} is "
                    f"{width} x {height}. Save the mask at the image's size."
                )
            is_set = np.greater(mask, mask.max(initial=0) / 2)  # 255, 1 or whatever a mask's own white is
            if is_set.ndim == 3:
                is_set = is_set.any(axis=2)
            labels.add(region_from_mask(self.categories[0].name, is_set), f"mask {path.name}")
        return labels
