"""From an image to its panoptic map in one call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from PIL import Image

from panoptic_blend.categories import Categories
from panoptic_blend.config import PredictionSettings
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.files.images import Bands, image_to_rgb
from panoptic_blend.files.pictures import RGB, count_bands, open_picture, read_picture
from panoptic_blend.files.tiff import RowsOfTiff
from panoptic_blend.inference.engine import Engine
from panoptic_blend.inference.pipeline import in_batches, read_ahead
from panoptic_blend.inference.prediction import Prediction
from panoptic_blend.runtime.exported import ExportedModel

if TYPE_CHECKING:  # an exported model predicts where there is no torch
    from torch import Tensor

    from panoptic_blend.inference.preparation import Precision
    from panoptic_blend.modeling.panoptic_blend import PanopticBlend

ImageLike: TypeAlias = "str | Path | Image.Image | Bands | Tensor"
"""A file, a Pillow image, an RGB array uint8 [H, W, 3], or an RGB tensor uint8 [3, H, W].

An array may have 16 bits, uint16. A model of other bands than RGB takes files, and arrays and tensors of just so many.
"""


class Predictor:
    """Predicts images of any size at the size the model was trained for, and answers at the image's own.

    Args:
        model: stays as it is, since the predictor keeps a copy that is made for speed; or one that was exported, to
            which the other arguments do not apply.
        device: 'auto' takes a GPU when there is one; else a torch device such as 'cpu' or 'cuda:1'.
        precision: of the network, see `prepare`; 'auto' takes bf16 where the device is faster with it.
        compile: compile the network at its first image of every size, or batch of every size and length: worth it
            for many images of few sizes. Torch does so for eight at most, and computes the others without.
        tiles: on CPUs, compute wide convolutions by tiles, which is faster and differs by one part in 10^6; off
            leaves every convolution to torch.
        tile: cut pictures into overlapping tiles of this many pixels, predict these at their own size, and join what
            they show into one map; None predicts pictures whole, at the size that the model's settings say.
        overlap: pixels that neighbouring tiles share.
        tta: predict every picture several times and merge what all of them show: 'flip' mirrors it as well,
            'scales=0.75,1,1.25' takes it at these factors of its input size, 'flip,scales=0.75,1,1.25' does both.

    Attributes:
        watch: is told, after each tile, how much of its picture is done, from 0 to 1.
        reads_ahead: images that are read while others are predicted; fewer by tiles, as such pictures are large.

    Raises:
        ConfigError: the device does not exist here, or there is no such precision; sizes that make no tiling; views
            that are not spelled so, or are asked for together with tiles; or what is asked of an exported model is not
            what it was exported for.
    """

    def __init__(
        self,
        model: PanopticBlend | ExportedModel,
        device: str = "auto",
        precision: Precision = "auto",
        compile: bool = False,
        tiles: bool = True,
        tile: int | None = None,
        overlap: int = 128,
        tta: str | None = None,
    ):
        if tile is not None and tta is not None:
            raise ConfigError(f"tile {tile} and tta {tta!r}: take one of them; pictures in tiles are seen once.")
        self.engine: Engine
        self.tile = tile
        self.watch: Callable[[float], None] = lambda part: None
        self.reads_ahead = 2 if tile is None else 1
        if isinstance(model, ExportedModel):
            _check_options(model, device, precision, compile, tiles, tile, tta)
            self.engine = model
        else:
            from panoptic_blend.inference.torch_model import TorchModel

            whole = self.engine = TorchModel(model, device, precision, compile, tiles)
            if tile is not None:
                from panoptic_blend.inference.tiled_model import TiledModel

                self.engine = TiledModel(whole, tile, overlap)
                self.engine.watch = lambda part: self.watch(part)
            if tta is not None:
                from panoptic_blend.inference.augmented_model import AugmentedModel, parse_views

                self.engine = AugmentedModel(whole, parse_views(tta))

    @property
    def categories(self) -> Categories:
        """Of the data set that the model predicts."""
        return self.engine.categories

    @property
    def settings(self) -> PredictionSettings:
        """Sizes and thresholds, read at every prediction, so that they may be changed; of a torch model a copy."""
        return self.engine.settings

    def __call__(self, image: ImageLike) -> Prediction:
        """Predict one image.

        Raises:
            DatasetError: a file that cannot be read, or an array or tensor of another shape or type than `ImageLike`.
        """
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[ImageLike]) -> list[Prediction]:
        """Predict images: neighbours of one `input_size` together, so that none is padded because of another.

        Raises:
            DatasetError: as for one image.
        """
        pixels = [self._take(image) for image in images]
        together = in_batches(pixels, max(1, len(pixels)), self.input_size)
        return [prediction for batch in together for prediction in self._predict(batch)]

    def predict_many(self, images: Iterable[ImageLike], batch: int = 1) -> Iterator[Prediction]:
        """Predict images in their order, reading ahead; only a few are in memory at any time.

        Args:
            images: paths of files, or images in memory.
            batch: neighbours of one `input_size` that are predicted together at most; meant for GPUs.

        Raises:
            DatasetError: at the first image that cannot be read.
            ConfigError: a batch below 1, or a single path.
        """
        if isinstance(images, (str, Path)):
            raise ConfigError(f"{images}: one path. Give a list of them, or predict it by calling the predictor.")
        pixels = (read.result() for _, read in read_ahead(images, self._take, max(self.reads_ahead, batch)))
        for together in in_batches(pixels, batch, self.input_size):
            yield from self._predict(together)

    def read(self, path: Path | str) -> Bands:
        """Decode an image file as the model reads it, [H, W, channels]; by tiles, a large TIFF a few rows at a time.

        Raises:
            DatasetError: it cannot be read, or has another number of bands.
        """
        read = read_picture if self.tile is None else open_picture
        return read(path, self.engine.channels)

    def _take(self, image: ImageLike | RowsOfTiff) -> Bands:
        if isinstance(image, RowsOfTiff):
            return cast(Bands, image) if self.tile else image.decode()
        return self.read(image) if isinstance(image, (str, Path)) else to_pixels(image, self.engine.channels)

    def input_size(self, image: Bands) -> tuple[int, int]:
        """(height, width) at which the network sees an image [H, W, C]."""
        return self.engine.input_size(image.shape[0], image.shape[1])

    def _predict(self, images: Sequence[Bands]) -> list[Prediction]:
        found = self.engine.predict(images)
        return [Prediction(image, panoptic, self.categories) for image, panoptic in zip(images, found, strict=True)]


def _check_options(
    model: ExportedModel, device: str, precision: str, compile: bool, tiles: bool, tile: int | None, tta: str | None
) -> None:
    """Raise `ConfigError` for what an exported model cannot do, or a setting that it does not take."""
    made = model.manifest.precision
    refused = {
        f"device {device!r}": device not in ("auto", "cpu"),
        f"precision {precision!r}": precision not in ("auto", made),
        "compile": compile,
        "no tiles": not tiles,
        f"tile {tile}": tile is not None,
        f"tta {tta!r}": tta is not None,
    }
    for option, is_refused in refused.items():
        if is_refused:
            raise ConfigError(
                f"{option}: {model.folder} was exported in {made} and runs on the CPU as it is. Leave this out, or "
                "predict with the checkpoint that was exported."
            )
    model.check()


def to_pixels(image: ImageLike, channels: int = RGB) -> Bands:
    """Any image as [H, W, channels] of uint8 or uint16.

    Raises:
        DatasetError: a file that cannot be read, or an array or tensor of another shape or type than `ImageLike`.
    """
    if isinstance(image, (str, Path)):
        return read_picture(image, channels)
    if isinstance(image, Image.Image):
        if 0 in image.size:
            raise DatasetError(f"image {image.size[0]} x {image.size[1]}: has no pixels.")
        if channels != RGB:
            raise DatasetError(f"Pillow image: this model reads {count_bands(channels)}. Give a file, or an array.")
        return image_to_rgb(image)
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != channels or image.dtype not in (np.uint8, np.uint16) or not image.size:
            wanted = "RGB [H, W, 3]" if channels == RGB else f"[H, W, {channels}] for this model"
            raise DatasetError(
                f"array {image.dtype} {list(image.shape)}: an image is uint8 {wanted}, or uint16. Convert it first."
            )
        return image.copy()  # a view may be read-only or run backwards
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    if torch is None or not isinstance(image, torch.Tensor):
        raise DatasetError(f"{type(image).__name__}: an image is a path, a Pillow image, an array or a tensor.")
    if image.ndim != 3 or image.shape[0] != channels or image.dtype != torch.uint8 or not image.numel():
        wanted = "RGB [3, H, W]" if channels == RGB else f"[{channels}, H, W] for this model"
        raise DatasetError(f"tensor {image.dtype} {list(image.shape)}: an image is uint8 {wanted}. Convert it first.")
    return image.permute(1, 2, 0).contiguous().cpu().numpy()
