import json

import numpy as np
import pytest

from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.errors import DatasetError
from panoptic_blend.structures import Segment

from .panoptic_files import categories, small_id_map

SEGMENTS = [
    Segment(70000, 90, False, 1.0, 8),
    Segment(np.int32(1), 3, True, np.float32(0.25), 4),
    Segment(5, 7, True, 0.5, 4),
]


def record(image_id, file_name):
    return ImageRecord(image_id, file_name, 6, 4, "", [])


def write(output, *file_names):
    with PredictionWriter(output, categories()) as writer:
        for image_id, file_name in enumerate(file_names, start=1):
            writer.write(record(image_id, file_name), small_id_map(), SEGMENTS)
    return json.loads((output / "predictions.json").read_text(encoding="utf-8"))


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_json_and_pngs_are_read_back_as_annotations(tmp_path):
    data = write(tmp_path, "a.jpg", "folder one/ü 猫.jpg")
    expected = ["predictions.json", "predictions/a.png", "predictions/folder one/ü 猫.png", "progress.jsonl"]
    assert files(tmp_path) == expected
    assert data["images"][1] == {"id": 2, "file_name": "folder one/ü 猫.jpg", "width": 6, "height": 4}
    assert data["annotations"][0]["segments_info"][1] == {
        "id": 1,
        "category_id": 3,
        "area": 4,
        "bbox": [0, 0, 1, 4],
        "iscrowd": 0,
        "score": 0.25,
    }
    annotations = PanopticAnnotations.load(tmp_path / "predictions.json")
    assert annotations.categories == categories()
    for one in annotations:
        id_map = read_segments(one, annotations.default_segments_folder, annotations.categories, annotations.path)
        np.testing.assert_array_equal(id_map, small_id_map())
        for segment in one.segments:
            ys, xs = np.nonzero(id_map == segment.id)
            assert segment.area == len(ys)
            box = (xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)
            assert segment.bbox == box


def test_no_image_and_no_segment_are_fine(tmp_path):
    assert write(tmp_path)["annotations"] == []
    with PredictionWriter(tmp_path, categories()) as writer:
        writer.write(record(1, "a.jpg"), np.zeros((4, 6), np.int32), [])
    assert PanopticAnnotations.load(tmp_path / "predictions.json")[0].segments == []


def test_images_of_one_stem_keep_distinct_pngs(tmp_path):
    data = write(tmp_path, "a.jpg", "a.png", "A.jpeg", "b/a.jpg")
    names = [row["file_name"] for row in data["annotations"]]
    assert names == ["a.png", "a.png.png", "A.jpeg.png", "b/a.png"]
    assert files(tmp_path / "predictions") == sorted(names)


def test_one_image_twice_is_refused(tmp_path):
    with PredictionWriter(tmp_path, categories()) as writer:
        writer.write(record(1, "a.jpg"), small_id_map(), SEGMENTS)
        with pytest.raises(DatasetError, match=r"image 1 .* predicted twice"):
            writer.write(record(1, "b.jpg"), small_id_map(), SEGMENTS)
        writer.write(record(2, "a.jpg"), small_id_map(), SEGMENTS)
        with pytest.raises(DatasetError, match=r"another image is named 'a\.jpg' too"):
            writer.write(record(3, "a.jpg"), small_id_map(), SEGMENTS)


@pytest.mark.parametrize("name", ["../../x.png", "/tmp/x.png", "C:\\x.png", "a/../../x.jpg"])
def test_nothing_is_written_outside_the_output_folder(name, tmp_path):
    output = tmp_path / "deep" / "er" / "out"
    with PredictionWriter(output, categories()) as writer, pytest.raises(DatasetError, match="leaves its folder"):
        writer.write(record(1, name), small_id_map(), SEGMENTS)
    assert files(tmp_path) == ["deep/er/out/predictions.json", "deep/er/out/progress.jsonl"]


def test_an_interrupted_run_leaves_what_was_written_so_far(tmp_path):
    with pytest.raises(KeyboardInterrupt), PredictionWriter(tmp_path, categories()) as writer:  # noqa: PT012
        writer.write(record(1, "a.jpg"), small_id_map(), SEGMENTS)
        assert files(tmp_path) == ["predictions/a.png", "progress.jsonl"]
        raise KeyboardInterrupt
    (kept,) = PanopticAnnotations.load(tmp_path / "predictions.json")
    assert kept.file_name == "a.jpg"


def test_a_result_of_which_nothing_is_known_is_replaced(tmp_path):
    write(tmp_path, "a.jpg", "b.jpg")
    assert [image["file_name"] for image in write(tmp_path, "c.jpg")["images"]] == ["c.jpg"]
    assert files(tmp_path / "predictions") == ["c.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id_map": np.zeros((6, 4), np.int32)}, "is 6 x 4, but its id map is 4 x 6"),
        ({"segments": SEGMENTS[:2]}, r"the segments \[1, 70000\] are not the ids in the map \[1, 5, 70000\]"),
        ({"segments": [*SEGMENTS, SEGMENTS[0]]}, "are not the ids"),
        ({"segments": [*SEGMENTS, Segment(8, 3, True, 1.0, 1)]}, "are not the ids"),
        ({"segments": [*SEGMENTS[:2], Segment(5, 4, True, 1.0, 4)]}, "segment 5 has category_id 4"),
    ],
)
def test_maps_and_segments_that_do_not_match_are_refused(change, message, tmp_path):
    arguments = {"id_map": small_id_map(), "segments": SEGMENTS} | change
    with PredictionWriter(tmp_path, categories()) as writer, pytest.raises(DatasetError, match=f"image 1.*{message}"):
        writer.write(record(1, "a.jpg"), **arguments)


@pytest.mark.parametrize("bad", [-1, 2**24])
def test_ids_that_a_png_cannot_hold_are_told_with_the_image_and_nothing_is_noted(bad, tmp_path):
    id_map = np.full((4, 6), bad, np.int32)
    with PredictionWriter(tmp_path, categories()) as writer:
        before = (tmp_path / "progress.jsonl").read_text()
        with pytest.raises(
            DatasetError, match=rf"image 5: segment ids run from {bad} to {bad}, but a PNG holds 0\.\.1"
        ):
            writer.write(record(5, "a.jpg"), id_map, [Segment(bad, 90, False, 1.0, 24)])
        assert (tmp_path / "progress.jsonl").read_text() == before
