"""A folder with everything that the pages name: images, data sets, files of tools, and a tiny trained model."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from panoptic_blend.cli import main
from panoptic_blend.inference.film_writing import FilmWriter
from panoptic_blend.synthetic.shapes import generate_shapes

NAMES = {"disc": "car", "square": "pedestrian", "triangle": "bicyclist", "star": "sign", "cross": "nucleus"}
NAMES |= {"hills": "road", "sea": "background"}
"""The generated categories under names that the pages use."""

TINY = {
    "data.workers": "0",
    "data.shortest_edge": "[64]",
    "data.longest_edge": "128",
    "data.crop": "null",
    "data.jitter": "null",
    "model.input.shortest_edge": "64",
    "model.input.longest_edge": "128",
    "model.backbone.name": "resnet18",
    "model.backbone.width": "8",
    "model.backbone.stem_width": "0",
    "model.backbone.deformable_stages": "[]",
    "model.backbone.weights": "none",
    "model.backbone.norm": "batch",
    "model.backbone.frozen_stages": "0",
    "model.fpn.channels": "16",
    "model.fcos.num_convs": "1",
    "model.bases.channels": "16",
    "model.semantic.channels": "16",
    "model.masks.resolution": "14",
    "model.masks.blender.attention_size": "7",
    "trainer.max_steps": "2",
    "trainer.batch_size": "2",
    "trainer.accumulate": "1",
    "trainer.devices": "1",
    "trainer.val_every": "0",
    "trainer.precision": "fp32",
    "trainer.accelerator": "cpu",
}
"""Settings that every training of the pages is given: two steps of the smallest model at 64 pixels."""


def tiny_settings(**others: str) -> list[str]:
    """`TINY` as words of a command line."""
    return [f"--{name}={value}" for name, value in {**TINY, **others}.items()]


def build_world(root: Path) -> None:
    """Fill a folder."""
    mine = generate_shapes(root / "data/mine", train=6, val=3)
    for path in mine.glob("annotations/*.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
        for category in found["categories"]:
            category["name"] = NAMES.get(category["name"], category["name"])
        path.write_text(json.dumps(found), encoding="utf-8")
    for folder in ("", "panoptic_"):
        shutil.copytree(mine / f"{folder}val", mine / f"{folder}test")
    shutil.copy(mine / "annotations/panoptic_val.json", mine / "annotations/panoptic_test.json")
    pictures = sorted((mine / "val").iterdir())
    shutil.copytree(mine / "val", root / "photos")
    shutil.copytree(mine / "val", root / "test2017")
    listed = json.loads((mine / "annotations/panoptic_val.json").read_text(encoding="utf-8"))
    listed = {name: listed[name] for name in ("images", "categories")}
    (root / "image_info_test-dev2017.json").write_text(json.dumps(listed), encoding="utf-8")
    (root / "more/from/friends").mkdir(parents=True)
    shutil.copy(pictures[0], root / "street.jpg")
    if find_spec("av"):
        with FilmWriter(root / "street.mp4", Fraction(10)) as film:
            for picture in pictures:
                film.add(np.asarray(Image.open(picture)))
    (root / "film").mkdir()
    truth = json.loads((mine / "annotations/panoptic_val.json").read_text(encoding="utf-8"))
    for frame, image in enumerate(truth["images"]):
        image |= {"video_id": "film", "frame_id": frame}
    (root / "film/truth.json").write_text(json.dumps(truth), encoding="utf-8")
    shutil.copytree(mine / "panoptic_val", root / "film/truth")
    Image.new("RGB", (256, 256), (8, 8, 8)).save(root / "cells.png")
    shutil.copy(pictures[0], root / "more/from/friends/street.png")
    back = f"{mine}/annotations/panoptic_train.json --images {mine}/train"
    _run(root, f"convert-dataset --to labelme {back}", "labelled")
    _run(root, f"convert-dataset --to label-maps {back}", "CamVid")
    shutil.copy(root / "CamVid/names.txt", root)
    shutil.rmtree(root / "CamVid/instances")
    words = ["train", "--config", "shapes/r18.yaml", f"--data.root={mine}", f"--trainer.output={root / 'runs/mine'}"]
    assert main([*words, *tiny_settings()]) == 0
    val = f"--images {mine}/val --annotations {mine}/annotations/panoptic_val.json"
    _run(root, f"evaluate --checkpoint {root}/runs/mine {val}", "out/val")


def _run(root: Path, command: str, output: str) -> None:
    assert main([*command.split(), "--output", str(root / output)]) == 0
