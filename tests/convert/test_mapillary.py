from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.coco.annotations import PanopticAnnotations
from tests.convert.scenes import convert_dataset, pixels, random_blobs, segments_of, write_image, write_map

BIRD, SEPARATOR, BICYCLE = "animal--bird", "construction--barrier--separator", "object--vehicle--bicycle"


def columns(*values: int) -> bytes:
    return pixels(np.array([values] * 5, bool))


TRAIN = {
    "2.jpg": {
        (BIRD, False, columns(1, 0, 0, 0, 0)),
        (SEPARATOR, False, columns(0, 1, 0, 0, 0)),
        (BIRD, False, columns(0, 0, 1, 0, 0)),
        (SEPARATOR, False, columns(0, 0, 0, 1, 0)),
        (BIRD, False, columns(0, 0, 0, 0, 1)),
    }
}


def val(crowds: bool) -> dict[str, set[tuple[str, bool, bytes]]]:
    return {
        "0.jpg": {(BIRD, crowds, columns(1, 1, 1, 0, 0)), (SEPARATOR, False, columns(0, 0, 0, 1, 1))},
        "1.jpg": {
            (BICYCLE, False, columns(1, 1, 0, 0, 0)),
            (SEPARATOR, False, columns(0, 0, 1, 0, 0)),
            (BICYCLE, crowds, columns(0, 0, 0, 1, 1)),
        },
    }


@pytest.mark.parametrize("version", ["v1.2", "v2.0"])
def test_the_published_layout(version: str, shared: Path, tmp_path: Path, capsys):
    source = shared / "fixtures" / "datumaro" / "mapillary_vistas_dataset"
    options = [] if version == "v2.0" else ["--labels", str(source / "config_v1.2.json")]
    assert convert_dataset(source, tmp_path / "out", *options) == 0
    assert "looks like mapillary" in capsys.readouterr().out
    assert segments_of(tmp_path / "out", "train") == TRAIN
    assert segments_of(tmp_path / "out", "val") == val(crowds=False)
    categories = PanopticAnnotations.load(tmp_path / "out" / "annotations" / "panoptic_val.json").categories
    assert [(c.id, c.name, c.color) for c in categories] == [
        (1, BIRD, (165, 42, 42)),
        (2, SEPARATOR, (128, 128, 128)),
        (3, BICYCLE, (119, 11, 32)),
    ]


@pytest.mark.parametrize("path", ["v1.2/panoptic/panoptic_2018.json", "v2.0/panoptic/panoptic_2020.json"])
def test_the_panoptic_json_is_taken_as_it_is(path: str, shared: Path, tmp_path: Path, capsys):
    shutil.copytree(shared / "fixtures" / "datumaro" / "mapillary_vistas_dataset" / "val", tmp_path / "val")
    source = tmp_path / "val" / path
    source.write_text(source.read_text().replace('"bbox": [], ', ""))  # the fixture's boxes are empty
    assert convert_dataset(source, tmp_path / "out") == 0
    assert "looks like mapillary" in capsys.readouterr().out
    assert segments_of(tmp_path / "out", "val") == val(crowds=True)
    categories = PanopticAnnotations.load(tmp_path / "out" / "annotations" / "panoptic_val.json").categories
    assert [(c.id, c.name) for c in categories] == [(1, BIRD), (10, SEPARATOR), (100, BICYCLE)]


def write_scene(root: Path, labels: np.ndarray, instances: np.ndarray) -> None:
    rows = [
        {"name": "car", "instances": True, "evaluate": True, "color": [0, 0, 142]},
        {"name": "road", "instances": False, "evaluate": True, "color": [128, 64, 128]},
        {"name": "void--unlabeled", "instances": False, "evaluate": False, "color": [0, 0, 0]},
    ]
    write_image(root / "training" / "images" / "a.jpg", *labels.shape)
    write_map(root / "training" / "instances" / "a.png", (labels * 256 + instances).astype(np.uint16))
    write_map(root / "training" / "labels" / "a.png", labels.astype(np.uint8))
    (root / "config.json").write_text(json.dumps({"labels": rows}))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_every_object_keeps_its_pixels(seed: int):
    generator = np.random.default_rng(seed)
    labels = np.array([2, 0, 1])[random_blobs(generator, 9, 12, 2)]
    instances = np.where(labels == 0, random_blobs(generator, 9, 12, 4), 0)  # objects count from 0
    expected = {
        ("car", False, pixels((labels == 0) & (instances == n))) for n in np.unique(instances[labels == 0]).tolist()
    }
    if (labels == 1).any():
        expected.add(("road", False, pixels(labels == 1)))
    with tempfile.TemporaryDirectory() as folder:
        write_scene(Path(folder) / "source", labels, instances)
        assert convert_dataset(Path(folder) / "source", Path(folder) / "out") == 0
        assert segments_of(Path(folder) / "out") == {"a.jpg": expected}


MAP = Path("training/instances/a.png")


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda s: (s / MAP).unlink(), "a.jpg: has no label map"),
        (lambda s: write_map(s / MAP, np.full((2, 3), 3 << 8, np.uint16)), "6 pixels have the value 3, which nobody"),
        (lambda s: write_map(s / MAP, np.zeros((2, 3), np.uint8)), f"{MAP}: is 8-bit gray, but label x 256"),
        (lambda s: (s / "config.json").write_text("{"), "config.json: not valid JSON"),
        (lambda s: (s / "config.json").write_text("[]"), "config.json: holds a list, not an object"),
        (lambda s: (s / "config.json").write_text('{"labels": {}}'), "config.json: has no list 'labels'"),
        (lambda s: (s / "config.json").write_text('{"labels": [7]}'), "config.json: labels[0]: expected an object"),
        (
            lambda s: (s / "config.json").write_text('{"labels": [{"name": "car", "color": "red"}]}'),
            "config.json: labels[0]: the colour must be three whole numbers in 0..255, found 'red'",
        ),
        (
            lambda s: (s / "training/instances").rename(s / "training/other"),
            "no folder in it has instances/ and images/",
        ),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(break_it, said: str, tmp_path: Path, capsys):
    source = tmp_path / "source"
    write_scene(source, np.zeros((2, 3), int), np.zeros((2, 3), int))
    break_it(source)
    assert convert_dataset(source, tmp_path / "out") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
