from __future__ import annotations

import itertools

import torch
from torch import nn

from panoptic_blend.modeling.network.locations import Sites, conv3x3_at, locate


def test_locations_are_cell_centres_level_after_level() -> None:
    locations = locate([torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 1, 2)], [8, 16])
    expected = [(x * 8 + 4, y * 8 + 4, 8, 0, y, x) for y, x in itertools.product(range(3), range(4))]
    expected += [(x * 16 + 8, 8, 16, 1, 0, x) for x in range(2)]
    actual = zip(
        *locations.centers.T.tolist(),
        locations.strides.tolist(),
        locations.level.tolist(),
        locations.row.tolist(),
        locations.column.tolist(),
        strict=True,
    )
    assert list(actual) == expected


def test_lazy_convolution_equals_the_dense_one_everywhere() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(5, 7, 3, padding=1)
    levels = [torch.randn(2, 5, 6, 4).to(memory_format=torch.channels_last), torch.randn(2, 5, 1, 1)]
    locations = locate(levels, [8, 16])
    image = torch.arange(2).repeat_interleave(len(locations.level))
    cell = torch.arange(len(locations.level)).repeat(2)
    shuffled = torch.randperm(len(cell))
    lazy = conv3x3_at(convolution, levels, Sites.at(locations, image[shuffled], cell[shuffled]))
    dense = torch.cat([convolution(level).flatten(2).transpose(1, 2) for level in levels], dim=1)
    torch.testing.assert_close(lazy, dense[image, cell][shuffled])


def test_lazy_convolution_has_the_dense_one_s_gradients() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 2, 3, padding=1)
    level = torch.randn(1, 3, 4, 4, requires_grad=True)
    sites = Sites(*(torch.tensor(v) for v in ([0, 0], [0, 0], [0, 2], [3, 1])))
    conv3x3_at(convolution, [level], sites).square().sum().backward()
    lazy = [level.grad, convolution.weight.grad, convolution.bias.grad]  # type: ignore[union-attr]
    level.grad = None
    convolution.zero_grad()
    dense = convolution(level)
    (dense[0, :, 0, 3].square() + dense[0, :, 2, 1].square()).sum().backward()
    for actual, expected in zip(lazy, [level.grad, convolution.weight.grad, convolution.bias.grad], strict=True):  # type: ignore[union-attr]
        torch.testing.assert_close(actual, expected)


def test_no_sites_give_no_rows_but_stay_differentiable() -> None:
    convolution = nn.Conv2d(3, 2, 3, padding=1)
    none = torch.zeros(0, dtype=torch.int64)
    result = conv3x3_at(convolution, [torch.randn(1, 3, 4, 4)], Sites(none, none, none, none))
    assert result.shape == (0, 2)
    result.sum().backward()
    assert convolution.weight.grad is not None
    assert not convolution.weight.grad.any()
