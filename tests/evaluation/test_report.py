import io
import json

import numpy as np
from rich.console import Console

from panoptic_blend.categories import Categories, Category
from panoptic_blend.evaluation.details import Details
from panoptic_blend.evaluation.instances import MaskAP
from panoptic_blend.evaluation.pq_result import summarize
from panoptic_blend.evaluation.report import category_names, print_tables, write_metrics
from panoptic_blend.evaluation.semantic import MeanIoU

CATEGORIES = Categories(
    [
        Category(1, "car", True, (0, 0, 0)),
        Category(2, "[bold]sky", False, (0, 0, 0)),
        Category(3, "car", False, (0, 0, 0)),
        Category(4, "road", False, (0, 0, 0)),
    ]
)
RESULT = summarize(
    CATEGORIES, np.array([1.5, 0.0, 3.0, 0.0]), np.array([2, 0, 4, 0]), np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0])
)


def test_metrics_json_has_the_agreed_keys_in_percent(tmp_path):
    path = tmp_path / "run" / "metrics.json"
    write_metrics(path, RESULT, MaskAP(CATEGORIES).compute(), MeanIoU(CATEGORIES).compute())
    data = json.loads(path.read_text())
    groups = [f"{metric}{group}" for group in ("", "_th", "_st") for metric in ("PQ", "SQ", "RQ")]
    assert [*groups, "N", "per_class", "mask_ap", "semantic", "notes"] == list(data)
    assert data["PQ_th"] == 100 * 1.5 / 3
    assert data["SQ_th"] == 75
    assert data["PQ_st"] == (0 + 75) / 2
    assert data["N"] == 3
    assert data["per_class"]["car (1)"] == {"PQ": 50, "SQ": 75, "RQ": 100 * (2 / 3), "tp": 2, "fp": 1, "fn": 1}
    assert data["per_class"]["car (3)"]["tp"] == 4
    assert len(data["per_class"]) == 4
    assert [note.split(":")[0] for note in data["notes"]] == ["mask AP", "mIoU"]


def test_tables_show_every_category_that_occurs_and_every_note():
    console = Console(file=io.StringIO(), width=100)
    print_tables(console, RESULT, MaskAP(CATEGORIES).compute(), MeanIoU(CATEGORIES).compute())
    lines = console.file.getvalue().splitlines()

    def cells(start):
        line = next(line for line in lines if line.strip("│ ").startswith(start))
        return [cell.strip() for cell in line.strip("│ ").split("│")]

    assert cells("Things") == ["Things", "50.0", "75.0", "66.7", "1"]
    assert cells("[bold]sky") == ["[bold]sky", "stuff", "0.0", "0.0", "0.0", "0", "1", "0"]
    assert not any("road" in line for line in lines), "a category in neither truth nor prediction has no score"
    assert any("1 more in neither truth nor prediction" in line for line in lines)
    assert sum(line.startswith("Note: ") for line in lines) == 2


def test_numbers_of_nothing_are_not_printed():
    console = Console(file=io.StringIO(), width=100)
    print_tables(console, RESULT, details=Details(CATEGORIES).compute())
    titles = {line.split("  ")[0] for line in console.file.getvalue().splitlines()}
    assert "PQ-dagger" in titles
    assert not titles & {"PQ by size", "PQ of things lost to", "boundary PQ", "calibration of scores"}


def test_equal_names_are_told_apart_even_when_the_addition_is_a_name_too():
    categories = Categories([Category(i, name, True, (0, 0, 0)) for i, name in ((1, "a"), (2, "a"), (3, "a (1)"))])
    assert category_names(categories) == {1: "a (1) (1)", 2: "a (2)", 3: "a (1) (3)"}
