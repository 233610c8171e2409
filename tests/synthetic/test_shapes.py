from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.id_maps import read_segments
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.config import DataConfig
from panoptic_blend.errors import DatasetError
from panoptic_blend.synthetic.scene import MIN_AREA, SHAPES, paint_scene
from panoptic_blend.synthetic.shapes import generate_shapes
from panoptic_blend.synthetic.toys import OUTLINES, polygon_distance


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes(shapes: Path, tmp_path: Path) -> None:
    assert digests(generate_shapes(tmp_path, train=7, val=3, seed=5)) == digests(shapes)


def test_another_seed_other_pictures_and_no_picture_in_both_splits(shapes: Path, tmp_path: Path) -> None:
    generate_shapes(tmp_path, train=7, val=3, seed=6)
    pictures = [digest for root in (shapes, tmp_path) for name, digest in digests(root).items() if name.endswith("jpg")]
    assert len(set(pictures)) == 20


def test_layout_is_the_default_one_and_holds_together(shapes: Path) -> None:
    config = DataConfig()
    for images, json_name, count in (
        (config.train_images, config.train_annotations, 7),
        (config.val_images, config.val_annotations, 3),
    ):
        annotations = PanopticAnnotations.load(shapes / json_name)
        assert len(annotations) == count
        assert annotations.categories == SHAPES
        for record in annotations:
            assert (shapes / images / record.file_name).is_file()
            id_map = read_segments(record, annotations.default_segments_folder, SHAPES, json_name)
            for segment in record.segments:
                y, x = np.nonzero(id_map == segment.id)
                assert segment.area == len(y)
                box = (x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min())
                assert segment.bbox == box


def test_scenes_have_what_real_pictures_have() -> None:
    scenes = [paint_scene(np.random.default_rng([0, index])) for index in range(60)]
    segments = [row for scene in scenes for row in scene.segments.values()]
    assert {category for category, _ in segments} == {category.id for category in SHAPES}
    assert any(is_crowd for _, is_crowd in segments)
    assert any((scene.id_map == 0).any() for scene in scenes)
    several = [
        scene for scene in scenes if any(list(scene.segments.values()).count((kind, False)) > 1 for kind in range(1, 6))
    ]
    assert len(several) > 30
    for scene in scenes:
        ids, areas = np.unique(scene.id_map[scene.id_map > 0], return_counts=True)
        assert set(ids) == set(scene.segments)
        assert areas.min() >= MIN_AREA


def test_an_existing_set_is_used_again(shapes: Path, tmp_path: Path) -> None:
    generate_shapes(tmp_path, train=2, val=1)
    drawn: list[None] = []
    generate_shapes(tmp_path, train=2, val=1, progress=lambda: drawn.append(None))
    assert drawn == []
    (tmp_path / "annotations" / "panoptic_val.json").unlink()
    generate_shapes(tmp_path, train=2, val=1, progress=lambda: drawn.append(None))
    assert len(drawn) == 1


@pytest.mark.parametrize("content", ['{"images": []}', "[]", "not json", None])
def test_other_annotations_are_never_overwritten(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "annotations" / "panoptic_train.json"
    if content is None:  # another shapes data set
        generate_shapes(tmp_path, train=1, val=1, seed=9)
    else:
        path.parent.mkdir()
        path.write_text(content)
    before = digests(tmp_path)
    with pytest.raises(DatasetError, match=r"panoptic_train\.json: holds something other"):
        generate_shapes(tmp_path, train=1, val=1)
    assert digests(tmp_path) == before


def test_info_says_what_it_is(shapes: Path) -> None:
    info = json.loads((shapes / "annotations" / "panoptic_val.json").read_text())["info"]
    assert info["split"] == "val"
    assert info["seed"] == 5


@pytest.mark.parametrize("kind", OUTLINES)
def test_polygon_distance_is_the_distance_to_a_densely_sampled_outline(kind: int) -> None:
    corners = OUTLINES[kind].astype(np.float64)
    steps = np.linspace(0, 1, 400)[:, None]
    outline = np.concatenate([a + steps * (b - a) for a, b in itertools.pairwise([*corners, corners[0]])])
    points = np.random.default_rng(kind).uniform(-1.3, 1.3, (300, 2))
    expected = np.linalg.norm(points[:, None] - outline, axis=2).min(axis=1)
    found = polygon_distance(corners, points[:, 0], points[:, 1])
    assert np.abs(np.abs(found) - expected).max() < 0.01
    # Inside means that the outline winds once around the point.
    spokes = outline - points[:, None]
    turn = np.angle(np.exp(1j * np.diff(np.arctan2(spokes[..., 1], spokes[..., 0]), axis=1))).sum(axis=1)
    assert ((found < 0) == (np.abs(turn) > np.pi)).all()


def test_ids_use_more_than_one_byte(shapes: Path) -> None:
    id_map = read_id_map(shapes / "panoptic_val" / "val_000000.png")
    assert id_map.max() > 255
