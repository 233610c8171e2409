"""The formats by name, and which of them a folder or file looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.categories import Categories
from panoptic_blend.convert import (
    ade20k,
    cityscapes,
    coco_instances,
    cvat,
    kitti,
    kitti_step,
    label_and_instance_maps,
    label_maps,
    label_studio,
    labelme,
    mapillary,
    mask_folders,
    mots,
    roboflow,
    supervisely,
    synthia,
    voc,
    yolo_seg,
)
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.source import Source
from panoptic_blend.convert.target import Target
from panoptic_blend.convert.to_coco_instances import ToCocoInstances
from panoptic_blend.convert.to_label_maps import ToLabelMaps
from panoptic_blend.convert.to_labelme import ToLabelMe
from panoptic_blend.convert.to_yolo_seg import ToYoloSeg
from panoptic_blend.errors import DatasetError


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        recognise: whether a path looks like it.
        open_source: its reader.
        layout: what lies where, in a line for `--help`.
    """

    recognise: Callable[[Path], bool]
    open_source: Callable[[Path, FormatOptions], Source]
    layout: str


FORMATS = {
    "ade20k": Format(
        ade20k.recognise,
        ade20k.open_source,
        "DIR of the full release of 2017 or 2020 (training/, validation/), ADEChallengeData2016/, or with "
        "ade20k_panoptic_train.json",
    ),
    "cityscapes": Format(
        cityscapes.recognise,
        cityscapes.open_source,
        "DIR with leftImg8bit/ and gtFine/, or gtFine/cityscapes_panoptic_SPLIT.json",
    ),
    "coco-instances": Format(
        coco_instances.recognise,
        coco_instances.open_source,
        "FILE.json; --images DIR; for stuff --stuff-labels FILE.json, or DIR with label maps and --labels NAMES",
    ),
    "cvat": Format(
        cvat.recognise,
        cvat.open_source,
        "FILE.xml of 'CVAT for images 1.1', or DIR with annotations.xml and images/",
    ),
    "kitti": Format(
        kitti.recognise,
        kitti.open_source,
        "DIR with image_2/ and instance/, 16-bit PNGs of category x 256 + instance",
    ),
    "kitti-step": Format(
        kitti_step.recognise,
        kitti_step.open_source,
        "DIR with panoptic_maps/SPLIT/, and images/SPLIT/ or training/image_02/",
    ),
    "label-and-instance-maps": Format(
        label_and_instance_maps.recognise,
        label_and_instance_maps.open_source,
        "DIR with images/, labels/ and instances/ of the same names (or both in the channels of one PNG in labels/); "
        "--labels NAMES, --things NAMES",
    ),
    "label-maps": Format(
        label_maps.recognise,
        label_maps.open_source,
        "DIR with images/ and labels/ of the same names, or train/ and trainannot/, val/ and valannot/...; "
        "--labels NAMES, one 'value name' a line",
    ),
    "label-studio": Format(
        label_studio.recognise,
        label_studio.open_source,
        "FILE.json, exported as JSON; --images DIR",
    ),
    "labelme": Format(
        labelme.recognise,
        labelme.open_source,
        "DIR with images and a JSON for each; or Annotations/, Images/ and Masks/ of the older XML",
    ),
    "mapillary": Format(
        mapillary.recognise,
        mapillary.open_source,
        "DIR with config_v2.0.json (or 1.2's), SPLIT/images/ and SPLIT/v2.0/instances/, or a panoptic_2020.json",
    ),
    "mask-folders": Format(
        mask_folders.recognise,
        mask_folders.open_source,
        "DIR with NAME/images/ and NAME/masks/, a mask an object; --things NAME [--stuff NAME for the rest]",
    ),
    "mots": Format(
        mots.recognise,
        mots.open_source,
        "DIR with SPLIT/images/ and SPLIT/instances/, 16-bit PNGs of class x 1000 + object",
    ),
    "roboflow": Format(
        roboflow.recognise,
        roboflow.open_source,
        "DIR with train/, valid/ and test/, exported as COCO Segmentation",
    ),
    "supervisely": Format(
        supervisely.recognise,
        supervisely.open_source,
        "DIR with meta.json and NAME/img/, NAME/ann/",
    ),
    "synthia": Format(
        synthia.recognise,
        synthia.open_source,
        "DIR with RGB/ and GT/LABELS/, GT/, GTTXT/ or SemSeg/, or with RGBLeft/ and GTLeft/",
    ),
    "voc": Format(
        voc.recognise,
        voc.open_source,
        "DIR with JPEGImages/, SegmentationClass/, SegmentationObject/, labelmap.txt and ImageSets/Segmentation/",
    ),
    "yolo-seg": Format(
        yolo_seg.recognise,
        yolo_seg.open_source,
        "DIR with data.yaml, images/ and labels/, or that file",
    ),
}

TARGETS: dict[str, Callable[[Categories, str], Target]] = {
    "coco-instances": ToCocoInstances,
    "label-maps": lambda categories, _: ToLabelMaps(categories),
    "labelme": lambda categories, _: ToLabelMe(categories),
    "yolo-seg": ToYoloSeg,
}
"""What COCO panoptic data can be turned into, by categories and split."""


def recognise_format(source: Path) -> str:
    """The one format that a data set looks like.

    Raises:
        DatasetError: there is nothing at the path, or it looks like no format or like several.
    """
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder.")
    found = [name for name, each in FORMATS.items() if each.recognise(source)]
    if len(found) == 1:
        return found[0]
    like = f"like {' and '.join(found)}" if found else "like none of the formats"
    raise DatasetError(f"{source}: looks {like}. Say which it is with --from, one of: {', '.join(FORMATS)}.")


def place_in(folder: Path, kind: str | None) -> Path:
    """Where in an unpacked archive the data set is: the folder, one it holds alone, or a file of annotations.

    Args:
        kind: the format, where it is known.

    Raises:
        DatasetError: several files look like data sets.
    """
    formats = FORMATS.values() if kind is None else [FORMATS[kind]]

    def like_one(paths: Iterable[Path]) -> list[Path]:
        return [path for path in paths if any(each.recognise(path) for each in formats)]

    chain = [folder]
    while len(inside := _inside(chain[-1])) == 1 and inside[0].is_dir():
        chain += inside
    if folders := like_one(reversed(chain)):
        return folders[0]
    files = like_one(path for path in (*inside, *_inside(chain[-1] / "annotations")) if path.is_file())
    if len(files) > 1:
        raise DatasetError(f"{files[0]}: is not alone: {files[1]} is there too. Unpack the archive and give one.")
    return files[0] if files else folder


def _inside(folder: Path) -> list[Path]:
    """What is in a folder, if it is there, but for what archives have beside their content."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if path.name != "__MACOSX" and not path.name.startswith(".")]
