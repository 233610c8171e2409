from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.errors import DatasetError
from panoptic_blend.structures import Segment

from .panoptic_files import categories, small_id_map

SEGMENTS = [Segment(70000, 90, False, 1.0, 8), Segment(1, 3, True, 0.25, 4), Segment(5, 7, True, 0.5, 4)]
MADE_WITH = {"model": {"merge": {"min_score": 0.45}, "name": "x"}, "weights": "0" * 64, "sizes": (1, 2)}


def write(
    output: Path, names: dict[int, str], made_with: dict[str, object] = MADE_WITH, overwrite: bool = False
) -> None:
    with PredictionWriter(output, categories(), made_with, overwrite) as writer:
        for image_id, name in names.items():
            record = ImageRecord(image_id, name, 6, 4, "", [])
            writer.write(record, small_id_map(), SEGMENTS, image_file=[10, image_id], extra={"scores": [0.1 + 0.2]})


def names(output: Path) -> dict[str, str]:
    """Image -> PNG, from the JSON."""
    data = json.loads((output / "predictions.json").read_text())
    pngs = {row["image_id"]: row["file_name"] for row in data["annotations"]}
    return {image["file_name"]: pngs[image["id"]] for image in data["images"]}


def test_a_later_writer_adds_to_what_was_made_with_the_same(tmp_path: Path):
    write(tmp_path, {1: "a.jpg", 2: "b.jpg"})
    write(tmp_path, {3: "a.png"})
    assert names(tmp_path) == {"a.jpg": "a.png", "b.jpg": "b.png", "a.png": "a.png.png"}


def test_what_was_kept_is_read_back_exactly(tmp_path: Path):
    write(tmp_path, {1: "a.jpg"})
    with PredictionWriter(tmp_path, categories(), MADE_WITH) as writer:
        (kept,) = writer.progress.kept.values()
        id_map, segments = writer.read(kept)
        assert np.array_equal(id_map, small_id_map())
        assert segments == SEGMENTS
        assert kept.image_file == [10, 1]
        assert writer.progress.read(kept)["extra"] == {"scores": [0.1 + 0.2]}


def test_after_kill_what_is_in_the_journal_counts(tmp_path: Path):
    write(tmp_path, {1: "a.jpg", 2: "b.jpg"})
    (tmp_path / "predictions.json").unlink()
    journal = tmp_path / "progress.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])  # the second row is torn
    write(tmp_path, {2: "b.jpg", 3: "c.jpg"})
    assert names(tmp_path) == {"a.jpg": "a.png", "b.jpg": "b.png", "c.jpg": "c.png"}


def test_an_id_map_that_was_removed_is_written_again(tmp_path: Path):
    write(tmp_path, {1: "a.jpg", 2: "b.jpg"})
    (tmp_path / "predictions" / "a.png").unlink()
    (tmp_path / "predictions" / "b.png").write_bytes(b"")  # as a file may be that was made before the power was cut
    write(tmp_path, {1: "a.jpg", 2: "b.jpg"})
    assert names(tmp_path) == {"a.jpg": "a.png", "b.jpg": "b.png"}
    assert np.array_equal(read_id_map(tmp_path / "predictions" / "b.png"), small_id_map())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"model": {"merge": {"min_score": 0.5}, "name": "x"}},
            "made with model.merge.min_score 0.45 (now 0.5). Choose",
        ),
        ({"model": {"merge": {"min_score": 0.45}, "name": "y"}}, 'made with model.name "x" (now "y"). Choose'),
        ({"weights": "1" * 64, "sizes": (1, 3)}, "made with other weights, other sizes. Choose"),
    ],
)
def test_what_was_made_with_something_else_stays_and_the_difference_is_named(
    change: dict[str, object], named: str, tmp_path: Path
):
    write(tmp_path, {1: "a.jpg"})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(DatasetError) as caught:
        write(tmp_path, {2: "b.jpg"}, MADE_WITH | change)
    assert named in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_overwriting_starts_over(tmp_path: Path):
    write(tmp_path, {1: "a.jpg", 2: "b.jpg"})
    write(tmp_path, {1: "a.jpg"}, {"other": True}, overwrite=True)
    assert names(tmp_path) == {"a.jpg": "a.png"}
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == ["a.png"]
    write(tmp_path, {2: "b.jpg"}, {"other": True})
    assert names(tmp_path) == {"a.jpg": "a.png", "b.jpg": "b.png"}


