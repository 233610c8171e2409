from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from panoptic_blend.modeling.network.bases import DeepLabBases
from panoptic_blend.modeling.network.layers import GroupNorm


def backbone_features(images: int) -> list[Tensor]:
    """C2..C5 of 64 x 96 pixels."""
    return [torch.randn(images, 4 * 2**i, 16 // 2**i, 24 // 2**i) for i in range(4)]


def deeplab(norm: Literal["batch", "group"]) -> DeepLabBases:
    torch.manual_seed(0)
    return DeepLabBases([4, 8, 16, 32], detail=3, channels=8, num_bases=3, norm=norm)


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("images", [1, 2])
def test_deeplab_bases_train_however_few_images_come_at_once(norm: Literal["batch", "group"], images: int) -> None:
    bases = deeplab(norm)
    drawn = bases(backbone_features(images), {}, None)
    assert drawn.shape == (images, 3, 16, 24)
    drawn.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in bases.parameters())
    assert all(value.isfinite().all() for value in bases.state_dict().values())


def test_statistics_of_the_pooled_branch_come_from_several_images_only() -> None:
    bases = deeplab("batch")
    norm = bases.context.convs[4][2]
    bases(backbone_features(1), {}, None)
    assert torch.equal(norm.running_mean, torch.zeros(8))
    features = backbone_features(2)
    bases(features, {}, None)
    pooled = bases.context.convs[4][1](features[3].mean(dim=(2, 3), keepdim=True))
    torch.testing.assert_close(norm.running_mean, 0.1 * pooled.mean(dim=(0, 2, 3)))


def test_the_norm_asked_for_is_everywhere() -> None:
    kinds = [type(module) for module in deeplab("group").modules()]
    assert kinds.count(GroupNorm) == 8  # the pooled branch has one value per channel, and no norm
    assert not any(issubclass(kind, nn.BatchNorm2d) for kind in kinds)


def test_context_of_batch_norms_is_torchvisions_when_it_predicts() -> None:
    theirs = ASPP(32, [6, 12, 18], 8)
    for name, value in theirs.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    ours = deeplab("batch").context
    ours.load_state_dict(theirs.state_dict())
    features = torch.randn(2, 32, 5, 7)
    with torch.no_grad():
        assert torch.equal(ours.eval()(features), theirs.eval()(features))
