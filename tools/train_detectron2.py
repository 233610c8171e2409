"""Train or evaluate inside detectron2, with the flags its users know: --config-file, --resume, --eval-only, --num-gpus.

    python tools/train_detectron2.py --num-gpus 1 MODEL.PANOPTIC_BLEND.CONFIG configs/shapes/r18.yaml \
        DATASETS.TRAIN "('panoptic_blend_train',)" DATASETS.TEST "('panoptic_blend_val',)"

Data sets that detectron2 knows, such as coco_2017_train_panoptic_separated, are named as they are; panoptic_blend_train
and panoptic_blend_val are what the `data` section of our configuration describes.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from panoptic_blend.errors import PanopticBlendError

try:
    from panoptic_blend.integrations.detectron2 import PanopticMapper, add_panoptic_blend_config, register_datasets
except PanopticBlendError as missing:
    sys.exit(str(missing))

# isort: split
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog, build_detection_train_loader
from detectron2.engine import DefaultTrainer, default_argument_parser, default_setup, launch
from detectron2.evaluation import COCOEvaluator, COCOPanopticEvaluator, DatasetEvaluators, SemSegEvaluator


def is_separated(dataset_name: str) -> bool:
    """Whether instances and semantic maps come as files of their own."""
    return hasattr(MetadataCatalog.get(dataset_name), "sem_seg_root")


class Trainer(DefaultTrainer):
    """detectron2's trainer, reading either panoptic layout."""

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        """Batches, through our mapper where there is nothing but the id maps."""
        mapper = None if is_separated(cfg.DATASETS.TRAIN[0]) else PanopticMapper(cfg)
        return build_detection_train_loader(cfg, mapper=mapper)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str, output_folder: str | None = None) -> DatasetEvaluators:
        """PQ always; mask AP and mIoU where their files are."""
        folder = output_folder or os.path.join(cfg.OUTPUT_DIR, "inference")
        evaluators = [COCOPanopticEvaluator(dataset_name, folder)]
        if is_separated(dataset_name):
            evaluators += [
                SemSegEvaluator(dataset_name, output_dir=folder),
                COCOEvaluator(dataset_name, output_dir=folder),
            ]
        return DatasetEvaluators(evaluators)


def main(args: argparse.Namespace) -> Any:
    """One process of a run; with --eval-only, returns the metrics by task."""
    cfg = get_cfg()
    add_panoptic_blend_config(cfg)
    if args.config_file:
        cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    register_datasets(cfg)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        return Trainer.test(cfg, model)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    args = default_argument_parser().parse_args()
    launch(main, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url, args=(args,))
