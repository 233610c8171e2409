import contextlib
import io
import json
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from panoptic_blend.categories import Categories, Category
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.coco.segments_png import ids_to_rgb, write_id_map
from panoptic_blend.errors import ConfigError, DatasetError
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.pq import PanopticQuality, panoptic_quality
from panoptic_blend.structures import Segment

from .random_maps import CATEGORIES, random_image, random_pair
from .slow import SlowImage


def test_an_unknown_engine_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"'fast'.*auto, builtin, hotcoco, panopticapi"):
        panoptic_quality(tmp_path / "a.json", tmp_path / "b.json", engine="fast")


def slow_counts(pair):
    """The numbers of every category in one image."""
    image = SlowImage(pair)
    tp, fp, fn, iou = Counter(), Counter(), Counter(), defaultdict(float)
    for true, _, overlap in image.matches:
        tp[true.category_id] += 1
        iou[true.category_id] += overlap
    for true in image.missed:
        fn[true.category_id] += 1
    for predicted in image.surplus:
        fp[predicted.category_id] += 1
    return tp, fp, fn, iou


def assert_counts_equal(quality, expected, exact_iou=False):
    tp, fp, fn, iou = expected
    for row in quality.compute().per_class:
        i = row.category.id
        assert (row.tp, row.fp, row.fn) == (tp[i], fp[i], fn[i]), row
        assert row.iou == (iou[i] if exact_iou else pytest.approx(iou[i], abs=1e-12))


@given(st.integers(0, 2**63), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=300, deadline=None)
def test_equals_the_definition_pixel_by_pixel(seed, height, width):
    pair = random_pair(np.random.default_rng(seed), 1, (height, width))
    quality = PanopticQuality(CATEGORIES)
    quality.update(pair)
    assert_counts_equal(quality, slow_counts(pair))


def write_random_set(root, images, seed, size=(9, 11)):
    """Truth and prediction files of random images; returns both JSON paths and the images."""
    rng = np.random.default_rng(seed)
    cases = [random_image(rng, i, size) for i in range(1, images + 1)]
    with PredictionWriter(root / "out", CATEGORIES) as writer:
        for record, truth, predicted, segments in cases:
            write_id_map(root / "truth" / record.segments_file_name, truth)
            writer.write(record, predicted, segments)
    data = {
        "images": [
            {"id": r.image_id, "file_name": r.file_name, "width": r.width, "height": r.height} for r, *_ in cases
        ],
        "annotations": [
            {
                "image_id": r.image_id,
                "file_name": r.segments_file_name,
                "segments_info": [
                    {"id": s.id, "category_id": s.category_id, "iscrowd": int(s.is_crowd), "area": s.area}
                    for s in r.segments
                ],
            }
            for r, *_ in cases
        ],
        "categories": CATEGORIES.to_json(),
    }
    (root / "truth.json").write_text(json.dumps(data))
    return root / "truth.json", root / "out" / "predictions.json", cases


def test_equals_panopticapi_on_two_thousand_images(tmp_path):
    evaluation = pytest.importorskip("panopticapi.evaluation")
    truth_json, predictions_json, cases = write_random_set(tmp_path, 2000, seed=0)
    quality = PanopticQuality(CATEGORIES)
    for record, truth, predicted, segments in cases:
        quality.update(ImagePair(record.image_id, truth, record.segments, predicted, segments))
    pairs = list(
        zip(
            json.loads(truth_json.read_text())["annotations"],
            json.loads(predictions_json.read_text())["annotations"],
            strict=True,
        )
    )
    with contextlib.redirect_stdout(io.StringIO()):
        stat = evaluation.pq_compute_single_core(
            0, pairs, str(tmp_path / "truth"), str(tmp_path / "out" / "predictions"), {c.id: c for c in CATEGORIES}
        )
    # Not even the rounding differs: the same sums in the same order.
    expected = tuple({c.id: getattr(stat[c.id], name) for c in CATEGORIES} for name in ("tp", "fp", "fn", "iou"))
    assert_counts_equal(quality, expected, exact_iou=True)
    assert all(row.tp > 30 and row.fp > 30 and row.fn > 30 for row in quality.compute().per_class)


