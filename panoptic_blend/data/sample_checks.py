"""Looks at every sample of a data set before hours of training depend on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from torch.utils.data import Dataset

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.left_out import BadSample, OnBadSample
from panoptic_blend.coco.samples import read_sample
from panoptic_blend.data.loading import Loader
from panoptic_blend.errors import DatasetError
from panoptic_blend.files.pictures import RGB, read_picture


class _Checks(Dataset[str]):
    """Item i is what is wrong with sample i, or nothing."""

    def __init__(self, annotations: PanopticAnnotations, images: Path, segments: Path, bands: int, positions: range):
        self.annotations = annotations
        self.images = images
        self.segments = segments
        self.bands = bands
        self.positions = positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> str:
        record = self.annotations[self.positions[index]]
        try:
            if self.bands != RGB:  # as which all images are read
                read_picture(self.images / record.file_name, self.bands)
            read_sample(record, self.images, self.segments, self.annotations.categories, self.annotations.path)
        except DatasetError as error:
            return str(error)
        return ""


def check_samples(
    annotations: PanopticAnnotations,
    images: Path,
    segments: Path,
    on_bad_sample: OnBadSample = "raise",
    workers: int = 0,
    console: Console | None = None,
    bands: int = RGB,
    positions: range | None = None,
) -> tuple[npt.NDArray[np.int64], Sequence[BadSample]]:
    """Read every image and id map once and hold them against the annotations.

    Args:
        annotations: of the images.
        images: folder of the images.
        segments: folder of the id-map PNGs.
        on_bad_sample: stop at the first bad sample, or leave bad samples out.
        workers: processes that share the work; 0 does it in this one.
        console: where a progress bar is drawn; None draws none.
        bands: that images are to have; 3 takes all.
        positions: in the annotations of the samples to look at; all when None.

    Returns:
        good: [n] positions in the annotations of the samples that hold together.
        bad: the others, in their order; always empty with 'raise'.

    Raises:
        DatasetError: with 'raise', what is wrong with the first bad sample.
        ResourceError: the worker processes cannot be started, or were killed.
    """
    if positions is None:
        positions = range(len(annotations))
    reasons: Iterator[str] = iter(Loader(_Checks(annotations, images, segments, bands, positions), workers))
    if console is not None:
        reasons = iter(track(reasons, f"Checking {annotations.path.name}", total=len(positions), console=console))
    good: list[int] = []
    bad: list[BadSample] = []
    for index, reason in zip(positions, reasons, strict=True):
        if not reason:
            good.append(index)
        elif on_bad_sample == "raise":
            raise DatasetError(reason)
        else:
            bad.append(BadSample(annotations[index].file_name, reason))
    return np.array(good, dtype=np.int64), bad
