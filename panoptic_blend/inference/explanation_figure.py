"""The steps of one prediction as one image to teach from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from panoptic_blend.categories import Categories
from panoptic_blend.inference.explain import Blend, Explanation
from panoptic_blend.inference.visualize import draw_overlay
from panoptic_blend.modeling.network.bases import BASES_STRIDE
from panoptic_blend.pasting import paste_mask

BASIS_COLORS = ("#e41a1c", "#377eb8", "#4daf4a", "#984ea3", "#ff7f00", "#a65628", "#f781bf", "#17becf")
"""One a basis; further bases are not drawn, they would be too small to see."""
AGAINST = 0.12
"""Grey level of a basis that speaks against an object."""
SIGNED_COLORS = "RdBu_r"
"""Numbers for (red) and against (blue) a pixel being the object's."""
KEPT, LEFT_OUT = ("#1a7f37", "solid"), ("#d1242f", "dashed")
MOST_KEPT, MOST_LEFT_OUT = 100, 6
"""Instances that are listed; the others are counted, since no picture is as high as thousands of lines."""
WIDTH, TILE, LINE, TEXT = 15.0, 1.25, 0.17, 9
"""The image, a basis inside a box and a line of text in inches; text in points."""


def draw_explanation(explanation: Explanation, categories: Categories) -> Figure:
    """Three sections: the bases, how they become instances, how instances and stuff become one map.

    Args:
        explanation: of one image.
        categories: names and colours.
    """
    shown = min(len(explanation.bases), len(BASIS_COLORS))
    aspect = explanation.image.shape[1] / explanation.image.shape[2]
    decisions = _decisions(explanation, categories)
    image_height = WIDTH / 3 * aspect + 0.3
    text_height = LINE * (max(len(decisions), len(categories.stuff) + 1) + 1)
    heights = [
        WIDTH / (shown + 1) * aspect + 0.7,
        *[3 * TILE + 0.75] * len(explanation.blends),
        image_height + text_height + 0.4,
    ]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    sections = [figure.add_subfigure(grid[row, 0]) for row in range(len(heights))]
    _draw_bases(sections[0], explanation, shown)
    for number, (section, blend) in enumerate(zip(sections[1:-1], explanation.blends, strict=True), start=1):
        title = "2  The blender: an instance's own attention says where in its box to listen to which basis."
        _write_title(section, title if number == 1 else " ")
        name = _name(explanation, blend.placement.index, categories)
        _draw_blend(section, explanation, blend, shown, f"{number}  {name}")
    _draw_merge(sections[-1], explanation, categories, decisions, image_height, text_height)
    return figure


def _draw_bases(section: SubFigure, explanation: Explanation, shown: int) -> None:
    _write_title(
        section,
        "1  The bottom module draws the bases, over the whole image at once. Where a basis has its colour it speaks "
        "for an object, where it is dark against one.",
    )
    panels = section.subplots(1, shown + 1, squeeze=False)[0]
    image = _as_array(explanation.image)
    panels[0].imshow(image)
    panels[0].set_title("image, and the instances followed below", fontsize=TEXT)
    for number, blend in enumerate(explanation.blends, start=1):
        x1, y1, x2, y2 = blend.box.tolist()
        panels[0].add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor="white", linewidth=1.8))
        panels[0].text(x1 + 2, y1 + 2, str(number), fontsize=TEXT, va="top", bbox={"pad": 1, "color": "white"})
    paper = 0.5 + image.mean(axis=2, keepdims=True).repeat(3, axis=2) / 510
    for index, panel in enumerate(panels[1:]):
        basis = explanation.bases[index].numpy().repeat(BASES_STRIDE, axis=0).repeat(BASES_STRIDE, axis=1)
        basis = basis[: image.shape[0], : image.shape[1], None]
        opacity = 0.9 * (np.abs(basis) / max(float(np.quantile(np.abs(basis), 0.98)), 1e-6)).clip(0, 1)
        color = np.where(basis > 0, np.array(to_rgb(BASIS_COLORS[index])), AGAINST)
        panel.imshow(paper * (1 - opacity) + color * opacity)
        title = f"basis {index + 1}   ({basis.min():.1f} to {basis.max():.1f})"
        panel.set_title(title, fontsize=TEXT, color=BASIS_COLORS[index])
    for panel in panels:
        panel.set_axis_off()


def _draw_blend(section: SubFigure, explanation: Explanation, blend: Blend, shown: int, name: str) -> None:
    """The instance; below each other its bases, attention and their products, basis by basis; the sum."""
    grid = section.add_gridspec(3, shown + 4)
    x1, y1, x2, y2 = blend.box.tolist()
    panel = section.add_subplot(grid[:, :2])
    panel.imshow(_as_array(explanation.image)[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))])
    panel.set_title(name, fontsize=TEXT + 1)
    panel.set_axis_off()

    products = blend.weights * blend.regions if len(blend.regions) > 1 else blend.logits[None]
    limit = float(max(values.abs().max() for values in (blend.regions, products, blend.logits)))
    signed: dict[str, Any] = {"cmap": SIGNED_COLORS, "vmin": -limit, "vmax": limit}
    for index, color in enumerate(BASIS_COLORS[:shown]):
        from_white = LinearSegmentedColormap.from_list("attention", ["white", color])
        share: dict[str, Any] = {"cmap": from_white, "vmin": 0, "vmax": 1}
        stages = (
            ("basis in\nthe box", blend.regions, signed),
            ("x attention", blend.weights, share),
            ("= product", products, signed),
        )
        for line, (label, values, style) in enumerate(stages):
            panel = section.add_subplot(grid[line, 2 + index])
            panel.imshow(values[index].numpy(), **style)
            panel.set(xticks=[], yticks=[])
            for spine in panel.spines.values():
                spine.set(color=color, linewidth=2)
            if index == 0:
                panel.set_ylabel(label, fontsize=TEXT)

    panel = section.add_subplot(grid[:, -2:])
    drawn = panel.imshow(blend.logits.numpy(), extent=(0, x2 - x1, y2 - y1, 0), **signed)
    if float(blend.logits.min()) < 0 < float(blend.logits.max()):
        centres = (np.arange(len(blend.logits)) + 0.5) / len(blend.logits)
        panel.contour(centres * (x2 - x1), centres * (y2 - y1), blend.logits.numpy(), levels=[0.0], colors="black")
    panel.set_axis_off()
    panel.set_title("sum over the bases; black: border of the mask", fontsize=TEXT)
    bar = section.colorbar(drawn, ax=panel, shrink=0.8, ticks=[-limit, 0, limit], format="%.0f")
    bar.set_label("against                for the object", fontsize=TEXT)