def test_files_score_the_same_here_there_and_with_any_number_of_processes(tmp_path):
    evaluation = pytest.importorskip("panopticapi.evaluation")
    truth_json, predictions_json, _ = write_random_set(tmp_path, 70, seed=1)
    with contextlib.redirect_stdout(io.StringIO()):
        official = evaluation.pq_compute(str(truth_json), str(predictions_json))
    one, two = (panoptic_quality(truth_json, predictions_json, workers=n) for n in (1, 2))
    checked = panoptic_quality(truth_json, predictions_json, engine="panopticapi")
    assert one == two
    for result in (one, checked):
        for group, name in ((result.all, "All"), (result.things, "Things"), (result.stuff, "Stuff")):
            assert group.n == official[name]["n"]
            for key in ("pq", "sq", "rq"):
                assert getattr(group, key) == pytest.approx(official[name][key], abs=1e-12)
        for row in result.per_class:
            for key, value in official["per_class"][row.category.id].items():
                assert getattr(row, key) == pytest.approx(value, abs=1e-12)
    assert [(r.tp, r.fp, r.fn) for r in one.per_class] == [(r.tp, r.fp, r.fn) for r in checked.per_class]
    assert one.notes == ()

    done = []
    panoptic_quality(truth_json, predictions_json, workers=2, progress=lambda i, n: done.append((i, n)))
    assert done == [(32, 70), (64, 70), (70, 70)]


def test_nothing_at_all_is_zero_and_says_so():
    result = PanopticQuality(CATEGORIES).compute()
    assert (result.all.pq, result.things.sq, result.stuff.rq, result.all.n) == (0, 0, 0, 0)
    assert len(result.notes) == 3
    assert result.notes[0] == "no category is in truth or prediction: its PQ is 0"


def test_absent_classes_are_left_out_of_the_mean():
    quality = PanopticQuality(CATEGORIES)
    ids = np.full((2, 2), 5, np.int32)
    quality.update(ImagePair(1, ids, [SegmentRecord(5, 1, False, 4, (0, 0, 2, 2))], ids, [Segment(5, 1, True, 1.0, 4)]))
    result = quality.compute()
    assert (result.all.pq, result.all.n, result.things.n, result.stuff.n) == (1.0, 1, 1, 0)
    assert result.notes == ("no stuff is in truth or prediction: its PQ is 0",)


def one_pixel_row(values):
    return np.array([values], np.int32)


def test_a_wrong_area_in_the_truth_is_used_and_noted():
    quality = PanopticQuality(CATEGORIES)
    truth, predicted = one_pixel_row([5, 5, 5, 5]), one_pixel_row([6, 6, 6, 6])
    quality.update(
        ImagePair(1, truth, [SegmentRecord(5, 1, False, 5, (0, 0, 0, 0))], predicted, [Segment(6, 1, True, 1.0, 4)])
    )
    assert quality.compute().per_class[1].iou == 4 / 5
    assert "1 true segments have another 'area'" in quality.compute().notes[0]


def test_an_area_the_truth_does_not_say_is_counted():
    quality = PanopticQuality(CATEGORIES)
    ids = one_pixel_row([5, 5])
    quality.update(
        ImagePair(1, ids, [SegmentRecord(5, 1, False, -1, (0, 0, 0, 0))], ids, [Segment(5, 1, True, 1.0, 2)])
    )
    assert quality.compute().per_class[1].iou == 1
    assert not any("area" in note for note in quality.compute().notes)


@pytest.mark.parametrize(
    ("truth", "predicted", "segments", "message"),
    [
        ([5, 5], [6, 6, 6], [Segment(6, 1, True, 1.0, 3)], "the truth is 2 x 1, the prediction 3 x 1"),
        ([5, 5], [6, 7], [Segment(6, 1, True, 1.0, 1)], r"ids \[7\] are in the map alone"),
        ([5, 5], [6, 0], [Segment(6, 1, True, 1.0, 1), Segment(7, 1, True, 1.0, 1)], r"ids \[7\] in the list alone"),
        ([5, 5], [6, 6], [Segment(6, 1, True, 1.0, 1)] * 2, "listed twice"),
        ([5, 5], [6, 6], [Segment(6, 2, True, 1.0, 2)], "segment 6 has category_id 2"),
        ([5, 5, 5], [6, 6, 6], [Segment(6, 1, True, 1.0, 3)], "has area 2 in the JSON of the truth, yet 3"),
    ],
)
def test_what_does_not_hold_together_is_refused(truth, predicted, segments, message):
    quality = PanopticQuality(CATEGORIES)
    true = [SegmentRecord(5, 1, False, 2, (0, 0, 0, 0))]
    with pytest.raises(DatasetError, match=f"image 8: .*{message}"):
        quality.update(ImagePair(8, one_pixel_row(truth), true, one_pixel_row(predicted), segments))


def test_missing_predictions_are_named(tmp_path):
    truth_json, predictions_json, _ = write_random_set(tmp_path, 9, seed=2)
    data = json.loads(predictions_json.read_text())
    data["annotations"] = data["annotations"][7:]
    predictions_json.write_text(json.dumps(data))
    with pytest.raises(DatasetError, match=r"no prediction for image 1 \(1\.jpg\), .* and 2 more of .*truth\.json"):
        panoptic_quality(truth_json, predictions_json)


