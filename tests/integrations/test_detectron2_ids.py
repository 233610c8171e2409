from __future__ import annotations

from types import SimpleNamespace

import pytest

from panoptic_blend.categories import Categories, Category
from panoptic_blend.errors import DatasetError
from panoptic_blend.integrations.detectron2_ids import panoptic_metadata, read_metadata

CATEGORIES = Categories(
    [
        Category(3, "car", True, (1, 2, 3)),
        Category(90, "sky", False, (4, 5, 6)),
        Category(7, "person", True, (7, 8, 9)),
        Category(91, "road", False, (10, 11, 12)),
    ]
)


def names(categories: Categories) -> list[tuple[int, str, bool, tuple[int, int, int]]]:
    return [(c.id, c.name, c.is_thing, c.color) for c in categories]


def test_metadata_made_from_categories_leads_back_to_them():
    ids = read_metadata(SimpleNamespace(**panoptic_metadata(CATEGORIES)), "streets")
    assert names(ids.categories) == names(Categories([*CATEGORIES.things, *CATEGORIES.stuff]))
    for category in CATEGORIES:
        label = CATEGORIES.thing_label if category.is_thing else CATEGORIES.semantic_label
        assert ids.contiguous(category.id, category.is_thing) == label(category.id)
        assert ids.category_id(label(category.id), category.is_thing) == category.id


def test_the_separated_layouts_class_for_all_things_is_no_stuff():
    metadata = panoptic_metadata(CATEGORIES)
    assert metadata["stuff_dataset_id_to_contiguous_id"] == {0: 0, 90: 1, 91: 2}
    metadata["stuff_classes"] = ["countable", "sky", "road"]
    ids = read_metadata(SimpleNamespace(**metadata, sem_seg_root="masks"), "streets")
    assert ids.stuff == {90: 1, 91: 2}
    assert [c.name for c in ids.categories.stuff] == ["sky", "road"]


def test_a_category_may_have_the_id_0():
    categories = Categories([Category(0, "sky", False, (4, 5, 6)), Category(1, "car", True, (1, 2, 3))])
    metadata = panoptic_metadata(categories)
    assert metadata["stuff_dataset_id_to_contiguous_id"] == {2: 0, 0: 1}
    assert read_metadata(SimpleNamespace(**metadata), "streets").stuff == {0: 1}


def test_things_may_come_after_stuff_in_one_range():
    every = ["road", "sky", "person", "car"]
    metadata = SimpleNamespace(
        thing_classes=every,
        stuff_classes=every,
        thing_dataset_id_to_contiguous_id={26: 3, 24: 2},
        stuff_dataset_id_to_contiguous_id={7: 0, 23: 1},
    )
    ids = read_metadata(metadata, "city")
    assert [(c.id, c.name) for c in ids.categories.things] == [(24, "person"), (26, "car")]
    assert [(c.id, c.name) for c in ids.categories.stuff] == [(7, "road"), (23, "sky")]
    assert ids.contiguous(26, is_thing=True) == 3
    assert ids.category_id(2, is_thing=True) == 24
    assert ids.category_id(0, is_thing=False) == 7


def test_instance_data_sets_have_no_stuff():
    metadata = SimpleNamespace(thing_classes=["car"], thing_dataset_id_to_contiguous_id={3: 0})
    assert len(read_metadata(metadata, "cars").categories.stuff) == 0


def test_a_data_set_that_is_not_registered_is_named():
    with pytest.raises(DatasetError, match=r"'nowhere'.*lacks thing_classes.*Register it"):
        read_metadata(SimpleNamespace(), "nowhere")


def test_more_stuff_than_their_semantic_maps_have_labels_for_is_refused():
    stuff = [Category(number, f"stuff {number}", False, (0, 0, 0)) for number in range(255)]
    assert len(read_metadata(SimpleNamespace(**panoptic_metadata(Categories(stuff[:254]))), "many").stuff) == 254
    with pytest.raises(DatasetError, match=r"'many': 255 stuff categories.*At most 254"):
        read_metadata(SimpleNamespace(**panoptic_metadata(Categories(stuff))), "many")
