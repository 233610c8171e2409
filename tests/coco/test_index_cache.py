"""What is kept beside a JSON is what the JSON says, as long as it says it."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from operator import attrgetter

import pytest

from panoptic_blend.coco import index_cache, json_reading
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.images import EvaluationDataset
from panoptic_blend.data.dataset import TrainingDataset
from panoptic_blend.errors import DatasetError
from panoptic_blend.files import stamps

CATEGORIES = [
    {"id": 7, "name": "car", "isthing": 1, "color": [1, 2, 3], "supercategory": None},
    {"id": -3, "name": "Straße", "isthing": 0},
]


def write(path, images=5, **other):
    """A panoptic JSON with what such files have: texts and numbers as ids, crowds, no areas, scores."""
    ids = [f"ü_{i}" if i % 2 else i for i in range(images)]
    data = {
        "images": [{"id": k, "file_name": f"{i}/ä.jpg", "width": 30 + i, "height": 20} for i, k in enumerate(ids)],
        "annotations": [
            {
                "image_id": k,
                "file_name": f"{i}.png",
                "segments_info": [
                    {"id": 5 + s, "category_id": CATEGORIES[s % 2]["id"], "iscrowd": s % 2, "score": 0.5}
                    | ({"area": 9, "bbox": [1, 2, 3, 4.5]} if s else {})
                    for s in range(i)
                ],
            }
            for i, k in reversed(list(enumerate(ids)))
        ],
        "categories": CATEGORIES,
    }
    path.write_text(json.dumps(data | other), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def small_and_old(monkeypatch):
    """Small files are kept, too, and files made just now count as old ones."""
    monkeypatch.setattr(index_cache, "WORTH_KEEPING", 1)
    monkeypatch.setattr(stamps, "_SETTLED_NS", -(10**15))


@pytest.fixture
def readings(monkeypatch):
    """Which JSON files were read."""
    read, paths = json_reading.LongJson, []

    def note(path, lists):
        paths.append(path.name)
        return read(path, lists)

    monkeypatch.setattr(json_reading, "LongJson", note)
    return paths


def assert_same(one, other):
    assert list(one) == list(other)
    assert one.has_segments == other.has_segments
    assert one.has_categories == other.has_categories
    if one.has_categories:
        assert one.categories == other.categories


def test_a_second_start_reads_nothing_and_knows_the_same(tmp_path, readings):
    path = write(tmp_path / "a.json")
    first, second = PanopticAnnotations.load(path), PanopticAnnotations.load(path, "skip")
    assert readings == ["a.json"]
    assert len(first[4].segments) == 4
    assert_same(first, second)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.json.index", "a.json"]


def test_an_image_info_file_is_kept_too(tmp_path, readings):
    path = tmp_path / "info.json"
    images = [{"id": 1, "file_name": "a.jpg", "width": 3, "height": 2}]
    for data in ({"images": images}, {"images": images, "categories": [{"id": 1, "name": "no isthing"}]}):
        path.write_text(json.dumps(data))
        assert_same(*(PanopticAnnotations.load(path) for _ in range(2)))
    assert readings == ["info.json"] * 2


def test_every_change_of_the_json_is_seen(tmp_path):
    path = write(tmp_path / "a.json")
    PanopticAnnotations.load(path)
    write(path, images=6)
    assert len(PanopticAnnotations.load(path)) == 6

    status = path.stat()
    data = path.read_bytes()
    path.write_bytes(data.replace(b"car", b"bus"))  # of the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # and, as a copy leaves it, of the same time
    assert PanopticAnnotations.load(path).categories.by_id(7).name == "bus"

    other = write(tmp_path / "b.json", images=6)
    os.replace(other, path)
    assert PanopticAnnotations.load(path).categories.by_id(7).name == "car"

    path.write_text("{")
    with pytest.raises(DatasetError, match="not valid JSON"):
        PanopticAnnotations.load(path)
    path.unlink()
    with pytest.raises(DatasetError, match="no such file"):
        PanopticAnnotations.load(path)


def test_a_file_that_changed_just_now_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(stamps, "_SETTLED_NS", 3_000_000_000)
    path = write(tmp_path / "a.json")
    PanopticAnnotations.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path, monkeypatch):
    path = write(tmp_path / "a.json")
    read = json_reading.check_complete

    def read_and_change(*arguments):
        read(*arguments)
        write(path, images=6)

    with monkeypatch.context() as changing:
        changing.setattr(json_reading, "check_complete", read_and_change)
        assert len(PanopticAnnotations.load(path)) == 5
    assert len(PanopticAnnotations.load(path)) == 6


def test_bad_samples_are_named_at_every_start(tmp_path):
    path = write(tmp_path / "a.json", images=3)
    data = json.loads(path.read_text())
    data["images"][0]["width"] = 0
    path.write_text(json.dumps(data))
    for _ in range(2):
        assert len(PanopticAnnotations.load(path, "skip").left_out) == 1
        with pytest.raises(DatasetError, match="width"):
            PanopticAnnotations.load(path)


@pytest.mark.parametrize("what", ["damaged", "of another version", "lacks a column"])
def test_a_cache_of_no_use_is_replaced(tmp_path, what, readings, monkeypatch):
    path = write(tmp_path / "a.json")
    first = PanopticAnnotations.load(path)
    cache = tmp_path / ".a.json.index"
    if what == "damaged":
        cache.write_bytes(cache.read_bytes()[:-1])
    elif what == "of another version":
        monkeypatch.setattr(index_cache, "_RULES", 10**6)
    else:
        cache.write_bytes(cache.read_bytes().replace(b'"segments.areas"', b'"segments.ar3as"'))
    assert_same(PanopticAnnotations.load(path), first)
    assert_same(PanopticAnnotations.load(path), first)
    assert readings == ["a.json"] * 2


def test_without_leave_to_write_the_json_is_read_every_time(tmp_path, readings):
    path = write(tmp_path / "a.json")
    (tmp_path / ".a.json.index").mkdir()  # no file can take its place
    assert_same(*(PanopticAnnotations.load(path) for _ in range(2)))
    assert readings == ["a.json"] * 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.json.index", "a.json"]


def test_small_files_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(index_cache, "WORTH_KEEPING", 2**22)
    PanopticAnnotations.load(write(tmp_path / "a.json"))
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_predictions_are_read_against_a_truth_that_was_kept(tmp_path):
    path = write(tmp_path / "a.json")
    PanopticAnnotations.load(path)
    truth = PanopticAnnotations.load(path)
    predictions = PanopticAnnotations.load_predictions(write(tmp_path / "b.json"), truth)
    assert [len(record.segments) for record in predictions] == [0, 1, 2, 3, 4]


def test_a_pickle_names_the_file_that_is_mapped(tmp_path):
    path = write(tmp_path / "a.json", images=300)
    for loaded in (PanopticAnnotations.load(path), PanopticAnnotations.load(path)):  # the JSON read, and what was kept
        pickled = pickle.dumps(loaded)
        assert len(pickled) < 2000 < (tmp_path / ".a.json.index").stat().st_size / 100
        assert_same(pickle.loads(pickled), loaded)
        dataset = TrainingDataset(loaded, tmp_path, tmp_path, transform=None, seed=0)
        assert len(pickle.dumps(dataset)) < 3000
        assert len(pickle.dumps(EvaluationDataset(loaded, tmp_path, tmp_path))) < 3000


def test_a_pickle_of_a_file_that_was_changed_is_refused(tmp_path):
    path = write(tmp_path / "a.json")
    pickled = pickle.dumps(PanopticAnnotations.load(path))
    write(path, images=6)
    with pytest.raises(DatasetError, match="was changed while it was in use"):
        pickle.loads(pickled)
    PanopticAnnotations.load(path)  # which keeps the new one
    with pytest.raises(DatasetError, match="was changed while it was in use"):
        pickle.loads(pickled)


def test_what_is_not_kept_is_pickled_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(index_cache, "WORTH_KEEPING", 2**22)
    loaded = PanopticAnnotations.load(write(tmp_path / "a.json"))
    assert_same(pickle.loads(pickle.dumps(loaded)), loaded)


def test_a_process_of_its_own_maps_the_same_file(tmp_path):
    loaded = PanopticAnnotations.load(write(tmp_path / "a.json"))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        names = list(executor.map(attrgetter("file_name"), [loaded[4]])), executor.submit(len, loaded).result()
    assert names == (["4/ä.jpg"], 5)


LOAD = """
import sys, time
from pathlib import Path
from panoptic_blend.coco import annotations, index_cache, json_reading
from panoptic_blend.files import stamps

