"""Exported folders are served as checkpoints are, as far as they can."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.serving.served_model import ServedModel
from tests.runtime.graphs import STUFF, stuff_graph, write_export
from tests.serving.conftest import Site
from tests.serving.pictures import encode, pixels


@pytest.fixture(scope="module")
def exported(start_site: Callable[..., Site], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A server of a graph whose one segment has the score 1 - `min_score`, and which takes no other threshold."""
    folder = write_export(tmp_path_factory.mktemp("exported") / "folder", stuff_graph())
    return start_site(served=[ServedModel("graph", Predictor(ExportedModel(folder)))])


def test_its_thresholds_are_inputs_of_the_graph(exported: Site):
    answer = exported.ask("POST", "/predict", encode(pixels(0)), keep=True, min_score=0.25).json
    assert [(row["category_id"], row["score"]) for row in answer["segments_info"]] == [(STUFF.id, 0.75)]
    again = exported.ask("POST", "/merge", id=answer["id"], min_score=0.5).json
    assert [row["score"] for row in again["segments_info"]] == [0.5]
    assert again["png"] == answer["png"]


def test_a_threshold_that_it_does_not_take_is_named_and_its_folder_is_not(exported: Site):
    reply = exported.ask("POST", "/predict", encode(pixels(0)), max_overlap=0.1)
    assert reply.status == 422
    assert "max_overlap is 0.1" in reply.json["detail"]
    assert "graph was exported with" in reply.json["detail"]
    assert exported.ask("POST", "/predict", encode(pixels(0))).status == 200


def test_it_has_no_bases_to_show(exported: Site):
    key = exported.ask("POST", "/predict", encode(pixels(0)), keep=True).json["id"]
    assert exported.ask("POST", "/explain", id=key, segment=7).status == 404
    assert [model["explains"] for model in exported.ask("GET", "/models").json] == [False]


def test_it_is_served_without_torch(tmp_path: Path):
    folder = write_export(tmp_path / "folder", stuff_graph())
    program = f"""
import asyncio, sys
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.serving.limits import Limits
from panoptic_blend.serving.served_model import ServedModel
from panoptic_blend.serving.service import Service
from panoptic_blend.serving.site import make_site

async def chunks():
    yield {encode(pixels(0))!r}

async def main():
    service = Service([ServedModel("graph", Predictor(ExportedModel({str(folder)!r})))], Limits())
    make_site(service, None, None)
    assert (await service.predict(chunks(), None, {{}}, True)).found.id_map.max() == 7
    await service.worker.close()

asyncio.run(main())
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
