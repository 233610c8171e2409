"""How large a picture may be that is decoded whole: a small file can hold one that fills the memory."""

from __future__ import annotations

import warnings

MAX_PIXELS = 2 * (1024 * 1024 * 1024 // 4 // 3)
"""That Pillow decodes: it warns of half as many, and refuses more."""


def allow_pixels(number: int) -> None:
    """Decode pictures of so many pixels, and refuse larger ones, in this process from now on."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = (number + 1) // 2
    # Said aloud is asked for.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
