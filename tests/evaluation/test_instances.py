import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.image_pair import Detections, ImagePair
from panoptic_blend.evaluation.instances import MaskAP

from .random_maps import CATEGORIES, random_image

SIZE = (240, 260)
"""Large enough for COCO's small, medium and large objects."""


def random_detections(rng, record, truth):
    """Noisy copies of true masks, blocks where nothing is, equal scores, sometimes another label."""
    things = [s for s in record.segments if CATEGORIES.by_id(s.category_id).is_thing]
    masks, labels = [], []
    for segment in things * 2:
        mask = (truth == segment.id) & (rng.random(SIZE) < rng.choice([0.5, 0.8, 0.95, 1.0]))
        masks.append(mask)
        right = rng.random() < 0.8
        labels.append(CATEGORIES.thing_label(segment.category_id) if right else int(rng.integers(3)))
    for _ in range(rng.integers(0, 3)):
        mask = np.zeros(SIZE, bool)
        mask[: rng.integers(1, 99), : rng.integers(1, 99)] = True
        masks.append(mask)
        labels.append(int(rng.integers(3)))
    scores = np.round(rng.random(len(masks)), 1)
    return Detections(scores, labels, [coco_mask.encode(np.asfortranarray(m, np.uint8)) for m in masks])


def random_images(rng, image_ids):
    """Images with detections, as metrics take them."""
    pairs = []
    for image_id in image_ids:
        record, truth, predicted, segments = random_image(rng, image_id, SIZE)
        detections = random_detections(rng, record, truth)
        pairs.append(ImagePair(image_id, truth, record.segments, predicted, segments, detections))
    return pairs


def plain_coco_eval(pairs):
    """Everything at once through pycocotools' own front door; the twelve official numbers."""
    truth_rows, results = [], []
    for pair in pairs:
        for segment in pair.truth_segments:
            if not CATEGORIES.by_id(segment.category_id).is_thing:
                continue
            mask = pair.truth_ids == segment.id
            truth_rows.append(
                {
                    "id": len(truth_rows) + 1,
                    "image_id": pair.image_id,
                    "category_id": segment.category_id,
                    "segmentation": coco_mask.encode(np.asfortranarray(mask, np.uint8)),
                    "area": int(mask.sum()),
                    "bbox": [0, 0, 1, 1],
                    "iscrowd": int(segment.is_crowd),
                }
            )
        found = pair.detections
        for score, label, rle in zip(found.scores, found.labels, found.rles, strict=True):
            category_id = CATEGORIES.things[label].id
            results.append(
                {"image_id": pair.image_id, "category_id": category_id, "segmentation": rle, "score": float(score)}
            )
    coco = COCO()
    coco.dataset = {
        "images": [{"id": p.image_id, "width": SIZE[1], "height": SIZE[0]} for p in pairs],
        "annotations": truth_rows,
        "categories": [{"id": c.id, "name": c.name} for c in CATEGORIES.things],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def test_equals_coco_eval_on_the_whole_set(capsys):
    # Ids out of order: which of two equal scores comes first depends on it.
    pairs = random_images(np.random.default_rng(0), (7, 3, 12, 1, 30, 2, 9, 4, 5, 11, 10, 8))
    metric = MaskAP(CATEGORIES)
    for pair in pairs:
        metric.update(pair)
    result = metric.compute()
    assert capsys.readouterr().out == ""
    expected = plain_coco_eval(pairs)
    assert 0.05 < expected[0] < 0.95
    assert [getattr(result, name) for name in NAMES] == pytest.approx(expected[:6].tolist(), abs=1e-12)
    assert set(result.per_class) == {c.id for c in CATEGORIES.things}
    assert np.mean(list(result.per_class.values())) == pytest.approx(result.ap)
    assert result.notes == ()


def test_of_more_than_a_hundred_of_a_category_the_best_hundred_count_as_in_coco():
    truth = np.kron(np.arange(1, 301, dtype=np.int32).reshape(15, 20), np.ones((4, 4), np.int32))
    thing = CATEGORIES.things[0].id
    segments = [SegmentRecord(i, thing, False, 16, (0, 0, 4, 4)) for i in range(1, 301)]
    rles = [coco_mask.encode(np.asfortranarray(truth == i, np.uint8)) for i in range(1, 301)]
    detections = Detections(np.linspace(1, 0.5, 300), [0] * 300, rles)
    pair = ImagePair(1, truth, segments, np.zeros_like(truth), [], detections)
    metric = MaskAP(CATEGORIES)
    metric.update(pair)
    result = metric.compute()
    assert [getattr(result, name) for name in NAMES[:4]] == pytest.approx([34 / 101] * 4)  # recall 1/3
    assert result.ap == pytest.approx(plain_coco_eval([pair])[0], abs=1e-12)


def test_nothing_to_find_is_zero_and_says_so():
    metric = MaskAP(CATEGORIES)
    nothing = np.zeros((4, 4), np.int32)
    metric.update(ImagePair(1, nothing, [], nothing, [], Detections([], [], [])))
    result = metric.compute()
    assert result.ap == 0
    assert result.per_class == {}
    assert result.notes == ("the truth has no object for AP, AP50, AP75, APs, APm, APl: 0",)
    assert MaskAP(CATEGORIES).compute() == result


def test_an_image_without_detections_is_refused():
    nothing = np.zeros((4, 4), np.int32)
    with pytest.raises(DatasetError, match="image 6: mask AP needs the detections"):
        MaskAP(CATEGORIES).update(ImagePair(6, nothing, [], nothing, []))
