"""A script of segments holds what it was given, however many there are."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.report.picks import Group, write_picks


@pytest.mark.parametrize("count", [0, 1, 255, 256, 700])
def test_numbers_are_places_in_the_list(count, tmp_path):
    rng = np.random.default_rng(count)
    ids = rng.choice(2**24 - 1, count, replace=False) + 1
    pixels = rng.choice([0, 3, *ids], (60, 80)).astype(np.int32)  # 3 is in the map alone
    ids = [int(i) for i in rng.permutation(ids)]
    lines = [(0, f"</script> {i}", False) for i in ids]
    write_picks(tmp_path / "a.js", "b/a.js", [Group("Truth", pixels, ids, lines)])
    text = (tmp_path / "a.js").read_text(encoding="utf-8")
    ((heading, image, found),) = json.loads(text.removeprefix('PICKS["b/a.js"] = ').rstrip(";\n"))
    assert (heading, found) == ("Truth", [list(line) for line in lines])
    data = base64.b64decode(image.removeprefix("data:image/webp;base64,"))
    read = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    number = {segment_id: place for place, segment_id in enumerate(ids, start=1)}
    expected = [[number.get(i, 0) for i in row] for row in pixels.tolist()]
    assert (read[..., 0] + 256 * read[..., 1]).tolist() == expected
