"""The formats by name, and which of them a folder or file looks like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.convert import label_maps, mask_folders
from panoptic_blend.convert.options import FormatOptions
from panoptic_blend.convert.source import Source
from panoptic_blend.errors import DatasetError


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        recognise: whether a path looks like it.
        open_source: its reader.
        layout: what lies where, in a line for `--help`.
    """

    recognise: Callable[[Path], bool]
    open_source: Callable[[Path, FormatOptions], Source]
    layout: str


FORMATS = {
    "label-maps": Format(
        label_maps.recognise,
        label_maps.open_source,
        "DIR with images/ and labels/ of the same names; --labels NAMES, one 'value name' a line",
    ),
    "mask-folders": Format(
        mask_folders.recognise,
        mask_folders.open_source,
        "DIR with NAME/images/ and NAME/masks/, a mask an object; --things NAME [--stuff NAME for the rest]",
    ),
}


def recognise_format(source: Path) -> str:
    """The one format that a data set looks like.

    Raises:
        DatasetError: there is nothing at the path, or it looks like no format or like several.
    """
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder.")
    found = [name for name, each in FORMATS.items() if each.recognise(source)]
    if len(found) == 1:
        return found[0]
    like = f"like {' and '.join(found)}" if found else "like none of the formats"
    raise DatasetError(f"{source}: looks {like}. Say which it is with --from, one of: {', '.join(FORMATS)}.")
