"""From the network's raw tensors to panoptic predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from panoptic_blend.categories import Categories
from panoptic_blend.config import PredictionSettings
from panoptic_blend.modeling.network import NetworkOutput
from panoptic_blend.modeling.network.locations import locate
from panoptic_blend.modeling.network.masks.head import MaskFeatures, MaskHead, MaskRequest
from panoptic_blend.modeling.postprocess.decoding import Detections, decode, no_detections
from panoptic_blend.modeling.postprocess.instances import place_in_output
from panoptic_blend.modeling.postprocess.merge import merge
from panoptic_blend.modeling.postprocess.stuff import semantic_labels
from panoptic_blend.structures import IdMap, Instances, PanopticPrediction, Segment


class PostProcessor:
    """Detections, their masks, stuff and the merge, as steps that can be called one by one.

    It takes the tensors of any runtime that computed the network.

    Args:
        mask_head: turns features and boxes into masks; None without things.
        strides: of the detector's levels.
        categories: of the data set it predicts.
        settings: read at every call.
    """

    def __init__(
        self, mask_head: MaskHead | None, strides: Sequence[int], categories: Categories, settings: PredictionSettings
    ):
        self.mask_head = mask_head
        self.strides = list(strides)
        self.categories = categories
        self.settings = settings

    def __call__(
        self,
        output: NetworkOutput,
        image_sizes: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[PanopticPrediction]:
        """Every step for every image of a batch.

        Args:
            output: of the network.
            image_sizes: (height, width) of each image before it was padded.
            sizes: (height, width) of each prediction; by default that of its image.

        Raises:
            ConfigError: a setting is out of bounds.
        """
        self.settings.check()
        predictions = []
        for index, (image_size, size) in enumerate(zip(image_sizes, sizes or image_sizes, strict=True)):
            detections = self.detect(output, index)
            instances = place_in_output(detections, self.draw_masks(output, detections), image_size, size)
            semantic = self.label_stuff(output, index, image_size, size)
            id_map, segments = self.merge(instances, semantic)
            predictions.append(PanopticPrediction(id_map, segments, instances, semantic.numpy()))
        return predictions

    def detect(self, output: NetworkOutput, index: int) -> Detections:
        """The detections of one image of the batch; none without a detector."""
        if output.detector is None:
            return no_detections(output.pyramid[0].device)
        return decode(
            output.detector,
            locate(output.detector.towers, self.strides),
            index,
            self.settings.score_threshold,
            self.settings.threshold_with_centerness,
            self.settings.pre_nms_top_k,
            self.settings.nms_iou,
            self.settings.max_detections,
        )

    def draw_masks(self, output: NetworkOutput, detections: Detections) -> Tensor:
        """Mask logits [N, R, R] inside the boxes of detections."""
        if self.mask_head is None:
            return detections.boxes.new_zeros((0, 1, 1))
        request = MaskRequest(detections.sites, detections.boxes, detections.sites.image, detections.labels)
        return self.mask_head(MaskFeatures.of(output), request).float()

    def label_stuff(
        self, output: NetworkOutput, index: int, image_size: tuple[int, int], size: tuple[int, int]
    ) -> Tensor:
        """[H, W] label map on the CPU: 0 = a thing, 1..S = stuff; all 0 without a semantic branch."""
        if output.semantic is None:
            return torch.zeros(size, dtype=torch.uint8)
        return semantic_labels(output.semantic[index], image_size, size).cpu()

    def merge(self, instances: Instances, semantic: Tensor) -> tuple[IdMap, list[Segment]]:
        """Instances and a label map of one size as an id map and its segments."""
        return merge(
            instances,
            semantic,
            self.categories,
            self.settings.min_score,
            self.settings.max_overlap,
            self.settings.min_stuff_area,
        )
