from __future__ import annotations

from pathlib import Path

import pytest

from panoptic_blend.categories import Categories, Category
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.errors import DatasetError
from panoptic_blend.inference.writing import (
    check_same_categories,
    check_same_meaning,
    submission_split,
)

CAR, ROAD = Category(1, "car", True, (1, 2, 3), "vehicle"), Category(2, "road", False, (4, 5, 6))


def test_categories_are_the_same_whatever_their_order_colour_and_supercategory():
    plain = Category(1, "car", True, (9, 9, 9))
    check_same_categories(Categories([CAR, ROAD]), Categories([ROAD, plain]), Path("val.json"))


@pytest.mark.parametrize(
    ("other", "answer"),
    [
        (Categories([CAR]), "2 is 'road' (stuff) in the model, absent in the file"),
        (Categories([CAR, Category(2, "road", True, (0, 0, 0))]), "'road' (stuff) in the model, 'road' (thing) in"),
        (Categories([CAR, ROAD, Category(3, "sky", False, (0, 0, 0))]), "3 is absent in the model, 'sky' (stuff) in"),
    ],
)
def test_differing_categories_are_named(other: Categories, answer: str):
    with pytest.raises(DatasetError) as caught:
        check_same_categories(Categories([CAR, ROAD]), other, Path("val.json"))
    assert answer in str(caught.value)


def test_an_image_list_may_name_some_categories_but_none_wrongly(tmp_path: Path):
    (tmp_path / "some.json").write_text('{"images": [], "categories": [{"id": 2, "name": "road"}]}')
    (tmp_path / "none.json").write_text('{"images": []}')
    (tmp_path / "wrong.json").write_text('{"images": [], "categories": [{"id": 2, "name": "rail"}]}')
    model = Categories([CAR, ROAD])
    for name in ("some", "none"):
        check_same_meaning(model, PanopticAnnotations.load(tmp_path / f"{name}.json"))
    with pytest.raises(DatasetError, match="2 is 'rail' in the file, 'road' in the model"):
        check_same_meaning(model, PanopticAnnotations.load(tmp_path / "wrong.json"))


@pytest.mark.parametrize(
    ("name", "split"),
    [("image_info_test-dev2017.json", "test-dev2017"), ("panoptic_val2017.json", "val2017"), ("mine.json", "mine")],
)
def test_the_split_is_read_from_the_file_name(name: str, split: str):
    assert submission_split(Path("annotations") / name) == split
