"""`report`: the numbers of `score`, pictures from worst to best, and a page that works for any predictions."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.categories import Categories, Category
from panoptic_blend.cli import main
from panoptic_blend.report.prediction_page import choose

from .scenes import CATEGORIES, HOSTILE, MEANING, make_scene, report, write_predictions, write_truth


def _data(page: Path) -> dict:
    return json.loads((page / "data.js").read_text(encoding="utf-8").removeprefix("const DATA = ").rstrip(";\n"))


def _picks(page: Path, picture: dict) -> list[tuple[str, np.ndarray, list]]:
    """Heading, map of numbers and lines of each group of a picture's segments."""
    text = (page / picture["picks"]).read_text(encoding="utf-8")
    content = text.removeprefix(f"PICKS[{json.dumps(picture['picks'])}] = ").rstrip(";\n")
    groups = []
    for heading, image, lines in json.loads(content):
        data = base64.b64decode(image.removeprefix("data:image/webp;base64,"))
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        groups.append((heading, pixels[..., 0] + 256 * pixels[..., 1], lines))
    return groups


class _Cells(HTMLParser):
    """Rows of all tables, as texts."""

    def __init__(self, page: Path):
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self._inside = False
        self.feed((page / "index.html").read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag):
        self._inside &= tag not in ("td", "th")

    def handle_data(self, data):
        if self._inside:
            self.rows[-1][-1] += data


def test_the_page_has_the_numbers_of_score(truth, predictions, tmp_path, capsys):
    assert report(tmp_path / "page", truth, predictions, "--boundary") == 0
    numbers = tmp_path / "metrics.json"
    json_path = predictions / "predictions.json"
    words = ["--ground-truth", truth, "--predictions", json_path, "--details", "--output", numbers, "--workers", "1"]
    assert main(["score", *map(str, words)]) == 0
    metrics = json.loads(numbers.read_text(encoding="utf-8"))
    rows = _Cells(tmp_path / "page").rows
    for title, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st")):
        row = next(row for row in rows if row[0] == title)
        assert row[1:7:2] == [f"{metrics[name + suffix]:.1f}" for name in ("PQ", "SQ", "RQ")]
    for name, expected in metrics["per_class"].items():
        row = next(row for row in rows if row[0] == name and row[1] in ("thing", "stuff"))
        counts = [str(expected[key]) for key in ("tp", "fp", "fn")]
        assert [row[2], *row[4:9]] == [*(f"{expected[key]:.1f}" for key in ("PQ", "SQ", "RQ")), *counts]
        assert row[9] == f"{metrics['boundary']['per_class'][name]['PQ']:.1f}"
    costs = {row[0]: row[1:3] for row in rows if row[0] in ("poor mask", "background", "missed")}
    for kind, (segments, cost) in costs.items():
        error = metrics["thing_errors"][kind.replace(" ", "_")]
        assert (segments, cost) == (str(error["segments"]), f"{error['cost']:.1f}")
    low, high = (float(bound) for bound in next(row for row in rows if row[0] == "All")[2].split(" to "))
    assert low < metrics["PQ"] < high


def test_pictures_go_from_worst_to_best_and_tell_what_is_wrong(truth, predictions, tmp_path):
    assert report(tmp_path / "page", truth, predictions) == 0
    pictures = _data(tmp_path / "page")["pictures"]
    assert [picture["title"] for picture in pictures] == ["001.png", "002.png", "000.png"]
    assert [name for name, _ in pictures[0]["panels"]] == ["picture", "prediction", "truth", "errors"]
    predicted, true = _picks(tmp_path / "page", pictures[1])
    assert predicted[2] == [
        [0, "score 0.60, background, 200 pixels", True],
        [1, f"IoU {17320 / 17680:.2f}, 17,400 pixels", False],
        [0, f"score 0.60, IoU {38 / 42:.2f}, 1,600 pixels", False],
    ]
    assert true[2][1] == [0, f"IoU {38 / 42:.2f}, 1,600 pixels", False]
    _, true = _picks(tmp_path / "page", pictures[0])
    assert true[2][0] == [0, "missed, 1,600 pixels", True]
    errors = np.asarray(Image.open(tmp_path / "page" / pictures[2]["panels"][3][1]).convert("RGBA"))
    assert not errors[..., 3].any()
    errors = np.asarray(Image.open(tmp_path / "page" / pictures[0]["panels"][3][1]).convert("RGBA"))
    assert (errors[..., 3] > 0).sum() == 2 * 40 * 40


