from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.convert.scenes import (
    convert_dataset,
    random_blobs,
    segments_of,
    segments_of_maps,
    write_image,
    write_map,
)

NAMES = {1: "road", 2: "car", 3: "person"}
THINGS = ("car", "person")
COLORS = {0: (0, 0, 0), 1: (128, 64, 128), 2: (0, 0, 142), 3: (220, 20, 60)}


def write_names(path: Path, colors: bool = False) -> Path:
    names = {0: "void", **NAMES}
    path.write_text("".join(f"{' '.join(map(str, COLORS[v])) if colors else v} {name}\n" for v, name in names.items()))
    return path


def write_scene(source: Path, labels: np.ndarray, instances: np.ndarray, how: str) -> None:
    write_image(source / "images" / "a.jpg", *labels.shape)
    if how == "gray and alpha":
        path = source / "labels" / "a.png"
        path.parent.mkdir()
        Image.fromarray(np.stack([labels, instances], axis=2).astype(np.uint8)).save(path)
        return
    if how == "R, G, B":
        channels = [labels, instances * 100 // 256, instances * 100 % 256]
        write_map(source / "labels" / "a.png", np.stack(channels, axis=2).astype(np.uint8))
        return
    colors = np.array(list(COLORS.values()), np.uint8)
    write_map(source / "labels" / "a.png", colors[labels] if how == "colours" else labels.astype(np.uint8))
    numbers = np.stack([instances * 3, instances, instances * 7], axis=2) if how == "colours" else instances * 900
    write_map(source / "instances" / "a.png", numbers.astype(np.uint8 if how == "colours" else np.uint16))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(["values", "colours", "gray and alpha", "R, G, B"]))
def test_every_object_keeps_its_pixels(seed: int, how: str):
    generator = np.random.default_rng(seed)
    labels, instances = random_blobs(generator, 9, 12, 3), random_blobs(generator, 9, 12, 5)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        write_scene(source, labels, instances, how)
        names = write_names(Path(folder) / "names.txt", colors=how == "colours")
        options = ["--from", "label-and-instance-maps", "--labels", str(names), "--things", ",".join(THINGS)]
        assert convert_dataset(source, Path(folder) / "out", *options) == 0
        assert segments_of(Path(folder) / "out") == {"a.jpg": segments_of_maps(labels, instances, NAMES, THINGS)}


def without_things(source: Path) -> list[str]:
    return ["--labels", str(write_names(source / "names.txt"))]


def with_things(source: Path) -> list[str]:
    return [*without_things(source), "--things", "car"]


def small_instances(source: Path) -> list[str]:
    write_map(source / "instances" / "a.png", np.ones((2, 2), np.uint8))
    return with_things(source)


def no_instances(source: Path) -> list[str]:
    (source / "instances" / "a.png").unlink()
    return with_things(source)


def cut_off(source: Path) -> list[str]:
    path = source / "instances" / "a.png"
    path.write_bytes(path.read_bytes()[:40])
    return with_things(source)


def one_channel(source: Path) -> list[str]:
    (source / "instances" / "a.png").unlink()
    (source / "instances").rmdir()
    return ["--from", "label-and-instance-maps", *with_things(source)]


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (without_things, "label maps need names, and which are things"),
        (small_instances, "instances/a.png: is 2 x 2, but"),
        (no_instances, "instances/a.png: no such label map"),
        (cut_off, "instances/a.png: cannot be read as a label map"),
        (one_channel, "labels/a.png: has one channel, so no numbers of objects"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(break_it, said: str, tmp_path: Path, capsys):
    source = tmp_path / "source"
    write_scene(source, np.full((4, 5), 2), np.ones((4, 5), int), "values")
    assert convert_dataset(source, tmp_path / "out", *break_it(source)) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
