"""Targets cut out of an instance map against the same from one full-size mask an instance."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import roi_align

from panoptic_blend.modeling.criterion.mask_targets import auxiliary_targets, crop_mask_targets
from panoptic_blend.structures import Targets

Box = tuple[int, int, int, int]
HEIGHT, WIDTH = 24, 40
box = st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(1, 30), st.integers(1, 25))


def draw_targets(corners: list[Box], seed: int) -> tuple[Targets, Tensor]:
    """Speckled masks that fill boxes, may overlap and may stand out of their box, and the same as targets."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.tensor([(x, y, min(x + w, WIDTH), min(y + h, HEIGHT)) for x, y, w, h in corners]).reshape(-1, 4)
    masks = torch.zeros((len(boxes), HEIGHT, WIDTH), dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.tolist(), strict=True):
        mask[top : bottom + 2, left : right + 2] = True
    masks &= torch.rand(masks.shape, generator=generator) > 0.4
    labels = torch.randint(0, 5, (len(boxes),), generator=generator)
    semantic = torch.zeros((HEIGHT, WIDTH), dtype=torch.int64)
    return Targets.from_masks(boxes.float(), labels, masks, semantic), masks


@settings(deadline=None, max_examples=40)
@given(box, st.integers(0, 9999))
def test_mask_targets_equal_pooling_the_whole_image(corners: Box, seed: int) -> None:
    targets, masks = draw_targets([corners], seed)
    covered = roi_align(masks[:, None].float(), [targets.boxes], 7, sampling_ratio=0, aligned=True)[:, 0]
    decided = (covered - 0.5).abs() > 1e-5  # at exactly one half, rounding decides
    assert torch.equal(crop_mask_targets([targets], 7)[decided], (covered >= 0.5).float()[decided])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(box, max_size=6), min_size=1, max_size=3), st.integers(0, 9999))
def test_mask_targets_of_a_batch_equal_those_of_full_masks_to_the_last_bit(batch: list[list[Box]], seed: int) -> None:
    drawn = [draw_targets(corners, seed + index) for index, corners in enumerate(batch)]
    expected = []
    for targets, masks in drawn:
        for mask, true_box in zip(masks, targets.boxes, strict=True):
            left, top = (true_box[:2].floor() - 1).clamp(min=0).long().tolist()
            right, bottom = (true_box[2:].ceil() + 2).long().tolist()
            window = mask[top:bottom, left:right][None, None].float()
            shifted = true_box - true_box.new_tensor([left, top, left, top])
            expected.append(roi_align(window, [shifted[None]], 7, sampling_ratio=0, aligned=True)[0, 0] >= 0.5)
    found = crop_mask_targets([targets for targets, _ in drawn], 7)
    assert found.shape == (len(expected), 7, 7)
    assert all(torch.equal(have, want.float()) for have, want in zip(found, expected, strict=True))


@given(st.lists(box, max_size=6), st.integers(0, 9999))
def test_auxiliary_targets_are_painted_one_instance_after_another(corners: list[Box], seed: int) -> None:
    targets, masks = draw_targets(corners, seed)
    painted = torch.zeros((HEIGHT, WIDTH), dtype=torch.int64)
    for mask, label in zip(masks, targets.labels, strict=True):
        painted[mask] = label + 1
    assert torch.equal(auxiliary_targets(targets.instance_map, targets.labels), painted[::8, ::8])
