"""Everything once, on generated images: make data, train, evaluate, look; and a trained model on real ones."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import Progress

from panoptic_blend.catalogue.models import NUCLEI_NANO, NUCLEI_PICTURES
from panoptic_blend.checkpoints.native import load_model
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.config import Config
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.inference.evaluate import evaluate
from panoptic_blend.inference.loading import load
from panoptic_blend.inference.overlays import OVERLAY_FOLDER
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.visualize import contact_sheet, side_by_side
from panoptic_blend.synthetic.shapes import generate_shapes
from panoptic_blend.training.run import CURVES, train

OVERLAYS = 12
SHEET = 4
"""Images on the contact sheet."""


def run_demo(
    config: Config,
    output: Path,
    console: Console,
    train_images: int = 400,
    val_images: int = 60,
    init_from: Path | None = None,
) -> Path:
    """Train and evaluate on the shapes data set, predict real pictures with nuclei-nano, and say where everything lies.

    Args:
        config: of the model and its training; its data and output folders are replaced.
        output: new folder for it all; when it has content already, the next free of `output-2`, `output-3`... is used.
        train_images, val_images: how many images to generate.
        init_from: as for `train`.

    Returns:
        The folder that was used.
    """
    output = _free_folder(output)
    data, run, results = output / "data", output / "run", output / "val"
    total = train_images + val_images
    with Progress(console=console) as bar:
        task = bar.add_task("drawing shapes", total=total)
        generate_shapes(data, train_images, val_images, progress=lambda: bar.advance(task))
    config.data.root = str(data)
    config.trainer.output = str(run)
    train(config, console=console, init_from=init_from)

    annotations = PanopticAnnotations.load(data / config.data.val_annotations)
    images = data / config.data.val_images
    predictor = Predictor(load_model(run), precision="fp32")
    evaluate(predictor, annotations, images, results, console, overlays=OVERLAYS)
    drawn = sorted((results / OVERLAY_FOLDER).glob("*.jpg"))[:SHEET]
    _save(contact_sheet([Image.open(file) for file in drawn]), output / "demo.png")
    _show_nuclei(output / "nuclei.png", console)
    for what, where in (
        ("images and their truth", data),
        ("model", run / "best.safetensors"),
        ("training curves", run / CURVES),
        ("predictions, COCO panoptic JSON", results / "predictions.json"),
        ("predictions, PNG", results / "predictions"),
        ("metrics", results / "metrics.json"),
        ("prediction beside truth", results / OVERLAY_FOLDER),
        ("a few of them on one sheet", output / "demo.png"),
        ("nuclei-nano on real pictures", output / "nuclei.png"),
    ):
        console.print(f"{what:>32}  {where}", soft_wrap=True, highlight=False, markup=False)
    return output


def _show_nuclei(path: Path, console: Console) -> None:
    """Two pictures that nuclei-nano has not seen in training, and what it finds in them."""
    predictor = Predictor(load(NUCLEI_NANO), precision="fp32")
    found = [predictor(picture) for picture in NUCLEI_PICTURES]
    pairs = [side_by_side([("image", Image.fromarray(each.image)), (NUCLEI_NANO, each.overlay())]) for each in found]
    _save(contact_sheet(pairs), path)
    counts = " and ".join(str(sum(segment.is_thing for segment in each.segments)) for each in found)
    console.print(f"nuclei-nano, a model of the package, finds {counts} nuclei in two real pictures.", soft_wrap=True)


def _save(picture: Image.Image, path: Path) -> None:
    with atomic_path(path) as unfinished:
        picture.save(unfinished, format="png")


def _free_folder(folder: Path) -> Path:
    """The folder itself if it is missing or empty, else the first such of folder-2, folder-3..."""
    folder = Path(os.path.abspath(folder))
    candidate, number = folder, 1
    while candidate.exists() and (not candidate.is_dir() or any(candidate.iterdir())):
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate
