"""Pictures that look alike: perceptual fingerprints, and pairs of them that nearly agree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Fingerprints = npt.NDArray[np.uint8]

_CELLS = 16
BITS = _CELLS * _CELLS
_MOST_DIFFERENT = BITS // 16
"""Bits in which near-duplicates differ at most; those of unrelated pictures differ in about half."""
_LEAST_CONTENT = 24
"""Rises and falls below which a picture is too plain (black, a gradient) to be told from others."""
_PAIRS_AT_ONCE = 1 << 22


def fingerprint(image: Image.Image) -> Fingerprints:
    """Where brightness rises from left to right on a grid of 16 x 16 cells (dHash).

    It stays nearly the same when an image is scaled, recompressed or made brighter.

    Returns:
        uint8 [32]: 256 bits; all 0 for a picture too plain to be recognised.
    """
    gray = np.asarray(image.convert("L").resize((_CELLS + 1, _CELLS), Image.Resampling.BOX), np.int16)
    rises = gray[:, 1:] > gray[:, :-1]
    falls = gray[:, 1:] < gray[:, :-1]
    if min(rises.sum(), falls.sum()) < _LEAST_CONTENT:
        rises = np.zeros_like(rises)
    return np.packbits(rises)


def near_duplicates(first: Fingerprints, second: Fingerprints) -> list[tuple[int, int]]:
    """Pairs of pictures that look alike.

    Args:
        first: [N, 32].
        second: [M, 32].

    Returns:
        (position in first, position in second), ascending; of a picture of `first` the most alike of `second` only.
    """
    pairs: list[tuple[int, int]] = []
    candidates = np.flatnonzero(second.any(axis=1))
    if not len(candidates):
        return pairs
    others = np.ascontiguousarray(second[candidates]).view(np.uint64)
    step = max(1, _PAIRS_AT_ONCE // len(candidates))
    for start in range(0, len(first), step):
        some = np.ascontiguousarray(first[start : start + step]).view(np.uint64)
        different = sum(_bits(some[:, None, word] ^ others[None, :, word]) for word in range(others.shape[1]))
        nearest = np.asarray(different).argmin(axis=1)
        alike = np.asarray(different).min(axis=1) <= _MOST_DIFFERENT
        alike &= some.any(axis=1)
        pairs += [(start + i, int(candidates[nearest[i]])) for i in np.flatnonzero(alike).tolist()]
    return pairs


if hasattr(np, "bitwise_count"):

    def _bits(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int16]:
        return np.bitwise_count(words).astype(np.int16)

else:  # numpy below 2
    _COUNTS = np.array([bin(byte).count("1") for byte in range(256)], np.int16)

    def _bits(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int16]:
        return _COUNTS[np.ascontiguousarray(words)[..., None].view(np.uint8)].sum(axis=-1, dtype=np.int16)
