import json
from dataclasses import replace

import pytest

from panoptic_blend.cli import main
from panoptic_blend.evaluation.boundary import BoundaryPQ
from panoptic_blend.evaluation.calibration import Calibration
from panoptic_blend.evaluation.confusion import PanopticConfusion
from panoptic_blend.evaluation.covering import ParsingCovering
from panoptic_blend.evaluation.dagger import PQDagger
from panoptic_blend.evaluation.details import panoptic_details
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.per_image import PerImagePQ
from panoptic_blend.evaluation.pq import PanopticQuality, panoptic_quality
from panoptic_blend.evaluation.sizes import PQBySize
from panoptic_blend.evaluation.thing_errors import ThingErrors

from .random_maps import CATEGORIES
from .test_pq import write_random_set

ALONE = {
    "pq": PanopticQuality,
    "sizes": PQBySize,
    "dagger": PQDagger,
    "covering": ParsingCovering,
    "confusion": PanopticConfusion,
    "per_image": PerImagePQ,
    "thing_errors": ThingErrors,
    "calibration": Calibration,
    "boundary": BoundaryPQ,
}


def test_files_give_what_every_metric_counts_alone(tmp_path):
    truth, predictions, cases = write_random_set(tmp_path, 20, seed=3)
    result = panoptic_details(truth, predictions, workers=1)
    for name, kind in ALONE.items():
        metric = kind(CATEGORIES)
        for record, truth_ids, predicted_ids, segments in cases:
            metric.update(ImagePair(record.image_id, truth_ids, record.segments, predicted_ids, segments))
        assert getattr(result, name) == metric.compute()


def test_the_number_of_processes_changes_nothing(tmp_path):
    truth, predictions, _ = write_random_set(tmp_path, 70, seed=3)
    done = []
    one, two = (panoptic_details(truth, predictions, workers=n, progress=lambda *i: done.append(i)) for n in (1, 2))
    assert one == two
    assert done == [(32, 70), (64, 70), (70, 70)] * 2
    assert one.pq == panoptic_quality(truth, predictions, engine="builtin", workers=1)
    assert panoptic_details(truth, predictions, workers=1, boundary=False) == replace(one, boundary=None)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Files, and the metrics.json that `score` writes of them without and with details."""
    root = tmp_path_factory.mktemp("scored")
    truth, predictions, _ = write_random_set(root, 8, seed=3)
    written = []
    for options in ([], ["--details"]):
        files = ["--ground-truth", str(truth), "--predictions", str(predictions), "--output", str(root / "m.json")]
        assert main(["score", *files, *options]) == 0
        written.append((root / "m.json").read_text())
    return truth, predictions, *written


def test_details_are_added_to_metrics_json_in_percent(scored):
    truth, predictions, plain, detailed = scored
    plain, data = json.loads(plain), json.loads(detailed)
    notes = data.pop("notes")
    assert notes[: len(plain["notes"])] == plain.pop("notes")
    assert {name: data.pop(name) for name in plain} == plain
    result = panoptic_details(truth, predictions, workers=1)
    assert data["sizes"]["small"]["PQ"] == 100 * result.sizes.small.all.pq
    assert data["sizes"]["large"]["N"] == 0
    assert "PQ by size: large: no category is in truth or prediction: its PQ is 0" in notes
    assert data["dagger"]["PQ_st"] == 100 * result.dagger.stuff
    assert data["dagger"]["per_class"]["c50"] == 100 * result.dagger.per_class[50]
    assert data["parsing_covering"]["PC_th"] == 100 * result.covering.things
    assert [row["image_id"] for row in data["per_image"]] == list(range(1, 9))
    assert data["per_image"][2]["RQ"] == 100 * result.per_image.images[2].rq
    pixels = {(row["truth"], row["predicted"]): row["pixels"] for row in data["confusion"]}
    assert pixels[None, None] > 0
    assert pixels["c1", "c1"] == next(r.pixels for r in result.confusion.rows if r.truth == r.predicted == 1)
    assert sum(pixels.values()) == 8 * 9 * 11
    background = data["thing_errors"]["background"]
    assert background["segments"] == sum(background["per_class"].values()) > 0
    assert background["cost"] == 100 * next(e.cost for e in result.thing_errors.errors if e.kind == "background")
    assert data["calibration"]["error"] == 100 * result.calibration.error
    assert data["calibration"]["bins"][9]["precision"] == 100 * result.calibration.bins[9].precision
    assert data["boundary"]["RQ_th"] == 100 * result.boundary.things.rq
    assert data["boundary"]["per_class"]["c9"]["fn"] == result.boundary.per_class[0].fn
    tables = {"confusion", "per_image", "thing_errors", "calibration"}
    assert data.keys() == {"sizes", "dagger", "parsing_covering", "boundary", *tables}


def test_every_row_of_a_table_is_a_line_of_the_file(scored):
    *_, detailed = scored
    lines = [line for line in detailed.splitlines() if '"image_id"' in line]
    assert [json.loads(line.rstrip(","))["image_id"] for line in lines] == list(range(1, 9))


def test_the_console_shows_them_and_other_engines_are_refused(scored, capsys):
    truth, predictions, *_ = scored
    files = ["score", "--ground-truth", str(truth), "--predictions", str(predictions), "--details"]
    assert main(files) == 0
    printed = capsys.readouterr().out
    small = panoptic_details(truth, predictions, workers=1).sizes.small.all.pq
    assert f"PQ by size  small {100 * small:.1f}\n" in printed, "medium and large have no segments"
    assert "PQ-dagger  all " in printed
    assert "PQ of things lost to  " in printed
    assert "boundary PQ  all " in printed
    assert main([*files, "--engine", "panopticapi"]) == 2
    assert "--engine panopticapi counts PQ alone" in capsys.readouterr().err
