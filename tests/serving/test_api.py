"""What the API answers is what the predictor says."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.coco.segments_png import rgb_to_ids
from panoptic_blend.config import MergeConfig
from panoptic_blend.inference.predictor import Predictor
from tests.serving.conftest import Reply, Site
from tests.serving.pictures import encode, pixels

CHANGES: list[dict[str, float]] = [
    {},
    {"min_score": 0.079},
    {"max_overlap": 0.0},
    {"min_stuff_area": 1000},
    {"min_score": 1.0, "min_stuff_area": 10**6},
    {"min_score": 0.0, "max_overlap": 1.0, "min_stuff_area": 0},
]


def id_map(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert image.mode == "RGB"
        return rgb_to_ids(np.asarray(image))


def expected(predictor: Predictor, image: np.ndarray, changed: dict[str, float]):
    """What the predictor says with its thresholds changed."""
    settings = predictor.settings
    own = replace(settings)
    for name, value in changed.items():
        setattr(settings, name, value)
    try:
        return predictor(image)
    finally:
        for name in changed:
            setattr(settings, name, getattr(own, name))


def assert_same(reply: Reply, prediction) -> None:
    answer = reply.json
    assert reply.status == 200
    assert np.array_equal(id_map(base64.b64decode(answer["png"])), prediction.id_map)
    assert (answer["height"], answer["width"]) == prediction.id_map.shape
    said = [(row["id"], row["category_id"], row["area"], row["category"]) for row in answer["segments_info"]]
    names = prediction.categories
    assert said == [(s.id, s.category_id, s.area, names.by_id(s.category_id).name) for s in prediction.segments]
    scores = [row["score"] for row in answer["segments_info"]]
    assert scores == pytest.approx([s.score for s in prediction.segments], abs=1e-6)


@pytest.mark.parametrize("changed", CHANGES)
def test_predicts_with_the_thresholds_asked_for(site: Site, predictor: Predictor, changed: dict[str, float]):
    image = pixels(1)
    reply = site.ask("POST", "/predict", encode(image), **changed)
    assert_same(reply, expected(predictor, image, changed))
    assert reply.json["thresholds"] == {**site.ask("GET", "/models").json[0]["thresholds"], **changed}
    assert reply.json["id"] is None


def test_a_kept_picture_is_merged_again_as_if_it_were_predicted_so(site: Site, predictor: Predictor):
    image = pixels(2, 90, 61)
    first = site.ask("POST", "/predict", encode(image), keep=True)
    maps = set()
    for changed in CHANGES:
        reply = site.ask("POST", "/merge", id=first.json["id"], **changed)
        assert_same(reply, expected(predictor, image, changed))
        maps.add(reply.json["png"])
    assert len(maps) > 3, "the thresholds must matter here"


def test_merging_again_leaves_the_network_alone(site: Site, monkeypatch: pytest.MonkeyPatch):
    key = site.ask("POST", "/predict", encode(pixels(3)), keep=True).json["id"]
    predictor = site.service.model(None).predictor
    monkeypatch.setattr(predictor, "predict_batch", None)
    assert site.ask("POST", "/merge", id=key, min_score=0.08).status == 200


def test_the_map_alone(site: Site, predictor: Predictor):
    image = pixels(4)
    reply = site.ask("POST", "/predict", encode(image, "BMP"), {"Accept": "image/png"})
    assert reply.headers["content-type"] == "image/png"
    assert np.array_equal(id_map(reply.body), predictor(image).id_map)


def test_a_photo_is_turned_upright(site: Site):
    exif = Image.Exif()
    exif[0x0112] = 6
    reply = site.ask("POST", "/predict", encode(pixels(5, 40, 80), "JPEG", exif=exif))
    assert (reply.json["height"], reply.json["width"]) == (80, 40)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3000), (3000, 1), (64, 64)])
def test_pictures_of_odd_sizes(site: Site, height: int, width: int):
    reply = site.ask("POST", "/predict", encode(pixels(6, height, width)))
    assert (reply.json["height"], reply.json["width"]) == (height, width)


def test_many_at_a_time_get_each_their_own(site: Site, predictor: Predictor):
    images = [pixels(seed, *size) for seed in range(10, 14) for size in ((50, 70), (70, 50), (50, 70))]
    with ThreadPoolExecutor(len(images)) as pool:
        replies = list(pool.map(lambda image: site.ask("POST", "/predict", encode(image)), images))
    for image, reply in zip(images, replies, strict=True):
        (found,) = (predictor(image),)
        assert np.mean(id_map(base64.b64decode(reply.json["png"])) == found.id_map) > 0.95


def test_the_models_and_their_categories(site: Site, predictor: Predictor):
    models = site.ask("GET", "/models").json
    assert [model["name"] for model in models] == ["model 0", "model 1"]
    settings = predictor.settings
    assert MergeConfig(**models[0]["thresholds"]) == MergeConfig(
        settings.min_score, settings.max_overlap, settings.min_stuff_area
    )
    categories = site.ask("GET", "/categories", model="model 1").json
    assert [(row["id"], row["name"], row["isthing"]) for row in categories] == [
        (each.id, each.name, each.is_thing) for each in predictor.categories
    ]
    reply = site.ask("POST", "/predict", encode(pixels(1)), model="model 1")
    assert reply.json["model"] == "model 1"


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "says"),
    [
        ("POST", "/predict", {"min_score": 2}, 422, "min_score"),
        ("POST", "/predict", {"min_score": "nan"}, 422, "min_score"),
        ("POST", "/predict", {"min_stuff_area": -1}, 422, "min_stuff_area"),
        ("POST", "/predict", {"min_stuff_area": 10**30}, 422, "min_stuff_area"),
        ("POST", "/predict", {"model": "<b>"}, 404, "model 0, model 1"),
        ("POST", "/merge", {"id": "../../etc/passwd"}, 404, "not kept"),
        ("POST", "/merge", {}, 422, "id"),
        ("GET", "/predict", {}, 405, "Method"),
        ("GET", "/../setup.cfg", {}, 404, "Not Found"),
        ("GET", "/page/%2e%2e/api.py", {}, 404, "Not Found"),
    ],
)
def test_what_cannot_be_is_answered_with_a_sentence(
    site: Site, method: str, path: str, query: dict[str, object], status: int, says: str
):
    reply = site.ask(method, path, encode(pixels(1)) if method == "POST" else None, **query)
    assert reply.status == status
    assert says in reply.json["detail"]
    assert "<b>" not in reply.json["detail"]


def test_the_schema_says_what_there_is(site: Site):
    schema = site.ask("GET", "/openapi.json").json
    predict = schema["paths"]["/predict"]["post"]
    assert set(predict["responses"]["200"]["content"]) == {"application/json", "image/png"}
    assert "429" in predict["responses"]
    assert {each["name"] for each in predict["parameters"]} >= {"min_score", "max_overlap", "min_stuff_area", "model"}
    assert "image/*" in predict["requestBody"]["content"]


def test_how_it_is(site: Site):
    assert site.ask("GET", "/health").json == {"status": "ok", "waiting": 0}


def test_an_object_is_followed_from_the_bases_to_its_mask(site: Site, predictor: Predictor):
    image = pixels(7, 64, 64)  # as large as the network sees it
    answer = site.ask("POST", "/predict", encode(image), keep=True).json
    things = [row for row in answer["segments_info"] if row["isthing"]]
    assert things
    prediction = predictor(image)
    for row in things:
        reply = site.ask("POST", "/explain", id=answer["id"], segment=row["id"])
        followed = reply.json
        assert (followed["category"], followed["score"]) == (row["category"], row["score"])
        parts = [followed[name] for name in ("bases", "regions", "attention", "products")]
        assert [len(part) for part in parts] == [4] * 4
        left, top, right, bottom = (round(side) for side in followed["box"])
        inside = prediction.id_map == row["id"]
        assert not inside[: max(top - 1, 0)].any()
        assert not inside[bottom + 1 :].any()
        assert not inside[:, : max(left - 1, 0)].any()
        assert not inside[:, right + 1 :].any()
        red, _, blue = np.moveaxis(opened(followed["mask"]).astype(np.float32), 2, 0)
        drawn = Image.fromarray(red - blue).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        shown = inside[top:bottom, left:right]
        assert np.mean(np.asarray(drawn)[shown] >= 0) > 0.95, "the segment lies where the mask is not blue"


def opened(picture: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        return np.asarray(image)


@pytest.mark.parametrize("segment", [0, 999, 10**20, "x"])
def test_only_objects_can_be_followed(site: Site, segment: object):
    answer = site.ask("POST", "/predict", encode(pixels(7)), keep=True).json
    assert site.ask("POST", "/explain", id=answer["id"], segment=segment).status in (404, 422)
    stuff = next(row["id"] for row in answer["segments_info"] if not row["isthing"])
    reply = site.ask("POST", "/explain", id=answer["id"], segment=stuff)
    assert (reply.status, "stuff" in reply.json["detail"]) == (404, True)
