"""detectron2's names for what we share with it: ResNet, FPN and the semantic branch."""

from __future__ import annotations

from panoptic_blend.checkpoints.naming import Rules

NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"


def resnet_rules(prefix: str) -> Rules:
    """From the backbone of a model of ours to detectron2's ResNet under a prefix, such as `backbone.bottom_up.`."""
    ours = r"network\.backbone\."
    rules = [
        (rf"{ours}conv1\.weight", rf"{prefix}stem.conv1.weight"),
        (rf"{ours}bn1\.{NORM}", rf"{prefix}stem.conv1.norm.\1"),
    ]
    for stage in range(2, 6):
        block, theirs = rf"{ours}layer{stage - 1}\.(\d+)\.", rf"{prefix}res{stage}.\1."
        rules += [
            (rf"{block}downsample\.0\.weight", rf"{theirs}shortcut.weight"),
            (rf"{block}downsample\.1\.{NORM}", rf"{theirs}shortcut.norm.\2"),
            (rf"{block}conv2\.offset\.(weight|bias)", rf"{theirs}conv2_offset.\2"),
            (rf"{block}conv2\.conv\.weight", rf"{theirs}conv2.weight"),
            (rf"{block}conv([123])\.weight", rf"{theirs}conv\2.weight"),
            (rf"{block}bn([123])\.{NORM}", rf"{theirs}conv\2.norm.\3"),
        ]
    return rules


def fpn_rules(finest_level: int) -> Rules:
    """From our FPN, whose lists start at its finest level, to detectron2's; the levels P6 and P7 to AdelaiDet's."""
    rules = []
    for level in range(finest_level, 6):
        for kind in ("lateral", "output"):
            ours = rf"network\.fpn\.{kind}\.{level - finest_level}\.(weight|bias)"
            rules.append((ours, rf"backbone.fpn_{kind}{level}.\1"))
    for level in (6, 7):
        rules.append((rf"network\.fpn\.extra\.{level - 6}\.(weight|bias)", rf"backbone.top_block.p{level}.\1"))
    return rules


def semantic_rules(prefix: str) -> Rules:
    """From our trunk and stuff predictor to detectron2's `SemSegFPNHead` under a prefix."""
    rules = [(r"network\.stuff_predictor\.(weight|bias)", rf"{prefix}predictor.\1")]
    for level in range(2, 6):
        block, theirs = rf"network\.trunk\.scale_heads\.{level - 2}\.(\d+)\.", rf"{prefix}p{level}.\1."
        rules += [(rf"{block}0\.weight", rf"{theirs}weight"), (rf"{block}1\.(weight|bias)", rf"{theirs}norm.\2")]
    return rules


def caffe2_resnet_rules() -> Rules:
    """From the backbone of a model of ours to Caffe2's blobs, as in detectron2's `ImageNetPretrained/MSRA/R-50.pkl`."""
    norms = (("weight", "s"), ("bias", "b"), ("running_mean", "rm"), ("running_var", "riv"))
    ours = r"network\.backbone\."
    rules = [(rf"{ours}conv1\.weight", "conv1_w")]
    rules += [(rf"{ours}bn1\.{kind}", f"res_conv1_bn_{blob}") for kind, blob in norms]
    for stage in range(2, 6):
        block, theirs = rf"{ours}layer{stage - 1}\.(\d+)\.", rf"res{stage}_\1_branch"
        for conv, norm, branch in (
            (r"downsample\.0", r"downsample\.1", "1"),
            ("conv1", "bn1", "2a"),
            (r"conv2(?:\.conv)?", "bn2", "2b"),
            ("conv3", "bn3", "2c"),
        ):
            rules.append((rf"{block}{conv}\.weight", rf"{theirs}{branch}_w"))
            rules += [(rf"{block}{norm}\.{kind}", rf"{theirs}{branch}_bn_{blob}") for kind, blob in norms]
    return rules
