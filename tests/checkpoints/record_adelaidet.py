"""Records what AdelaiDet's BlendMask computes for narrow networks with random weights, for the tests of parity.

    python -m tests.checkpoints.record_adelaidet CHECKOUT_OF_ADELAIDET

needs detectron2; AdelaiDet itself need not be compiled. The same weights and inputs are drawn each time, while the last
bits of what is computed from them are the machine's.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import detectron2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor, nn

from benchmarks.peers import import_adelaidet
from tests.checkpoints.recordings import RECORDINGS, write_recording

THINGS, STUFF = 5, 3
IGNORE = 255
NARROW = [
    *("MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ""),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.WIDTH_PER_GROUP", 2, "MODEL.RESNETS.RES2_OUT_CHANNELS", 8),
    *("MODEL.FPN.OUT_CHANNELS", 32, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 32, "MODEL.BASIS_MODULE.CONVS_DIM", 16),
    *("MODEL.FCOS.NUM_CLASSES", THINGS, "MODEL.BASIS_MODULE.NUM_CLASSES", THINGS),
    *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", STUFF + 1),
    *("MODEL.BLENDMASK.ATTN_SIZE", 4, "MODEL.BLENDMASK.BOTTOM_RESOLUTION", 16),
    *("MODEL.FCOS.POST_NMS_TOPK_TEST", 16, "MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", 1500),
    *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.7),
]
CASES = {
    "panoptic_r50": ("configs/BlendMask/Panoptic/R_50_3x.yaml", ["MODEL.BASIS_MODULE.NORM", "BN"]),
    "rt_r50": (
        "configs/BlendMask/RT_R_50_4x_bn-head_syncbn_shtw.yaml",
        # SyncBN computes as BN in one process. The backbone's norms are frozen: batch statistics of two small images in
        # fifty narrow layers magnify the last bit of a sum until gradients differ.
        [
            *("MODEL.BASIS_MODULE.NORM", "BN", "MODEL.FCOS.NORM", "BN"),
            *("MODEL.RESNETS.NORM", "FrozenBN", "MODEL.BACKBONE.FREEZE_AT", 2),
        ],
    ),
}


def configure(checkout: Path, case: str) -> CfgNode:
    """A published configuration, made narrow."""
    config, more = CASES[case]
    cfg = import_adelaidet(checkout)
    cfg.merge_from_file(str(checkout / config))
    cfg.merge_from_list([*NARROW, *more])
    return cfg


def changed_settings(cfg: CfgNode, defaults: CfgNode) -> dict[str, Any]:
    """What a configuration sets otherwise than AdelaiDet's defaults."""
    return {
        name: changed_settings(value, defaults[name]) if isinstance(value, CfgNode) else value
        for name, value in cfg.items()
        if value != defaults[name]
    }


def draw_sample(rng: np.random.Generator, size: tuple[int, int], out: tuple[int, int]) -> dict[str, Any]:
    """An image of coloured ellipses over bands of stuff, with its ground truth."""
    y, x = np.mgrid[: size[0], : size[1]]
    semantic = 1 + (y * STUFF // size[0])
    image = np.array([[40, 200, 90], [160, 60, 200], [90, 120, 40]])[semantic - 1]
    semantic[:, -6:] = IGNORE
    basis_sem = np.zeros(size, np.int64)
    masks, classes = [], []
    for index in range(6):
        centre, radius = rng.uniform(0.15, 0.85, 2) * size, rng.uniform(0.08, 0.3, 2) * size
        mask = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 <= 1
        masks.append(mask)
        classes.append(int(rng.integers(THINGS)) if index else THINGS - 1)
        image[mask] = rng.integers(0, 200, 3)
        semantic[mask] = 0
        basis_sem[mask] = classes[-1] + 1
    image = image + rng.integers(0, 50, image.shape)  # or whole areas of equal values would pass a ReLU or not
    bits = torch.from_numpy(np.stack(masks))
    return {
        "image": torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)),
        "masks": bits,
        "boxes": BitMasks(bits).get_bounding_boxes().tensor,
        "classes": torch.tensor(classes),
        "sem_seg": torch.from_numpy(semantic),
        "basis_sem": torch.from_numpy(basis_sem),
        "out_height": out[0],
        "out_width": out[1],
    }


