"""A model of torch, ready to predict on a device."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import torch

from panoptic_blend.categories import Categories
from panoptic_blend.config import MergeConfig, PredictionSettings
from panoptic_blend.config.plain import plain_settings
from panoptic_blend.data.images import to_tensor
from panoptic_blend.errors import ConfigError
from panoptic_blend.files.images import Bands
from panoptic_blend.inference.preparation import Precision, prepare
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.modeling.postprocess.merge import merge
from panoptic_blend.structures import PanopticPrediction


class TorchModel:
    """A copy of a model that is made for speed on one device, see `prepare`.

    Args:
        model: stays as it is.
        device: 'auto' takes a GPU when there is one; else a torch device such as 'cpu' or 'cuda:1'.
        precision, compile, tiles: as `prepare`'s.

    Raises:
        ConfigError: the device does not exist here, or there is no such precision.
    """

    has_detections = True

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
    def categories(self) -> Categories:
        """Of the data set that it predicts."""
        return self.model.categories

    @property
    def settings(self) -> PredictionSettings:
        """Sizes and thresholds, read at every prediction."""
        return self.model.settings

    @property
    def channels(self) -> int:
        """Bands of an image."""
        return self.model.channels

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which the network sees an image of this size."""
        return self.model.input_size(height, width)

    def predict(self, images: Sequence[Bands]) -> list[PanopticPrediction]:
        """Predict images of one `input_size`, [H, W, C] of 8 or 16 bits, at their own sizes."""
        resized = [self.model.resize(to_tensor(image)) for image in images]
        return self.model.predict(resized, [(image.shape[0], image.shape[1]) for image in images])

    def merge(self, prediction: PanopticPrediction, thresholds: MergeConfig) -> PanopticPrediction:
        """A prediction as it would be with other thresholds of the merge; only the merge runs again."""
        id_map, segments = merge(
            prediction.instances,
            torch.from_numpy(prediction.semantic),
            self.categories,
            thresholds.min_score,
            thresholds.max_overlap,
            thresholds.min_stuff_area,
        )
        return replace(prediction, id_map=id_map, segments=segments)

    def made_with(self) -> dict[str, object]:
        """What predictions depend on beside the images, as JSON can hold it."""
        digest = hashlib.sha256()
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            digest.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data)
        return {
            "device": self.device.type,
            "precision": str(next(self.model.network.parameters()).dtype).removeprefix("torch."),
            "model": plain_settings(self.model.config),
            "weights": digest.hexdigest(),
        }

    def release_memory(self) -> None:
        """Give back what torch holds of a GPU's memory for the next prediction: one did not fit."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


class AroundTorchModel:
    """What engines that predict a picture by several predictions of a `TorchModel` have in common with it.

    Args:
        model: predicts each part or view.
    """

    def __init__(self, model: TorchModel):
        self.model = model

    @property
    def categories(self) -> Categories:
        """Of the data set that it predicts."""
        return self.model.categories

    @property
    def settings(self) -> PredictionSettings:
        """Sizes and thresholds, read at every prediction."""
        return self.model.settings

    @property
    def channels(self) -> int:
        """Bands of a picture."""
        return self.model.channels

    def release_memory(self) -> None:
        """Give back what is held for the next prediction: one did not fit into memory."""
        self.model.release_memory()


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
