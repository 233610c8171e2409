"""Films and cameras, frame by frame as they are needed (PyAV, extra `video`)."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.images import EvaluationSample, ImageLocation
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.files.images import Pixels
from panoptic_blend.files.names import check_file_name

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

FILM_SUFFIXES = frozenset(
    f".{name}"
    for name in "3gp avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts webm wmv".split()  # noqa: SIM905
)
"""Extensions of files that are taken for films."""
_CAMERA = re.compile(r"(?:camera:)?(\d{1,3})")


def is_film(text: str) -> bool:
    """Whether an input of `predict` names a film or a camera: `0`, `camera:0`."""
    is_named_so = Path(text).suffix.lower() in FILM_SUFFIXES and not Path(text).is_dir()
    return is_named_so or camera_number(text) is not None


def camera_number(text: str) -> int | None:
    """The number of the camera that an input names, unless a file has that name."""
    found = _CAMERA.fullmatch(text)
    return int(found[1]) if found and not Path(text).exists() else None


class Film:
    """The frames of a film as samples, numbered from 0; they are decoded in their order, a few at a time in memory.

    Frames are turned upright, as the film says. Results of frame 7 of `street.mp4` are named `street/000007.png`.

    Args:
        text: a file, or a camera (`0`, `camera:0`).
        frames: take so many at most; a camera has no end and needs this.

    Attributes:
        rate: frames a second.
        is_live: this is a camera.
        damage: what could not be decoded so far, as a sentence; empty when all could.

    Raises:
        ConfigError: PyAV is not installed, or a camera without a number of frames.
        DatasetError: there is no such file or camera, it is no film, or has no frames.
    """

    def __init__(self, text: str, frames: int | None = None):
        number = camera_number(text)
        self.is_live = number is not None
        self.path = Path(text) if number is None else Path(f"/dev/video{number}")
        self.name = self.path.stem if number is None else f"camera_{number}"
        self.damage = ""
        self._number = number
        self._av = import_av()
        if self.is_live and frames is None:
            raise ConfigError(f"{text}: a camera has no end. Say how many frames to take, for instance --frames 300.")
        self._check_name()
        container = self._open()
        try:
            stream = self._stream(container)
            self.rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
            self._frames = int(frames or 0) if self.is_live else self._count(container, frames)
        finally:
            container.close()
        if self._frames == 0:
            raise DatasetError(f"{self.path}: has no frames. Record or export it again.")
        self._decoded = self._decode()
        self._next = 0

    def __len__(self) -> int:
        """How many frames the film announces; one that is damaged may hold fewer."""
        return self._frames

    def __getitem__(self, index: int) -> EvaluationSample:
        """Decode one frame; those before it are passed over.

        Raises:
            DatasetError: the film ends before it.
        """
        if index < self._next:
            self._decoded.close()
            self._decoded, self._next = self._decode(), 0
        for image in self._decoded:
            self._next += 1
            if self._next > index:
                record = ImageRecord(
                    index + 1, self._file_name(index), image.shape[1], image.shape[0], "", [], self.name, index
                )
                return EvaluationSample(image, record, None)
        raise DatasetError(self.shortfall)

    def locate(self, index: int) -> ImageLocation:
        """Id and name of a frame, and the film's file."""
        return ImageLocation(index + 1, self._file_name(index), self.path)

    @property
    def shortfall(self) -> str:
        """What to say of frames that were announced and are not there."""
        return f"{self.path}: ends after {self._next} of {len(self)} frames{self.damage and f' ({self.damage})'}."

    def close(self) -> None:
        """Let go of the file or the camera."""
        self._decoded.close()

    def _file_name(self, index: int) -> str:
        return f"{self.name}/{index:06d}.png"

    def _check_name(self) -> None:
        try:
            check_file_name(self._file_name(0), str(self.path))
        except DatasetError as error:
            raise DatasetError(f"{self.path}: results cannot be written under such a name. Rename it.") from error

    def _open(self) -> InputContainer:
        try:
            if self._number is None:
                return self._av.open(str(self.path))
            if sys.platform == "darwin":
                return self._av.open(str(self._number), format="avfoundation", options={"framerate": "30"})
            return self._av.open(str(self.path), format="v4l2")
        except (self._av.error.FFmpegError, ValueError) as error:
            if self._number is not None:
                raise DatasetError(
                    f"camera {self._number}: cannot be opened ({_reason(error)}). See that it is connected and that no "
                    "other program uses it, or give a film."
                ) from error
            if isinstance(error, FileNotFoundError):
                raise DatasetError(f"{self.path}: no such file or folder.") from error
            raise DatasetError(
                f"{self.path}: cannot be read as a film ({_reason(error)}). It may be cut off or of another kind: see "
                "whether it plays, and convert it to MP4 (H.264)."
            ) from error

    def _stream(self, container: InputContainer) -> av.VideoStream:
        if not container.streams.video:
            raise DatasetError(f"{self.path}: holds no pictures. It is sound alone, or cut off: see whether it plays.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return stream

    def _count(self, container: InputContainer, most: int | None) -> int:
        """Packets are frames, and are counted without decoding them."""
        frames = 0
        try:
            for packet in container.demux(self._stream(container)):
                frames += packet.size > 0 and not packet.is_discard
                if frames == most:
                    break
        except self._av.error.FFmpegError as error:
            self.damage = f"it is damaged: {_reason(error)}"
        return frames

    def _decode(self) -> Generator[Pixels, None, None]:
        container = self._open()
        try:
            packets = container.demux(self._stream(container))
            while True:
                try:
                    packet = next(packets)
                    frames = packet.decode()
                except StopIteration:
                    return
                except self._av.error.EOFError:
                    return
                except self._av.error.FFmpegError as error:
                    self.damage = f"it is damaged: {_reason(error)}"
                    continue
                for frame in frames:
                    turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                    yield np.ascontiguousarray(turned)
        finally:
            container.close()


def import_av():  # type: ignore[no-untyped-def]  # a module
    """PyAV; `ConfigError` where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise ConfigError(
            "Films need PyAV, which is not installed. Run `pip install 'panoptic-blend[video]'`."
        ) from error
    return av


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
