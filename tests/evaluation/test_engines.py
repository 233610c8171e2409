"""The engines count the same to the last segment, and the fast one is chosen only where it must."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation import hotcoco_engine
from panoptic_blend.evaluation.pq import panoptic_quality
from panoptic_blend.evaluation.scored_files import CHUNK, ScoredFiles
from panoptic_blend.files import stamps

from .test_pq import spoil, write_random_set

BY_HOTCOCO = "counted by hotcoco"


def counts(result):
    return [(row.category.id, row.tp, row.fp, row.fn) for row in result.per_class]


def assert_same(one, other):
    """Counts to the last one, averages but for rounding."""
    assert counts(one) == counts(other)
    for a, b in zip(one.per_class, other.per_class, strict=True):
        assert a.iou == pytest.approx(b.iou, abs=1e-12)
    for group in ("all", "things", "stuff"):
        a, b = getattr(one, group), getattr(other, group)
        assert a.n == b.n
        assert (a.pq, a.sq, a.rq) == pytest.approx((b.pq, b.sq, b.rq), abs=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_hotcoco_counts_void_crowds_and_absent_classes_as_the_builtin(tmp_path_factory, seed, images, height, width):
    pytest.importorskip("hotcoco")
    truth, predictions, _ = write_random_set(tmp_path_factory.mktemp("set"), images, seed, (height, width))
    one, other = (panoptic_quality(truth, predictions, workers=1, engine=e) for e in ("builtin", "hotcoco"))
    assert_same(one, other)


@pytest.mark.parametrize("seed", [0, 1])
def test_three_engines_count_the_same(tmp_path, seed, monkeypatch):
    pytest.importorskip("hotcoco")
    pytest.importorskip("panopticapi.evaluation")
    monkeypatch.setattr(hotcoco_engine, "CHUNK", 100)
    truth, predictions, _ = write_random_set(tmp_path, 250, seed, size=(20, 30))
    builtin, hotcoco, official = (
        panoptic_quality(truth, predictions, workers=1, engine=e) for e in ("builtin", "hotcoco", "panopticapi")
    )
    assert all(row.tp and row.fp and row.fn for row in builtin.per_class)
    assert_same(builtin, official)
    assert_same(hotcoco, official)
    assert hotcoco.notes == (BY_HOTCOCO,)


def rename_everything(data):
    """Ids of images become texts, a category's negative; areas are left out."""
    for row in data["images"]:
        row["id"] = f"city_{row['id']}"
    for row in data["annotations"]:
        row["image_id"] = f"city_{row['image_id']}"
        for segment in row["segments_info"]:
            segment.pop("area", None)
            segment["category_id"] = {9: -4}.get(segment["category_id"], segment["category_id"])
    for category in data["categories"]:
        category["id"] = {9: -4}.get(category["id"], category["id"])


def test_hotcoco_is_given_what_was_read_here(tmp_path):
    pytest.importorskip("hotcoco")
    truth, predictions, cases = write_random_set(tmp_path, 20, seed=4)
    before = panoptic_quality(truth, predictions, workers=1, engine="builtin")
    for path in (truth, predictions):
        spoil(path, rename_everything)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    png = tmp_path / "out" / "predictions" / cases[0][0].segments_file_name
    Image.open(png).convert("RGBA").save(png)
    done = []
    after = panoptic_quality(truth, predictions, engine="hotcoco", progress=lambda i, n: done.append((i, n)))
    assert [c[1:] for c in counts(after)] == [c[1:] for c in counts(before)]
    assert done == [(20, 20)]


def paint_over(root, record, old, new):
    """Repaint a segment of the truth."""
    path = root / "truth" / record.segments_file_name
    ids = np.asarray(Image.open(path)).astype(np.int32) @ np.array([1, 256, 65536], np.int32)
    write_id_map(path, np.where(ids == old, new, ids))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"3\.png: no such file"),
        ("gray", r"3\.png: is 8-bit grayscale"),
        ("small", r"image 3 is 11 x 9, but .*3\.png is 4 x 2"),
        ("cut", r"hotcoco refuses it"),
    ],
)
def test_hotcoco_refuses_files_with_a_sentence(tmp_path, fault, message):
    pytest.importorskip("hotcoco")
    truth, predictions, _ = write_random_set(tmp_path, 5, seed=4)
    png = tmp_path / "out" / "predictions" / "3.png"
    if fault == "missing":
        png.unlink()
    elif fault == "cut":
        png.write_bytes(png.read_bytes()[:-40])
    else:
        Image.new("L" if fault == "gray" else "RGB", (11, 9) if fault == "gray" else (4, 2)).save(png)
    with pytest.raises(DatasetError, match=message):
        panoptic_quality(truth, predictions, engine="hotcoco")


