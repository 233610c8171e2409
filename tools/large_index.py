"""How long a COCO-sized panoptic JSON takes to load, first and again, and how much memory, with loader processes, too.

    python tools/large_index.py --images 118287 --workers 4

Makes a synthetic file like COCO's train2017 (about 11 segments an image) in a temporary folder. Linux only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from rich.console import Console

from panoptic_blend.coco.annotations import PanopticAnnotations


def write_large_json(path: Path, images: int, seed: int = 0) -> None:
    """Write a JSON with the fields and sizes of COCO's, image by image; its id maps do not exist."""
    random = np.random.default_rng(seed)
    url = "http://images.cocodataset.org/train2017/"
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"info": {}, "licenses": [], "images": [')
        for i in range(images):
            row = {"id": i + 1, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480, "license": 3}
            row |= {"coco_url": f"{url}{i:012d}.jpg", "date_captured": "2013-11-14 11:18:45", "flickr_url": url}
            file.write(("," if i else "") + json.dumps(row))
        file.write('], "annotations": [')
        for i in range(images):
            count = 1 + random.poisson(10)
            ids = random.choice(2**24 - 1, count, replace=False) + 1
            values = random.integers(1, 480, (count, 6))
            segments = [
                {"id": int(s), "category_id": v[0] % 133 + 1, "iscrowd": 0, "bbox": v[1:5], "area": v[4] * v[5]}
                for s, v in zip(ids, values.tolist(), strict=True)
            ]
            row = {"segments_info": segments, "file_name": f"{i:012d}.png", "image_id": i + 1}
            file.write(("," if i else "") + json.dumps(row))
        categories = [{"id": c, "name": f"category {c}", "isthing": int(c <= 80)} for c in range(1, 134)]
        file.write('], "categories": ' + json.dumps(categories) + "}")


def measure(path: Path, workers: int) -> dict[str, float]:
    """Load `path` in this process, then walk all records in forked processes.

    Returns:
        Seconds, and MiB: resident once loaded, at the peak, and unshared by each worker before and after its walk.
    """
    start, start_of_cpu = time.perf_counter(), time.process_time()
    annotations = PanopticAnnotations.load(path)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_of_cpu
    result = {
        "images": len(annotations),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "resident_mib": _status_mib("VmRSS"),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if workers:
        context = multiprocessing.get_context("fork")
        queue, barrier = context.Queue(), context.Barrier(workers)
        processes = [context.Process(target=_walk, args=(annotations, queue, barrier)) for _ in range(workers)]
        for process in processes:
            process.start()
        measured = [queue.get() for _ in processes]
        for process in processes:
            process.join()
        result["worker_unshared_before_mib"] = max(before for before, _ in measured)
        result["worker_unshared_after_mib"] = max(after for _, after in measured)
    return result


def _walk(annotations: PanopticAnnotations, queue: multiprocessing.Queue, barrier: Barrier) -> None:
    before = _unshared_mib()
    for record in annotations:
        assert record.segments
    barrier.wait()
    queue.put((before, _unshared_mib()))
    # Nobody leaves before all have measured: a page whose sharers are gone counts as unshared.
    barrier.wait()


def _status_mib(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def _unshared_mib() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    console = Console(soft_wrap=True)
    if arguments.measure is not None:
        console.print_json(json.dumps(measure(arguments.measure, arguments.workers)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "panoptic_large.json"
        write_large_json(path, arguments.images)
        console.print(f"{path.stat().st_size / 2**20:.0f} MiB of JSON")
        time.sleep(4)  # what is read of a file that changed just now is not kept
        # In processes of their own, so that making the file does not count: the first reads the JSON, the second what
        # the first kept of it.
        command = [sys.executable, __file__, "--measure", str(path), "--workers", str(arguments.workers)]
        for _ in range(2):
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