def _draw_merge(
    section: SubFigure,
    explanation: Explanation,
    categories: Categories,
    decisions: list[str],
    image_height: float,
    text_height: float,
) -> None:
    _write_title(section, "3  The merge: instances by falling score where nothing is yet, then stuff in what is left.")
    panels = section.subplots(2, 3, height_ratios=(image_height, text_height))
    (semantic, instances, result), (legend, text, _) = panels
    image, prediction = _as_array(explanation.image), explanation.prediction

    colors = np.array([(128, 128, 128), *(category.color for category in categories.stuff)], np.float32)
    semantic.imshow((0.3 * image + 0.7 * colors[prediction.semantic]).astype(np.uint8))
    semantic.set_title("semantic branch: stuff, and where some thing is", fontsize=TEXT)
    min_area = explanation.settings.min_stuff_area
    labels = ["a thing"]
    for category, area in zip(categories.stuff, explanation.stuff_areas, strict=True):
        fate = f", too little (under {min_area}): void" if 0 < area < min_area else ""
        labels.append(f"{category.name}: {area} pixels left by the instances{fate}")
    swatches = [Patch(color=tuple(color / 255), label=label) for color, label in zip(colors, labels, strict=True)]
    legend.legend(handles=swatches, loc="upper left", fontsize=TEXT - 1, frameon=False, borderpad=0)

    _draw_outlines(instances, explanation)
    instances.set_title("instances in painting order: green kept, red left out", fontsize=TEXT)
    text.text(0.01, 1, "\n".join(decisions), va="top", fontsize=TEXT - 1)

    result.imshow(np.asarray(draw_overlay(image, prediction.id_map, prediction.segments, categories)))
    result.set_title("panoptic map", fontsize=TEXT)
    for panel in panels.flat:
        panel.set_axis_off()


def _draw_outlines(panel: Axes, explanation: Explanation) -> None:
    """Every instance the merge looked at, numbered, coloured by what became of it."""
    found = explanation.prediction.instances
    panel.imshow(_as_array(explanation.image) // 2 + 127)
    numbered = enumerate(explanation.placements, start=1)
    for order, placement in sorted(numbered, key=lambda each: each[1].segment_id > 0):  # those that were kept on top
        color, style = KEPT if placement.segment_id else LEFT_OUT
        index = placement.index
        (rows, columns), values = paste_mask(found.mask_patches[index].cpu(), found.boxes[index].cpu(), found.size)
        if min(values.shape) < 2 or placement.area == 0:
            continue
        extent = np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)
        panel.contour(*extent, values.numpy(), levels=[0.5], colors=color, linewidths=1.6, linestyles=style)
        y, x = np.unravel_index(int(values.argmax()), values.shape)
        panel.text(
            float(columns.start + x),
            float(rows.start + y),
            str(order),
            color="white",
            fontsize=TEXT - 1,
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.15", "color": color},
        )


def _decisions(explanation: Explanation, categories: Categories) -> list[str]:
    """What became of every instance, in words."""
    lines, kept, left_out = [], 0, 0
    for order, placement in enumerate(explanation.placements, start=1):
        taken = 1 - placement.free_area / placement.area if placement.area else 0.0
        if placement.segment_id:
            kept += 1
            fate = "kept" + (f", {taken:.0%} of it behind better ones" if taken else "")
        else:
            left_out += 1
            fate = f"left out, {taken:.0%} of it already taken" if placement.area else "left out, its mask is empty"
        if kept <= MOST_KEPT if placement.segment_id else left_out <= MOST_LEFT_OUT:
            lines.append(f"{order:>2}  {_name(explanation, placement.index, categories)}: {fate}")
    if kept > MOST_KEPT:
        lines.append(f"and {kept - MOST_KEPT} more kept")
    if left_out > MOST_LEFT_OUT:
        lines.append(f"and {left_out - MOST_LEFT_OUT} more left out")
    weak = len(explanation.prediction.instances) - len(explanation.placements)
    return [*lines, f"{weak} further detections score below {explanation.settings.min_score:.0%}"]


def _name(explanation: Explanation, index: int, categories: Categories) -> str:
    instances = explanation.prediction.instances
    return f"{categories.things[int(instances.labels[index])].name} {float(instances.scores[index]):.0%}"


def _write_title(section: SubFigure, text: str) -> None:
    section.suptitle(text, ha="left", x=0.005, weight="bold", fontsize=TEXT + 2)


def _as_array(image: Tensor) -> npt.NDArray[np.uint8]:
    return image.permute(1, 2, 0).numpy()
