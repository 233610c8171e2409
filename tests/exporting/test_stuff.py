"""Labels of pixels in the graph are those of torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from panoptic_blend.exporting.image import Sizes
from panoptic_blend.exporting.stuff import label_pixels
from panoptic_blend.modeling.postprocess.stuff import semantic_labels
from tests.exporting.graphs import run_piece


@pytest.mark.parametrize(
    ("cells", "image", "size"),
    [
        ((8, 16), (32, 64), (32, 64)),
        ((8, 16), (29, 50), (29, 50)),
        ((8, 24), (32, 91), (37, 11)),
        ((16, 8), (60, 31), (150, 170)),
        ((8, 8), (32, 32), (1, 1)),
        ((8, 40), (1, 160), (1, 300)),
    ],
)
@pytest.mark.parametrize("smooth", [False, True])
def test_labels_are_those_of_torch(cells: Any, image: Any, size: Any, smooth: bool):
    torch.manual_seed(1)
    logits = torch.randn(1, 5, *cells)
    if smooth:  # whole areas of one class
        logits = torch.nn.functional.interpolate(torch.randn(1, 5, 2, 3), cells, mode="bilinear")
    expected = semantic_labels(logits[0], image, size).numpy()

    def build(op: Any, logits: Any, image: Any, size: Any) -> list[Any]:
        return [label_pixels(op, logits, Sizes(output=size, image=image))]

    (labels,) = run_piece(build, logits, np.array(image), np.array(size))
    assert labels.shape == expected.shape
    assert (labels != expected).mean() < 1e-3  # two classes may differ by less than rounding
