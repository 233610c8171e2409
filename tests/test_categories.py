from __future__ import annotations

import copy

import pytest

from panoptic_blend.categories import IGNORE, Categories, Category
from panoptic_blend.errors import DatasetError

ROWS = [
    {"id": 3, "name": "car", "supercategory": None, "isthing": 1, "color": [1, 2, 3]},
    {"id": 9, "name": "road", "supercategory": "ground", "isthing": 0, "color": [4, 5, 6]},
]


def test_a_list_comes_back_as_it_was_read() -> None:
    assert Categories.from_json(ROWS).to_json() == ROWS


def test_a_row_without_supercategory_has_an_empty_one() -> None:
    (category,) = Categories.from_json([{"id": 3, "name": "car"}])
    assert category.supercategory == ""


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        ({3: "car", 9: "road"}, ""),
        ({9: "road"}, ""),
        ({3: "car", 12: "moon"}, ""),
        ({3: "lorry"}, "category 3 is 'lorry' in A, 'car' in B"),
        ({4: "car"}, "'car' is category 4 in A, 3 in B"),
        ({3: "road", 9: "car"}, "category 3 is 'road' in A, 'car' in B; category 9 is 'car' in A, 'road' in B"),
    ],
)
def test_a_list_of_names_may_not_mean_something_else(names: dict[int, str], answer: str) -> None:
    assert Categories.from_json(ROWS).contradictions(names, "A", "B") == answer


def test_categories_that_share_a_name_do_not_contradict_each_other() -> None:
    twins = Categories([Category(i, "car", True, (0, 0, 0)) for i in (1, 2)])
    assert twins.contradictions({1: "car", 2: "car"}, "A", "B") == ""


def test_of_many_contradictions_the_first_are_named() -> None:
    many = Categories([Category(i, f"c{i}", True, (0, 0, 0)) for i in range(5)])
    answer = many.contradictions({i: "x" for i in range(5)}, "A", "B")
    assert answer.count("category") == 3
    assert answer.endswith("category 2 is 'x' in A, 'c2' in B; and 2 more")


def test_labels_of_stuff_never_run_out_or_meet_the_one_that_is_ignored() -> None:
    most = 2**16 - 1  # the largest label of 16 bits
    many = [Category(i, "", False, (0, 0, 0)) for i in range(most + 1)]
    categories = Categories(many[:-1])
    assert [categories.semantic_label(i) for i in range(most)] == list(range(1, most + 1))
    assert IGNORE not in range(most + 1)
    with pytest.raises(DatasetError, match="65536 stuff categories; at most 65535"):
        Categories(many)


def test_a_category_knows_its_place_in_the_list_and_a_list_is_never_copied() -> None:
    categories = Categories.from_json(ROWS)
    assert [categories.position(row["id"]) for row in ROWS] == [0, 1]
    with pytest.raises(KeyError):
        categories.position(4)
    assert copy.deepcopy(categories) is categories
