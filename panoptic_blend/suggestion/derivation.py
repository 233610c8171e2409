"""From measurements to settings: small formulas, each of one setting or two that belong together."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64]

FINEST_STRIDE = 8
"""Of P3, the finest level that detects."""
CELLS = 2
"""A thing of fewer cells of P3 has hardly a location of its own."""
STRIDES_PER_LEVEL = 4
"""A level regresses distances up to this many of its strides: things up to eight cells long."""
MULTIPLE = 32
"""Of the sizes of inputs and crops: batches are padded to it."""


def input_edge(extents: Numbers, native: int) -> int:
    """Shortest edge at which nine of ten things are `CELLS` cells of P3 long or longer.

    Images are enlarged at most 2.5 times and to 800 pixels, and not made smaller than 480. Without things, they stay as
    they are, up to 800 pixels.

    Args:
        extents: [things] as shares of their images' shortest edge.
        native: median shortest edge of the images, in pixels.
    """
    lowest, highest = min(native, 480), max(min(native, 480), min(2.5 * native, 800))
    wanted = CELLS * FINEST_STRIDE / np.percentile(extents, 10) if len(extents) else native
    return rounded(min(max(wanted, lowest), highest))


def scene_edge(aspect: float, most_pixels: float) -> int:
    """Shortest edge of inputs of which a crop of so many pixels holds half; 192, half of which is the least, or more.

    Stuff of several categories is told apart by what surrounds it, which a crop of a large input lacks.

    Args:
        aspect: width / height of most images.
        most_pixels: of a crop.
    """
    return max(rounded(math.sqrt(2 * most_pixels / max(aspect, 1 / aspect))), 6 * MULTIPLE)


def longest_edge(sizes: Numbers, shortest: int) -> int:
    """Longest edge of the most elongated of [images, 2] sizes when its shortest is `shortest`, as a multiple of 32.

    One of more than twice the median's aspect is left out: the model would have to take whatever it becomes.
    """
    aspects = sizes.max(axis=1) / sizes.min(axis=1)
    return math.ceil(min(aspects.max(), 2 * np.median(aspects)) * shortest / MULTIPLE) * MULTIPLE


def detector_levels(extents: Numbers, edge: int) -> tuple[int, list[int]]:
    """The coarsest level, and the sizes of interest of all levels but it.

    A location near the middle of a thing sees its border half an extent away: the largest such distance, leaving out
    one thing in a hundred, is the coarsest level's. P5 is always there.

    Args:
        extents: [things] as shares of their images' shortest edge.
        edge: the input's shortest edge in pixels.
    """
    farthest = np.percentile(extents, 99) * edge / 2 if len(extents) else 0
    coarsest = 5
    while coarsest < 7 and STRIDES_PER_LEVEL * 2**coarsest < farthest:
        coarsest += 1
    return coarsest, [STRIDES_PER_LEVEL * 2**level for level in range(3, coarsest)]


def detections(most: int, center_radius: float = 1.5) -> tuple[int, int]:
    """Instances kept per image and candidates per level, for images of up to `most` things.

    Half as many again are kept, since some detections are false; and each thing may have as many candidates as there
    are cells around its centre.
    """
    cells = (2 * center_radius) ** 2
    return max(100, math.ceil(1.5 * most / 50) * 50), max(1000, math.ceil(cells * most / 100) * 100)


def suppression(overlaps: Numbers) -> float:
    """IoU above which boxes are taken for one thing: above that of all true boxes but one in a thousand.

    Args:
        overlaps: [things] highest IoU with another thing of its category.
    """
    highest = np.percentile(overlaps, 99.9) if len(overlaps) else 0.0
    return min(max(math.ceil(20 * highest - 1e-9) / 20, 0.5), 0.7)


def smallest_stuff(areas: Numbers) -> int:
    """Pixels that 99 of 100 stuff segments have; 16 to 4096, which is what is published for large images."""
    return int(min(max(np.percentile(areas, 1) if len(areas) else 0, 16), 4096))


def mask_resolution(extents: Numbers, edge: int) -> tuple[int, int]:
    """Side of masks and of attention maps: the published 56 and 14 where a quarter of all things span 112 pixels.

    Else half of it: a mask need not be finer than the bases, which have a quarter of the input's resolution.
    """
    large = len(extents) and np.percentile(extents, 75) * edge >= 2 * 56
    return (56, 14) if large else (28, 7)


def repeat_threshold(frequencies: Numbers) -> float:
    """0.1 when some category is in fewer than a tenth of the images, else 0: no repetition.

    Args:
        frequencies: [categories] share of the images that have it.
    """
    rare = (frequencies > 0) & (frequencies < 0.1)
    return 0.1 if rare.any() else 0.0


def crop_size(edge: int, aspect: float, most_pixels: float) -> tuple[int, int]:
    """Height and width of training crops: half of the input's pixels, or fewer, in its form.

    Args:
        edge: the input's shortest edge in pixels.
        aspect: width / height of most images.
        most_pixels: of a crop, for the steps that are needed to fit the budget.
    """
    area = min(edge * edge * max(aspect, 1 / aspect) / 2, most_pixels)
    height, width = math.sqrt(area / aspect), math.sqrt(area * aspect)
    return max(rounded(height), 4 * MULTIPLE), max(rounded(width), 4 * MULTIPLE)


def averaging(steps: int) -> float:
    """Decay of averaged weights whose memory is a fifth of the run, at most 5,000 steps."""
    return round(1 - 1 / min(max(steps / 5, 2), 5000), 4)


def rounded(length: float) -> int:
    """The nearest multiple of 32, and 32 at least."""
    return max(MULTIPLE, int(length / MULTIPLE + 0.5) * MULTIPLE)
