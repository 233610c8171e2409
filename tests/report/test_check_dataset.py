"""`check-dataset`: finds what was planted, shows it, and says whether something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.cli import main

from .scenes import CATEGORIES, HOSTILE, write_truth


def _plain_map() -> np.ndarray:
    id_map = np.full((120, 160), 2, np.int32)
    id_map[20:60, 20:60] = 1
    return id_map


def _write(root: Path, split: str, scenes: list[tuple[int, np.ndarray]]) -> None:
    """Pictures of seeds with their id maps; id 2 is grass, all others are things."""
    meanings = [{int(i): 2 if i == 2 else 1 for i in np.unique(id_map)} for _, id_map in scenes]
    rows = [(seed, id_map, meaning) for (seed, id_map), meaning in zip(scenes, meanings, strict=True)]
    write_truth(root, split, CATEGORIES, rows)


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Two splits that hold together, with one of each oddity."""
    void, tiny, parts = np.zeros((120, 160), np.int32), _plain_map(), _plain_map()
    void[:, :60] = 2
    tiny[100:103, 100:105] = 7
    parts[20:60, 20:60] = 2
    parts[:10, :10] = parts[100:110, 140:150] = 9
    _write(tmp_path / "data", "train", [(1, _plain_map()), (2, void), (3, tiny), (4, parts)])
    _write(tmp_path / "data", "val", [(11, np.full((120, 160), 2, np.int32)), (3, np.full((120, 160), 2, np.int32))])
    return tmp_path / "data"


def _check(data_set: Path, *options: str) -> int:
    return main(
        ["check-dataset", *(str(data_set / f"annotations/panoptic_{s}.json") for s in ("train", "val")), *options]
    )


def _found(capsys) -> list[tuple[str, str, str | None]]:
    result = json.loads(capsys.readouterr().out)
    return sorted((f["kind"], f["split"], f["image"]) for f in result["findings"])


def test_what_was_planted_is_found_and_nothing_else(data_set, capsys):
    assert _check(data_set, "--json", "--workers", "1") == 0
    assert _found(capsys) == [
        ("distant parts", "train", "003.png"),
        ("missing category", "val", None),
        ("near-duplicate", "train", "002.png"),
        ("near-duplicate", "val", "001.png"),
        ("tiny", "train", "002.png"),
        ("void", "train", "001.png"),
    ]


def test_processes_find_the_same(data_set, capsys):
    results = []
    for workers in ("1", "2"):
        assert _check(data_set, "--json", "--workers", workers) == 0
        results.append(capsys.readouterr().out)
    assert results[0] == results[1]


def test_a_segment_of_an_unusual_size_is_found(tmp_path, capsys):
    scenes = []
    for seed in range(40):
        id_map = np.full((120, 160), 2, np.int32)
        edge = 40 + seed % 3 if seed != 17 else 5
        id_map[10 : 10 + edge, 10 : 10 + edge] = 1
        scenes.append((seed, id_map))
    _write(tmp_path, "train", scenes)
    assert main(["check-dataset", str(tmp_path / "annotations/panoptic_train.json"), "--json"]) == 0
    assert _found(capsys) == [("unusual size", "train", "017.png")]


def test_faults_are_those_of_training_and_make_the_command_fail(data_set, capsys):
    (data_set / "train/000.png").write_bytes(b"no picture")
    (data_set / "val/000.png").unlink()
    assert _check(data_set, "--json") == 1
    output = capsys.readouterr()
    faults = [f for f in json.loads(output.out)["findings"] if f["kind"] == "fault"]
    assert [(f["split"], f["image"]) for f in faults] == [("train", "000.png"), ("val", "000.png")]
    assert "is not an image" in faults[0]["text"]
    assert "2 things are wrong" in output.err


def test_rows_that_do_not_hold_together_are_faults(data_set, capsys):
    path = data_set / "annotations/panoptic_train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["annotations"][1]["segments_info"][0]["category_id"] = 99
    path.write_text(json.dumps(content), encoding="utf-8")
    assert _check(data_set, "--json") == 1
    assert "category_id 99" in capsys.readouterr().out