index_cache.WORTH_KEEPING, stamps._SETTLED_NS = 1, -(10**15)
folder, on_bad_sample, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
read = json_reading.LongJson

def read_slowly(path, lists):
    with open(folder / "readings", "a") as file:
        file.write("read\\n")
    time.sleep(seconds)  # so that all others ask meanwhile
    return read(path, lists)

json_reading.LongJson = read_slowly
print("ready", flush=True)
sys.stdin.readline()
loaded = annotations.PanopticAnnotations.load(folder / "a.json", on_bad_sample)
print(len(loaded), len(loaded[-1].segments), loaded._kept_for is not None)
"""


def load_in_processes(folder, number=4, on_bad_sample="raise", seconds=1.5):
    """Let processes load a JSON, all at once."""
    command = [sys.executable, "-c", LOAD, str(folder), on_bad_sample, str(seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(number)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return processes


def number_of_readings(folder):
    path = folder / "readings"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_of_processes_that_ask_together_one_reads_and_the_others_map_what_it_kept(tmp_path):
    write(tmp_path / "a.json")
    told = {process.communicate()[0] for process in load_in_processes(tmp_path)}
    assert told == {"5 4 True\n"}
    assert number_of_readings(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.json.index", "a.json", "readings"]


@pytest.mark.parametrize("why", ["no leave to write", "a sample is left out"])
def test_where_nothing_can_be_kept_all_read_at_once(why, tmp_path):
    write(tmp_path / "a.json")
    if why == "no leave to write":
        (tmp_path / ".a.json.index.lock").mkdir()  # as little as in a folder of somebody else can a file be made there
        (tmp_path / ".a.json.index").mkdir()
    else:
        (tmp_path / "a.json").write_text((tmp_path / "a.json").read_text().replace('"width": 30', '"width": 0'))
    started = time.perf_counter()
    told = [process.communicate()[0] for process in load_in_processes(tmp_path, 6, "skip")]
    assert told == ["5 4 False\n" if why == "no leave to write" else "4 4 False\n"] * 6
    assert number_of_readings(tmp_path) == 6
    assert time.perf_counter() - started < 6 * 1.5  # not one after the other


def test_when_the_one_that_reads_is_killed_another_reads(tmp_path):
    write(tmp_path / "a.json")
    (killed,) = load_in_processes(tmp_path, 1, seconds=60)
    while number_of_readings(tmp_path) == 0:
        time.sleep(0.05)
    (waiting,) = load_in_processes(tmp_path, 1, seconds=0)
    time.sleep(1)
    assert waiting.poll() is None
    killed.kill()
    killed.communicate()
    assert waiting.communicate()[0] == "5 4 True\n"
    assert number_of_readings(tmp_path) == 2
