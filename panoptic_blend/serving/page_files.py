"""The files of the page: read or drawn once, before anybody asks."""

from __future__ import annotations

import io
from importlib.resources import files

import numpy as np
from PIL import Image

from panoptic_blend.synthetic.scene import paint_scene

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "jpg": "image/jpeg"}
"""By extension."""
EXAMPLES = (1, 7, 10, 16)
"""Seeds of the example pictures."""
PREFIX = "/page/"
_PAGES = {"index.html": "/", "api.html": "/api"}


def page_files() -> dict[str, tuple[bytes, str]]:
    """Path of every URL of the page -> what is there, and its media type."""
    found = {}
    for file in files("panoptic_blend.serving").joinpath("page").iterdir():
        kind = TYPES[file.name.rpartition(".")[2]]
        found[_PAGES.get(file.name, f"{PREFIX}{file.name}")] = file.read_bytes(), f"{kind}; charset=utf-8"
    for number, seed in enumerate(EXAMPLES, start=1):
        picture = io.BytesIO()
        Image.fromarray(paint_scene(np.random.default_rng(seed)).image).save(picture, "JPEG", quality=92)
        found[f"{PREFIX}example-{number}.jpg"] = picture.getvalue(), TYPES["jpg"]
    return found
