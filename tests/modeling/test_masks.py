from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.ops import roi_align

from panoptic_blend.modeling.fcos.locations import Sites
from panoptic_blend.modeling.masks.blender import Blender, blend
from panoptic_blend.modeling.masks.crop import crop_mask_targets, crop_regions


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


def sample_bilinear(image: Tensor, y: float, x: float) -> float:
    """Value between four cells; 0 more than a cell outside, clamped at the border."""
    height, width = image.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = image[top, left].item() * (1 - dx) + image[top, right].item() * dx
    lower = image[bottom, left].item() * (1 - dx) + image[bottom, right].item() * dx
    return upper * (1 - dy) + lower * dy


@pytest.mark.parametrize("pooling", ["bilinear", "nearest"])
def test_crop_takes_one_sample_in_the_middle_of_each_cell(pooling: str) -> None:
    torch.manual_seed(0)
    maps = torch.rand(2, 2, 6, 8)
    boxes = [torch.tensor([[3.0, 2.0, 25.0, 21.0], [-6.0, -4.0, 9.0, 9.0]]), torch.tensor([[8.0, 8.0, 60.0, 30.0]])]
    regions = crop_regions(maps, boxes, stride=4, resolution=5, pooling=pooling)  # type: ignore[arg-type]
    rows = [(image, box) for image, group in enumerate(boxes) for box in (group / 4).tolist()]
    for n, (image, (x1, y1, x2, y2)) in enumerate(rows):
        for k, i, j in itertools.product(range(2), range(5), range(5)):
            y, x = y1 + (i + 0.5) * (y2 - y1) / 5, x1 + (j + 0.5) * (x2 - x1) / 5
            if pooling == "bilinear":
                expected = sample_bilinear(maps[image, k], y - 0.5, x - 0.5)
            else:
                row, column = math.floor(y), math.floor(x)
                inside = 0 <= row < 6 and 0 <= column < 8
                expected = maps[image, k, row, column].item() if inside else 0.0
            assert regions[n, k, i, j].item() == pytest.approx(expected, abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 30), st.integers(0, 20), st.integers(1, 30), st.integers(1, 25), st.integers(0, 9999))
def test_mask_targets_equal_pooling_the_whole_image(x: int, y: int, width: int, height: int, seed: int) -> None:
    masks = torch.rand(1, 24, 40, generator=torch.Generator().manual_seed(seed)) > 0.4
    box = torch.tensor([[x, y, min(x + width, 40), min(y + height, 24)]], dtype=torch.float32)
    covered = roi_align(masks[:, None].float(), [box], 7, sampling_ratio=0, aligned=True)[:, 0]
    decided = (covered - 0.5).abs() > 1e-5  # at exactly one half, rounding decides
    assert torch.equal(crop_mask_targets(masks, box, 7)[decided], (covered >= 0.5).float()[decided])


def test_blender_computes_attention_only_where_asked() -> None:
    torch.manual_seed(0)
    blender = Blender(channels=6, num_bases=3, resolution=8, attention_size=4)
    nn.init.normal_(blender.top_layer.weight)
    towers = [torch.randn(2, 6, 5, 7), torch.randn(2, 6, 3, 4)]
    bases = torch.randn(2, 3, 10, 14)
    boxes = [torch.tensor([[4.0, 4.0, 30.0, 28.0]]), torch.tensor([[0.0, 0.0, 12.0, 16.0]])]
    sites = Sites(*(torch.tensor(v) for v in ([0, 1, 1], [0, 1, 0], [2, 0, 4], [3, 3, 6])))
    box_of_site = torch.tensor([0, 1, 1])
    logits = blender(bases, towers, boxes, sites, box_of_site)
    dense = [blender.top_layer(tower) for tower in towers]
    for n, (image, level, row, column) in enumerate([(0, 0, 2, 3), (1, 1, 0, 3), (1, 0, 4, 6)]):
        attention = dense[level][image, :, row, column].view(1, 3, 4, 4)
        region = crop_regions(bases[image : image + 1], [boxes[image]], 4, 8)
        torch.testing.assert_close(logits[n], blend(region, attention)[0], atol=1e-5, rtol=1e-4)