def test_an_engine_that_is_not_installed_says_what_to_install(tmp_path, monkeypatch):
    truth, predictions, _ = write_random_set(tmp_path, 2, seed=4)
    monkeypatch.setattr(hotcoco_engine, "has_hotcoco", lambda: False)
    with pytest.raises(DatasetError, match=r"pip install 'panoptic-blend\[fast\]'"):
        panoptic_quality(truth, predictions, engine="hotcoco")


@pytest.fixture
def settled(monkeypatch):
    """Files made just now count as old ones."""
    monkeypatch.setattr(stamps, "_SETTLED_NS", -(10**15))


def test_auto_takes_hotcoco_once_the_builtin_found_the_truth_whole(tmp_path, settled):
    pytest.importorskip("hotcoco")
    truth, predictions, _ = write_random_set(tmp_path, 6, seed=4)
    first, second = (panoptic_quality(truth, predictions, workers=1) for _ in range(2))
    assert BY_HOTCOCO not in first.notes
    assert BY_HOTCOCO in second.notes
    assert_same(first, second)

    # Another prediction of the same truth, with a fault: told as the built-in tells it.
    (tmp_path / "out" / "predictions" / "2.png").write_bytes(b"no picture at all, but long enough for a header")
    with pytest.raises(DatasetError, match=r"2\.png: not a PNG file"):
        panoptic_quality(truth, predictions, workers=1)


def test_auto_leaves_a_truth_that_changed_to_the_builtin(tmp_path, settled):
    pytest.importorskip("hotcoco")
    truth, predictions, cases = write_random_set(tmp_path, 6, seed=4)
    for _ in range(2):
        panoptic_quality(truth, predictions, workers=1)
    record = next(record for record, *_ in cases if len(record.segments) > 1)
    path = tmp_path / "truth" / record.segments_file_name
    status = path.stat()
    paint_over(tmp_path, record, record.segments[0].id, record.segments[1].id)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a careless copy leaves it
    with pytest.raises(DatasetError, match="has no pixels"):
        panoptic_quality(truth, predictions, workers=1)
    # hotcoco alone takes the truth on trust, as panopticapi does.
    assert panoptic_quality(truth, predictions, engine="hotcoco").all.n > 0


def test_auto_never_takes_hotcoco_where_areas_are_not_those_of_the_pixels(tmp_path, settled):
    pytest.importorskip("hotcoco")
    truth, predictions, _ = write_random_set(tmp_path, 6, seed=4)

    def enlarge(data):
        segment = next(row for row in data["annotations"] if row["segments_info"])["segments_info"][0]
        segment["area"] += 1

    spoil(truth, enlarge)
    for _ in range(2):
        notes = panoptic_quality(truth, predictions, workers=1).notes
        assert BY_HOTCOCO not in notes
        assert any("another 'area'" in note for note in notes)


def test_auto_waits_until_files_are_settled_and_does_without_leave_to_write(tmp_path, monkeypatch):
    truth, predictions, _ = write_random_set(tmp_path, 3, seed=4)
    for _ in range(2):  # the files are as young as the test
        assert BY_HOTCOCO not in panoptic_quality(truth, predictions, workers=1).notes
    monkeypatch.setattr(stamps, "_SETTLED_NS", -(10**15))
    note = tmp_path / ".truth.json.checked"
    note.mkdir()  # cannot be replaced by a file
    for _ in range(2):
        assert BY_HOTCOCO not in panoptic_quality(truth, predictions, workers=1).notes
    assert json.loads(truth.read_text())


SCORE = """
import multiprocessing, sys
from panoptic_blend.cli import main

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")  # whose processes inherit no bound
    sys.exit(main(["score", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("engine", ["builtin", "hotcoco", "panopticapi"])
@pytest.mark.parametrize("workers", [1, 2])
def test_score_decodes_so_many_pixels_as_are_asked_for_in_every_process(engine, workers, tmp_path):
    pytest.importorskip(engine if engine != "builtin" else "numpy")
    truth, predictions, _ = write_random_set(tmp_path, images=2 * CHUNK, seed=3, size=(8, 10))
    (tmp_path / "score.py").write_text(SCORE)
    files = ["--ground-truth", truth, "--predictions", predictions]
    codes, told = [], ""
    for pixels in ("80", "60"):
        options = ["--engine", engine, "--workers", str(workers), "--max-pixels", pixels]
        run = subprocess.run(
            [sys.executable, tmp_path / "score.py", *files, *options], capture_output=True, text=True, check=False
        )
        codes.append(run.returncode)
        told = run.stderr
    assert codes[0] == 0 != codes[1]
    assert "too large to decode safely" in told
    assert "--max-pixels" in told


def test_workers_on_other_machines_are_sent_the_bound_with_their_images(tmp_path):
    truth, predictions, _ = write_random_set(tmp_path, images=3, seed=3)
    files = replace(ScoredFiles.open(truth, predictions), max_pixels=60)
    assert pickle.loads(pickle.dumps(files.only([1, 2]))).max_pixels == 60
