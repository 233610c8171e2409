"""torchvision's names for what we share with it: the ResNet, and its FCOS's pyramid and head."""

from __future__ import annotations

from panoptic_blend.checkpoints.naming import Rules


def resnet_rules(prefix: str) -> Rules:
    """From the backbone of a model of ours, which bears torchvision's names, to its ResNet under a prefix."""
    return [
        (r"network\.backbone\.(.*\.conv2)\.conv\.weight", rf"{prefix}\1.weight"),  # a deformable block's
        (r"network\.backbone\.(.*)", rf"{prefix}\1"),
    ]


def fcos_rules(finest_level: int) -> Rules:
    """From a model of ours to `torchvision.models.detection.fcos_resnet50_fpn`, whose pyramid starts at P3.

    Both heads compute the same from the same features. torchvision's locations lie half a stride further to the top
    left, though, which a detector that starts from its weights has to learn.

    Args:
        finest_level: of our pyramid.
    """
    rules = list(resnet_rules("backbone.body."))
    for level in (3, 4, 5):
        ours = level - finest_level
        for kind, theirs in (("lateral", "inner_blocks"), ("output", "layer_blocks")):
            rules.append((rf"network\.fpn\.{kind}\.{ours}\.(.*)", rf"backbone.fpn.{theirs}.{level - 3}.0.\1"))
    for level in (6, 7):
        rules.append((rf"network\.fpn\.extra\.{level - 6}\.(.*)", rf"backbone.fpn.extra_blocks.p{level}.\1"))
    for ours_name, theirs in (
        ("class_tower", "classification_head.conv"),
        ("class_logits", "classification_head.cls_logits"),
        ("box_tower", "regression_head.conv"),
        ("distances", "regression_head.bbox_reg"),
        ("centerness", "regression_head.bbox_ctrness"),
    ):
        rules.append((rf"network\.head\.{ours_name}\.(.*)", rf"head.{theirs}.\1"))
    return rules