def test_the_page_shows_all_pictures_with_their_maps(data_set, tmp_path, capsys):
    (data_set / "train/000.png").write_bytes(b"no picture")
    assert _check(data_set, "--output", str(tmp_path / "page"), "--gallery", "1") == 1
    script = (tmp_path / "page/data.js").read_text(encoding="utf-8")
    data = json.loads(script.removeprefix("const DATA = ").rstrip(";\n"))
    titles = [picture["title"] for picture in data["pictures"]]
    assert titles[0] == "train/000.png"  # what is wrong comes first
    assert sorted(titles) == ["train/000.png", "train/001.png", "train/002.png", "train/003.png", "val/001.png"]
    assert data["pictures"][0]["picture"] is None
    for picture in data["pictures"][1:]:
        image = Image.open(tmp_path / "page" / picture["picture"])
        drawn = np.asarray(Image.open(tmp_path / "page" / picture["panels"][0][1]))
        assert image.size == (160, 120) == drawn.shape[1::-1]
    void = next(p for p in data["pictures"] if p["title"] == "train/001.png")
    alpha = np.asarray(Image.open(tmp_path / "page" / void["panels"][0][1]).convert("RGBA"))[..., 3]
    assert (alpha[:, :60] == 255).all()
    assert (alpha[:, 60:] == 0).all()
    assert HOSTILE not in (tmp_path / "page/index.html").read_text(encoding="utf-8")


def test_a_folder_in_use_is_left_alone(data_set, tmp_path, capsys):
    (tmp_path / "page").mkdir()
    (tmp_path / "page/mine.txt").write_text("mine", encoding="utf-8")
    assert _check(data_set, "--output", str(tmp_path / "page")) == 2
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "page").iterdir()] == ["mine.txt"]


def test_names_that_no_page_can_show_are_told_at_once(data_set, tmp_path, capsys):
    for path in (data_set / "annotations").glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        content["categories"][1]["name"] = "gr\ud800ss"
        path.write_text(json.dumps(content), encoding="utf-8")
    assert _check(data_set, "--output", str(tmp_path / "page")) == 1
    assert "has half of a character" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "page").exists()


def test_paths_with_brackets_are_told_as_they_are(data_set, tmp_path, capsys):
    output = tmp_path / "[v1] a [" / "z]"
    _check(data_set, "--output", str(output))
    assert f"written: {output / 'index.html'}" in capsys.readouterr().out


def test_splits_of_other_categories_are_refused(data_set, capsys):
    path = data_set / "annotations/panoptic_val.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["categories"][1]["name"] = "lawn"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert _check(data_set) == 1
    assert "different categories: category 2 is 'grass'" in " ".join(capsys.readouterr().err.split())


def test_a_folder_of_images_for_each_file(data_set, capsys):
    assert _check(data_set, "--images", str(data_set / "train")) == 2
    assert "--images: give as many folders as JSON files, 2" in capsys.readouterr().err


def test_torch_is_not_loaded(data_set):
    files = [str(data_set / f"annotations/panoptic_{split}.json") for split in ("train", "val")]
    program = f"""
import sys
from panoptic_blend.cli import main
code = main(["check-dataset", *{files!r}, "--output", {str(data_set.parent / "page")!r}, "--workers", "1"])
sys.exit(code or "torch" in sys.modules)"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_in_a_browser(data_set, tmp_path, browser):
    from selenium.webdriver.support.ui import Select

    assert _check(data_set, "--output", str(tmp_path / "page")) == 0
    browser.get((tmp_path / "page/index.html").as_uri())
    assert len(browser.find_elements("css selector", ".card")) == 6
    problem, category = map(Select, browser.find_elements("css selector", "#filters select")[:2])
    problem.select_by_visible_text("void")
    cards = browser.find_elements("css selector", ".card")
    assert [card.text.splitlines()[0] for card in cards] == ["train/001.png"]
    assert "1 of 6 pictures" in browser.find_element("id", "count").text
    problem.select_by_visible_text("all")
    category.select_by_visible_text(HOSTILE)
    assert len(browser.find_elements("css selector", ".card")) == 3
    browser.find_elements("css selector", ".card")[0].click()
    viewer = browser.find_element("id", "viewer")
    first = viewer.find_element("css selector", "h3").text
    assert HOSTILE in viewer.text
    viewer.send_keys("\ue014")  # right
    assert viewer.find_element("css selector", "h3").text != first
    viewer.send_keys("\ue00c")  # escape
    assert not viewer.is_displayed()
    assert browser.get_log("browser") == []


def test_a_data_set_without_a_usable_picture_is_told(data_set: Path, capsys):
    path = data_set / "annotations" / "panoptic_train.json"
    content = json.loads(path.read_text())
    for row in content["annotations"]:
        for segment in row["segments_info"]:
            segment["category_id"] = str(segment["category_id"])
    path.write_text(json.dumps(content))
    assert _check(data_set, "--workers", "1", "--output", str(data_set / "page")) == 1
    assert "category_id '2', which 'categories' does not list" in capsys.readouterr().out
    assert (data_set / "page").exists()
