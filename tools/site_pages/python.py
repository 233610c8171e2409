"""The references of the Python API: directives that mkdocstrings fills from docstrings."""

from __future__ import annotations

from typing import Any

import panoptic_blend as pb

PARTS = {
    "What flows between the parts": [
        "panoptic_blend.structures.PanopticPrediction",
        "panoptic_blend.structures.Instances",
        "panoptic_blend.structures.Targets",
    ],
    "Files": [
        "panoptic_blend.coco.annotations.PanopticAnnotations",
        "panoptic_blend.coco.segments_png.read_id_map",
        "panoptic_blend.coco.segments_png.write_id_map",
        "panoptic_blend.synthetic.shapes.generate_shapes",
        "panoptic_blend.config_files.write_config",
    ],
    "The network": [
        "panoptic_blend.modeling.network.network.Network",
        "panoptic_blend.modeling.network.network.NetworkOutput",
        "panoptic_blend.modeling.network.masks.head.MaskHead",
        "panoptic_blend.modeling.network.masks.head.MaskFeatures",
        "panoptic_blend.modeling.network.masks.head.MaskRequest",
        "panoptic_blend.modeling.network.masks.blender.Blender",
        "panoptic_blend.modeling.network.masks.blender.blend",
    ],
    "Losses": [
        "panoptic_blend.modeling.criterion.criterion.Criterion",
        "panoptic_blend.modeling.criterion.assignment.assign",
        "panoptic_blend.modeling.criterion.losses",
        "panoptic_blend.modeling.criterion.semantic_loss.semantic_loss",
    ],
    "From tensors to maps": [
        "panoptic_blend.modeling.postprocess.postprocessor.PostProcessor",
        "panoptic_blend.modeling.postprocess.merge.merge",
    ],
    "Inside other libraries": [
        "panoptic_blend.integrations.torchmetrics",
        "panoptic_blend.integrations.detectron2",
    ],
}


def python_page() -> str:
    """Markdown of what `import panoptic_blend as pb` offers."""
    return _page(
        "# Python",
        "What `import panoptic_blend as pb` offers; `pb.metrics` has [a page of its own](metrics.md), as have "
        "[the parts](parts.md) that these are made of. Each is imported when it is first used, so that scoring never "
        "waits for torch.",
        *(
            _directive(f"pb.{name}", _home(getattr(pb, name)), 2)
            for name in pb.__all__
            if name not in ("metrics", "__version__")
        ),
    )


def metrics_page() -> str:
    """Markdown of `pb.metrics`."""
    return _page(
        "# Metrics in Python",
        "`pb.metrics`, none of which needs torch. [What the numbers mean](../metrics.md) says what each counts. "
        "`panoptic_quality` is [`pb.panoptic_quality`](python.md), too.",
        *(
            _directive(name, _home(getattr(pb.metrics, name)), 2)
            for name in pb.metrics.__all__
            if name not in pb.__all__
        ),
    )


def parts_page() -> str:
    """Markdown of what the package is made of, where it is worth holding by itself."""
    return _page(
        "# Parts of the model in Python",
        "For those who build on single parts. [How it works](../method.md) is the same in words.",
        *(
            _page(f"## {title}", *(_directive(home.rpartition(".")[2], home, 3) for home in homes))
            for title, homes in PARTS.items()
        ),
    )


def _home(thing: Any) -> str:
    """The full name under which a class or function is defined."""
    return f"{thing.__module__}.{thing.__qualname__}"


def _directive(title: str, home: str, level: int) -> str:
    """What mkdocstrings replaces by the documentation of `home`."""
    return f"::: {home}\n    options:\n      heading: {title}\n      toc_label: {title}\n      heading_level: {level}"


def _page(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"
