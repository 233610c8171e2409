"""Predict annotated images, write the predictions, and score them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image
from rich.console import Console

from panoptic_blend.categories import Categories
from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.images import EvaluationDataset
from panoptic_blend.config import PredictionSettings
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.evaluation.details import Details
from panoptic_blend.evaluation.hotcoco_instances import fastest_mask_ap
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.merge_sweep import MergeSweep
from panoptic_blend.evaluation.merging import Grid, Thresholds
from panoptic_blend.evaluation.metric import Metric
from panoptic_blend.evaluation.report import print_tables, write_metrics
from panoptic_blend.evaluation.semantic import MeanIoU
from panoptic_blend.evaluation.sweep_file import SWEEP, write_sweep
from panoptic_blend.files.images import to_colors
from panoptic_blend.files.lock import lock_folder
from panoptic_blend.inference.keeping import Result, keep_predictions
from panoptic_blend.inference.overlays import overlay_path, write_overlay
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.summaries import METRICS
from panoptic_blend.inference.unmerged import describe_unmerged, recall_detections, recall_stuff
from panoptic_blend.inference.visualize import draw_overlay, side_by_side, thin_out
from panoptic_blend.inference.writing import check_same_categories
from panoptic_blend.structures import Segment

SWEEP_GRID = Grid(
    min_score=tuple(n / 20 for n in range(4, 18)),
    max_overlap=tuple(n / 10 for n in range(1, 10)),
    min_stuff_area=(),
)
"""What `--sweep` tries beside the model's own thresholds: scores 0.2, 0.25, ... 0.85 and overlaps 0.1, 0.2, ... 0.9."""


def evaluate(
    predictor: Predictor,
    annotations: PanopticAnnotations,
    images: Path,
    output: Path,
    console: Console,
    segments: Path | None = None,
    overlays: int = 0,
    batch: int = 1,
    overwrite: bool = False,
    details: bool = False,
    sweep: Grid | None = None,
) -> Path:
    """Predict every annotated image, write what was predicted, and score it, all at the same time.

    Only a few predictions are in memory at any time. Called again after an interruption, this predicts the images
    that are missing; the metrics are those of a run without interruption.

    Args:
        annotations: the truth; its categories must be the model's.
        images: folder of the images.
        output: gets predictions.json, predictions/*.png, metrics.json and, if asked for, overlays/*.jpg and sweep.json.
        console: where progress and tables go.
        segments: folder of the true id-map PNGs; by default beside the annotations.
        overlays: draw the first so many images, prediction and truth side by side.
        batch: neighbours of one input size that are predicted together at most.
        overwrite: predict all images again, and replace what is in `output`.
        details: count what takes longer, too: boundary PQ.
        sweep: count the panoptic quality that these thresholds of the merge would give, too; the model's own are added.

    Returns:
        Path of metrics.json.

    Raises:
        ConfigError: `sweep` for an exported model, which does not say what it merges.
        DatasetError: other categories than the model's, annotations without segments, files that are missing, an
            `output` with predictions of other images or made with another model or other settings; or, when all
            others are predicted and scored, samples that failed.
        FolderInUseError: another command is writing into `output`.
    """
    categories = predictor.categories
    if not annotations.has_segments:
        raise DatasetError(f"{annotations.path}: has no 'annotations' to score against. Use `predict` instead.")
    check_same_categories(categories, annotations.categories, annotations.path)
    source = EvaluationDataset(
        annotations,
        images,
        segments or annotations.default_segments_folder,
        read=predictor.read,
    )
    source.check_files()  # the last as well, before predicting the first
    panoptic, mean_iou = Details(categories, boundary=details), MeanIoU(categories)
    mask_ap = fastest_mask_ap(categories, annotations.image_ids) if predictor.engine.has_detections else None
    all_metrics: list[Metric] = [panoptic, mean_iou, *([] if mask_ap is None else [mask_ap])]
    own = own_thresholds(predictor.settings)
    swept = MergeSweep(categories, sweep.including(own)) if sweep else None
    if swept:
        check_sweep(predictor)
        all_metrics.append(swept)
    metrics = output / METRICS
    counted = 0

    def count(result: Result) -> None:
        nonlocal counted
        detections, stuff = recall_detections(result.extra), recall_stuff(result.extra, result.id_map.shape)
        pair = ImagePair.of(result.sample, result.id_map, result.segments, detections, stuff)
        for metric in all_metrics:
            metric.update(pair)
        counted += 1
        overlay = overlay_path(output, result.kept.png)
        if result.index < overlays and (result.is_new or not overlay.is_file()):
            write_overlay(overlay, lambda: compare(result, categories))

    with lock_folder(output):
        outcome = keep_predictions(
            predictor,
            source,
            output,
            console,
            "evaluate",
            count,
            again=lambda kept: True,
            describe=lambda prediction: describe_unmerged(prediction, stuff=swept is not None),
            batch=batch,
            overwrite=overwrite,
            made_with={"sweep": True} if swept else {},
        )
        detailed = panoptic.compute()
        notes = ["mask AP is left out: exported and tiled models give panoptic maps alone"] if mask_ap is None else []
        if counted < len(source):
            notes.append(f"{len(source) - counted} of {len(source)} images failed and are not counted")
        quality = replace(detailed.pq, notes=(*detailed.pq.notes, *notes))
        results = quality, None if mask_ap is None else mask_ap.compute(), mean_iou.compute(), detailed
        write_metrics(metrics, *results)
        if swept:
            write_sweep(output / SWEEP, swept.compute(), own, counted)
    print_tables(console, *results)
    outcome.check()
    return metrics


def own_thresholds(settings: PredictionSettings) -> Thresholds:
    """Those of the merge."""
    return Thresholds(settings.min_score, settings.max_overlap, settings.min_stuff_area)


def check_sweep(predictor: Predictor) -> None:
    """Raise `ConfigError` for a model whose predictions cannot be merged again."""
    if not predictor.engine.has_detections:
        raise ConfigError(
            "--sweep: exported and tiled models give panoptic maps, but not what they are merged from. Give the "
            "checkpoint, and no --tile."
        )


def compare(result: Result, categories: Categories) -> Image.Image:
    """Image, prediction and truth side by side."""
    record, truth = result.sample.record, result.sample.id_map
    assert truth is not None
    pixels, id_map, truth = thin_out(result.sample.image), thin_out(result.id_map), thin_out(truth)
    predicted = draw_overlay(pixels, id_map, result.segments, categories)
    annotated = draw_overlay(pixels, truth, true_segments(record, categories), categories, scores=False)
    return side_by_side(
        [("image", Image.fromarray(to_colors(pixels))), ("prediction", predicted), ("truth", annotated)]
    )


def true_segments(record: ImageRecord, categories: Categories) -> list[Segment]:
    """Annotated segments in the form of predicted ones; crowds are left out, since like void they are not scored."""
    return [
        Segment(s.id, s.category_id, categories.by_id(s.category_id).is_thing, 1.0, s.area)
        for s in record.segments
        if not s.is_crowd
    ]
