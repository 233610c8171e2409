from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from panoptic_blend.pasting import paste_mask, paste_masks

SIZE = (37, 53)


def paste_by_grid_sample(patch: Tensor, box: Tensor, size: tuple[int, int]) -> Tensor:
    """Sample the patch at every pixel centre of the image."""
    y = (torch.arange(size[0]) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    x = (torch.arange(size[1]) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
    return F.grid_sample(patch[None, None], grid[None], align_corners=False)[0, 0]


@st.composite
def boxes(draw: st.DrawFn) -> Tensor:
    left, right = sorted(draw(st.tuples(st.floats(0, SIZE[1]), st.floats(0, SIZE[1]))))
    top, bottom = sorted(draw(st.tuples(st.floats(0, SIZE[0]), st.floats(0, SIZE[0]))))
    return torch.tensor([left, top, max(right, left + 0.5), max(bottom, top + 0.5)])


@given(boxes(), st.integers(1, 14), st.integers(0, 2**31))
def test_pasting_inside_the_box_equals_sampling_the_whole_image(box: Tensor, resolution: int, seed: int) -> None:
    patch = torch.rand(resolution, resolution, generator=torch.Generator().manual_seed(seed))
    region, values = paste_mask(patch, box, SIZE)
    expected = paste_by_grid_sample(patch, box, SIZE)
    torch.testing.assert_close(values, expected[region], atol=1e-4, rtol=0)
    outside = expected.clone()
    outside[region] = 0
    assert outside.max() <= 0.5 + 1e-4, "nothing that could be foreground lies outside the region"


def test_masks_are_thresholded_per_instance() -> None:
    patches = torch.stack([torch.full((4, 4), 1.0), torch.full((4, 4), 0.4)])
    masks = paste_masks(patches, torch.tensor([[2.0, 3.0, 10.0, 8.0], [0.0, 0.0, 9.0, 9.0]]), (12, 14))
    expected = torch.zeros(12, 14, dtype=torch.bool)
    expected[3:8, 2:10] = True
    assert torch.equal(masks[0], expected)
    assert not masks[1].any()


@given(boxes(), st.integers(2, 56))
def test_an_undecided_mask_has_all_pixels_inside_its_box_however_they_are_rounded(box: Tensor, resolution: int) -> None:
    (mask,) = paste_masks(torch.full((1, resolution, resolution), 0.5), box[None], SIZE)
    cell = (box[2:] - box[:2]) / resolution  # the outermost half of which fades into what is outside
    y, x = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    inside = (x > box[0] + 0.51 * cell[0]) & (x < box[2] - 0.51 * cell[0])
    inside &= (y > box[1] + 0.51 * cell[1]) & (y < box[3] - 0.51 * cell[1])
    assert mask[inside].all()


def test_no_instances_give_no_masks() -> None:
    assert paste_masks(torch.zeros(0, 4, 4), torch.zeros(0, 4), (5, 6)).shape == (0, 5, 6)
