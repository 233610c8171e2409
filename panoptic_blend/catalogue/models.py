"""The models that have a name here. No others with weights for BlendMask are known to be public."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["model", "start"]
Maker = Literal["AdelaiDet", "detectron2", "torchvision", "panoptic_blend"]


@dataclass(frozen=True)
class KnownModel:
    """A model, or weights to start training from, that a name stands for.

    Attributes:
        name: what `--checkpoint` and `pb.load` take.
        about: what it is, in a line.
        kind: 'model' predicts as it is; 'start' fills parts of a model that is then trained.
        maker: whose file it is, which says how it is read.
        licence: in a line; shown before the first download.
        url: where the file lies; "" for one that comes with the package.
        file: the file that comes with the package; None for one that is downloaded.
        digest: of the downloaded file: `sha256:` or `md5:` and as many of the first digits as are published.
        configuration: the shipped configuration that the weights belong to; "" for starts.
        score: what its makers measured, on COCO val2017 unless it comes with the package; "" when they say nothing.
        parameters: millions; None when nobody counted.
    """

    name: str
    about: str
    kind: Kind
    maker: Maker
    licence: str
    url: str = ""
    file: Path | None = None
    digest: str = ""
    configuration: str = ""
    score: str = ""
    parameters: float | None = None


INSTANCES_ONLY = (
    "It finds things alone: AdelaiDet's README links its panoptic models to the files of those for instances, and its "
    "panoptic weights seem lost."
)
"""What a person should know who looks for a published panoptic BlendMask."""

_ADELAIDET = "https://huggingface.co/ZjuCv/AdelaiDet/resolve/main/"
_DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2/"
_PANOPTIC_FPN = f"{_DETECTRON2}COCO-PanopticSegmentation/"
_ACADEMIC = "BSD 2-clause for academic use; ask AdelaiDet's authors for commercial use"
_SHARE_ALIKE = "CC BY-SA 3.0"


def _blendmask(
    name: str, file: str, configuration: str, mask_ap: float, parameters: float, sha256: str, about: str
) -> KnownModel:
    return KnownModel(
        name,
        f"instances, {about}",
        "model",
        "AdelaiDet",
        _ACADEMIC,
        f"{_ADELAIDET}{file}",
        digest=f"sha256:{sha256}" if sha256 else "",
        configuration=f"coco/{configuration}.yaml",
        score=f"mask AP {mask_ap}",
        parameters=parameters,
    )


def _start(name: str, about: str, url: str, digest: str, score: str) -> KnownModel:
    return KnownModel(name, about, "start", "detectron2", _SHARE_ALIKE, url, digest=digest, score=score)


NUCLEI_NANO = "nuclei-nano"
"""The model whose weights are in the package: training can start from them without a network."""
NUCLEI_PICTURES = tuple(Path(__file__).with_name(f"nuclei-{kind}.jpg") for kind in ("fluorescence", "tissue"))
"""Two of the images held out when nuclei-nano was trained (Data Science Bowl 2018, CC0)."""

MODELS: tuple[KnownModel, ...] = (
    KnownModel(
        NUCLEI_NANO,
        "nuclei under microscopes, of several stains",
        "model",
        "panoptic_blend",
        "Apache 2.0, trained on CC0 images (Data Science Bowl 2018)",
        file=Path(__file__).with_name("nuclei-nano.safetensors"),
        score="PQ 83.6",
        parameters=3.7,
    ),
    _blendmask(
        "blendmask-r50-1x", "R_50_1x.pth", "r50_1x", 35.8, 36.0,
        "9e9c2ff3fa4b6500294679d7acaabb5898587d8e8c7a3e10f5869bbcee97a5dd", "ResNet-50, 90k steps",
    ),
    _blendmask(
        "blendmask-r50-3x", "R_50_3x.pth", "r50_3x", 37.8, 36.0,
        "b25d31f6075ad3e09a267e0d410c6418afd9ff9c77f6bb3677ca4aeb76b750ed", "ResNet-50, 270k steps",
    ),
    _blendmask(
        "blendmask-r101-3x", "R_101_3x.pth", "r101_3x", 39.5, 54.9,
        "446ca00b58d592c25234b6ad718ce7b43f217b6cd3d071ab4b8d93f6d896a32b", "ResNet-101, 270k steps",
    ),
    _blendmask(
        "blendmask-r101-dcni3-5x", "R_101_dcni3_5x.pth", "r101_dcni3_5x", 41.1, 55.6,
        "b8186dee11d9e4cb1f2714f07ba6b1aa1ce29d65d47215c37b54ad95d65673da", "deformable ResNet-101, 400k steps",
    ),
    _blendmask(
        "blendmask-550-r50-3x", "550_R_50_3x.pth", "550_r50_3x", 34.5, 32.3,
        "f902e55e7520be4a47862c54772594294f0716dd2ebfdd99a3b6684b84133170", "ResNet-50 at 550 px",
    ),
    _blendmask(
        "blendmask-rt-r50-4x", "RT_R_50_4x_syncbn_shtw.pth", "rt_r50_4x_syncbn_shtw", 35.1, 31.8,
        "", "ResNet-50 at 512 px",
    ),
    _blendmask(
        "blendmask-rt-r50-4x-bn-head", "RT_R_50_4x_bn-head_syncbn_shtw.pth", "rt_r50_4x_bn-head_syncbn_shtw", 35.1,
        31.8, "", "ResNet-50 at 512 px, batch norm",
    ),
    _blendmask(
        "blendmask-dla34-4x", "DLA_34_syncbn_4x.pth", "dla34_4x_syncbn", 36.3, 25.9, "", "DLA-34, extra timm",
    ),
    _start(
        "panoptic-fpn-r50-1x", "ResNet-50, 90k steps",
        f"{_PANOPTIC_FPN}panoptic_fpn_R_50_1x/139514544/model_final_dbfeb4.pkl", "md5:dbfeb4", "PQ 39.4",
    ),
    _start(
        "panoptic-fpn-r50-3x", "ResNet-50, 270k steps",
        f"{_PANOPTIC_FPN}panoptic_fpn_R_50_3x/139514569/model_final_c10459.pkl", "md5:c10459", "PQ 41.5",
    ),
    _start(
        "panoptic-fpn-r101-3x", "ResNet-101, 270k steps",
        f"{_PANOPTIC_FPN}panoptic_fpn_R_101_3x/139514519/model_final_cafdb1.pkl", "md5:cafdb1", "PQ 43.0",
    ),
    _start(
        "imagenet-r50-caffe", "ResNet-50 of ImageNet, for configs/coco/",
        f"{_DETECTRON2}ImageNetPretrained/MSRA/R-50.pkl", "", "",
    ),
    _start(
        "imagenet-r101-caffe", "ResNet-101 of ImageNet, for configs/coco/",
        f"{_DETECTRON2}ImageNetPretrained/MSRA/R-101.pkl", "", "",
    ),
    KnownModel(
        "fcos-r50-torchvision", "detector with ResNet-50 and pyramid", "start", "torchvision",
        "BSD 3-clause; its data's terms may apply", "https://download.pytorch.org/models/fcos_resnet50_fpn_coco-99b0c9b7.pth",
        digest="sha256:99b0c9b7", score="box AP 39.2", parameters=32.3,
    ),
)  # fmt: skip
