"""What a person tells a format's reader beside the place of the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FormatOptions:
    """Each format reads what it needs.

    Attributes:
        labels: file with the names of label values.
        images: folder of the images, where it is not the format's usual one.
        maps: folder of the label maps, likewise.
        instances: folder of the instance maps, likewise.
        stuff_labels: folder of label maps, or a JSON, with the stuff of a format that has objects only.
        things: names of the categories that are things.
        stuff: names of the categories that are stuff.
        drop: names of the categories that are left out, whatever is wrong with their labels.
    """

    labels: Path | None = None
    images: Path | None = None
    maps: Path | None = None
    instances: Path | None = None
    stuff_labels: Path | None = None
    things: Sequence[str] = ()
    stuff: Sequence[str] = ()
    drop: Sequence[str] = ()
