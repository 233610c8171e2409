"""How large a picture may be that is decoded whole: a small file can hold one that fills the memory."""

from __future__ import annotations

import warnings

MAX_PIXELS = 2 * (1024 * 1024 * 1024 // 4 // 3)
"""That Pillow decodes: it warns of half as many, and refuses more."""


_asked_for: int | None = None


def allow_pixels(number: int) -> None:
    """Decode pictures of so many pixels, and refuse larger ones, in this process from now on."""
    global _asked_for
    from PIL import Image

    _asked_for = number
    Image.MAX_IMAGE_PIXELS = (number + 1) // 2
    # Said aloud is asked for.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def pixels_asked_for() -> int | None:
    """What `allow_pixels` was last told in this process, for other processes; None when it never was."""
    return _asked_for
