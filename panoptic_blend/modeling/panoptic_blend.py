"""BlendMask for panoptic segmentation, whole: images in, losses or panoptic predictions out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from panoptic_blend.categories import Categories
from panoptic_blend.config import ModelConfig, PredictionSettings
from panoptic_blend.modeling.input_rule import InputRule
from panoptic_blend.modeling.modes import evaluating
from panoptic_blend.modeling.network import Network, NetworkOutput
from panoptic_blend.modeling.network.masks.head import MaskHead
from panoptic_blend.modeling.postprocess import PostProcessor
from panoptic_blend.resizing import output_size, resize_image
from panoptic_blend.structures import PanopticPrediction, Targets


class PanopticBlend(nn.Module):
    """The model: a network (tensor -> raw tensors), and what turns its output into losses or predictions.

    Args:
        input_rule: images -> batch.
        network: backbone, pyramid and branches.
        mask_head: the layers that criterion and post-processor compute masks with; None without things.
        criterion: (network output, targets) -> losses by name.
        postprocess: network output -> predictions.
        config: what it was built from.
    """

    def __init__(
        self,
        input_rule: InputRule,
        network: Network,
        mask_head: MaskHead | None,
        criterion: Callable[[NetworkOutput, Sequence[Targets]], dict[str, Tensor]],
        postprocess: PostProcessor,
        config: ModelConfig,
    ):
        super().__init__()
        self.input_rule = input_rule
        self.network = network
        self.mask_head = mask_head
        self.criterion = criterion
        self.postprocess = postprocess
        self._built_from = config

    @property
    def categories(self) -> Categories:
        """Of the data set it predicts."""
        return self.postprocess.categories

    @property
    def settings(self) -> PredictionSettings:
        """Sizes and thresholds, which may be changed at any time: they are read at every prediction."""
        return self.postprocess.settings

    @property
    def config(self) -> ModelConfig:
        """What it was built from, with the present `settings`: a copy, by which a checkpoint describes itself."""
        return self.settings.within(self._built_from)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.input_rule.pixel_mean.device

    @property
    def channels(self) -> int:
        """Bands of an image."""
        return len(self.input_rule.pixel_mean)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which an image of this size is predicted, as `settings` say."""
        return output_size(height, width, self.settings.shortest_edge, self.settings.longest_edge)

    def resize(self, image: Tensor) -> Tensor:
        """An image [C, H, W] on this model's device and at its `input_size`: what `predict` should be given.

        Raises:
            ConfigError: a setting is out of bounds.
        """
        self.settings.check()
        return resize_image(image.to(self.device), self.input_size(image.shape[-2], image.shape[-1]))

    def forward(self, images: Sequence[Tensor], targets: Sequence[Targets]) -> dict[str, Tensor]:
        """Training losses of a batch.

        Args:
            images: [C, H_i, W_i], RGB first, uint8 or float in 0..255.
            targets: one per image, of its size.

        Returns:
            Weighted scalars by name; their sum is what is minimised. See `Criterion`.
        """
        output = self.network(self.input_rule(images))
        return self.criterion(output, [target.to(self.device) for target in targets])

    @torch.no_grad()
    def predict(
        self, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[PanopticPrediction]:
        """Never resizes: images go through the network as large as they are (`resize` brings them to its size).

        Predicts whatever mode the model is in.

        Args:
            images: [C, H_i, W_i], RGB first, uint8 or float in 0..255.
            sizes: output (height, width) per image; by default its own.

        Raises:
            ConfigError: a setting is out of bounds.
            DatasetError: an image has another number of channels than the model reads.
        """
        with evaluating(self):
            output = self.network(self.input_rule(images))
            return self.postprocess(output, [(image.shape[1], image.shape[2]) for image in images], sizes)
