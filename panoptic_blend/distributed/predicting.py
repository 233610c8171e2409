"""Predict images on many workers: each writes its shards into folders of their own, which are joined into one."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress as Bar

from panoptic_blend.categories import Categories
from panoptic_blend.coco.progress import differences
from panoptic_blend.distributed.pool import MORE_TRIES, Cluster, pool
from panoptic_blend.errors import ConfigError, ResourceError
from panoptic_blend.files.lock import lock_folder
from panoptic_blend.inference.going_on import ToDo, go_on, join_part, part_folder
from panoptic_blend.inference.keeping import WritingResult
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.inference.sources import DivisibleSamples, Samples
from panoptic_blend.inference.writing import lacks_pictures, write_predictions

MOST_IN_A_SHARD = 64
"""Images: a worker that dies costs the time of one, and what each costs the driver is small beside their prediction."""


@dataclass(frozen=True)
class Shard:
    """Images that one worker predicts.

    Attributes:
        number: of the folder for what becomes of them.
        images: small enough to be sent.
    """

    number: int
    images: DivisibleSamples


@dataclass(frozen=True)
class _Model:
    """What the driver, which has no model itself, knows of that of the workers."""

    categories: Categories
    made_with: Mapping[str, object]


def predict_on_ray(
    cluster: Cluster,
    make: Callable[[], Predictor],
    source: DivisibleSamples,
    output: Path,
    console: Console,
    overlays: bool = False,
    batch: int = 1,
    overwrite: bool = False,
    tiffs: bool = False,
    check: Callable[[Categories], None] = lambda categories: None,
) -> WritingResult:
    """Do what `write_predictions` does, on many workers: the same files, byte for byte, with images of one at a time.

    All machines must see images, model and `output` under the same paths. A worker keeps every image as soon as it is
    predicted, in a folder of its shard below `output`; when it dies, another goes on there. Shards that are done are
    joined in their order. Whatever ends this function, or the machine that it runs on, the next call, or the next
    `write_predictions`, takes over what was kept and predicts what is missing.

    Args:
        make: opens the model, on each worker; picklable.
        source: of images with absolute paths.
        overlays, batch, overwrite, tiffs: as of `write_predictions`.
        check: is shown the model's categories before anything is predicted.

    Raises:
        ConfigError: no Ray, no such cluster, or workers whose predictions would differ.
        DatasetError: `output` holds predictions of other images, or made with another model or other settings.
        FolderInUseError: another command is writing there.
        ResourceError: what workers write does not arrive.
    """

    output = output.absolute()
    again = partial(lacks_pictures, output, overlays, tiffs)
    failures: list[str] = []
    with pool(cluster, make) as workers, lock_folder(output):
        (model,) = workers.spread(_describe, [None])
        check(model.categories)
        made_with = {"command": "predict", **model.made_with}
        with go_on(output, source, console, model.categories, made_with, overwrite, again) as to_do:
            size = shard_size(len(to_do.wanted), cluster.workers, batch)
            shards = [to_do.wanted[start : start + size] for start in range(0, len(to_do.wanted), size)]
            tasks = (Shard(number, source.only(indices)) for number, indices in enumerate(shards))
            work = partial(_predict_shard, model.made_with, output, overlays, tiffs, batch)
            results = workers.spread(work, tasks, lost=_lost)
            with Bar(console=console) as bar:
                task = bar.add_task("predicting", total=len(source), completed=len(source) - len(to_do.wanted))
                for number, (indices, found) in enumerate(zip(shards, results, strict=True)):
                    failures += _join(to_do, source, indices, part_folder(output, number), found)
                    bar.advance(task, len(indices))
    return WritingResult(len(source), len(to_do.writer.progress.kept), to_do.earlier, failures)


def shard_size(images: int, workers: int, batch: int) -> int:
    """Images of a shard: so many that every worker gets several, in whole batches."""
    size = max(1, min(MOST_IN_A_SHARD, images // (4 * workers)))
    return -(-size // batch) * batch


def _describe(predictor: Predictor, _: None) -> _Model:
    return _Model(predictor.categories, predictor.engine.made_with())


def _predict_shard(
    made_with: Mapping[str, object],
    output: Path,
    overlays: bool,
    tiffs: bool,
    batch: int,
    predictor: Predictor,
    shard: Shard,
) -> list[str] | None:
    """On a worker: predict a shard, or what is missing of it; returns what went wrong."""
    different = differences(made_with, predictor.engine.made_with())
    if different:
        raise ConfigError(
            f"A worker on {socket.gethostname()} would predict with another model than the first: "
            f"{', '.join(different)}. Give --precision and --device, and all machines the same files."
        )
    shard.images.read = predictor.read
    part = part_folder(output, shard.number)
    return write_predictions(predictor, shard.images, part, Console(quiet=True), overlays, batch, tiffs=tiffs).failures


def _lost(shard: Shard) -> list[str] | None:
    return None


def _join(to_do: ToDo, source: Samples, indices: Sequence[int], part: Path, found: list[str] | None) -> Iterable[str]:
    """Take over what a worker made of some images; what went wrong."""
    if part.is_dir():
        failed_here = join_part(to_do.writer, part)
    elif found is not None:
        raise ResourceError(
            f"{part}: a worker wrote it, but it is not here. All machines must see the output folder under this path, "
            "on a file system that they share."
        )
    else:
        failed_here = []
    lost = _describe_lost(to_do, source, indices) if found is None else found
    return [*lost, *failed_here]


def _describe_lost(to_do: ToDo, source: Samples, indices: Sequence[int]) -> Iterator[str]:
    """What to say of the images that are missing after their shard ended every worker that tried it."""
    for location in map(source.locate, indices):
        if location.image_id not in to_do.writer.progress.kept:
            yield (
                f"{location.file_name}: {MORE_TRIES + 1} workers were ended at it or at a neighbour, probably for lack "
                "of memory. Try fewer --workers, or leave --engine ray out."
            )
