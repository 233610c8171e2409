"""One picture through the model and through what was exported: do they say the same?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from panoptic_blend.categories import Categories
from panoptic_blend.data.images import to_tensor
from panoptic_blend.errors import CheckpointError
from panoptic_blend.files.images import Pixels
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.exported import ExportedModel
from panoptic_blend.structures import PanopticMap


def verify(
    model: PanopticBlend, exported: ExportedModel, fewest_equal: float, picture: Pixels | None = None
) -> dict[str, object]:
    """Compare on a picture.

    Args:
        model: what was exported.
        exported: what came of it.
        fewest_equal: share of the pixels that must have the same category.
        picture: uint8 [H, W, 3]; by default one of soft coloured areas.

    Returns:
        What was measured, as `model.json` holds it.

    Raises:
        CheckpointError: the two see different things, or the exported files cannot be run.
    """
    picture = _picture(*(exported.manifest.input.size or (240, 320))) if picture is None else picture
    height, width = picture.shape[:2]
    expected = model.predict([model.resize(to_tensor(picture))], [(height, width)])[0]
    found = exported.predict([picture])[0]
    equal = float((_labels(expected, model.categories) == _labels(found, model.categories)).mean())
    if equal < fewest_equal:
        raise CheckpointError(
            f"The exported model does not see what the model sees: of a picture's pixels {100 * equal:.2f} % have the "
            "same category. Nothing was written; export it in another format or precision."
        )
    measured: dict[str, object] = {
        "picture": [height, width],
        "equal_pixels_percent": round(100 * equal, 3),
        "segments": [len(expected.segments), len(found.segments)],
    }
    if len(found.segments) == len(expected.segments):
        pairs = zip(expected.segments, found.segments, strict=True)
        measured["largest_score_difference"] = max((abs(a.score - b.score) for a, b in pairs), default=0.0)
    return measured


def _labels(seen: PanopticMap, categories: Categories) -> npt.NDArray[np.int64]:
    """[H, W] what each pixel shows: 0 for void, else 1 + the position of its category."""
    of_segment = np.zeros(1 + max((segment.id for segment in seen.segments), default=0), np.int64)
    for segment in seen.segments:
        of_segment[segment.id] = 1 + categories.position(segment.category_id)
    return of_segment[seen.id_map]


def _picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    cells = torch.rand((1, 3, 6, 8), generator=torch.Generator().manual_seed(0)) * 255
    grown = torch.nn.functional.interpolate(cells, (height, width), mode="bicubic").clamp(0, 255)
    return grown[0].byte().permute(1, 2, 0).contiguous().numpy()
