from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from panoptic_blend.evaluation.calibration import Calibration

from .random_maps import CATEGORIES, random_pair
from .slow import SlowImage


def slow_error(things):
    """The definition, from a list of (score, whether it matches)."""
    bins = defaultdict(list)
    for score, matches in things:
        bins[min(int(score * 10), 9)].append((score, matches))
    gaps = [len(rows) * abs(np.mean([s for s, _ in rows]) - np.mean([m for _, m in rows])) for rows in bins.values()]
    return sum(gaps) / len(things)


def test_equals_the_definition_from_a_list_of_all_predicted_things():
    rng = np.random.default_rng(0)
    metric, things = Calibration(CATEGORIES), defaultdict(list)
    for number in range(150):
        pair = random_pair(rng, number)
        # Scores on the limits of bins, too.
        segments = [
            replace(s, score=float(rng.choice([0, 0.3, 0.7, 1, round(s.score, 6)]))) for s in pair.predicted_segments
        ]
        pair = replace(pair, predicted_segments=segments)
        metric.update(pair)
        image = SlowImage(pair)
        for segment, matches in [(p, True) for _, p, _ in image.matches] + [(p, False) for p in image.surplus]:
            if segment.category_id < 40:
                things[segment.category_id].append((segment.score, matches))
    result = metric.compute()
    everything = [row for rows in things.values() for row in rows]
    assert len(everything) > 150
    assert result.error == pytest.approx(slow_error(everything))
    assert result.per_class == pytest.approx({i: slow_error(rows) for i, rows in things.items()})
    assert result.bins_per_class.keys() == things.keys()
    for bins, of in [(result.bins, everything), *((result.bins_per_class[i], things[i]) for i in things)]:
        for number, found in enumerate(bins):
            rows = [row for row in of if min(int(row[0] * 10), 9) == number]
            assert (found.low, found.high, found.segments) == (number / 10, (number + 1) / 10, len(rows))
            mean = tuple(np.mean(rows, axis=0)) if rows else (0, 0)
            assert (found.score, found.precision) == pytest.approx(mean)
    assert result.notes == ()


def test_segments_without_a_score_are_left_out_and_noted():
    rng, metric, things = np.random.default_rng(1), Calibration(CATEGORIES), []
    for number in range(20):
        pair = random_pair(rng, number)
        unscored = [replace(segment, score=None) for segment in pair.predicted_segments]
        metric.update(replace(pair, predicted_segments=unscored))
        image = SlowImage(pair)
        things += [p for p in [*image.surplus, *(p for _, p, _ in image.matches)] if p.category_id < 40]
    result = metric.compute()
    assert (result.error, result.per_class, sum(found.segments for found in result.bins)) == (0, {}, 0)
    assert result.notes == (
        f"{len(things)} predicted things have no score and are left out",
        "no predicted thing has a score: 0",
    )
    assert len(things) >= 20
