"""Zips for COCO's evaluation server."""

import json
import zipfile

import pytest

from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.coco.submission import write_submission
from panoptic_blend.errors import DatasetError
from panoptic_blend.structures import Segment

from .panoptic_files import categories, small_id_map

SEGMENTS = [Segment(70000, 90, False, 1.0, 8), Segment(1, 3, True, 0.25, 4), Segment(5, 7, True, 0.5, 4)]


def test_submission_has_the_layout_of_the_server(tmp_path):
    with PredictionWriter(tmp_path, categories()) as writer:
        for image_id, file_name in enumerate(("a.jpg", "b.jpg"), start=1):
            writer.write(ImageRecord(image_id, file_name, 6, 4, "", []), small_id_map(), SEGMENTS)
    data = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    path = write_submission(tmp_path, "test-dev2017", "blend")
    assert path == tmp_path / "panoptic_test-dev2017_blend_results.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        stem = "panoptic_test-dev2017_blend_results"
        assert sorted(archive.namelist()) == [f"{stem}.json", f"{stem}/a.png", f"{stem}/b.png"]
        assert json.loads(archive.read(f"{stem}.json"))["annotations"] == data["annotations"]
        assert archive.read(f"{stem}/a.png") == (tmp_path / "predictions" / "a.png").read_bytes()


def test_submission_refuses_odd_names_and_empty_folders(tmp_path):
    with pytest.raises(DatasetError, match=r"name '\.\./x'"):
        write_submission(tmp_path, "test-dev2017", "../x")
    with pytest.raises(DatasetError, match=r"predictions\.json: no such file"):
        write_submission(tmp_path, "test-dev2017", "x")
