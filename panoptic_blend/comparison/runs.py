"""One variant with one seed: trained and evaluated once, however often it is asked for."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from panoptic_blend.checkpoints.native import LAST, load_model
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.config import Config
from panoptic_blend.config.plain import plain_settings
from panoptic_blend.data.sample_checks import check_samples
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.inference.evaluate import evaluate
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.summaries import METRICS
from panoptic_blend.training.callbacks import STATE
from panoptic_blend.training.run import train


def prepare(config: Config, seed: int, runs: Path) -> Config:
    """The settings of one run: its seed, no validation on the way, which `patience` waits for, and a folder of its own.

    The folder is named after all that matters to the run.

    Equal settings and annotations get the same folder, so that a variant which several ablations share is trained
    once, and what was changed never meets the results of before.
    """
    settings = replace(config, trainer=replace(config.trainer, seed=seed, val_every=0, patience=0, output="any"))
    text = json.dumps(plain_settings(settings), sort_keys=True)
    for file in (config.data.train_annotations, config.data.val_annotations):
        text += _digest(Path(config.data.root) / file)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return replace(settings, trainer=replace(settings.trainer, output=str(runs / f"{digest}-seed{seed}")))


def _digest(path: Path) -> str:
    """Of a file's content; of one that is not there training will tell."""
    digest = hashlib.sha256()
    if path.is_file():
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()


def finish(config: Config, console: Console) -> dict[str, Any]:
    """Train and evaluate a prepared run, from wherever it was left.

    The weights after the last step are judged, so that no run picks its luckiest moment on the validation images.

    Returns:
        What `metrics.json` holds.
    """
    run = Path(config.trainer.output)
    metrics = run / METRICS  # there once every image is judged; the evaluation's own may be of some
    if not metrics.is_file():
        train(config, run if (run / STATE).is_file() else None, console)
        judged = validation_set(config)
        evaluated = evaluate(
            load_predictor(config), judged.annotations, judged.images, run / "val", Console(quiet=True), judged.segments
        )
        with atomic_path(metrics) as temporary:
            shutil.copyfile(evaluated, temporary)
    return json.loads(metrics.read_text(encoding="utf-8"))


@dataclass
class ValidationSet:
    """The images that runs are judged by."""

    annotations: PanopticAnnotations
    images: Path
    segments: Path


def validation_set(config: Config) -> ValidationSet:
    """Those of a configuration; without bad ones, where it says that these be left out."""
    data, root = config.data, Path(config.data.root)
    annotations = PanopticAnnotations.load(root / data.val_annotations, data.on_bad_sample)
    images = root / data.val_images
    segments = root / data.val_segments if data.val_segments else annotations.default_segments_folder
    if data.on_bad_sample == "skip":  # training has told which
        quiet, bands = Console(quiet=True), config.model.input.channels
        good, bad = check_samples(annotations, images, segments, "skip", data.workers, quiet, bands)
        if bad:
            annotations = annotations.only(good.tolist())
    return ValidationSet(annotations, images, segments)


def load_predictor(config: Config) -> Predictor:
    """The trained model of a run, on the device it was trained on."""
    device = "cpu" if config.trainer.accelerator == "cpu" else "auto"
    return Predictor(load_model(Path(config.trainer.output) / LAST), device, precision="fp32")