def test_every_place_of_a_picture_has_the_number_of_its_segment(truth, predictions, tmp_path):
    assert report(tmp_path / "page", truth, predictions, predictions) == 0
    picture = next(p for p in _data(tmp_path / "page")["pictures"] if p["title"] == "002.png")
    first, second, true = _picks(tmp_path / "page", picture)
    assert [group[0] for group in (first, second, true)] == ["A predicted", "B predicted", "Truth"]
    assert np.array_equal(first[1], second[1])
    for _, numbers, lines in (first, true):
        assert numbers.shape == (120, 160)
        assert sorted(np.unique(numbers)) == list(range(1, len(lines) + 1))
        for number, (_, text, _) in enumerate(lines, start=1):
            assert text.endswith(f" {(numbers == number).sum():,} pixels")
    assert [text for _, text, _ in true[2]][1] == f"A IoU {38 / 42:.2f}, B IoU {38 / 42:.2f}, 1,600 pixels"


def test_of_many_images_the_worse_half_and_some_others_are_shown():
    assert choose(range(5), [], 5) == [0, 1, 2, 3, 4]
    assert choose(range(100), [], 10) == [0, 1, 2, 3, 4, 14, 33, 52, 71, 90]
    assert choose(range(3), [], 1) == [0]
    assert choose(range(100), [50, 0, 99, 1], 6) == [0, 1, 2, 50, 51, 99]


def test_several_are_held_against_the_first(truth, predictions, tmp_path):
    better = write_predictions(tmp_path / "better", truth, CATEGORIES, [(make_scene(20), MEANING, 0.9)] * 3)
    assert report(tmp_path / "page", truth, predictions, better) == 0
    rows = _Cells(tmp_path / "page").rows
    first, second = (next(row for row in rows if row[0] == f"{name}, all") for name in "AB")
    assert float(second[1]) == 100
    assert float(second[5]) == pytest.approx(100 - float(first[1]))
    # The draws are paired: 100 less what A has in each.
    low, high = (float(bound) for bound in first[2].split(" to "))
    assert [float(bound) for bound in second[6].split(" to ")] == pytest.approx([100 - high, 100 - low], abs=0.11)
    grass = next(row for row in rows if row[0] == "grass" and len(row) == 7)
    assert grass[3] == "100.0"
    assert float(grass[4]) == pytest.approx(100 - float(grass[2]), abs=0.11)

    data = _data(tmp_path / "page")
    assert data["orders"] == ["worst first", "B gains most", "B loses most"]
    by_gain = sorted(data["pictures"], key=lambda picture: picture["order"][1])
    assert [picture["title"] for picture in by_gain] == ["001.png", "002.png", "000.png"]
    assert [picture["chosen"][2] for picture in by_gain] == [[0], [0], [1]]
    names = [name for name, _ in by_gain[0]["panels"]]
    assert names == ["picture", "A", "B", "truth", "errors A", "errors B"]


def test_the_same_predictions_are_even(truth, predictions, tmp_path):
    assert report(tmp_path / "page", truth, predictions, predictions) == 0
    page = _Cells(tmp_path / "page")
    row = next(row for row in page.rows if row[0] == "B, all")
    assert row[5:] == ["+0.0", "+0.0 to +0.0", "50.0"]
    assert {row[6] for row in page.rows if len(row) == 7 and row[1] in ("thing", "stuff")} == {"even"}
    html = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert "Whether B is better than A is open" in html


@pytest.mark.parametrize("classes", [1, 1000])
def test_any_number_of_categories_and_nothing_predicted(classes, tmp_path):
    categories = Categories([Category(i + 1, f"{HOSTILE} {i}", True, (i % 256, 9, 9)) for i in range(classes)])
    id_map = np.zeros((120, 160), np.int32)
    id_map[:, : 4 * 40] = np.arange(40).repeat(4) + 1
    meaning = {i + 1: i * 25 % classes + 1 for i in range(40)}
    truth = write_truth(tmp_path / "data", "val", categories, [(0, id_map, meaning)])
    run = write_predictions(tmp_path / "run", truth, categories, [(np.zeros((120, 160), np.int32), {}, 0.5)])
    assert report(tmp_path / "page", truth, run) == 0
    page = _Cells(tmp_path / "page")
    assert "img" not in page.tags
    assert len([row for row in page.rows if row[1:2] == ["thing"]]) == min(classes, 40)
    (picture,) = _data(tmp_path / "page")["pictures"]
    (heading, nothing, none), (_, numbers, lines) = _picks(tmp_path / "page", picture)
    assert (heading, none, nothing.any()) == ("Predicted", [], False)
    assert len(lines) == 40
    assert np.array_equal(np.unique(numbers), np.arange(1, 41))


