"""A network in 8-bit integers: NNCF's post-training quantization, part by part.

Every convolution gets a scale for each output channel of its weights and one for its input, measured on calibration
images (Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
2018). The result is a graph of standard operators that any runtime computes, in integers where it can.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Collection, Iterator, Sequence

import nncf
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from nncf.quantization.advanced_parameters import QuantizationParameters

from panoptic_blend.exporting.network import INPUT

Images = npt.NDArray[np.float32]
"""[1, 3, H, W] as the network takes them."""
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter writes the module that a node comes from."""

logging.getLogger("nncf").setLevel(logging.ERROR)


def parts(network: onnx.ModelProto) -> dict[str, list[str]]:
    """The convolutions of each part of an exported network: 'backbone.layer1', 'head.class_logits', and so on."""
    found: dict[str, list[str]] = {}
    for node in network.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "DeformConv"):
            scopes = {entry.key: entry.value for entry in node.metadata_props}.get(_SCOPES, "[]")
            modules = [scope for scope in ast.literal_eval(scopes) if scope.startswith("network.")]
            path = modules[-1].split(".")[1:3] if modules else [node.name]
            found.setdefault(".".join(path), []).append(node.name)
    return found


def quantize(network: onnx.ModelProto, images: Sequence[Images], in_float: Collection[str] = ()) -> onnx.ModelProto:
    """A network whose convolutions take and multiply 8-bit integers.

    Args:
        network: as `export_network` gives it.
        images: to measure the ranges of activations on; a few dozen that are like those it will see.
        in_float: parts that stay as they are.
    """
    ignored = [name for part, names in parts(network).items() if part in in_float for name in names]
    return nncf.quantize(
        network,
        nncf.Dataset([{INPUT: each} for each in images]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=ignored),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # Half the range of weights: sums of products stay in 16 bits on processors that have no wider ones.
            overflow_fix=nncf.OverflowFix.ENABLE,
            # NNCF gives each channel before a depthwise convolution a scale of its own: onnxruntime computes these in
            # float, and where another convolution comes before them, not at all.
            activations_quantization_params=QuantizationParameters(per_channel=False),
        ),
    )


def damages(network: onnx.ModelProto, images: Sequence[Images]) -> Iterator[tuple[str, float]]:
    """Each part with how far the network's outputs move when it alone is quantized, relative to their size.

    Args:
        network: as `export_network` gives it.
        images: a few; to calibrate on, and to compare on.
    """
    expected = [_run(network, each) for each in images]
    names = list(parts(network))
    for part in names:
        alone = quantize(network, images, [other for other in names if other != part])
        moved = [
            np.abs(theirs - ours).mean() / max(float(np.abs(ours).mean()), 1e-9)
            for each, outputs in zip(images, expected, strict=True)
            for ours, theirs in zip(outputs, _run(alone, each), strict=True)
        ]
        yield part, float(np.mean(moved))


def _run(network: onnx.ModelProto, images: Images) -> list[npt.NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(network.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {INPUT: images})
