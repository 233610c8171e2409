"""What data sets with a number an object in their maps have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from panoptic_blend.convert.names import read_names
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.source import ImageLabels, SourceCategory, SourceImage, regions_of_instance_map

Values = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Label:
    """A label as a format defines it.

    Attributes:
        is_void: its pixels are void, unless the person names the category in `--things` or `--stuff`.
    """

    value: int
    name: str
    is_thing: bool = False
    is_void: bool = False
    color: tuple[int, int, int] | None = None


def labels_of(options: FormatOptions, defaults: Iterable[Label]) -> list[Label]:
    """The labels that `--labels` lists, of which `--things` says which are things; without it those of the format.

    Raises:
        DatasetError: the list cannot be read.
    """
    if options.labels is None:
        return list(defaults)
    return [
        Label(each.value, each.name, each.name in options.things, each.is_void, each.color)
        for each in read_names(options.labels)
        if each.value is not None
    ]


@dataclass(frozen=True)
class InstanceMaps:
    """A data set of maps; see `Source`.

    Attributes:
        maps: of the images.
        names: category by label; "" is void.
        decode: labels [H, W] and numbers of objects [H, W] of a map, 0 where there is none.
    """

    categories: list[SourceCategory]
    images: list[SourceImage]
    maps: list[Path]
    names: dict[int, str]
    decode: Callable[[Path], tuple[Values, Values]]

    @classmethod
    def of(
        cls,
        pairs: Iterable[tuple[SourceImage, Path]],
        labels: Iterable[Label],
        decode: Callable[[Path], tuple[Values, Values]],
        options: FormatOptions,
        first_id: int | None = 0,
    ) -> InstanceMaps:
        """From images with their maps, and labels.

        Args:
            first_id: id of the category of label 0; None numbers those there are from 1.
        """
        wanted = {*options.things, *options.stuff}
        categories, names = [], {}
        for label in labels:
            is_kept = not label.is_void or label.name in wanted
            names[label.value] = label.name if is_kept else ""
            if is_kept:
                category_id = None if first_id is None else first_id + label.value
                categories.append(SourceCategory(label.name, label.is_thing, category_id, label.color))
        pairs = list(pairs)
        return cls(categories, [image for image, _ in pairs], [path for _, path in pairs], names, decode)

    def read(self, index: int) -> ImageLabels:
        """An object for every number in one map, and what has none."""
        path = self.maps[index]
        labels, instances = self.decode(path)
        things = {category.name for category in self.categories if category.is_thing}
        return ImageLabels(
            labels.shape[0], labels.shape[1], regions_of_instance_map(labels, instances, self.names, things, path)
        )