def test_no_image_at_all(tmp_path):
    truth = write_truth(tmp_path / "data", "val", CATEGORIES, [])
    for folder in ("val", "annotations/panoptic_val"):
        (tmp_path / "data" / folder).mkdir(exist_ok=True)
    run = write_predictions(tmp_path / "run", truth, CATEGORIES, [])
    assert report(tmp_path / "page", truth, run) == 0
    assert report(tmp_path / "two", truth, run, run) == 0
    assert _data(tmp_path / "two")["pictures"] == []
    assert "Whether B is better than A is open" in (tmp_path / "two/index.html").read_text(encoding="utf-8")


def test_every_category_tells_how_reliable_its_scores_are(truth, predictions, tmp_path):
    assert report(tmp_path / "page", truth, predictions) == 0
    (row,) = [row for row in _Cells(tmp_path / "page").rows if row[0] == HOSTILE and len(row) == 7]
    # Scores 0.9 and 0.6 match, 0.4 and another 0.6 do not: |0.9 - 1| + |0.4 - 0| + 2 |0.6 - 0.5| over 4 things.
    assert row[1] == (
        "scores 0.4 to 0.5: 1 things, precision 0.00scores 0.6 to 0.7: 2 things, precision 0.50"
        "scores 0.9 to 1.0: 1 things, precision 1.00"
    )
    assert row[2:] == ["4", "62.5", "50.0", "+12.5", "17.5"]


def _write_sweep(run: Path, own_pq: float) -> Path:
    """Two scores by three overlaps; the best are 0.7 and 0.2, with 60."""
    pq = {(0.5, 0.2): 41.0, (0.5, 0.4): own_pq, (0.5, 0.6): 43.5, (0.7, 0.2): 60.0, (0.7, 0.4): 55.0, (0.7, 0.6): 30.0}
    points = [{"min_score": s, "max_overlap": o, "min_stuff_area": 64, "PQ": value} for (s, o), value in pq.items()]
    content = {"images": 3, "own": points[1], "best": points[3], "points": points}
    (run / "sweep.json").write_text(json.dumps(content), encoding="utf-8")
    return run / "sweep.json"


def test_a_sweep_beside_the_predictions_is_drawn(truth, predictions, tmp_path):
    sweep = _write_sweep(predictions, 40.0)
    assert report(tmp_path / "page", truth, predictions) == 0
    html = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert "PQ is 40.0 with min_score 0.5, max_overlap 0.4. It would be 20.0 higher with" in html
    assert "min_score 0.7, max_overlap 0.2. The best thresholds for some pictures are a little too good there" in html
    assert "These 3 images gave PQ 40.0, so they or their truth were others." in html
    # From 30 to 60 over 170 units of height: best (0.7) and own (0.5) over the overlap, x from 40 to 350.
    assert "M102.0 30.0 L164.0 58.3 L226.0 200.0" in html
    assert "M102.0 137.7 L164.0 143.3 L226.0 123.5" in html
    assert "best: max_overlap 0.2, PQ 60.0" in html
    rows = _Cells(tmp_path / "page").rows
    assert ["0.5", "41.0", "40.0", "43.5"] in rows
    assert ["0.7", "60.0", "55.0", "30.0"] in rows

    sweep.unlink()
    assert report(tmp_path / "without", truth, predictions) == 0
    assert "Other thresholds" not in (tmp_path / "without/index.html").read_text(encoding="utf-8")


