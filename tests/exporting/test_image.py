"""Pictures enter the graph as they enter the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from panoptic_blend.config import PredictionSettings
from panoptic_blend.exporting.image import normalise
from panoptic_blend.exporting.resizing import resize_picture
from panoptic_blend.modeling.input_rule import InputRule
from panoptic_blend.resizing import resize_shortest_edge
from tests.exporting.graphs import run_piece
from tests.tiny import tiny_model_config

SETTINGS = replace(PredictionSettings.of(tiny_model_config()), shortest_edge=96, longest_edge=170)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (37, 53), (96, 120), (240, 320), (200, 500), (333, 97)])
def test_pictures_are_resized_as_in_torch(size: tuple[int, int]):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = resize_shortest_edge(torch.from_numpy(picture).permute(2, 0, 1), 96, 170).numpy()

    def build(op: Any, picture: Any) -> list[Any]:
        resized, sizes = resize_picture(op, picture, SETTINGS)
        return [resized, sizes.output, sizes.image]

    resized, output, seen = run_piece(build, picture)
    assert output.tolist() == list(size)
    assert seen.tolist() == list(expected.shape[1:])
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized[0], expected)


@pytest.mark.parametrize("flip", [False, True])
def test_bytes_are_normalised_and_padded_by_the_input_rule(flip: bool):
    pixels = torch.randint(256, (3, 33, 64), dtype=torch.uint8)
    rule = InputRule((1.0, 2.0, 3.0), (4.0, 5.0, 7.0), flip)

    def build(op: Any, pixels: Any, seen: Any) -> list[Any]:
        return [normalise(op, pixels, seen, rule)]

    (images,) = run_piece(build, pixels[None], np.array([33, 64]))
    np.testing.assert_allclose(images, rule([pixels]), rtol=1e-6)
