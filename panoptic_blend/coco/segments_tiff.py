"""Id maps as TIFF files of 32-bit integers, for programs that open no COCO panoptic PNG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from panoptic_blend.errors import ConfigError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.on_disk import strips
from panoptic_blend.structures import IdMap

FOLDER = "tiffs"
TILE = 256
"""Pixels of the TIFF's tiles, of which a row is in memory at a time."""


def require_tifffile() -> None:
    """Raise `ConfigError` where tifffile is not installed."""
    try:
        import tifffile  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "TIFFs are written with tifffile, which is not installed. Run `pip install 'panoptic-blend[large]'`."
        ) from error


def tiff_path(output: Path, png: str) -> Path:
    """Where the TIFF of an id map lies: named after its PNG."""
    return output / FOLDER / f"{png.removesuffix('.png')}.tif"


def write_id_tiff(path: Path, id_map: IdMap) -> None:
    """Write one id map, int32 [H, W], as compressed tiles; the file appears whole or not at all.

    The map may be larger than memory (see `files.on_disk`).
    """
    import tifffile

    def tiles() -> Iterator[IdMap]:
        for rows in strips(id_map, TILE):
            for left in range(0, id_map.shape[1], TILE):
                part = id_map[rows, left : left + TILE]
                yield np.pad(part, [(0, TILE - part.shape[0]), (0, TILE - part.shape[1])])

    with atomic_path(path) as unfinished:
        tifffile.imwrite(
            unfinished,
            tiles(),
            shape=id_map.shape,
            dtype=np.int32,
            tile=(TILE, TILE),
            photometric="minisblack",
            compression="zlib",
            metadata=None,
        )
