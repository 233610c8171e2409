"""What several writers kept in folders of their own becomes what one writer leaves, whoever is killed on the way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.coco.annotations import ImageRecord
from panoptic_blend.coco.predictions import PredictionWriter
from panoptic_blend.errors import DatasetError
from panoptic_blend.inference.going_on import join_part, join_parts, part_folder
from panoptic_blend.inference.overlays import overlay_path
from panoptic_blend.structures import Segment
from tests.coco.panoptic_files import categories

NAMES = ["a.jpg", "a.png", "b/c.jpg", "d.jpg", "B/c.png", "e.jpg", "ü 猫.jpg"]
"""The second and the fifth cannot have the PNG that is theirs alone: an earlier one has it."""


def fill(output: Path, numbers: Sequence[int], made_with: str = "x") -> None:
    """Write images, each of another look, and a text in the place of an overlay."""
    with PredictionWriter(output, categories(), {"model": made_with}) as writer:
        for number in numbers:
            id_map = np.full((4, 6), number + 1, np.int32)
            record = ImageRecord(number, NAMES[number], 6, 4, "", [])
            kept = writer.write(record, id_map, [Segment(number + 1, 90, False, 0.5, 24)], [10, number])
            overlay_path(output, kept.png).parent.mkdir(parents=True, exist_ok=True)
            overlay_path(output, kept.png).write_text(NAMES[number])


def join(output: Path) -> None:
    with PredictionWriter(output, categories(), {"model": "x"}) as writer:
        join_parts(writer)
        writer.progress.arrange(range(len(NAMES)))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    fill(tmp_path / "whole", range(7))
    return contents(tmp_path / "whole")


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    """The first two images, and three parts with the others."""
    output = tmp_path / "out"
    fill(output, [0, 1])
    for number, images in enumerate(([2], [3, 4], [5, 6])):
        fill(part_folder(output, number), images)
    return output


def test_parts_that_are_joined_are_what_one_writer_leaves(parted: Path, whole: dict[str, bytes]):
    join(parted)
    assert contents(parted) == whole  # the journal, too
    assert not (parted / ".parts").exists()


def test_whoever_joins_and_is_killed_anywhere_loses_nothing(
    parted: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    replace, rmtree = os.replace, shutil.rmtree
    for moment in range(100):
        shutil.copytree(parted, tmp_path / "copy")
        left = iter(range(moment))

        def die(do: object, *arguments: object, left: object = left) -> None:
            if next(left, None) is None:  # type: ignore[call-overload]
                raise Killed
            do(*arguments)  # type: ignore[operator]

        killed = False
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", lambda *paths: die(replace, *paths))
            patch.setattr("shutil.rmtree", lambda *paths: die(rmtree, *paths))
            try:
                join(tmp_path / "copy")
            except Killed:
                killed = True
        join(tmp_path / "copy")
        found = contents(tmp_path / "copy")
        assert found | {"progress.jsonl": b""} == whole | {"progress.jsonl": b""}
        rmtree(tmp_path / "copy")
        if not killed:
            assert moment >= 2 * 5 + 3  # two files of each image, and the three folders
            return
    pytest.fail("it never came to an end")


def test_of_a_part_that_was_not_finished_the_whole_images_count(parted: Path, whole: dict[str, bytes]):
    part = part_folder(parted, 2)
    (part / "predictions" / "ü 猫.png").unlink()
    (part / "predictions.json").unlink()
    (part / ".lock").write_text("process 1 on nowhere")
    (part / "predictions" / f".{'0' * 32}.tmp").write_bytes(b"half a PNG")
    with PredictionWriter(parted, categories(), {"model": "x"}) as writer:
        join_parts(writer)
        assert list(writer.progress.kept) == [0, 1, 2, 3, 4, 5]
    fill(parted, [6])
    assert contents(parted) == whole


def test_an_image_that_is_here_already_only_gets_its_overlay(parted: Path, whole: dict[str, bytes]):
    fill(part_folder(parted, 0), [0, 1])
    overlay_path(parted, "a.png").unlink()
    join(parted)
    assert contents(parted) == whole


def test_parts_of_another_model_are_not_joined(parted: Path):
    fill(part_folder(parted, 7), [6], made_with="y")
    before = contents(part_folder(parted, 7))
    with pytest.raises(DatasetError, match=r'holds predictions made with model "y" \(now "x"\)'):
        join(parted)
    assert contents(part_folder(parted, 7)) == before


def test_a_name_that_cannot_be_written_costs_its_image_alone(parted: Path):
    (parted / "predictions" / "d.png").mkdir()
    with PredictionWriter(parted, categories(), {"model": "x"}) as writer:
        (failure,) = join_part(writer, part_folder(parted, 1))
        assert list(writer.progress.kept) == [0, 1, 4]
    assert failure.startswith("d.jpg: cannot be written under this name (")
    assert not part_folder(parted, 1).exists()
