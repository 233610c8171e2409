"""Second part of the graph: the boxes of one picture, as `postprocess.decoding` selects them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxscript import OpBuilder, ir

from panoptic_blend.config import PredictionSettings
from panoptic_blend.exporting.image import channels_of
from panoptic_blend.modeling.postprocess.decoding import least_logit

BOXES_TORCHVISION_SHIFTS = 1000
"""Up to so many boxes, torchvision tells classes apart by shifting boxes, which rounds their coordinates."""


@dataclass(frozen=True)
class HeadValues:
    """What the detector gives for one picture, a value a level; see `HeadOutput`."""

    class_logits: list[ir.Value]
    distances: list[ir.Value]
    centerness: list[ir.Value]
    towers: list[ir.Value]


@dataclass(frozen=True)
class DetectedValues:
    """Detections of a picture, best score first.

    Attributes:
        boxes: [N, 4] XYXY pixels of the network's input.
        scores: [N].
        labels: [N] int64.
        level: [N] int64 where in the pyramid each was predicted.
        row: [N] int64.
        column: [N] int64.
    """

    boxes: ir.Value
    scores: ir.Value
    labels: ir.Value
    level: ir.Value
    row: ir.Value
    column: ir.Value

    def where(self, op: OpBuilder, keep: ir.Value) -> DetectedValues:
        """Those for which `keep` [N] is true."""
        return DetectedValues(*(op.Compress(each, keep, axis=0) for each in self._values()))

    def at(self, op: OpBuilder, index: ir.Value) -> DetectedValues:
        """Those at indices [M]."""
        return DetectedValues(*(op.Gather(each, index, axis=0) for each in self._values()))

    def _values(self) -> list[ir.Value]:
        return [self.boxes, self.scores, self.labels, self.level, self.row, self.column]


def detect(op: OpBuilder, head: HeadValues, strides: Sequence[int], settings: PredictionSettings) -> DetectedValues:
    """Threshold, best per level, per-class suppression, best overall."""
    levels = [_candidates(op, head, level, stride, settings) for level, stride in enumerate(strides)]
    names = ("boxes", "scores", "labels", "level", "row", "column")
    joined = (op.Concat(*(getattr(each, name) for each in levels), axis=0) for name in names)
    boxes, products, *places = joined
    found = DetectedValues(boxes, op.Sqrt(products), *places)
    return found.at(op, _suppress(op, found, channels_of(head.class_logits[0]), settings))


def _candidates(
    op: OpBuilder, head: HeadValues, level: int, stride: int, settings: PredictionSettings
) -> DetectedValues:
    """The best cells of a level; their scores are still squared."""
    logits, centerness = head.class_logits[level], head.centerness[level]
    flat = op.Reshape(logits, [channels_of(logits), -1])
    likely = op.Greater(op.ReduceMax(flat, [0], keepdims=0), least_logit(settings.score_threshold))
    promising = op.Squeeze(op.NonZero(likely), [0])
    probability = op.Sigmoid(op.Gather(flat, promising, axis=1))  # [T, promising cells]
    weighted = op.Mul(probability, op.Sigmoid(op.Gather(op.Reshape(centerness, [1, -1]), promising, axis=1)))
    compared = weighted if settings.threshold_with_centerness else probability
    places = op.NonZero(op.Greater(compared, float(settings.score_threshold)))  # [2, n]: label, promising cell
    scores = op.GatherND(weighted, op.Transpose(places, perm=[1, 0]))
    count = op.Shape(scores)
    most = op.Min(count, [settings.pre_nms_top_k])
    _, best = op.TopK(scores, most, _outputs=2)
    every = op.Range(0, op.Squeeze(most), 1)
    best = op.Where(op.LessOrEqual(count, [settings.pre_nms_top_k]), every, best)  # all of them stay in their order
    labels, cells = (op.Gather(op.Gather(places, row, axis=0), best, axis=0) for row in (0, 1))
    cells = op.Gather(promising, cells)
    width = op.Shape(logits, start=3, end=4)
    row, column = op.Div(cells, width), op.Mod(cells, width)
    reach = op.Mul(op.Gather(op.Reshape(head.distances[level], [4, -1]), cells, axis=1), float(stride))
    left, top, right, bottom = op.Split(reach, num_outputs=4, axis=0, _outputs=4)
    x, y = (
        op.Unsqueeze(op.Add(op.Mul(op.Cast(place, to=ir.DataType.FLOAT), float(stride)), float(stride // 2)), [0])
        for place in (column, row)
    )
    boxes = op.Concat(op.Sub(x, left), op.Sub(y, top), op.Add(x, right), op.Add(y, bottom), axis=0)
    where = op.Expand(op.Cast(level, to=ir.DataType.INT64), op.Shape(cells))
    return DetectedValues(op.Transpose(boxes, perm=[1, 0]), op.Gather(scores, best), labels, where, row, column)


def _suppress(op: OpBuilder, found: DetectedValues, classes: int, settings: PredictionSettings) -> ir.Value:
    """Indices of the boxes that stay, best first, as `torchvision.ops.batched_nms` chooses them."""
    count = op.Shape(found.scores)
    furthest = op.ReduceMax(op.Concat(op.Reshape(found.boxes, [-1]), [0.0], axis=0), keepdims=0)
    shift = op.Mul(op.Cast(found.labels, to=ir.DataType.FLOAT), op.Add(furthest, 1.0))
    shifted = op.Add(found.boxes, op.Unsqueeze(shift, [1]))
    boxes = op.Where(op.LessOrEqual(count, [BOXES_TORCHVISION_SHIFTS]), shifted, found.boxes)
    own = op.Equal(op.Unsqueeze(found.labels, [0]), op.Unsqueeze(op.Range(0, classes, 1), [1]))  # [T, n]
    scores = op.Where(own, op.Unsqueeze(found.scores, [0]), -1.0)
    selected = op.NonMaxSuppression(
        op.Unsqueeze(boxes, [0]), op.Unsqueeze(scores, [0]), [settings.max_detections], [settings.nms_iou], [-0.5]
    )  # [M, 3]: picture, class, box
    kept = op.Reshape(op.Gather(selected, [2], axis=1), [-1])
    kept, _ = op.TopK(kept, op.Shape(kept), largest=0, _outputs=2)  # equal scores: the first candidate comes first
    _, best = op.TopK(op.Gather(found.scores, kept), op.Min(op.Shape(kept), [settings.max_detections]), _outputs=2)
    return op.Gather(kept, best)
