from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.convert.mask_folders import recognise
from tests.convert.scenes import convert_dataset, pixels, random_blobs, segments_of, write_map

PUBLISHED = "kaggle-dsbowl-2018-dataset-fixes/stage1_train"
OPTIONS = ["--thing", "nucleus", "--stuff", "background"]


def test_mask_folders_give_an_object_a_file(tmp_path: Path):
    source, expected = tmp_path / "source", {}
    for number in range(3):
        folder = source / f"cell{number}"
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        blobs = random_blobs(np.random.default_rng(number), 16, 24, number * 3)
        Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(folder / "images" / "x.png")
        numbers = [n for n in np.unique(blobs) if n > 0]
        for n in numbers:
            Image.fromarray((blobs == n).astype(np.uint8) * 255).save(folder / "masks" / f"{n}.png")
        rest = {("background", False, pixels(blobs == 0))} if (blobs == 0).any() else set()
        expected[f"cell{number}.png"] = {("nucleus", False, pixels(blobs == n)) for n in numbers} | rest
    assert convert_dataset(source, tmp_path / "out", *OPTIONS) == 0
    assert segments_of(tmp_path / "out") == expected


@pytest.mark.parametrize("name", ["common_semantic_segmentation_dataset", "open_images_dataset"])
def test_folders_of_many_images_are_not_taken_for_it(name: str, shared: Path):
    assert not recognise(shared / "fixtures" / "datumaro" / name)


def records_of(truth: Path) -> list[tuple[str, ImageRecord, PanopticAnnotations]]:
    return [
        (split, record, annotations)
        for split in ("train", "val")
        for annotations in [PanopticAnnotations.load(truth / "annotations" / f"panoptic_{split}.json")]
        for record in annotations
    ]


def rebuild(truth: Path, source: Path, per_split: int | None) -> None:
    """The Data Science Bowl's layout, `NAME/images/` and `NAME/masks/`, from the panoptic nuclei."""
    chosen = records_of(truth)
    for split in ("train", "val"):
        for _, record, panoptic in [each for each in chosen if each[0] == split][:per_split]:
            id_map = read_segments(record, truth / f"panoptic_{split}", panoptic.categories, split)
            folder = source / Path(record.file_name).stem
            (folder / "images").mkdir(parents=True)
            shutil.copy(truth / split / record.file_name, folder / "images")
            (folder / "masks").mkdir()
            for segment in record.segments:
                if panoptic.categories.by_id(segment.category_id).name == "nucleus":
                    mask = np.where(id_map == segment.id, 255, 0).astype(np.uint8)
                    write_map(folder / "masks" / f"{segment.id:06}.png", mask)


def contested(folder: Path) -> np.ndarray:
    """[H, W] pixels that several masks claim."""
    return np.sum([np.asarray(Image.open(path).convert("L")) > 127 for path in folder.iterdir()], axis=0) > 1


def segments_compared(truth: Path, source: Path, output: Path) -> tuple[int, int]:
    """Hold every segment of every image in the source to the panoptic nuclei; numbers of segments and of pixels that
    several masks claim, which may go to another of them here than there."""
    assert convert_dataset(source, output, *OPTIONS) == 0
    path = output / "annotations" / "panoptic_train.json"
    rows = {row["file_name"].split(".")[0][:12]: row for row in json.loads(path.read_text())["annotations"]}
    folders = {path.name[:12]: path for path in source.iterdir()}
    names = {row["id"]: row["name"] for row in json.loads(path.read_text())["categories"]}
    compared = pixels = 0
    for split, record, panoptic in records_of(truth):
        stem = Path(record.file_name).stem
        if stem not in rows:
            continue
        id_map = read_id_map(truth / f"panoptic_{split}" / record.segments_file_name)
        converted = read_id_map(output / "panoptic_train" / rows[stem]["file_name"])
        free = ~contested(folders[stem] / "masks")
        pixels += int((~free).sum())
        expected = {
            (panoptic.categories.by_id(s.category_id).name, ((id_map == s.id) & free).tobytes())
            for s in record.segments
        }
        found = {
            (names[s["category_id"]], ((converted == s["id"]) & free).tobytes()) for s in rows[stem]["segments_info"]
        }
        assert found == expected, stem
        compared += len(found)
    return compared, pixels


def test_nuclei_give_the_panoptic_data_set(shared: Path, tmp_path: Path):
    truth = shared / "datasets" / "dsb2018_panoptic"
    rebuild(truth, tmp_path / "source", per_split=3)
    compared, pixels = segments_compared(truth, tmp_path / "source", tmp_path / "out")
    assert compared > 50
    assert pixels == 0


@pytest.mark.slow
@pytest.mark.parametrize("is_published", [True, False])
def test_all_nuclei_give_the_panoptic_data_set(is_published: bool, shared: Path, tmp_path: Path):
    truth, source = shared / "datasets" / "dsb2018_panoptic", shared / "datasets" / PUBLISHED
    if is_published and not source.is_dir():
        pytest.skip(f"needs the Data Science Bowl's masks in {source}")
    if not is_published:
        source = tmp_path / "source"
        rebuild(truth, source, per_split=None)
    compared, pixels = segments_compared(truth, source, tmp_path / "out")
    assert compared == 25370
    assert pixels == (9 if is_published else 0)


@pytest.mark.parametrize("white", [1, 100, 255])
def test_the_object_is_what_is_white(white: int, tmp_path: Path):
    """By the mask's own white, and by the colours of a palette, whatever their order."""
    seen = np.zeros((16, 24), bool)
    seen[:3] = True
    folder = tmp_path / "source" / "cell"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    Image.new("RGB", (24, 16)).save(folder / "images" / "x.png")
    indexed = Image.fromarray((~seen).astype(np.uint8), "P")
    indexed.putpalette([white] * 3 + [0] * 3)
    indexed.save(folder / "masks" / "1.png")
    assert convert_dataset(tmp_path / "source", tmp_path / "out", "--thing", "nucleus") == 0
    Image.fromarray(seen.astype(np.uint8) * white).save(folder / "masks" / "1.png")
    assert convert_dataset(tmp_path / "source", tmp_path / "again", "--thing", "nucleus") == 0
    expected = {"cell.png": {("nucleus", False, pixels(seen))}}
    assert segments_of(tmp_path / "out") == segments_of(tmp_path / "again") == expected
