"""Boundary PQ: panoptic quality that outlines decide (Cheng et al., Boundary IoU, 2021, sec. 6)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from panoptic_blend.coco.counting import count_pairs
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.matching import VOID, Bools, Matching, positions
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.structures import IdMap

WIDTH = 0.02
"""Width of boundaries as a share of the image's diagonal."""
_INSIDE = -1


class BoundaryPQ(PanopticQuality):
    """Panoptic quality with the smaller one of mask IoU and boundary IoU in place of the IoU.

    Whether segments match and how well is decided by it. Which segments are excused by void and crowd stays as it is.
    """

    def update(self, pair: ImagePair) -> None:
        """Add one image.

        Raises:
            DatasetError: an unknown category, or what `ImagePair.matching` raises.
        """
        self.add_matching(match_boundaries(pair), pair.source)


def match_boundaries(pair: ImagePair) -> Matching:
    """Of the segments that match, keep those whose boundary IoU is above 1/2 as well; `iou` is the smaller one.

    The boundary of a segment are its pixels up to `boundary_width` from its outline. Void pixels of the truth are
    left out of the predicted ones.

    Raises:
        DatasetError: what `ImagePair.matching` raises.
    """
    matching = pair.matching
    width = boundary_width(pair.truth_ids.shape)
    # Pixels inside of a segment are of no use here, those of void are.
    truth_map = np.where(find_boundaries(pair.truth_ids, width) | (pair.truth_ids == VOID), pair.truth_ids, _INSIDE)
    predicted_map = np.where(find_boundaries(pair.predicted_ids, width), pair.predicted_ids, VOID)
    truth_ids = [segment.id for segment in matching.truth]
    predicted_ids = [segment.id for segment in matching.predicted]
    expected = np.array([_INSIDE, VOID, *truth_ids], np.int64), np.array([VOID, *predicted_ids], np.int64)
    truth_pair, predicted_pair, pixels = count_pairs(truth_map, predicted_map, expected)

    t, p = positions(truth_pair, truth_ids), positions(predicted_pair, predicted_ids)
    truth_area = np.bincount(t[t >= 0], pixels[t >= 0], len(truth_ids))
    seen = (p >= 0) & (truth_pair != VOID)
    predicted_area = np.bincount(p[seen], pixels[seen], len(predicted_ids))
    both = (t >= 0) & (p >= 0)
    common = dict(zip(zip(t[both].tolist(), p[both].tolist(), strict=True), pixels[both].tolist(), strict=True))
    matched_t, matched_p = matching.matched_truth, matching.matched_predicted
    shared = np.array([common.get(each, 0) for each in zip(matched_t.tolist(), matched_p.tolist(), strict=True)], float)
    iou = np.minimum(matching.iou, shared / (truth_area[matched_t] + predicted_area[matched_p] - shared))

    kept = iou > 0.5
    missed, surplus = matching.missed.copy(), ~matching.excused
    missed[matched_t[~kept]] = True
    missed[matched_t[kept]] = False
    surplus[matched_p[kept]] = False
    return replace(
        matching,
        matched_truth=matched_t[kept],
        matched_predicted=matched_p[kept],
        iou=iou[kept],
        missed=missed,
        surplus=surplus,
    )


def boundary_width(size: tuple[int, ...]) -> int:
    """How many pixels from its outline the boundary of a segment reaches in an image of (height, width)."""
    return max(1, round(WIDTH * math.hypot(*size)))


def find_boundaries(id_map: IdMap, width: int) -> Bools:
    """Pixels [H, W] with another id, or the end of the picture, within a square of `width` pixels around them."""
    around: dict[str, object] = {"size": 2 * width + 1, "mode": "constant", "cval": _INSIDE}
    lowest: npt.NDArray = ndimage.minimum_filter(id_map, **around)
    return lowest != ndimage.maximum_filter(id_map, **around)
