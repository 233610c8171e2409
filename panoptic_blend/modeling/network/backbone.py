"""Image -> C2..C5: torchvision's ResNet blocks in any width, or a timm pyramid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import DeformConv2d, deform_conv2d

from panoptic_blend.errors import ConfigError
from panoptic_blend.modeling.network.layers import FrozenBatchNorm, group_norm

_DEPTHS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ModulatedDeformConv(nn.Module):
    """3x3 deformable convolution with learned offsets and weights per tap (DCNv2, Zhu et al., 2019)."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.offset = nn.Conv2d(channels, 27, 3, stride=stride, padding=1)
        self.conv = DeformConv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H / stride, W / stride]."""
        exact = torch.promote_types(x.dtype, torch.float32)  # on CPUs the operation has no half precision
        offset = self.offset(x).to(exact)
        taps = offset[:, :18].contiguous(), self.conv.weight.to(exact), None, self.conv.stride, self.conv.padding
        return deform_conv2d(x.to(exact), *taps, mask=offset[:, 18:].sigmoid()).to(x.dtype)


class ResNet(nn.Module):
    """ResNet pyramid under torchvision's parameter names, so that its weight files load as they are (He et al., 2016).

    Args:
        name: resnet18, resnet34, resnet50 or resnet101.
        norm: 'frozen', 'batch' or 'group'.
        frozen_stages: leading stages (stem, C2, ...) that are not trained; their batch norms are frozen too.
        width: channels of the first stage's 3x3 convolutions.
        stem_width: channels of the stem.
        stride_in_1x1: bottlenecks stride in their first convolution, as Caffe's networks do.
        deformable_stages: stages (2..5) with deformable blocks.
        deformable_interval: every so many blocks of those stages, from the first.
        in_channels: of images; the first convolution is trained when they are not RGB, whatever is frozen.

    Attributes:
        pixel_mean: per channel, RGB in 0..255: how torchvision's weights were trained.
        pixel_std: likewise.
        channels: of C2..C5.
    """

    pixel_mean = (123.675, 116.28, 103.53)
    pixel_std = (58.395, 57.12, 57.375)

    def __init__(
        self,
        name: str,
        norm: Literal["frozen", "batch", "group"],
        frozen_stages: int = 0,
        width: int = 64,
        stem_width: int = 64,
        stride_in_1x1: bool = False,
        deformable_stages: Sequence[int] = (),
        deformable_interval: int = 3,
        in_channels: int = 3,
    ):
        super().__init__()
        block, depths = _DEPTHS[name]
        make_norm: dict[str, Callable[..., nn.Module]] = {
            "frozen": FrozenBatchNorm,
            "batch": nn.BatchNorm2d,
            "group": group_norm,
        }
        frozen_norm = make_norm["group" if norm == "group" else "frozen"]
        norms = [frozen_norm if stage <= frozen_stages else make_norm[norm] for stage in range(1, 6)]

        self.conv1 = nn.Conv2d(in_channels, stem_width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norms[0](stem_width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = stem_width
        stages: list[nn.Sequential] = []
        for stage, depth in enumerate(depths, start=2):
            planes = width * 2 ** (stage - 2)
            blocks = []
            for index in range(depth):
                stride = 2 if index == 0 and stage > 2 else 1
                blocks.append(_block(block, channels, planes, stride, norms[stage - 1], stride_in_1x1))
                channels = planes * block.expansion
                if stage in deformable_stages and index % deformable_interval == 0:
                    _make_deformable(blocks[-1])
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = [width * 2**i * block.expansion for i in range(4)]

        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:  # the offsets of deformable ones start at zero
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        stem = nn.ModuleList([self.conv1, self.bn1])
        for frozen in [stem, *stages][:frozen_stages]:
            frozen.requires_grad_(False)
        if in_channels != 3:
            self.conv1.requires_grad_(True)

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, C, H, W] -> C2, C3, C4, C5 at strides 4, 8, 16, 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        c2 = self.layer1(x)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return [c2, c3, c4, self.layer4(c4)]


def _block(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    planes: int,
    stride: int,
    norm: Callable[..., nn.Module],
    stride_in_1x1: bool,
) -> nn.Module:
    out_channels = planes * block.expansion
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), norm(out_channels))
    built = block(in_channels, planes, stride, shortcut, norm_layer=norm)
    if stride_in_1x1 and isinstance(built, Bottleneck):
        built.conv1.stride, built.conv2.stride = (stride, stride), (1, 1)
    return built


def _make_deformable(block: nn.Module) -> None:
    replaced = block.conv2
    assert isinstance(replaced, nn.Conv2d)
    block.conv2 = ModulatedDeformConv(replaced.out_channels, replaced.stride[0])


class TimmBackbone(nn.Module):
    """A timm network that turns images of any size into [B, C, H, W] features at strides 4, 8, 16 and 32.

    Most convolutional ones do; of transformers, those whose windows and positions are not bound to one image size.

    Args:
        name: timm's, alone or with the tag of pretrained weights: 'resnet50', 'resnet50.a1_in1k'. The tag decides
            which weights `checkpoints` loads, and so the normalisation; those here are random.
        in_channels: of images.

    Attributes:
        pixel_mean: per channel, RGB in 0..255: how timm's weights of this name were trained.
        pixel_std: likewise.
        channels: of C2..C5.

    Raises:
        ConfigError: timm is not installed, does not know the name, or the network is not of this kind.
    """

    def __init__(self, name: str, in_channels: int = 3):
        super().__init__()
        self.name = name
        try:
            import timm
        except ImportError as error:
            raise ConfigError(
                "model.backbone.name asks for timm. Install it: pip install 'panoptic-blend[timm]'"
            ) from error
        if not timm.is_model(name):
            raise ConfigError(f"model.backbone.name: timm has no model {name!r}; see timm.list_models().")
        try:
            timm.get_pretrained_cfg(name)
        except RuntimeError as error:
            model, _, tag = name.partition(".")
            tagged = ", ".join(timm.list_models(f"{model}.*", include_tags=True)) or "no tags"
            raise ConfigError(
                f"model.backbone.name: timm has no weights tagged {tag!r} for {model}; it has {tagged}."
            ) from error
        try:
            pyramid: Any = timm.create_model(name, features_only=True, in_chans=in_channels)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(
                f"model.backbone.name: timm's {name} gives no features between its layers ({error})."
            ) from error
        reductions = pyramid.feature_info.reduction()
        missing = [stride for stride in (4, 8, 16, 32) if stride not in reductions]
        if missing:
            raise ConfigError(f"model.backbone.name: timm's {name} has no features at strides {missing}.")
        places = [reductions.index(stride) for stride in (4, 8, 16, 32)]
        self.channels: list[int] = [pyramid.feature_info.channels()[place] for place in places]
        _try_out(name, pyramid, in_channels, places, self.channels)
        indices = [pyramid.feature_info.out_indices[place] for place in places]  # some networks leave out their first
        self.body = timm.create_model(name, features_only=True, out_indices=indices, in_chans=in_channels)
        self.pixel_mean, self.pixel_std = map(_in_0_to_255, (pyramid.pretrained_cfg[key] for key in ("mean", "std")))

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, C, H, W] -> C2, C3, C4, C5."""
        return list(self.body(images))


def _in_0_to_255(channels: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (round(255 * value, 4) for value in channels)
    return red, green, blue


@torch.no_grad()
def _try_out(name: str, pyramid: nn.Module, in_channels: int, indices: list[int], channels: list[int]) -> None:
    """Feed a small image that is not square: timm tells neither which sizes nor, of all networks, which layout."""
    try:
        features = pyramid.eval()(torch.zeros(1, in_channels, 64, 96))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"model.backbone.name: timm's {name} reads images of sizes of its own only ({error!r}). Take a "
            "convolutional network, such as timm:convnext_tiny."
        ) from error
    for index, width, stride in zip(indices, channels, (4, 8, 16, 32), strict=True):
        found, needed = features[index].shape[1:], (width, 64 // stride, 96 // stride)
        if found != needed:
            raise ConfigError(
                f"model.backbone.name: timm's {name} gives features of {' x '.join(map(str, found))} where the model "
                f"needs {' x '.join(map(str, needed))}. Take a convolutional network, such as timm:convnext_tiny."
            )
