from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.convert.scenes import convert_dataset, pixels, random_blobs, segments_of, write_image, write_map

NAMES = (
    "Idx\tRatio\tTrain\tVal\tName\n1\t0.2\t9\t9\twall\n4\t0.1\t9\t9\tbed \n6\t0\t9\t9\tsky\n7\t0\t9\t9\tlamp, light\n"
)
THINGS = {4: "bed", 7: "lamp"}
STUFF = {1: "wall", 6: "sky"}
NUMBER_AMONG_THINGS = {4: 1, 7: 2}
HEIGHT, WIDTH = 20, 31
MAP = Path("annotations/training/ADE_train_1.png")
OBJECTS = Path("annotations_instance/training/ADE_train_1.png")


def make(root: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Write a data set without objects; its label map, and numbers of objects that need not fit it."""
    generator = np.random.default_rng(seed)
    write_image(root / "images" / "training" / "ADE_train_1.jpg", HEIGHT, WIDTH)
    labels = np.array([0, 1, 4, 6, 7])[random_blobs(generator, HEIGHT, WIDTH, 12) % 5].astype(np.uint8)
    write_map(root / MAP, labels)
    (root / "objectInfo150.txt").write_text(NAMES)
    return labels, random_blobs(generator, HEIGHT, WIDTH, 5)


def write_objects(root: Path, numbers: np.ndarray) -> None:
    """Odd objects are beds, even ones lamps."""
    category = np.where(numbers > 0, np.where(numbers % 2, NUMBER_AMONG_THINGS[4], NUMBER_AMONG_THINGS[7]), 0)
    write_map(root / OBJECTS, np.stack([category, numbers, np.zeros_like(numbers)], axis=2).astype(np.uint8))


@pytest.mark.parametrize("seed", range(4))
def test_objects_lie_in_front_of_stuff(seed: int, tmp_path: Path, capsys):
    labels, numbers = make(tmp_path / "source", seed)
    write_objects(tmp_path / "source", numbers)
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    assert "looks like ade20k" in capsys.readouterr().out
    expected = {(THINGS[4 if n % 2 else 7], False, pixels(numbers == n)) for n in np.unique(numbers).tolist() if n}
    for value, name in STUFF.items():
        seen = (labels == value) & (numbers == 0)
        expected |= {(name, False, pixels(seen))} if seen.any() else set()
    assert segments_of(tmp_path / "out") == {"ADE_train_1.jpg": expected}


def test_without_objects_connected_parts_are_things(tmp_path: Path):
    make(tmp_path / "source", 0)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:5], labels[8:10, 3:6], labels[15:, 20:] = 6, 7, 7
    write_map(tmp_path / "source" / MAP, labels)
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 0
    parts = [np.zeros_like(labels, bool) for _ in range(3)]
    parts[0][:5] = parts[1][8:10, 3:6] = parts[2][15:, 20:] = True
    expected = {(name, False, pixels(part)) for name, part in zip(("sky", "lamp", "lamp"), parts, strict=True)}
    assert segments_of(tmp_path / "out") == {"ADE_train_1.jpg": expected}


def test_a_thing_made_stuff_takes_its_labels_and_objects(tmp_path: Path):
    labels, numbers = make(tmp_path / "source", 1)
    write_objects(tmp_path / "source", numbers)
    assert convert_dataset(tmp_path / "source", tmp_path / "out", "--stuff", "bed", "--drop", "lamp,wall,sky") == 0
    # Dropped lamps hide nothing.
    bed = (labels == 4) | (numbers % 2 == 1)
    assert segments_of(tmp_path / "out") == {"ADE_train_1.jpg": {("bed", False, pixels(bed))}}


def gray(value: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH), value, np.uint8)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda s: (s / MAP).unlink(), "ADE_train_1.jpg: has no label map"),
        (lambda s: (s / OBJECTS).unlink(), f"{OBJECTS}: no such label map"),
        (lambda s: write_map(s / MAP, gray(2)), f"{MAP}: 620 pixels have the value 2, which nobody named"),
        (lambda s: write_map(s / MAP, np.stack([gray(1)] * 3, axis=2)), f"{MAP}: is in colour"),
        (lambda s: write_map(s / OBJECTS, gray(1)), f"{OBJECTS}: is gray, but category and object"),
        (lambda s: write_map(s / OBJECTS, np.zeros((3, 3, 3), np.uint8)), f"{OBJECTS}: is 3 x 3, but"),
        (
            lambda s: write_map(s / OBJECTS, np.stack([gray(3)] * 3, axis=2)),
            "object 3 has the categories [3]; expected",
        ),
        (lambda s: (s / "objectInfo150.txt").write_text("Idx\tName\n"), "objectInfo150.txt: names no category"),
        (lambda s: (s / "objectInfo150.txt").write_text("Idx\tName\nx\twall\n"), "objectInfo150.txt, row 1: expected"),
        (
            lambda s: (s / "objectInfo150.txt").write_text(NAMES + "1\t\t\t\tsea\n"),
            "objectInfo150.txt, row 5: expected",
        ),
        (lambda s: (s / "objectInfo150.txt").write_bytes(b"\xff\xfe\xff"), "cannot be read as a list of names"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(break_it, said: str, tmp_path: Path, capsys):
    _, numbers = make(tmp_path / "source", 2)
    write_objects(tmp_path / "source", numbers)
    break_it(tmp_path / "source")
    assert convert_dataset(tmp_path / "source", tmp_path / "out") == 1
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
