"""Fingerprints: equal for pictures that look alike, far apart for others."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance

from panoptic_blend.report.fingerprints import BITS, fingerprint, near_duplicates


def _noise(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)


def test_every_bit_says_whether_the_next_cell_is_brighter():
    gray = np.random.default_rng(0).integers(0, 255, (16, 17)).astype(np.uint8)
    bits = np.unpackbits(fingerprint(Image.fromarray(gray)))
    expected = [int(gray[row, column + 1] > gray[row, column]) for row in range(16) for column in range(16)]
    assert bits.tolist() == expected


def test_scaled_recompressed_and_brightened_pictures_are_near_duplicates(tmp_path):
    first = [_noise(seed) for seed in range(5)]
    _noise(3).resize((200, 150)).save(tmp_path / "small.jpg", quality=40)
    second = [_noise(9), Image.open(tmp_path / "small.jpg"), ImageEnhance.Brightness(_noise(1)).enhance(0.8)]
    pairs = near_duplicates(np.stack([*map(fingerprint, first)]), np.stack([*map(fingerprint, second)]))
    assert pairs == [(1, 2), (3, 1)]


def test_plain_pictures_are_like_no_other():
    gradient = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1)))
    plain = np.stack([fingerprint(Image.new("RGB", (50, 50))), fingerprint(gradient)])
    assert not plain.any()
    assert near_duplicates(plain, plain) == []


def test_the_nearest_is_found_as_a_loop_finds_it():
    random = np.random.default_rng(1)
    second = random.integers(1, 255, (40, BITS // 8)).astype(np.uint8)
    first = np.concatenate([second[random.permutation(40)[:10]], random.integers(1, 255, (10, 32)).astype(np.uint8)])
    for row in first[:10]:
        row[random.integers(0, 32, 2)] ^= 0b101
    expected = []
    for i, one in enumerate(first):
        distances = [
            sum(bin(a ^ b).count("1") for a, b in zip(one.tolist(), two.tolist(), strict=True)) for two in second
        ]
        if min(distances) <= BITS // 16:
            expected.append((i, int(np.argmin(distances))))
    assert len(expected) == 10
    assert near_duplicates(first, second) == expected