def test_predictions_of_unknown_origin_are_not_gone_on_with(tmp_path: Path):
    (tmp_path / "predictions.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"but not what they were made with.*--overwrite"):
        write(tmp_path, {1: "a.jpg"})
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]
    write(tmp_path, {1: "a.jpg"}, overwrite=True)
    assert names(tmp_path) == {"a.jpg": "a.png"}


def test_a_folder_in_which_nothing_was_predicted_yet_is_free(tmp_path: Path):
    write(tmp_path, {}, {"other": True})
    write(tmp_path, {1: "a.jpg"})
    assert names(tmp_path) == {"a.jpg": "a.png"}


def test_a_journal_removes_nothing_outside_its_folder(tmp_path: Path):
    (tmp_path / "mine.png").write_text("mine")
    write(tmp_path / "out", {1: "a.jpg"})
    journal = tmp_path / "out" / "progress.jsonl"
    journal.write_text(journal.read_text().replace('"a.png"', '"../../mine.png"'))
    with pytest.raises(DatasetError, match="leaves its folder"):
        write(tmp_path / "out", {1: "a.jpg"}, overwrite=True)
    assert (tmp_path / "mine.png").is_file()


@pytest.mark.parametrize("text", ['"somebody else\'s"\n{"step": 3}\n', '{"format": 0, "rows": []}\n{"image": 3}\n'])
def test_a_journal_of_another_kind_is_replaced_on_demand_only(text: str, tmp_path: Path):
    (tmp_path / "progress.jsonl").write_text(text)
    with pytest.raises(DatasetError, match="is not a journal of this version"):
        write(tmp_path, {1: "a.jpg"})
    assert (tmp_path / "progress.jsonl").read_text() == text
    write(tmp_path, {1: "a.jpg"}, overwrite=True)
    assert names(tmp_path) == {"a.jpg": "a.png"}


def test_a_process_that_is_killed_before_an_id_map_is_written_leaves_none(tmp_path: Path, monkeypatch):
    write(tmp_path, {1: "a.jpg"})
    (tmp_path / "predictions" / "a.png").unlink()  # its row is there
    write(tmp_path, {2: "b.jpg"}, made_with={"weights": "others"})  # nothing was predicted: nothing can be mixed
    assert names(tmp_path) == {"b.jpg": "b.png"}

    def fail(*_: object) -> None:
        assert b'"c.jpg"' in (tmp_path / "progress.jsonl").read_bytes()  # the row comes first
        raise KeyboardInterrupt

    monkeypatch.setattr("panoptic_blend.coco.predictions.write_id_map", fail)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, {3: "c.jpg"}, made_with={"weights": "others"})
    assert names(tmp_path) == {"b.jpg": "b.png"}


def test_replacing_takes_away_what_belongs_to_id_maps_before_they_are_forgotten(tmp_path: Path):
    write(tmp_path, {1: "a.jpg", 2: "b.jpg"})

    def forget(png: str) -> None:
        assert (tmp_path / "progress.jsonl").stat().st_size > 0
        assert (tmp_path / "predictions" / png).is_file()
        gone.append(png)

    gone: list[str] = []
    with PredictionWriter(tmp_path, categories(), MADE_WITH, overwrite=True, forget=forget):
        pass
    assert gone == ["a.png", "b.png"]
    assert not list((tmp_path / "predictions").iterdir())


def test_a_name_that_cannot_be_had_does_not_make_a_folder_unusable(tmp_path: Path):
    with pytest.raises(OSError, match="File name too long"):
        write(tmp_path, {1: "x" * 254})
    for _ in range(2):
        write(tmp_path, {2: "a.jpg"}, overwrite=True)
        assert names(tmp_path) == {"a.jpg": "a.png"}