def inputs_for(sample: dict[str, Any], training: bool) -> dict[str, Any]:
    """A sample as the reference takes it."""
    inputs = {"image": sample["image"], "height": sample["out_height"], "width": sample["out_width"]}
    if training:
        truth = Instances(tuple(sample["image"].shape[1:]))
        truth.gt_boxes, truth.gt_classes = Boxes(sample["boxes"]), sample["classes"]
        truth.gt_masks = BitMasks(sample["masks"])
        inputs |= {"instances": truth, "sem_seg": sample["sem_seg"], "basis_sem": sample["basis_sem"]}
    return inputs


@torch.no_grad()
def draw_weights(model: nn.Module, samples: list[dict[str, Any]], generator: torch.Generator) -> None:
    """Random weights under which every branch has something to say, in half precision so that they take little room."""
    inputs, training_inputs = ([inputs_for(sample, training) for sample in samples] for training in (False, True))
    for name, module in model.named_modules():
        if "norm" in type(module).__name__.lower():
            for key, values in [*module.named_parameters(), *module.named_buffers()]:
                if key in ("weight", "running_var"):
                    values.uniform_(0.5, 1.5, generator=generator)
                    if key == "weight" and name.endswith(("conv3.norm", "shortcut.norm")):
                        values *= 0.5  # lest features grow from block to block
                elif key in ("bias", "running_mean"):
                    values.normal_(std=0.1, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(training_inputs)  # batch norms learn the statistics of these images
    model.eval()
    head = model.proposal_generator.fcos_head
    last_layers = [  # and what they shall answer: mean and deviation
        (head.cls_logits, -2.5, 1.2),
        (head.bbox_pred, 1.5, 0.6),  # strides
        (head.ctrness, 0.5, 1.0),
        (model.top_layer, 0.0, 1.5),
        (model.basis_module.tower[-1], 0.0, 4.0),
    ]
    if hasattr(model, "panoptic_module"):
        last_layers.append((model.panoptic_module.predictor, 0.0, 2.0))
    for layer, mean, deviation in last_layers:
        layer.bias.zero_()
        seen: list[Tensor] = []
        hook = layer.register_forward_hook(lambda _, inputs, output, seen=seen: seen.append(output.flatten(2)))
        model(inputs)
        hook.remove()
        answers = torch.cat([values.transpose(0, 1).flatten(1) for values in seen], dim=1)  # [channels, places]
        scale = deviation / answers.std(dim=1)
        layer.weight *= scale[:, None, None, None]
        layer.bias.copy_(mean - answers.mean(dim=1) * scale)
    for values in model.state_dict().values():
        values.copy_(values.half() if values.is_floating_point() else values)


@torch.no_grad()
def record_stages(model: nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    """What the network gives for one image alone."""
    outputs: dict[str, Any] = {}
    parts = {"backbone": model.backbone, "bases": model.basis_module, "head": model.proposal_generator.fcos_head}
    if hasattr(model, "panoptic_module"):
        parts["semantic"] = model.panoptic_module.predictor
    hooks = [
        part.register_forward_hook(lambda _, inputs, output, name=name: outputs.update({name: output}))
        for name, part in parts.items()
    ]
    model([inputs])
    for hook in hooks:
        hook.remove()
    logits, distances, centerness, attention, _ = outputs["head"]
    stages = {
        "features": outputs["backbone"],
        "bases": outputs["bases"][0]["bases"][0],
        "class_logits": logits,
        "box_regression": distances,
        "centerness": centerness,
        "attention": [level.half() for level in attention],
    }
    return stages | ({"semantic": outputs["semantic"]} if "semantic" in outputs else {})


@torch.no_grad()
def record_outputs(model: nn.Module, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Predictions for the batch; `patches` are the masks before they are pasted into the image."""
    blender, patches = model.blender, []

    def blend(*args: Any) -> Any:
        instances, losses = blender(*args)
        for each in instances:
            patches.append(each.pred_masks[:, 0])
            each.row = torch.arange(len(each))
        return instances, losses

    model.blender = blend
    results = model(inputs)
    model.blender = blender
    outputs = []
    for result, patch in zip(results, patches, strict=True):
        instances = result["instances"]
        output = {
            "boxes": instances.pred_boxes.tensor,
            "scores": instances.scores,
            "classes": instances.pred_classes,
            "patches": patch[instances.row],
            "masks": instances.pred_masks,
        }
        if "panoptic_seg" in result:
            id_map, output["segments_info"] = result["panoptic_seg"]
            output["panoptic"] = id_map.to(torch.uint8)
            output["semantic"] = result["sem_seg"].argmax(0).to(torch.uint8)
        outputs.append(output)
    return outputs


def record_training(model: nn.Module, samples: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Losses of the batch and their gradients, without a trace in the model."""
    model = copy.deepcopy(model).train()
    losses = model([inputs_for(sample, training=True) for sample in samples])
    sum(losses.values()).backward()
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    return {
        "losses": {name: loss.item() for name, loss in losses.items()},
        "gradient_norms": {name: gradient.norm().item() for name, gradient in gradients.items()},
    }


def is_decided(model: nn.Module, samples: list[dict[str, Any]], generator: torch.Generator) -> bool:
    """Whether no detection, segment or gradient hangs on rounding, and few parts of masks do."""
    inputs = [inputs_for(sample, training=False) for sample in samples]
    outputs, training = record_outputs(model, inputs), record_training(model, samples)
    for output in outputs:
        if ((output["patches"] - 0.5).abs() < 1e-6).float().mean() > 0.04:  # as where a box lies outside the map
            return False
    nudged = copy.deepcopy(model)
    for _ in range(10):
        for values, exact in zip(nudged.state_dict().values(), model.state_dict().values(), strict=True):
            if values.is_floating_point():  # by far more than rounding
                values.copy_(exact * (1 + 5e-6 * torch.randn(values.shape, generator=generator)))
        if not all(map(decide_the_same, record_outputs(nudged, inputs), outputs)):
            return False
        norms = record_training(nudged, samples)["gradient_norms"]
        if any(abs(norms[name] - norm) > 1e-2 * norm + 1e-5 for name, norm in training["gradient_norms"].items()):
            return False
    return True


def decide_the_same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two outputs list the same objects, each where it was, and the same segments."""
    segments = [[(s["isthing"], s["category_id"]) for s in each.get("segments_info", [])] for each in (a, b)]
    return (
        a["classes"].tolist() == b["classes"].tolist()
        and bool((a["boxes"] - b["boxes"]).abs().max() < 1)
        and segments[0] == segments[1]
    )


def record(checkout: Path, case: str) -> dict[str, Any]:
    """All of a case, with the first weights whose decisions do not hang on rounding."""
    cfg = configure(checkout, case)
    rng = np.random.default_rng(0)
    samples = [draw_sample(rng, (136, 144), (170, 180)), draw_sample(rng, (96, 90), (120, 112))]
    for seed in range(1000):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        model = build_model(cfg).eval()
        draw_weights(model, samples, generator)
        if is_decided(model, samples, generator):
            break
    inputs = [inputs_for(sample, training=False) for sample in samples]
    return {
        "case": case,
        "seed": seed,
        "versions": {"torch": torch.__version__, "detectron2": detectron2.__version__},
        "config": CfgNode(changed_settings(cfg, import_adelaidet(checkout))).dump(),
        "state_dict": {n: v.half() if v.is_floating_point() else v for n, v in model.state_dict().items()},
        "samples": samples,
        "stages": record_stages(model, inputs[0]),
        "outputs": record_outputs(model, inputs),
        **record_training(model, samples),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder with a checkout of AdelaiDet")
    parser.add_argument("--output", type=Path, default=RECORDINGS, help="folder for the recordings")
    options = parser.parse_args()
    for case in CASES:
        write_recording(record(options.checkout, case), options.output, case)


if __name__ == "__main__":
    main()
