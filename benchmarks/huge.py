"""Memory and time of predicting a picture that is larger than memory should be: a TIFF of many tiles. Linux only."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import tifffile
from matplotlib.figure import Figure
from rich.console import Console

from panoptic_blend.files.images import Pixels

TILE = 512
"""Pixels of the TIFF's own tiles."""
INTERVAL = 0.25
"""Seconds between two looks at the memory."""
RADII = (7, 16)
SPACING = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20000, help="edge in pixels (default: 20000)")
    parser.add_argument("--checkpoint", default="nuclei-nano")
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--overlap", type=int, default=128)
    parser.add_argument("--folder", type=Path, help="for the picture and its prediction (default: a temporary one)")
    parser.add_argument("--figure", type=Path, default=Path("huge_memory.png"), help="gets the curve of memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        picture, output = folder / "huge.tif", folder / "out"
        if not picture.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write_picture(picture, options.size)
        command = [sys.executable, "-m", "panoptic_blend", "predict", "--checkpoint", options.checkpoint]
        command += ["--input", str(picture), "--output", str(output), "--overwrite", "--tiff"]
        command += ["--tile", str(options.tile), "--overlap", str(options.overlap)]
        seconds, total, own = watch(command)
        segments = json.loads((output / "predictions.json").read_text())["annotations"][0]["segments_info"]
    draw(options.figure, options.size, seconds, total, own)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    Console().print(
        f"{options.size} x {options.size} pixels, {len(segments)} segments: {seconds[-1]:.0f} s, of which it computed "
        f"for {used.ru_utime + used.ru_stime:.0f}; at most {used.ru_maxrss * 1024 / 1e9:.2f} GB resident, as the "
        f"operating system noted; when looked at {max(total):.2f} GB, {max(own):.2f} GB of them not backed by a file; "
        f"see {options.figure}",
        soft_wrap=True,
    )


def write_picture(path: Path, size: int) -> None:
    """A dark RGB picture with bright round cells, compressed in tiles, of which a row is in memory at a time."""

    def tiles() -> Iterator[Pixels]:
        for top in range(0, size, TILE):
            row = draw_cells(top, size)
            for left in range(0, size, TILE):
                tile = np.zeros((TILE, TILE, 3), np.uint8)
                part = row[:, left : left + TILE]
                tile[: part.shape[0], : part.shape[1]] = part[..., None]
                yield tile

    tifffile.imwrite(
        path, tiles(), shape=(size, size, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="rgb", compression="zlib"
    )


def draw_cells(top: int, size: int) -> Pixels:
    """`TILE` rows of a picture, gray [h, size]: a cell somewhere in every square of a grid, the same for all rows."""
    rows = np.random.default_rng(top).normal(12, 3, (min(TILE, size - top), size)).clip(0, 255)
    for y in range(top // SPACING - 1, (top + TILE) // SPACING + 2):
        for x in range(-(-size // SPACING)):
            random = np.random.default_rng((y + 1, x))
            radius = random.uniform(*RADII)
            center = (np.array([y, x]) + random.uniform(0.4, 0.6, 2)) * SPACING - [top, 0]
            first = np.maximum(0, np.floor(center - radius)).astype(int)
            last = np.minimum(rows.shape, np.ceil(center + radius)).astype(int) + 1
            square = rows[first[0] : max(first[0], last[0]), first[1] : last[1]]
            ys, xs = np.ogrid[first[0] : first[0] + square.shape[0], first[1] : first[1] + square.shape[1]]
            inside = (ys - center[0]) ** 2 + (xs - center[1]) ** 2 < radius**2
            square[inside] += random.uniform(60, 200)
    return rows.clip(0, 255).astype(np.uint8)


def watch(command: list[str]) -> tuple[list[float], list[float], list[float]]:
    """Run a command; seconds since its start, and at each its resident memory, all and without that of files, in GB."""
    started = time.perf_counter()
    seconds, total, own = [], [], []
    with subprocess.Popen(command) as process:
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                memory = seen.memory_info()
            except psutil.NoSuchProcess:
                break
            seconds.append(time.perf_counter() - started)
            total.append(memory.rss / 1e9)
            own.append((memory.rss - getattr(memory, "shared", 0)) / 1e9)
            time.sleep(INTERVAL)
    if process.returncode:
        raise SystemExit(process.returncode)
    return seconds, total, own


def draw(path: Path, size: int, seconds: list[float], total: list[float], own: list[float]) -> None:
    """The curve of memory over time."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(seconds, total, label="resident memory")
    axes.plot(seconds, own, label="not backed by a file")
    axes.axhline(3, color="0.6", linestyle="--", label="3 GB")
    axes.set(xlabel="seconds", ylabel="GB", ylim=(0, None), title=f"predict a TIFF of {size} x {size} pixels by tiles")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
