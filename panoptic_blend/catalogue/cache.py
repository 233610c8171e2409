"""Where downloaded models are kept, and whether anything may be downloaded at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOME = "PANOPTIC_BLEND_HOME"
OFFLINE = "PANOPTIC_BLEND_OFFLINE"
MIRROR = "PANOPTIC_BLEND_MIRROR"


def cache_folder() -> Path:
    """The folder of downloaded models: PANOPTIC_BLEND_HOME, else one where the system keeps what can be had again."""
    if named := os.environ.get(HOME):
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "panoptic_blend"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "panoptic_blend"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "panoptic_blend"


def is_offline() -> bool:
    """Whether PANOPTIC_BLEND_OFFLINE forbids to use the network."""
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no")


def go_offline() -> None:
    """Use the network no more, in this process and those it starts; huggingface_hub is told, too."""
    os.environ[OFFLINE] = "1"
    os.environ["HF_HUB_OFFLINE"] = "1"


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder; 0 when there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
