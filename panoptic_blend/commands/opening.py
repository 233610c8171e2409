"""Opens the model that `--checkpoint` names; torch is imported for one that needs it alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from panoptic_blend.catalogue.cache import go_offline, is_offline
from panoptic_blend.commands.parsing import DEFAULT_OVERLAP
from panoptic_blend.files.bounds import allow_pixels
from panoptic_blend.startup import start_torch

if TYPE_CHECKING:
    from panoptic_blend.inference.predictor import Predictor
    from panoptic_blend.inference.preparation import Precision


def open_predictor(
    options: argparse.Namespace,
    settings: Sequence[str],
    precision: Precision,
    tile: int | None = None,
    overlap: int = DEFAULT_OVERLAP,
    threads: int | None = None,
    tta: str | None = None,
) -> Predictor:
    """A predictor as the options of `add_checkpoint` and `add_speed` say.

    Args:
        options: of the command.
        settings: dotted ones with their values, which replace the model's.
        precision: of a model of torch where the options name none; an exported model has its own.
        tile, overlap: as `Predictor`'s.
        threads: of an exported model.
        tta: as `Predictor`'s.

    Raises:
        CheckpointError: there is no model.
        ConfigError: an option or a setting that does not fit it.
    """
    from panoptic_blend.inference.loading import load
    from panoptic_blend.inference.predictor import Predictor
    from panoptic_blend.runtime.manifest import is_export

    exported = is_export(options.checkpoint)
    if not exported:
        start_torch()
    model = load(options.checkpoint, threads)
    if settings:
        from panoptic_blend.config_files import change_settings  # which takes longer to import than an export to open

        change_settings(model.settings, settings)
    chosen: Precision = options.precision or ("auto" if exported else precision)
    return Predictor(model, options.device, chosen, options.compile, options.tiles, tile, overlap, tta)


def predictor_for_workers(
    options: argparse.Namespace, settings: Sequence[str], precision: Precision
) -> Callable[[], Predictor]:
    """What opens the predictor of `open_predictor` in another process, or on another machine with the same files.

    Args:
        options: of a command with `add_tile`, `add_tta`, `add_max_pixels` and `add_cluster` beside those that
            `open_predictor` reads.
    """
    options = argparse.Namespace(**vars(options))
    if options.checkpoint.exists():  # else it is a model's name
        options.checkpoint = options.checkpoint.absolute()
    return partial(_open_in_worker, options, settings, precision, is_offline())


def _open_in_worker(
    options: argparse.Namespace, settings: Sequence[str], precision: Precision, offline: bool
) -> Predictor:
    if offline:
        go_offline()
    if options.max_pixels:
        allow_pixels(options.max_pixels)
    return open_predictor(options, settings, precision, options.tile, options.overlap, options.threads, options.tta)
