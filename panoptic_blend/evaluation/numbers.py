"""Metrics as the numbers of `metrics.json`, in percent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from panoptic_blend.categories import Categories
from panoptic_blend.evaluation.category_means import CategoryMeans
from panoptic_blend.evaluation.pq_result import PQResult

if TYPE_CHECKING:  # pycocotools takes time that scoring panoptic maps has no use for
    from panoptic_blend.evaluation.details import DetailsResult
    from panoptic_blend.evaluation.film_quality import FilmResult
    from panoptic_blend.evaluation.instances import MaskAPResult
    from panoptic_blend.evaluation.semantic import MeanIoUResult


def metrics(
    pq: PQResult,
    mask_ap: MaskAPResult | None = None,
    mean_iou: MeanIoUResult | None = None,
    details: DetailsResult | None = None,
    films: FilmResult | None = None,
) -> dict[str, Any]:
    """All numbers as one JSON object, in percent; docs/metrics.md explains them.

    Returns:
        `PQ SQ RQ PQ_th SQ_th RQ_th PQ_st SQ_st RQ_st N`, `per_class` {name: {PQ, SQ, RQ, tp, fp, fn}}, where given
        `mask_ap`, `semantic`, `video` and what `detail_numbers` lists, and `notes`. Categories of one name are told
        apart by their ids.
    """
    names = category_names(Categories([row.category for row in pq.per_class]))
    result = group_numbers(pq) | {"per_class": class_numbers(pq, names)}
    notes = list(pq.notes)
    if mask_ap is not None:
        result["mask_ap"] = {key: 100 * value for key, value in mask_ap_numbers(mask_ap).items()}
        result["mask_ap"]["per_class"] = {names[i]: 100 * value for i, value in mask_ap.per_class.items()}
        notes += [f"mask AP: {note}" for note in mask_ap.notes]
    if mean_iou is not None:
        result["semantic"] = {"mIoU": 100 * mean_iou.miou, "pixel_accuracy": 100 * mean_iou.pixel_accuracy}
        result["semantic"]["per_class"] = {names[i]: 100 * value for i, value in mean_iou.per_class.items()}
        notes += [f"mIoU: {note}" for note in mean_iou.notes]
    if details is not None:
        result |= detail_numbers(details, names)
        notes += details.notes
    if films is not None:
        result["video"] = film_numbers(films, names)
        notes += films.notes
    return result | {"notes": notes}


def group_numbers(pq: PQResult) -> dict[str, Any]:
    """`PQ SQ RQ` of all, things and stuff, and `N`, the number of categories that occur."""
    result: dict[str, Any] = {}
    for group, suffix in ((pq.all, ""), (pq.things, "_th"), (pq.stuff, "_st")):
        result |= {f"PQ{suffix}": 100 * group.pq, f"SQ{suffix}": 100 * group.sq, f"RQ{suffix}": 100 * group.rq}
    return result | {"N": pq.all.n}


def class_numbers(pq: PQResult, names: Mapping[int, str]) -> dict[str, Any]:
    """`PQ SQ RQ tp fp fn` of every category, by its name."""
    return {
        names[row.category.id]: {
            "PQ": 100 * row.pq,
            "SQ": 100 * row.sq,
            "RQ": 100 * row.rq,
            "tp": row.tp,
            "fp": row.fp,
            "fn": row.fn,
        }
        for row in pq.per_class
    }


def category_names(categories: Categories) -> dict[int, str]:
    """A name of its own for every category id: categories that share a name get their id added."""
    names = {c.id: c.name for c in categories}
    # An addition may hit another category's real name, hence again until all differ.
    while any(count > 1 for count in Counter(names.values()).values()):
        times = Counter(names.values())
        names = {i: f"{name} ({i})" if times[name] > 1 else name for i, name in names.items()}
    return names


def mask_ap_numbers(result: MaskAPResult) -> dict[str, float]:
    """COCO's names of the numbers."""
    return {
        "AP": result.ap,
        "AP50": result.ap50,
        "AP75": result.ap75,
        "APs": result.ap_small,
        "APm": result.ap_medium,
        "APl": result.ap_large,
    }


