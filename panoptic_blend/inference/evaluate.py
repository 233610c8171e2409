"""Predict annotated images, write the predictions, and score them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as rle
from rich.console import Console

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.data.dataset import EvaluationDataset, EvaluationSample
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.instances import MaskAP
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.evaluation.report import print_tables, write_metrics
from panoptic_blend.evaluation.semantic import MeanIoU
from panoptic_blend.inference.pipeline import write_behind
from panoptic_blend.inference.predictor import Prediction, Predictor
from panoptic_blend.inference.visualize import draw_overlay, side_by_side
from panoptic_blend.inference.writing import OVERLAY_FOLDER, OverlayFolder, check_same_categories, predict_samples
from panoptic_blend.pasting import paste_mask
from panoptic_blend.structures import Instances, Segment


def evaluate(
    predictor: Predictor,
    annotations: PanopticAnnotations,
    images: Path,
    output: Path,
    console: Console,
    segments: Path | None = None,
    overlays: int = 0,
    batch: int = 1,
) -> Path:
    """Predict every annotated image, write what was predicted, and score it, all at the same time.

    Only a few predictions are in memory at any time.

    Args:
        annotations: the truth; its categories must be the model's.
        images: folder of the images.
        output: gets predictions.json, predictions/*.png, metrics.json and, if asked for, overlays/*.jpg.
        console: where progress and tables go.
        segments: folder of the true id-map PNGs; by default beside the annotations.
        overlays: draw the first so many images, prediction and truth side by side.
        batch: neighbours of one input size that are predicted together at most.

    Returns:
        Path of metrics.json.

    Raises:
        DatasetError: other categories than the model's, annotations without segments, or a sample that is missing
            or bad.
    """
    categories = predictor.model.categories
    if not annotations.has_segments:
        raise DatasetError(f"{annotations.path}: has no 'annotations' to score against. Use `predict` instead.")
    check_same_categories(categories, annotations.categories, annotations.path)
    source = EvaluationDataset(annotations, images, segments or annotations.default_segments_folder)
    source.check_files()  # the last as well, before predicting the first
    quality, mask_ap, mean_iou = PanopticQuality(categories), MaskAP(categories), MeanIoU(categories)
    overlay_folder = OverlayFolder(output / OVERLAY_FOLDER)
    writer = PredictionWriter(output, categories)

    def write_and_count(numbered: tuple[int, tuple[EvaluationSample, Prediction]]) -> None:
        number, (sample, prediction) = numbered
        record, truth = sample.record, sample.id_map
        assert truth is not None
        instances = prediction.panoptic.instances
        writer.write(record, prediction.id_map, prediction.segments)
        quality.update(truth, record.segments, prediction.id_map, prediction.segments, record.file_name)
        mean_iou.update(truth, record.segments, prediction.id_map, prediction.segments)
        mask_ap.update(
            truth,
            record.segments,
            record.image_id,
            instances.scores.cpu().numpy(),
            instances.labels.cpu().numpy(),
            encode_masks(instances),
        )
        if number < overlays:
            overlay_folder.write(record.file_name, compare(sample, prediction))

    with writer, closing(predict_samples(predictor, source, console, batch=batch)) as predicted:
        write_behind(enumerate(predicted), write_and_count, max(2, batch))
    results = quality.compute(), mask_ap.compute(), mean_iou.compute()
    write_metrics(output / "metrics.json", *results)
    print_tables(console, *results)
    return output / "metrics.json"


def compare(sample: EvaluationSample, prediction: Prediction) -> Image.Image:
    """Image, prediction and truth side by side."""
    assert sample.id_map is not None
    segments = true_segments(sample.record, prediction.categories)
    truth = draw_overlay(prediction.image, sample.id_map, segments, prediction.categories, scores=False)
    plain = Image.fromarray(prediction.image)
    return side_by_side([("image", plain), ("prediction", prediction.overlay()), ("truth", truth)])


def true_segments(record: ImageRecord, categories: Categories) -> list[Segment]:
    """Annotated segments in the form of predicted ones; crowds are left out, since like void they are not scored."""
    return [
        Segment(s.id, s.category_id, categories.by_id(s.category_id).is_thing, 1.0, s.area)
        for s in record.segments
        if not s.is_crowd
    ]


def encode_masks(instances: Instances) -> list[dict[str, object]]:
    """COCO run-length encodings of the instances' masks, one full-size mask in memory at a time."""
    mask = np.zeros(instances.size, np.uint8, order="F")
    encoded = []
    for patch, box in zip(instances.mask_patches.cpu(), instances.boxes.cpu(), strict=True):
        region, values = paste_mask(patch, box, instances.size)
        mask[region] = values.numpy() >= 0.5
        encoded.append(rle.encode(mask))
        mask[region] = 0
    return encoded
