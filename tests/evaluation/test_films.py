"""VPQ and STQ against slow versions: a window is one tall picture, a track is a set of pixels."""

import json
import math
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.cli import main
from panoptic_blend.errors import DatasetError
from panoptic_blend.evaluation.film_quality import FilmQuality, film_quality
from panoptic_blend.evaluation.image_pair import ImagePair
from panoptic_blend.evaluation.pq import PanopticQuality
from panoptic_blend.evaluation.stq import SegmentationTrackingQuality
from panoptic_blend.evaluation.vpq import VideoPanopticQuality
from panoptic_blend.structures import Segment

from .random_films import random_film
from .random_maps import CATEGORIES
from .slow import SlowImage
from .test_pq import write_random_set


def tall(window):
    """Frames below one another, a predicted segment for every id and category."""
    numbers, true, predicted_maps = {}, {}, []
    for pair in window:
        true |= {s.id: s for s in pair.truth_segments if s.id not in true}
        predicted = np.zeros_like(pair.predicted_ids)
        for s in pair.predicted_segments:
            number = numbers.setdefault((s.id, s.category_id), len(numbers) + 1)
            predicted[pair.predicted_ids == s.id] = number
        predicted_maps.append(predicted)
    segments = [Segment(number, category, True, 1.0, 1) for (_, category), number in numbers.items()]
    truth_map = np.concatenate([pair.truth_ids for pair in window])
    return ImagePair(1, truth_map, list(true.values()), np.concatenate(predicted_maps), segments)


def slow_window_pq(films, k):
    """PQ of each category that occurs, over all windows of k + 1 frames."""
    iou, halves = defaultdict(float), Counter()
    for film in films:
        for start in range(len(film) - k):
            image = SlowImage(tall(film[start : start + k + 1]))
            for true, _, overlap in image.matches:
                iou[true.category_id] += overlap
                halves[true.category_id] += 2
            halves.update(true.category_id for true in image.missed)
            halves.update(predicted.category_id for predicted in image.surplus)
    return {category: iou[category] / (halves[category] / 2) for category in halves}


def slow_stq(films):
    """STQ, AQ and SQ from sets of pixels."""
    tracks, association = 0, 0.0
    semantic = defaultdict(lambda: [0, 0])
    for film in films:
        true, predicted = defaultdict(set), defaultdict(set)
        for frame, pair in enumerate(film):
            meaning = {s.id: s for s in pair.truth_segments}
            said = {s.id: s.category_id for s in pair.predicted_segments}
            for (y, x), i in np.ndenumerate(pair.truth_ids):
                place, segment, p = (frame, y, x), meaning.get(int(i)), int(pair.predicted_ids[y, x])
                if segment is not None:
                    for category in {segment.category_id, said.get(p)} - {None}:
                        semantic[category][0] += segment.category_id == said.get(p)
                        semantic[category][1] += 1
                    is_thing = CATEGORIES.by_id(segment.category_id).is_thing
                    if is_thing and segment.is_crowd:
                        continue
                    if is_thing:
                        true[segment.id].add(place)
                if p and CATEGORIES.by_id(said[p]).is_thing:
                    predicted[p, said[p]].add(place)
        for g in true.values():
            tracks += 1
            association += sum(len(g & p) * len(g & p) / len(g | p) for p in predicted.values()) / len(g)
    aq = association / tracks if tracks else 0
    sq = sum(right / union for right, union in semantic.values()) / len(semantic) if semantic else 0
    return math.sqrt(aq * sq), aq, sq