def detail_numbers(details: DetailsResult, names: Mapping[int, str]) -> dict[str, Any]:
    """What `DetailsResult` holds beside panoptic quality.

    Returns:
        `sizes` {small, medium, large: {PQ, ..., N}}; `dagger` {PQ, PQ_th, PQ_st, per_class} and `parsing_covering` {PC,
        PC_th, PC_st, per_class}; `thing_errors` {kind: {segments, cost, per_class}}; `calibration` {error, per_class,
        bins}; where it was counted, `boundary` {PQ, ..., N, per_class}; as lists of rows, `confusion` (names, or null
        for void and nothing) and `per_image`.
    """
    sizes, boundary = details.sizes, details.boundary
    return {
        "sizes": {name: group_numbers(getattr(sizes, name)) for name in ("small", "medium", "large")},
        "dagger": _mean_numbers("PQ", details.dagger, names),
        "parsing_covering": _mean_numbers("PC", details.covering, names),
        "thing_errors": {
            error.kind: {
                "segments": error.segments,
                "cost": 100 * error.cost,
                "per_class": {names[i]: segments for i, segments in error.per_class.items()},
            }
            for error in details.thing_errors.errors
        },
        "calibration": {
            "error": 100 * details.calibration.error,
            "per_class": {names[i]: 100 * error for i, error in details.calibration.per_class.items()},
            "bins": [
                {
                    "low": 100 * found.low,
                    "high": 100 * found.high,
                    "segments": found.segments,
                    "score": 100 * found.score,
                    "precision": 100 * found.precision,
                }
                for found in details.calibration.bins
            ],
        },
        **({"boundary": group_numbers(boundary) | {"per_class": class_numbers(boundary, names)}} if boundary else {}),
        "confusion": [
            {
                "truth": None if row.truth is None else names[row.truth],
                "predicted": None if row.predicted is None else names[row.predicted],
                "pixels": row.pixels,
                "segments": row.segments,
            }
            for row in details.confusion.rows
        ],
        "per_image": [
            {
                "image_id": image.image_id,
                "PQ": 100 * image.pq,
                "SQ": 100 * image.sq,
                "RQ": 100 * image.rq,
                "N": image.n,
                "tp": image.tp,
                "fp": image.fp,
                "fn": image.fn,
            }
            for image in details.per_image.images
        ],
    }


def film_numbers(films: FilmResult, names: Mapping[int, str]) -> dict[str, Any]:
    """`vpq` {VPQ, VPQ_th, VPQ_st, windows: {k: {PQ, ..., N, per_class}}} and `stq` {STQ, AQ, SQ, per_class}."""
    vpq, stq = films.vpq, films.stq
    windows = {str(k): group_numbers(pq) | {"per_class": class_numbers(pq, names)} for k, pq in vpq.windows.items()}
    return {
        "vpq": {"VPQ": 100 * vpq.all, "VPQ_th": 100 * vpq.things, "VPQ_st": 100 * vpq.stuff, "windows": windows},
        "stq": {
            "STQ": 100 * stq.stq,
            "AQ": 100 * stq.aq,
            "SQ": 100 * stq.sq,
            "per_class": {names[i]: 100 * iou for i, iou in stq.per_class.items()},
        },
    }


def _mean_numbers(name: str, means: CategoryMeans, names: Mapping[int, str]) -> dict[str, Any]:
    groups = {name: means.all, f"{name}_th": means.things, f"{name}_st": means.stuff}
    result: dict[str, Any] = {key: 100 * value for key, value in groups.items()}
    return result | {"per_class": {names[i]: 100 * value for i, value in means.per_class.items()}}
