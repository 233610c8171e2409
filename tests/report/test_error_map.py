"""Which pixels are wrong in which way, against a picture painted by hand and a loop over pixels."""

from __future__ import annotations

import numpy as np

from panoptic_blend.categories import Categories, Category
from panoptic_blend.coco.annotations import SegmentRecord
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.report.error_map import COLORS, ERRORS, find_errors, map_errors
from panoptic_blend.structures import Segment

from ..evaluation import random_maps

CAT, DOG, GRASS, SKY = 1, 2, 3, 4
CATEGORIES = Categories(
    [Category(i, str(i), i in (CAT, DOG), (i, i, i)) for i in (CAT, DOG, GRASS, SKY)],
)


def _map(pair: ImagePair, categories: Categories) -> np.ndarray:
    rows, columns = (np.arange(length) for length in pair.truth_ids.shape)
    return map_errors(pair, find_errors(pair, categories), rows, columns)


def test_every_kind_is_painted_where_it_is():
    # A letter is a pixel of a segment, "." is void.
    truth = {"a": (1, CAT), "b": (2, DOG), "c": (3, CAT), "g": (4, GRASS), "s": (5, SKY)}
    found = {"A": (1, CAT), "B": (2, CAT), "C": (3, CAT), "D": (6, DOG), "G": (4, GRASS), "H": (7, CAT)}
    true_rows = ["aaaaabbbccccccggggggggggggggggss.."]
    predicted = ["AAAAGBBBCCGGGGGGGGGGGGGGGGGGDD..HH"]
    expected = ["    o###pppppp              bbss  "]
    kinds = {"o": "outline", "#": "wrong class", "p": "poor mask", "b": "background", "s": "missed stuff"}
    pair = ImagePair(
        1,
        np.array([[truth[letter][0] if letter != "." else 0 for letter in row] for row in true_rows], np.int32),
        [SegmentRecord(i, c, False, -1, (0, 0, 0, 0)) for i, c in truth.values()],
        np.array([[found[letter][0] if letter != "." else 0 for letter in row] for row in predicted], np.int32),
        [Segment(i, c, c < GRASS, 0.5, 1) for i, c in found.values()],
    )
    drawn = [[ERRORS[place] if place >= 0 else "" for place in row] for row in _map(pair, CATEGORIES).tolist()]
    assert drawn == [[kinds.get(letter, "") for letter in row] for row in expected]


def test_a_pixel_is_wrong_as_its_segments_are():
    for seed in range(40):
        pair = random_maps.random_pair(np.random.default_rng(seed), seed)
        errors, matching = find_errors(pair, random_maps.CATEGORIES), pair.matching
        matches = set(zip(matching.matched_truth.tolist(), matching.matched_predicted.tolist(), strict=True))
        truth = {segment.id: place for place, segment in enumerate(matching.truth)}
        predicted = {segment.id: place for place, segment in enumerate(matching.predicted)}
        drawn = _map(pair, random_maps.CATEGORIES)
        for place, kind in np.ndenumerate(drawn):
            t, p = truth.get(int(pair.truth_ids[place])), predicted.get(int(pair.predicted_ids[place]))
            if t is None or matching.truth[t].is_crowd or (t, p) in matches:
                assert kind == -1
            elif p is not None and matching.surplus[p]:
                assert kind == errors.predicted[p] >= 0
            elif matching.missed[t]:
                assert kind == errors.truth[t] >= 0
            else:
                assert ERRORS[kind] == "outline"
        assert (errors.missed <= matching.missed).all()


def test_every_kind_has_a_colour_of_its_own():
    assert len(set(COLORS)) == len(COLORS) == len(ERRORS)
