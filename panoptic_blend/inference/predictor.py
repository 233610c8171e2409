"""From an image to its panoptic map in one call."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from panoptic_blend.categories import Categories
from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.config import PredictionSettings
from panoptic_blend.data.images import image_to_tensor, read_image
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.inference.pipeline import in_batches, read_ahead
from panoptic_blend.inference.preparation import Precision, prepare
from panoptic_blend.inference.visualize import draw_overlay
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.structures import IdMap, PanopticPrediction, Segment

ImageLike = str | Path | Image.Image | npt.NDArray[np.uint8] | Tensor
"""A file, a Pillow image, an RGB array uint8 [H, W, 3], or an RGB tensor uint8 [3, H, W]."""


@dataclass
class Prediction:
    """What the model sees in one image.

    Attributes:
        image: uint8 RGB [H, W, 3], the image itself.
        panoptic: the id map, its segments and the raw instances, at the image's size.
        categories: what the segments' category ids mean.
    """

    image: npt.NDArray[np.uint8]
    panoptic: PanopticPrediction
    categories: Categories

    @property
    def id_map(self) -> IdMap:
        """Segment id per pixel, int32 [H, W]; 0 is void."""
        return self.panoptic.id_map

    @property
    def segments(self) -> list[Segment]:
        """One entry per id in the map."""
        return self.panoptic.segments

    def overlay(self) -> Image.Image:
        """The image with its segments painted over it and named."""
        return draw_overlay(self.image, self.id_map, self.segments, self.categories)

    def save(self, path: Path | str) -> None:
        """Write `out.png`, the id map as a COCO panoptic PNG, and `out.json`, what its ids mean.

        The JSON is the image's row of a COCO panoptic `annotations` list, with the categories' names and the scores
        added. To write many predictions as one COCO data set, use `coco.predictions.PredictionWriter`; for an image
        to look at, `overlay().save(...)`.

        Raises:
            ConfigError: the path does not end in .png; other formats would alter the ids.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise ConfigError(f"{path}: id maps are PNG files; name it {path.with_suffix('.png').name}.")
        rows = []
        for segment in self.segments:
            category = self.categories.by_id(segment.category_id)
            rows.append(
                {
                    "id": segment.id,
                    "category_id": category.id,
                    "category": category.name,
                    "isthing": int(category.is_thing),
                    "area": segment.area,
                    "score": round(segment.score, 6),
                }
            )
        write_id_map(path, self.id_map)
        with atomic_path(path.with_suffix(".json")) as unfinished:
            text = json.dumps({"file_name": path.name, "segments_info": rows}, indent=1, ensure_ascii=False)
            unfinished.write_text(text + "\n", encoding="utf-8")


class Predictor:
    """Predicts images of any size at the size the model was trained for, and answers at the image's own.

    Args:
        model: stays as it is; the predictor keeps a copy that is made for speed.
        device: 'auto' takes a GPU when there is one; else a torch device such as 'cpu' or 'cuda:1'.
        precision: of the network, see `prepare`; 'auto' takes bf16 where the device is faster with it.
        compile: compile the network at its first image of every size, or batch of every size and length: worth it
            for many images of few sizes. Torch does so for eight at most, and computes the others without.
        tiles: on CPUs, compute wide convolutions by tiles, which is faster and differs by one part in 10^6; off
            leaves every convolution to torch.

    Raises:
        ConfigError: the device does not exist here, or there is no such precision.
    """

    def __init__(
        self,
        model: PanopticBlend,
        device: str = "auto",
        precision: Precision = "auto",
        compile: bool = False,
        tiles: bool = True,
    ):
        self.device = find_device(device)
        self.model = prepare(model, self.device, precision, compile, tiles)

    @property
    def settings(self) -> PredictionSettings:
        """Sizes and thresholds: a copy of the model's, read at every prediction, so that they may be changed."""
        return self.model.settings

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
        tensors = [to_image_tensor(image) for image in images]
        together = in_batches(tensors, max(1, len(tensors)), self.input_size)
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
        tensors = (tensor.result() for _, tensor in read_ahead(images, to_image_tensor, max(2, batch)))
        for together in in_batches(tensors, batch, self.input_size):
            yield from self._predict(together)

    def input_size(self, image: Tensor) -> tuple[int, int]:
        """(height, width) at which the network sees an image [3, H, W]."""
        return self.model.input_size(image.shape[1], image.shape[2])

    def _predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        resized = [self.model.resize(image) for image in images]
        found = self.model.predict(resized, [(image.shape[1], image.shape[2]) for image in images])
        return [
            Prediction(image.permute(1, 2, 0).contiguous().cpu().numpy(), panoptic, self.model.categories)
            for image, panoptic in zip(images, found, strict=True)
        ]


def find_device(name: str) -> torch.device:
    """The device a setting names; 'auto' takes a GPU when there is one.

    Raises:
        ConfigError: it does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("meta"):
        raise ConfigError(f"device {name!r} computes nothing. Try 'auto'.")
    try:
        torch.empty(0, device=name)  # fails for devices that do not exist or that this torch was not built for
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used here ({str(error).splitlines()[0]}). Try 'auto'.") from error


def to_image_tensor(image: ImageLike) -> Tensor:
    """Any image as a uint8 RGB tensor [3, H, W].

    Raises:
        DatasetError: a file that cannot be read, or an array or tensor of another shape or type than `ImageLike`.
    """
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        if 0 in image.size:
            raise DatasetError(f"image {image.size[0]} x {image.size[1]}: has no pixels.")
        return image_to_tensor(image)
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise DatasetError(
                f"array {image.dtype} {list(image.shape)}: an image is uint8 RGB [H, W, 3]. Convert it first."
            )
        return torch.from_numpy(image.copy()).permute(2, 0, 1)  # a view may be read-only or run backwards
    if not isinstance(image, Tensor):
        raise DatasetError(f"{type(image).__name__}: an image is a path, a Pillow image, an array or a tensor.")
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8 or not image.numel():
        raise DatasetError(
            f"tensor {image.dtype} {list(image.shape)}: an image is uint8 RGB [3, H, W]. Convert it first."
        )
    return image
