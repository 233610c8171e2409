"""Remembers which truths all engines must agree on: only there may hotcoco count unasked.

hotcoco checks predictions as strictly as the built-in engine, but takes the truth's id maps on trust. So the built-in
counts when a truth is first scored against. When every segment has as many pixels as the JSON says, and no others are
painted, that is noted beside the JSON, and holds while neither the JSON nor an id map changes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.stamps import stamp


def fingerprint(truth: PanopticAnnotations, folder: Path) -> str:
    """Tells this state of a truth and its id maps from any other; empty when a file is missing or changed just now."""
    digest = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=16)
    try:
        for path in (truth.path, *(folder / name for name in truth.segments_file_names)):
            found = stamp(path)
            if not found.is_settled:
                return ""
            digest.update(repr((str(path), found)).encode())
    except OSError:
        return ""
    return digest.hexdigest()


def is_checked(truth: PanopticAnnotations, found: str) -> bool:
    """Whether `remember` was told this fingerprint."""
    try:
        return found != "" and _note(truth).read_text(encoding="utf-8") == found
    except (OSError, ValueError):
        return False


def remember(truth: PanopticAnnotations, found: str) -> None:
    """Note that the built-in engine found nothing wrong with a truth; without leave to write, nothing is noted."""
    try:
        with atomic_path(_note(truth)) as temporary:
            temporary.write_text(found, encoding="utf-8")
    except OSError:
        return


def _note(truth: PanopticAnnotations) -> Path:
    return truth.path.with_name(f".{truth.path.name}.checked")