def spoil(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("engine", ["builtin", "panopticapi"])
def test_predictions_whose_categories_contradict_the_truth_are_refused(tmp_path, engine):
    truth_json, predictions_json, _ = write_random_set(tmp_path, 2, seed=2)

    def renumber(data):
        for category in data["categories"]:
            category["id"] = {1: 9, 9: 1}.get(category["id"], category["id"])

    spoil(predictions_json, renumber)
    with pytest.raises(DatasetError) as refused:
        panoptic_quality(truth_json, predictions_json, engine=engine)
    assert str(refused.value) == (
        f"{predictions_json}: its categories are not those of the truth, {truth_json}: category 1 is 'c9' in the "
        "predictions, 'c1' in the truth; category 9 is 'c1' in the predictions, 'c9' in the truth. Give the segments "
        "the category ids of the truth; if only names are spelt differently, correct them or leave 'categories' out."
    )


def test_image_ids_as_text_here_and_numbers_there_are_named(tmp_path):
    truth_json, predictions_json, _ = write_random_set(tmp_path, 3, seed=2)

    def as_text(data):
        for row in data["annotations"]:
            row["image_id"] = f"{row['image_id']:06}"

    spoil(predictions_json, as_text)
    message = r"annotations\[0\]: image_id is the text '000001', but \S+truth\.json has the number 1 as the image's id"
    with pytest.raises(DatasetError, match=rf"predictions\.json: {message}\. Write the ids of images in one way"):
        panoptic_quality(truth_json, predictions_json)


def test_a_predicted_category_that_the_truth_lacks_is_named_with_both_files(tmp_path):
    truth_json, predictions_json, _ = write_random_set(tmp_path, 3, seed=2)
    spoil(predictions_json, lambda data: data["annotations"][2]["segments_info"][0].update(category_id=1000))
    message = r"predictions\.json: image 3: segment \d+ has category_id 1000, which \S+truth\.json does not list"
    with pytest.raises(DatasetError, match=message):
        panoptic_quality(truth_json, predictions_json)


def test_panopticapi_says_what_it_cannot_read(tmp_path):
    pytest.importorskip("panopticapi.evaluation")
    truth_json, predictions_json, cases = write_random_set(tmp_path, 1, seed=2)
    values, indices = np.unique(cases[0][2], return_inverse=True)
    palette = Image.fromarray(indices.reshape(cases[0][2].shape).astype(np.uint8), "P")
    palette.putpalette(ids_to_rgb(values[None]).tobytes())
    palette.save(tmp_path / "out" / "predictions" / "1.png")
    assert panoptic_quality(truth_json, predictions_json).all.n > 0
    with pytest.raises(DatasetError, match="no id maps with a palette"):
        panoptic_quality(truth_json, predictions_json, engine="panopticapi")


def test_a_missing_png_stops_all_processes_with_its_name(tmp_path):
    truth_json, predictions_json, _ = write_random_set(tmp_path, 70, seed=2)
    (tmp_path / "out" / "predictions" / "40.png").unlink()
    with pytest.raises(DatasetError, match=r"40\.png: no such file"):
        panoptic_quality(truth_json, predictions_json, workers=2)
    with pytest.raises(DatasetError, match=r"40\.png: no such file"):
        panoptic_quality(truth_json, predictions_json, engine="panopticapi")
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        panoptic_quality(truth_json, predictions_json, segments=tmp_path / "nowhere")


def test_predictions_may_cover_more_images_and_other_names(tmp_path):
    truth_json, predictions_json, _ = write_random_set(tmp_path, 6, seed=5)
    before = panoptic_quality(truth_json, predictions_json)
    data = json.loads(predictions_json.read_text())
    del data["images"], data["categories"]
    data["annotations"].append({"image_id": 77, "file_name": "x.png", "segments_info": [{"id": 1}]})
    predictions_json.write_text(json.dumps(data))
    assert panoptic_quality(truth_json, predictions_json) == before


@pytest.mark.parametrize("is_thing", [True, False])
def test_thing_or_stuff_is_what_the_truth_says(is_thing):
    quality = PanopticQuality(Categories([Category(1, "a", is_thing, (0, 0, 0))]))
    ids = one_pixel_row([5, 5])
    said_otherwise = Segment(5, 1, not is_thing, 1.0, 2)
    quality.update(ImagePair(1, ids, [SegmentRecord(5, 1, False, 2, (0, 0, 2, 1))], ids, [said_otherwise]))
    result = quality.compute()
    assert (result.things.n, result.stuff.n) == (int(is_thing), int(not is_thing))
    assert (result.things.pq, result.stuff.pq) == (float(is_thing), float(not is_thing))
