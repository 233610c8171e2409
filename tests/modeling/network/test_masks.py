from __future__ import annotations

import itertools
import math

import pytest
import torch

from panoptic_blend.modeling.network.masks.blender import blend
from panoptic_blend.modeling.network.masks.crop import crop_regions
from tests.modeling.sampling import sample_bilinear


def test_blend_is_a_per_pixel_weighted_mean_of_bases() -> None:
    regions, attention = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    logits = blend(regions, attention)
    for n, y, x in itertools.product(range(2), range(4), range(4)):
        weight = [math.exp(attention[n, k, y, x]) for k in range(3)]
        expected = sum(w * regions[n, k, y, x].item() for k, w in enumerate(weight)) / sum(weight)
        assert logits[n, y, x].item() == pytest.approx(expected, rel=1e-5)


def test_nearest_attention_repeats_its_cells() -> None:
    regions, attention = torch.rand(1, 2, 4, 4), torch.rand(1, 2, 2, 2)
    repeated = attention.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(blend(regions, attention, "nearest"), blend(regions, repeated))


@pytest.mark.parametrize("pooling", ["bilinear", "nearest"])
def test_crop_takes_one_sample_in_the_middle_of_each_cell(pooling: str) -> None:
    torch.manual_seed(0)
    maps = torch.rand(2, 2, 6, 8)
    boxes = torch.tensor([[3.0, 2.0, 25.0, 21.0], [8.0, 8.0, 60.0, 30.0], [-6.0, -4.0, 9.0, 9.0]])
    images = torch.tensor([0, 1, 0])
    regions = crop_regions(maps, boxes, images, stride=4, resolution=5, pooling=pooling)  # type: ignore[arg-type]
    for n, (image, (x1, y1, x2, y2)) in enumerate(zip(images.tolist(), (boxes / 4).tolist(), strict=True)):
        for k, i, j in itertools.product(range(2), range(5), range(5)):
            y, x = y1 + (i + 0.5) * (y2 - y1) / 5, x1 + (j + 0.5) * (x2 - x1) / 5
            if pooling == "bilinear":
                expected = sample_bilinear(maps[image, k], y - 0.5, x - 0.5)
            else:
                row, column = math.floor(y), math.floor(x)
                inside = 0 <= row < 6 and 0 <= column < 8
                expected = maps[image, k, row, column].item() if inside else 0.0
            assert regions[n, k, i, j].item() == pytest.approx(expected, abs=1e-5)
