"""The model that comes with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from panoptic_blend.catalogue.models import MODELS
from panoptic_blend.cli import main
from panoptic_blend.coco.predictions import FOLDER
from panoptic_blend.coco.segments_png import read_id_map

PLACES = [(30 + 60 * column + 10 * (row % 2), 30 + 60 * row) for row in range(4) for column in range(4)]
RADIUS = 12


def test_it_is_small_enough_for_a_package() -> None:
    (nano,) = [model for model in MODELS if model.name == "nuclei-nano"]
    assert nano.file is not None
    assert nano.file.stat().st_size <= 8_000_000


def test_it_finds_bright_nuclei_without_network_or_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANOPTIC_BLEND_OFFLINE", "1")
    monkeypatch.setenv("PANOPTIC_BLEND_HOME", str(tmp_path / "nowhere"))
    cells = Image.new("L", (256, 256), 8)
    draw = ImageDraw.Draw(cells)
    for x, y in PLACES:
        draw.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=90)
    cells = cells.filter(ImageFilter.GaussianBlur(1))
    noise = np.random.default_rng(0).normal(0, 3, (256, 256))
    pixels = (np.asarray(cells) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "cells.png")
    output = tmp_path / "out"
    assert (
        main(
            ["predict", "--checkpoint", "nuclei-nano", "--input", str(tmp_path / "cells.png"), "--output", str(output)]
        )
        == 0
    )
    (png,) = (output / FOLDER).glob("*.png")
    id_map = read_id_map(png)
    rows, columns = np.mgrid[:256, :256]
    found = 0
    for x, y in PLACES:
        nucleus = (rows - y) ** 2 + (columns - x) ** 2 <= RADIUS**2
        predicted = id_map == id_map[y, x]
        found += (nucleus & predicted).sum() > 0.5 * (nucleus | predicted).sum()
    assert found == len(PLACES)
