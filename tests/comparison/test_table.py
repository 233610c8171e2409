from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from PIL import Image

from panoptic_blend.comparison.table import METRICS, Row, markdown, write_csv, write_plot


def metrics(value: float) -> dict[str, object]:
    return {metric: value for metric in METRICS if metric != "AP"} | {"mask_ap": {"AP": value / 2}}


ROWS = [
    Row("one", 1_500_000, 12.34, ["a", "b", "c"], [metrics(40.0), metrics(42.0), metrics(50.0)]),
    Row("two", 2_000_000, 20.0, ["d"], [metrics(60.0)]),
]


def test_markdown_shows_mean_and_sample_deviation() -> None:
    lines = markdown("Which?", ROWS).splitlines()
    assert lines[0] == "### Which?"
    cells = [cell.strip() for cell in lines[4].strip("|").split("|")]
    deviation = math.sqrt(((40 - 44) ** 2 + (42 - 44) ** 2 + (50 - 44) ** 2) / 2)
    assert cells[:4] == ["one", "1.50 M", "12.3", f"44.0 ± {deviation:.1f}"]
    assert cells[-1] == f"22.0 ± {deviation / 2:.1f}"
    assert [cell.strip() for cell in lines[5].strip("|").split("|")][3] == "60.0"
    assert "over 3 seeds" in lines[-1]
    assert lines[2].count("|") == lines[3].count("|") == lines[4].count("|")


def test_a_single_seed_is_called_one() -> None:
    assert "may be chance" in markdown("Which?", ROWS[1:])


def test_csv_holds_every_number(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ROWS)
    with (tmp_path / "t.csv").open(newline="") as file:
        one, two = csv.DictReader(file)
    assert (one["variant"], one["parameters"], one["seeds"], one["runs"]) == ("one", "1500000", "3", "a b c")
    assert float(one["PQ_th_mean"]) == 44
    assert float(one["AP_std"]) == pytest.approx(math.sqrt(28) / 2, abs=1e-4)
    assert float(two["PQ_std"]) == 0


def test_plot_is_a_picture(tmp_path: Path) -> None:
    write_plot(tmp_path / "t.png", "Which?", ROWS)
    with Image.open(tmp_path / "t.png") as picture:
        colors = picture.convert("RGB").getcolors(maxcolors=1 << 20)
    assert colors is not None
    assert len(colors) > 20
