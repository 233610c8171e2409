"""Seconds and memory of a driver that takes up what many workers predicted, without predicting: of millions of images.

    python -m benchmarks.joining --records 1000000
    python -m benchmarks.joining --records 5000000 --in-parts 64000

Makes a JSON that lists images, and parts of 64 records as `predict --engine ray` leaves them (about 11 segments an
image, as COCO has). A process of its own reads the list, joins the parts, looks up every image and writes the JSON, as
`predict` does that finds nothing left to predict. Only names are made of the PNGs, which are links to a few files, and
nothing of the images, which are looked for in vain; both are moved or asked for by name alone. Takes 3.5 KB of disk a
record. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console

from panoptic_blend.categories import Categories, Category
from panoptic_blend.coco.annotations import PanopticAnnotations
from panoptic_blend.coco.images import EvaluationDataset
from panoptic_blend.coco.predictions import FOLDER
from panoptic_blend.coco.progress import JOURNAL, Progress
from panoptic_blend.coco.segments_png import write_id_map
from panoptic_blend.inference.going_on import go_on, part_folder

PART = 64
"""Images of a shard."""
_LINKS = 60_000
"""Names that a file may have, and a few less."""
CATEGORIES = Categories([Category(c, f"category {c}", c <= 80, (c, c, c)) for c in range(1, 134)])
MADE_WITH = {"command": "predict"}
LIST = "list.json"


def image_row(i: int) -> str:
    """What a JSON says of an image."""
    return f'{{"id": {i + 1}, "file_name": "{i // 10_000:04}/{i:08}.jpg", "width": 640, "height": 480}}'


def write_list(path: Path, images: int) -> None:
    """A JSON of images, without annotations."""
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"images": [')
        file.writelines(("," if i else "") + image_row(i) for i in range(images))
        file.write("]}")


def write_records(folder: Path, records: range, segments: list[str], pngs: Iterator[Path]) -> None:
    """Leave in a folder what a writer leaves of some images, but for its JSON, which is empty: it is removed unread."""
    made_with = {"categories": CATEGORIES.to_json(), **MADE_WITH}
    Progress(folder, folder / FOLDER, made_with, overwrite=False).close()
    with open(folder / JOURNAL, "a", encoding="utf-8") as journal:
        for i in records:
            name = f"{i // 10_000:04}/{i:08}"
            png = folder / FOLDER / f"{name}.png"
            if i % 10_000 == 0 or i == records.start:
                png.parent.mkdir(parents=True, exist_ok=True)
            os.link(next(pngs), png)
            journal.write(
                f'{{"image": {image_row(i)}, "annotation": '
                f'{{"image_id": {i + 1}, "file_name": "{name}.png", "segments_info": {segments[i % len(segments)]}}}, '
                f'"image_file": null, "extra": null}}\n'
            )


def some_segments(seed: int = 0) -> list[str]:
    """`segments_info` of a thousand images."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(1000):
        values = random.integers(1, 480, (1 + random.poisson(10), 6)).tolist()
        rows.append(
            json.dumps(
                [
                    {"id": 256 * n + 1, "category_id": v[0] % 133 + 1, "area": v[4] * v[5], "bbox": v[1:5],
                     "iscrowd": 0, "score": v[0] / 1000}
                    for n, v in enumerate(values)
                ]
            )
        )  # fmt: skip
    return rows


def some_pngs(folder: Path) -> Iterator[Path]:
    """Files with an id map, so many that each gets no more names than it can have."""
    folder.mkdir()
    number = 0
    while True:
        path = folder / f"{number}.png"
        write_id_map(path, np.ones((4, 6), np.int32))
        for _ in range(_LINKS):
            yield path
        number += 1


def join(folder: Path) -> dict[str, float]:
    """Join what lies in a folder; seconds, and MiB of memory at the peak."""
    start = time.perf_counter()
    source = EvaluationDataset(PanopticAnnotations.load(folder / LIST), folder / "images", segments=None)
    listed = time.perf_counter()
    console, again = Console(quiet=True), lambda kept: False
    with go_on(folder / "out", source, console, CATEGORIES, MADE_WITH, overwrite=False, again=again) as to_do:
        assert not to_do.wanted, "the parts lack images"
        joined = time.perf_counter()
    ended = time.perf_counter()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "images": len(to_do.writer.progress.kept),
        "seconds_to_read_list": round(listed - start, 1),
        "seconds_to_join": round(joined - listed, 1),
        "seconds_to_write_json": round(ended - joined, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--in-parts", type=int, help="so many wait in parts, the others were joined before")
    parser.add_argument("--folder", type=Path, help="where to make them (default: a temporary folder)")
    parser.add_argument("--join", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    console = Console(soft_wrap=True)
    if arguments.join is not None:
        console.print_json(json.dumps(join(arguments.join)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        output, segments, pngs = Path(folder) / "out", some_segments(), some_pngs(Path(folder) / "pngs")
        write_list(Path(folder) / LIST, arguments.records)
        before = 0 if arguments.in_parts is None else max(0, arguments.records - arguments.in_parts)
        if before:
            write_records(output, range(before), segments, pngs)
        for number, start in enumerate(range(before, arguments.records, PART)):
            records = range(start, min(start + PART, arguments.records))
            write_records(part_folder(output, number), records, segments, pngs)
            (part_folder(output, number) / f"{FOLDER}.json").write_text("{}")
        # In a process of its own, so that making the parts does not count.
        subprocess.run([sys.executable, "-m", "benchmarks.joining", "--join", folder], check=True)
        console.print(f"{(output / f'{FOLDER}.json').stat().st_size / 2**20:.0f} MiB of JSON")


if __name__ == "__main__":
    main()
