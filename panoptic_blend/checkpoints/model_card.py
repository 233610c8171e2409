"""The page that goes with a model to a hub: what it predicts, on what it was trained, how good it is, how to use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from panoptic_blend.categories import Categories
from panoptic_blend.config import Config, ModelConfig

_GROUPS = (("all", ""), ("things", "_th"), ("stuff", "_st"))


def model_card(
    repository: str,
    model: ModelConfig,
    categories: Categories,
    licence: str | None = None,
    config: Config | None = None,
    metrics: Mapping[str, Any] | None = None,
    pictures: Sequence[str] = (),
) -> str:
    """The text of a README.md, with the block of YAML at its top that hubs read.

    Args:
        repository: its name there, `me/model`.
        model: settings of the model.
        categories: what it predicts.
        licence: a hub's short name of one, such as `apache-2.0`; without it, the card says that none was stated.
        config: of the run that trained it. Of its paths, only the last folder's name is told.
        metrics: content of a `metrics.json`.
        pictures: paths beside the card: image, prediction and truth side by side.
    """
    head = {
        **({"license": licence} if licence else {}),
        "library_name": "panoptic-blend",
        "pipeline_tag": "image-segmentation",
        "tags": ["panoptic-segmentation", "blendmask"],
    }
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {repository.split('/')[-1]}",
        _what_it_is(model, categories),
        f"## Use\n\n{_USE.format(repository=repository)}",
        f"## Trained on\n\n{_training(config)}" if config else "",
        f"## How good it is\n\n{_scores(metrics)}" if metrics else "",
        "## Pictures\n\nImage, prediction and truth.\n\n" + "\n".join(f"![]({each})" for each in pictures)
        if pictures
        else "",
        f"## Licence\n\n{licence or 'Its owner has not stated one: ask before you use it.'}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_USE = """\
    pip install 'panoptic-blend[hub]'
    panoptic-blend predict --checkpoint hf:{repository} --input street.jpg --output out --overlays

```python
import panoptic_blend as pb

model = pb.load("hf:{repository}")
prediction = pb.Predictor(model)("street.jpg")
prediction.overlay().save("street_overlay.jpg")
```"""


def _what_it_is(model: ModelConfig, categories: Categories) -> str:
    lines = [f"Panoptic segmentation by BlendMask, with the backbone {model.backbone.name}, for pictures of any size."]
    for kind, members in (("thing", categories.things), ("stuff", categories.stuff)):
        if members:
            names = ", ".join(_plain(category.name) for category in members)
            noun = "category" if len(members) == 1 else "categories"
            lines.append(f"- {len(members)} {kind} {noun}: {names}")
    return "\n\n".join((lines[0], "\n".join(lines[1:])))


def _training(config: Config) -> str:
    data, trainer = config.data, config.trainer
    name, annotations = _plain(Path(data.root).name or "unnamed"), _plain(Path(data.train_annotations).name)
    schedule = f"up to {trainer.max_steps:,} steps of {trainer.batch_size} images, seed {trainer.seed}"
    return f"The data set {name} ({annotations}), {schedule}."


def _scores(metrics: Mapping[str, Any]) -> str:
    rows = ["| in percent | PQ | SQ | RQ |", "|---|---:|---:|---:|"]
    for group, suffix in _GROUPS:
        if f"PQ{suffix}" in metrics:
            rows.append(_row(f"**{group}**", metrics, suffix))
    rows += [_row(_plain(name), each) for name, each in metrics.get("per_class", {}).items()]
    others = {
        "mask AP": metrics.get("mask_ap", {}).get("AP"),
        "mIoU": metrics.get("semantic", {}).get("mIoU"),
    }
    told = ", ".join(f"{name} {value:.1f}" for name, value in others.items() if value is not None)
    return "\n".join(rows) + (f"\n\nBeside that, {told}." if told else "")


def _row(name: str, numbers: Mapping[str, Any], suffix: str = "") -> str:
    return f"| {name} | " + " | ".join(f"{numbers[f'{each}{suffix}']:.1f}" for each in ("PQ", "SQ", "RQ")) + " |"


def _plain(name: str) -> str:
    """A name from a data set, so that it stays text in Markdown and in a table."""
    line = " ".join(name.split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#!" else sign for sign in line)