def count(kind, films, *options):
    metric = kind(CATEGORIES, *options)
    for film in films:
        for pair in film:
            metric.update(pair)
    return metric.compute()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_vpq_is_pq_of_tall_pictures(seed, lengths):
    rng = np.random.default_rng(seed)
    films = [random_film(rng, film, frames) for film, frames in enumerate(lengths)]
    shuffled = [[film[i] for i in rng.permutation(len(film))] for film in films]
    result = count(VideoPanopticQuality, shuffled, (0, 1, 3, 7))
    expected = {k: slow_window_pq(films, k) for k in (0, 1, 3) if k < max(lengths)}
    assert set(result.windows) == set(expected)
    for k, per_category in expected.items():
        found = {r.category.id: r.pq for r in result.windows[k].per_class if r.tp + r.fp + r.fn}
        assert found == pytest.approx(per_category)
    means = [sum(each.values()) / len(each) if each else 0 for each in expected.values()]
    assert result.all == pytest.approx(sum(means) / len(means))
    assert len([note for note in result.notes if "frames" in note]) == 4 - len(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_stq_is_what_sets_of_pixels_say(seed, lengths):
    rng = np.random.default_rng(seed)
    films = [random_film(rng, film, frames) for film, frames in enumerate(lengths)]
    result = count(SegmentationTrackingQuality, films)
    assert (result.stq, result.aq, result.sq) == pytest.approx(slow_stq(films))


def test_one_frame_windows_are_panoptic_quality_and_one_pass_counts_both():
    rng = np.random.default_rng(1)
    films = [random_film(rng, film, 20) for film in "ab"]
    both = count(FilmQuality, films)
    assert both.pq == count(PanopticQuality, films)
    assert both.vpq == count(VideoPanopticQuality, films)
    assert both.stq == count(SegmentationTrackingQuality, films)
    assert set(both.vpq.windows) == {0, 5, 10, 15}


def swap_halfway(film):
    """The truth as prediction, where two things of a category take each other's ids in the middle."""
    result = []
    for frame, pair in enumerate(film):
        ids = pair.truth_ids
        if frame >= len(film) // 2:
            ids = np.where(ids == 1, 2, np.where(ids == 2, 1, ids))
        result.append(replace(pair, predicted_ids=ids, predicted_segments=pair.truth_segments))
    return result


def test_an_exchange_of_ids_costs_what_the_definitions_say():
    """Of 4 frames, the ids change after 2: windows of 2 that hold the change find nothing above an IoU of 1/2."""
    from panoptic_blend.coco.annotations import SegmentRecord

    ids = np.repeat(np.array([[1, 2, 3]], np.int32), 4, axis=0)
    categories = {1: 1, 2: 1, 3: 50}
    segments = [SegmentRecord(i, c, False, -1, (0, 0, 0, 0)) for i, c in categories.items()]
    film = [ImagePair(f, ids, segments, ids, segments, video_id=1, frame_id=f) for f in range(4)]
    result = count(FilmQuality, [swap_halfway(film)])
    assert result.pq.all.pq == 1
    assert count(VideoPanopticQuality, [swap_halfway(film)], (1,)).things == pytest.approx(2 / 3)
    assert result.stq.aq == pytest.approx(1 / 3)  # of 8 x 4 pixels 1/2 + 1/2, each with an IoU of 8 / 24
    assert result.stq.sq == 1
    perfect = [[replace(pair, predicted_ids=ids, predicted_segments=segments) for pair in film]]
    assert count(FilmQuality, perfect).stq.stq == 1


def as_film(path, first_film=3):
    """Makes frames of the images of a panoptic JSON."""
    data = json.loads(path.read_text())
    for position, image in enumerate(data["images"]):
        image |= {"video_id": "a" if position < first_film else 7, "frame_id": position}
    path.write_text(json.dumps(data))


def test_files_are_scored_by_the_command(tmp_path, capsys):
    truth, predictions, images = write_random_set(tmp_path, 5, seed=3)
    words = ["score", f"--ground-truth={truth}", f"--predictions={predictions}", "--video"]
    assert main(words) == 1
    assert "has no video_id and frame_id" in capsys.readouterr().err
    as_film(truth)
    data = json.loads(truth.read_text())
    data["images"][1]["frame_id"] = 0
    (tmp_path / "truth_twice.json").write_text(json.dumps(data))
    twice = ["score", f"--ground-truth={tmp_path}/truth_twice.json", f"--segments={truth.with_suffix('')}", *words[2:]]
    assert main(twice) == 1
    assert "are both frame 0 of film 'a'" in capsys.readouterr().err
    assert main([*words, f"--output={tmp_path}/metrics.json"]) == 0
    assert "STQ" in capsys.readouterr().out
    metric = FilmQuality(CATEGORIES)
    for position, (record, truth_ids, predicted_ids, segments) in enumerate(images):
        film = {"video_id": "a" if position < 3 else 7, "frame_id": position}
        metric.update(ImagePair(position, truth_ids, record.segments, predicted_ids, segments, **film))
    expected = metric.compute()
    assert film_quality(truth, predictions, workers=2) == expected
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["video"]["stq"]["STQ"] == pytest.approx(100 * expected.stq.stq)
    assert written["video"]["vpq"]["VPQ"] == pytest.approx(100 * expected.vpq.all)
    assert set(written["video"]["vpq"]["windows"]) == {"0"}
    assert written["PQ"] == pytest.approx(written["video"]["vpq"]["windows"]["0"]["PQ"])


def test_a_true_id_keeps_its_meaning():
    film = random_film(np.random.default_rng(0), 5, 3)
    other = [replace(s, category_id=1 if s.category_id != 1 else 9) for s in film[1].truth_segments]
    with pytest.raises(DatasetError, match=r"film 5, frame 3: true segment \d+ is of another category"):
        count(FilmQuality, [[film[0], replace(film[1], truth_segments=other)]])


def test_an_image_of_no_film_is_refused():
    pair = replace(random_film(np.random.default_rng(0), 5, 1)[0], video_id=None)
    with pytest.raises(DatasetError, match="is no frame of a film"):
        count(FilmQuality, [[pair]])
