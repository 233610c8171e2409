from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.modeling.postprocess.stuff import _taps, semantic_labels


@pytest.mark.parametrize(
    ("image_size", "size"),
    [
        ((96, 128), (96, 128)),
        ((90, 117), (90, 117)),
        ((90, 117), (201, 260)),
        ((96, 128), (41, 50)),
        ((5, 3), (300, 7)),
        ((3, 117), (1, 20_000)),
    ],
)
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("classes", [4, 255, 256, 300])
def test_labels_are_those_of_the_whole_upsampled_map(
    image_size: tuple[int, int], size: tuple[int, int], smooth: bool, classes: int
) -> None:
    torch.manual_seed(0)
    logits = torch.randn(classes, 24, 32)
    logits[-1, 0] = 10  # the largest label, along the top
    if smooth:
        logits = F.interpolate(logits[None, :, ::6, ::6], (24, 32), mode="bicubic")[0]
    whole = F.interpolate(logits[None], scale_factor=4, mode="bilinear", align_corners=False)
    whole = whole[..., : image_size[0], : image_size[1]]
    expected = F.interpolate(whole, size, mode="bilinear", align_corners=False)[0]
    labels = semantic_labels(logits, image_size, size)
    assert labels.shape == size
    assert labels.dtype == (torch.uint8 if classes < 256 else torch.uint16)
    labels = labels.long()
    assert (labels[0] == classes - 1).all()
    chosen = expected.gather(0, labels[None])[0]
    assert (chosen >= expected.amax(0) - 1e-4).all(), "a label that is not the most likely one"
    assert (labels == expected.argmax(0)).float().mean() > 0.999


@given(cells=st.integers(1, 60), padding=st.integers(0, 3), length=st.integers(1, 500), times=st.integers(1, 9))
def test_a_pixel_is_mixed_from_the_cells_that_change_it(cells: int, padding: int, length: int, times: int) -> None:
    image_length, length = 4 * cells - padding, length * times
    alone = F.interpolate(torch.eye(cells)[None], scale_factor=4.0, mode="linear", align_corners=False)
    expected = F.interpolate(alone[..., :image_length], length, mode="linear", align_corners=False)[0].T
    first, weights = _taps(cells, image_length, length, torch.device("cpu"))
    found = torch.zeros(length, cells)
    found.scatter_(1, first[:, None] + torch.arange(weights.shape[1]), weights)
    assert torch.equal(found, expected)
    assert weights.shape[1] <= 3