def test_a_sweep_of_these_predictions_is_believed_and_a_broken_one_named(truth, predictions, tmp_path, capsys):
    json_path = predictions / "predictions.json"
    words = ["--ground-truth", truth, "--predictions", json_path, "--output", tmp_path / "metrics.json"]
    assert main(["score", *map(str, words)]) == 0
    own = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["PQ"]
    sweep = _write_sweep(predictions, own)
    assert report(tmp_path / "page", truth, predictions) == 0
    assert "were others" not in (tmp_path / "page/index.html").read_text(encoding="utf-8")
    sweep.write_text("{}", encoding="utf-8")
    assert report(tmp_path / "broken", truth, predictions) == 1
    assert "sweep.json: is no complete sweep" in capsys.readouterr().err
    assert not (tmp_path / "broken").exists()


def test_what_is_missing_is_said(truth, predictions, tmp_path, capsys):
    assert report(tmp_path / "page", truth, tmp_path / "nowhere") == 1
    assert "nowhere" in capsys.readouterr().err
    assert report(tmp_path / "page", truth, predictions, "--images", tmp_path / "gone") == 1
    assert "gone: no such folder" in capsys.readouterr().err
    (tmp_path / "page").mkdir()
    (tmp_path / "page/mine.txt").write_text("mine", encoding="utf-8")
    assert report(tmp_path / "page", truth, predictions) == 2
    assert "is there already" in capsys.readouterr().err


def test_pictures_that_cannot_be_read_are_left_black(truth, predictions, tmp_path):
    (tmp_path / "data/val/001.png").write_bytes(b"no picture")
    assert report(tmp_path / "page", truth, predictions) == 0
    assert [bool(picture["picture"]) for picture in _data(tmp_path / "page")["pictures"]] == [False, True, True]


def test_a_picture_with_two_predictions_is_small(tmp_path):
    photographs = Image.open(Path(__file__).parents[2] / "docs/camvid.jpg")  # the first of three side by side
    street = photographs.crop((0, 20, photographs.width // 3, photographs.height)).resize((640, 480))
    true = (1 + np.arange(480)[:, None] // 80 * 8 + np.arange(640) // 80).astype(np.int32)
    meaning = {i: 1 for i in range(1, 49)}
    truth = write_truth(tmp_path / "data", "val", CATEGORIES, [(0, true, meaning)])
    street.save(tmp_path / "data/val/000.png")
    coarse = np.random.default_rng(0).random((24, 32)).astype(np.float32)
    blobs = np.asarray(Image.fromarray(coarse).resize((640, 480)))
    maps = [np.where(blobs > limit, true, np.roll(true, 40)) for limit in (0.4, 0.6)]
    runs = [
        write_predictions(tmp_path / name, truth, CATEGORIES, [(id_map, meaning, 0.5)])
        for name, id_map in zip("ab", maps, strict=True)
    ]
    assert report(tmp_path / "page", truth, *runs) == 0
    files = list((tmp_path / "page/pictures").iterdir())
    assert len(files) == 7
    # A thousand of them take less than 60 MB.
    assert 20_000 < sum(path.stat().st_size for path in files) < 58_000


def test_torch_is_not_loaded(truth, predictions, tmp_path):
    words = [str(predictions), "--annotations", str(truth), "--output", str(tmp_path / "page"), "--workers", "1"]
    program = f"""
import sys
from panoptic_blend.cli import main
code = main(["report", *{words!r}])
sys.exit(code or "torch" in sys.modules)"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0


def test_to_find_nothing_where_nothing_is_asked_for_is_better_than_to_invent(tmp_path: Path):
    plain, crowd, nothing = make_scene(20), np.full((120, 160), 1, np.int32), np.zeros((120, 160), np.int32)
    truth = write_truth(tmp_path / "data", "val", CATEGORIES, [(1, plain, MEANING), (2, crowd, MEANING)])
    content = json.loads(truth.read_text())
    content["annotations"][1]["segments_info"][0]["iscrowd"] = 1
    truth.write_text(json.dumps(content))
    grass = np.full((120, 160), 2, np.int32)
    for name, second in (("a", nothing), ("b", grass)):
        write_predictions(tmp_path / name, truth, CATEGORIES, [(plain, MEANING, 0.9), (second, MEANING, 0.9)])
    assert report(tmp_path / "page", truth, tmp_path / "a", tmp_path / "b") == 0
    row = next(row for row in _data(tmp_path / "page")["pictures"] if row["title"] == "001.png")
    assert row["chosen"][-1] == [2]  # a is better
    assert row["order"][1:] == [1.0, -1.0]  # the last where b gains most, the first where it loses most
