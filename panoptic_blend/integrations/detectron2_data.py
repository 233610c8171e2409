"""Data sets for the model inside detectron2: the plain panoptic layout, read without any derived files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from panoptic_blend.categories import IGNORE
from panoptic_blend.coco.annotations import ImageRecord, PanopticAnnotations, SegmentRecord
from panoptic_blend.coco.segments_png import read_id_map
from panoptic_blend.data.targets import index_segments, targets_from_indices
from panoptic_blend.errors import ConfigError, DatasetError, PanopticBlendError
from panoptic_blend.integrations.detectron2_ids import IGNORE_LABEL, ContiguousIds, panoptic_metadata, read_metadata

try:
    from detectron2.config import CfgNode, configurable
    from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog, detection_utils
    from detectron2.data.transforms import AugInput, Augmentation, AugmentationList
    from detectron2.structures import BitMasks, Boxes, Instances
except ImportError as error:
    raise PanopticBlendError(
        f"panoptic_blend.integrations.detectron2 needs detectron2, which cannot be imported here ({error}). It is on "
        "no package index; build it: pip install --no-build-isolation "
        "git+https://github.com/facebookresearch/detectron2. What it needs beside that: "
        "pip install 'panoptic-blend[detectron2]'"
    ) from error


def ids_of(cfg: CfgNode) -> ContiguousIds:
    """What the first data set that a configuration names calls its categories.

    Raises:
        ConfigError: it names none.
        DatasetError: the data set is not registered, or its metadata incomplete.
    """
    names = (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
    if not names:
        raise ConfigError("DATASETS.TRAIN and DATASETS.TEST are empty; name a data set, for its categories.")
    return read_metadata(MetadataCatalog.get(names[0]), names[0])


class PanopticMapper:
    """Training samples of a data set in plain panoptic layout (`register_coco_panoptic`): no derived files needed.

    Give it to `build_detection_train_loader(cfg, mapper=PanopticMapper(cfg))`. The separated layout, and prediction,
    take detectron2's own `DatasetMapper`.

    Args:
        ids: what detectron2 calls the categories.
        augmentations: applied to the image and its id map; everything else is derived afterwards.
        image_format: of `detectron2.data.detection_utils.read_image`.
    """

    @configurable
    def __init__(self, *, ids: ContiguousIds, augmentations: Sequence[Augmentation], image_format: str):
        self.ids = ids
        self.augmentations = AugmentationList(augmentations)
        self.image_format = image_format

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments as detectron2's configuration gives them, augmentation as in its own mapper."""
        standard = DatasetMapper.from_config(cfg, is_train=True)
        return {
            "ids": ids_of(cfg),
            "augmentations": standard["augmentations"],
            "image_format": standard["image_format"],
        }

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Read and augment one image, and derive `instances` and `sem_seg` from its id map.

        Raises:
            DatasetError: the id map cannot be read or is not of the image's size.
        """
        sample = {key: dataset_dict[key] for key in dataset_dict if key not in ("segments_info", "pan_seg_file_name")}
        image = detection_utils.read_image(sample["file_name"], format=self.image_format)
        detection_utils.check_image_size(sample, image)
        path = Path(dataset_dict["pan_seg_file_name"])
        id_map = read_id_map(path)
        if id_map.shape != image.shape[:2]:
            raise DatasetError(
                f"{path}: is {id_map.shape[1]} x {id_map.shape[0]}, but its image {sample['file_name']} is "
                f"{image.shape[1]} x {image.shape[0]}. Save the id map at the image's size."
            )
        indices, ordered = index_segments(id_map, [self._record(row) for row in dataset_dict["segments_info"]])
        # detectron2 resizes maps of uint8 or float only, and pads them with 255. Where that could be a segment,
        # segments are counted downwards from 0.
        few = len(ordered) < 255
        augmented = AugInput(image, sem_seg=indices if few else -indices.astype(np.float32))
        self.augmentations(augmented)
        indices = augmented.sem_seg.copy() if few else np.maximum(-augmented.sem_seg, 0).astype(np.int32)
        indices[indices > len(ordered)] = 0
        targets = targets_from_indices(indices, ordered, self.ids.categories)

        contiguous = torch.tensor(list(self.ids.things.values()), dtype=torch.int64)
        sample["image"] = torch.from_numpy(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        sample["sem_seg"] = targets.semantic.masked_fill(targets.semantic == IGNORE, IGNORE_LABEL)
        sample["instances"] = Instances(
            indices.shape,
            gt_boxes=Boxes(targets.boxes),
            gt_classes=contiguous[targets.labels],
            gt_masks=BitMasks(targets.masks),
        )
        return sample

    def _record(self, row: dict[str, Any]) -> SegmentRecord:
        category_id = self.ids.category_id(row["category_id"], row["isthing"])
        return SegmentRecord(row["id"], category_id, bool(row.get("iscrowd", 0)), area=-1, bbox=(0, 0, 0, 0))


def register_panoptic(
    name: str, image_root: Path | str, panoptic_json: Path | str, panoptic_root: Path | str | None = None
) -> None:
    """Register a data set in COCO panoptic format, with metadata made from its categories.

    As `register_coco_panoptic`, but for images of any format and name.

    Args:
        name: new to detectron2's catalogue.
        image_root: folder of the images.
        panoptic_json: COCO panoptic JSON.
        panoptic_root: folder of the id-map PNGs; None looks where they usually lie.

    Raises:
        DatasetError: the JSON cannot be read or does not hold together.
    """
    annotations = PanopticAnnotations.load(panoptic_json)
    segments = Path(panoptic_root) if panoptic_root is not None else annotations.default_segments_folder
    metadata = panoptic_metadata(annotations.categories)
    MetadataCatalog.get(name).set(
        image_root=str(image_root),
        panoptic_json=str(panoptic_json),
        panoptic_root=str(segments),
        evaluator_type="coco_panoptic_seg",
        ignore_label=IGNORE_LABEL,
        **metadata,
    )
    ids = read_metadata(MetadataCatalog.get(name), name)
    DatasetCatalog.register(name, lambda: [_row(record, ids, Path(image_root), segments) for record in annotations])


def _row(record: ImageRecord, ids: ContiguousIds, images: Path, segments: Path) -> dict[str, Any]:
    """One image in detectron2's standard panoptic format."""
    rows = []
    for segment in record.segments:
        is_thing = segment.category_id in ids.things
        contiguous = ids.contiguous(segment.category_id, is_thing)
        rows.append(
            {"id": segment.id, "category_id": contiguous, "isthing": is_thing, "iscrowd": int(segment.is_crowd)}
        )
    return {
        "file_name": str(images / record.file_name),
        "image_id": record.image_id,
        "height": record.height,
        "width": record.width,
        "pan_seg_file_name": str(segments / record.segments_file_name),
        "segments_info": rows,
    }
