"""One picture through the model and through what was exported: do they say the same?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from panoptic_blend.errors import CheckpointError
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

Results = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]]
"""Id map, segments, scores."""
Run = Callable[[npt.NDArray[np.uint8]], Results]
_FEWEST_EQUAL = {True: 0.99, False: 0.9}
"""Share of pixels, for fp32 and for other precisions, below which a file is not handed out."""


def open_onnx(path: Path) -> Run:
    """A graph in onnxruntime, on the CPU, as a function of a picture."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(picture: npt.NDArray[np.uint8]) -> Results:
        id_map, segments, scores = session.run(["id_map", "segments", "scores"], {"image": picture})
        return id_map, segments, scores

    return run


def verify(model: PanopticBlend, run: Run, size: tuple[int, int] | None, exact: bool) -> dict[str, object]:
    """Compare on a picture of soft coloured areas.

    Args:
        size: (height, width) of the only picture it takes; None for any.
        exact: the export has the model's own precision.

    Returns:
        What was measured, as `model.json` holds it.

    Raises:
        CheckpointError: the two see different things.
    """
    height, width = size or (240, 320)
    picture = _picture(height, width)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    expected = model.predict([model.resize(tensor)], [(height, width)])[0]
    id_map, segments, scores = run(picture)
    category = np.array([0, *(segment.category_id for segment in expected.segments)])
    found = np.array([0, *segments[:, 1]])
    equal = float((category[expected.id_map] == found[id_map]).mean())
    if equal < _FEWEST_EQUAL[exact]:
        raise CheckpointError(
            f"The exported model does not see what the model sees: of a picture's pixels {100 * equal:.2f} % have the "
            "same category. Nothing was written; export it in another format or precision."
        )
    measured: dict[str, object] = {
        "picture": [height, width],
        "equal_pixels_percent": round(100 * equal, 3),
        "segments": [len(expected.segments), len(segments)],
    }
    if len(scores) == len(expected.segments):
        ours = np.array([segment.score for segment in expected.segments])
        measured["largest_score_difference"] = float(np.abs(ours - scores).max(initial=0))
    return measured


def _picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    cells = torch.rand((1, 3, 6, 8), generator=torch.Generator().manual_seed(0)) * 255
    grown = torch.nn.functional.interpolate(cells, (height, width), mode="bicubic").clamp(0, 255)
    return grown[0].byte().permute(1, 2, 0).contiguous().numpy()
