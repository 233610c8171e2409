"""Predict a film: maps of every frame, ids that stay if asked for, and a film to look at."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.files.images import Pixels
from panoptic_blend.files.lock import lock_folder
from panoptic_blend.inference.films import Film, import_av
from panoptic_blend.inference.keeping import Result, WritingResult, keep_predictions
from panoptic_blend.inference.overlays import overlay_path, write_overlay
from panoptic_blend.inference.prediction import Prediction
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.summaries import OVERLAY_FILM
from panoptic_blend.inference.tracking import Tracker
from panoptic_blend.inference.visualize import draw_overlay
from panoptic_blend.structures import PanopticMap

_CODECS = ("libx264", "libopenh264", "mpeg4")
"""The first that PyAV was built with is taken."""


def write_film(
    predictor: Predictor,
    film: Film,
    output: Path,
    console: Console,
    track: bool = False,
    overlays: bool = False,
    batch: int = 1,
    overwrite: bool = False,
) -> WritingResult:
    """Write `output/predictions.json`, `output/predictions/NAME/*.png` and `output/overlay.mp4`, without sound.

    Every frame is kept as soon as it is predicted. Called again, this predicts the frames that are missing, and goes on
    with the ids of those that are there. The film to look at holds the frames predicted so far, after Ctrl-C too.

    Args:
        track: give things ids that stay with them (see `Tracker`).
        overlays: write an image with the segments painted over it for every frame as well.
        batch: frames that are predicted together at most.
        overwrite: predict all frames again, and replace what is in `output`.

    Raises:
        DatasetError: `output` holds predictions of other images, or made with another model or other settings.
        FolderInUseError: another command is writing there.
    """
    tracker = Tracker(predictor.categories) if track else None
    categories = predictor.categories

    def follow(prediction: Prediction) -> PanopticMap:
        return tracker.update(prediction.panoptic) if tracker else prediction.panoptic

    def begin(writer: PredictionWriter) -> None:
        if tracker:
            for row in writer.progress.rows():
                tracker.reserve(segment["id"] for segment in row["annotation"]["segments_info"])

    def draw(result: Result) -> None:
        if tracker and not result.is_new:
            tracker.remember(result.id_map, result.segments)
        image = draw_overlay(result.sample.image, result.id_map, result.segments, categories, tracked=track)
        painted.add(np.asarray(image))
        if overlays:
            write_overlay(overlay_path(output, result.kept.png), lambda: image)

    started = {"camera": os.urandom(8).hex()} if film.is_live else {}  # what a camera sees does not come again
    with lock_folder(output), FilmWriter(output / OVERLAY_FILM, film.rate) as painted:
        result = keep_predictions(
            predictor,
            film,
            output,
            console,
            "predict",
            draw,
            lambda kept: True,
            batch=batch,
            overwrite=overwrite,
            made_with={"track": track, **started},
            refine=follow,
            begin=begin,
        )
    failures = list(dict.fromkeys(result.failures))  # all frames after a film's end fail alike
    if not film.damage:  # it announced more frames than it shows
        failures = [failure for failure in failures if failure != film.shortfall]
    return replace(result, failures=failures)


class FilmWriter:
    """Encodes a film of pictures, which appears whole when the `with` block ends, after an error or Ctrl-C as well.

    Without a picture, an older film stays. All pictures get the size of the first, and even sides (yuv420p).

    Args:
        path: of the film, MP4.
        rate: frames a second.
    """

    def __init__(self, path: Path, rate: Fraction):
        self.path = path
        self.rate = rate
        self._unfinished = path.with_name(f".{path.name}.unfinished.mp4")
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        try:
            for packet in self._stream.encode():
                self._container.mux(packet)
            self._container.close()
            os.replace(self._unfinished, self.path)
        finally:
            self._unfinished.unlink(missing_ok=True)

    def add(self, picture: Pixels) -> None:
        """Add one picture, uint8 RGB [H, W, 3]."""
        if self._container is None:
            self._open(picture.shape[0] + picture.shape[0] % 2, picture.shape[1] + picture.shape[1] % 2)
        size = self._stream.height, self._stream.width
        missing = tuple((0, side - there) for side, there in zip(size, picture.shape[:2], strict=True))
        if any(not 0 <= after <= 1 for _, after in missing):
            picture = np.asarray(Image.fromarray(picture).resize(size[::-1]))
        else:
            picture = np.pad(picture, (*missing, (0, 0)), mode="edge")
        frame = import_av().VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _open(self, height: int, width: int) -> None:
        av = import_av()
        self._container = av.open(str(self._unfinished), "w")
        codec = next(name for name in _CODECS if name in av.codecs_available)
        self._stream = self._container.add_stream(codec, rate=self.rate)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
