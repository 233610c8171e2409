"""The metrics, for loops of one's own; none of them needs torch.

    quality = pb.metrics.PanopticQuality(categories)
    for ...:
        quality.update(pb.metrics.ImagePair(image_id, truth_ids, truth_segments, ids, segments))
    print(quality.compute().all.pq)

All of them offer what `Metric` says: parts that several processes counted are merged exactly.
"""

from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.boundary import BoundaryPQ
from panoptic_blend.evaluation.calibration import Calibration, CalibrationBin, CalibrationResult
from panoptic_blend.evaluation.category_means import CategoryMeans
from panoptic_blend.evaluation.confusion import Confused, ConfusionResult, PanopticConfusion
from panoptic_blend.evaluation.covering import ParsingCovering
from panoptic_blend.evaluation.dagger import PQDagger
from panoptic_blend.evaluation.details import Details, DetailsResult, panoptic_details
from panoptic_blend.evaluation.film_quality import FilmQuality, FilmResult, film_quality
from panoptic_blend.evaluation.image_pair import Detections, ImagePair
from panoptic_blend.evaluation.instances import MaskAP, MaskAPResult
from panoptic_blend.evaluation.merge_sweep import MergeSweep, SweepResult
from panoptic_blend.evaluation.merging import Grid, Thresholds
from panoptic_blend.evaluation.metric import Metric, merge_states
from panoptic_blend.evaluation.per_image import ImagePQ, PerImagePQ, PerImagePQResult
from panoptic_blend.evaluation.pq import PanopticQuality, panoptic_quality
from panoptic_blend.evaluation.pq_result import PQResult
from panoptic_blend.evaluation.semantic import MeanIoU, MeanIoUResult
from panoptic_blend.evaluation.sizes import PQBySize, PQBySizeResult
from panoptic_blend.evaluation.stq import SegmentationTrackingQuality, STQResult
from panoptic_blend.evaluation.thing_errors import ThingError, ThingErrors, ThingErrorsResult
from panoptic_blend.evaluation.vpq import VideoPanopticQuality, VPQResult
from panoptic_blend.structures import Segment

__all__ = [
    "BoundaryPQ",
    "Calibration",
    "CalibrationBin",
    "CalibrationResult",
    "CategoryMeans",
    "Confused",
    "ConfusionResult",
    "Details",
    "DetailsResult",
    "Detections",
    "FilmQuality",
    "FilmResult",
    "Grid",
    "ImagePQ",
    "ImagePair",
    "MaskAP",
    "MaskAPResult",
    "MeanIoU",
    "MeanIoUResult",
    "MergeSweep",
    "Metric",
    "PQBySize",
    "PQBySizeResult",
    "PQDagger",
    "PQResult",
    "PanopticConfusion",
    "PanopticQuality",
    "ParsingCovering",
    "PerImagePQ",
    "PerImagePQResult",
    "STQResult",
    "Segment",
    "SegmentRecord",
    "SegmentationTrackingQuality",
    "SweepResult",
    "ThingError",
    "ThingErrors",
    "ThingErrorsResult",
    "Thresholds",
    "VPQResult",
    "VideoPanopticQuality",
    "film_quality",
    "merge_states",
    "panoptic_details",
    "panoptic_quality",
]
