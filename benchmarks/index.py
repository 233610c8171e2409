"""How long a large panoptic JSON takes to load, first and again, and how much memory, with loader processes, too.

    python -m benchmarks.index                                   # as large as COCO's train2017
    python -m benchmarks.index --images 5000000 --segments 2     # two minutes to make

Makes a file of that size, without its images, in a temporary folder. Linux only.
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

_BLOCK = 10_000
"""Images whose segments are drawn together."""


def write_large_json(path: Path, images: int, segments: float) -> None:
    """Write a JSON with the fields and sizes of COCO's, row by row; its id maps do not exist.

    Args:
        segments: of an image on average; each has one at least.
    """
    random = np.random.default_rng(0)
    url = "http://images.cocodataset.org/train2017/"
    more = f'"license":3,"coco_url":"{url}","date_captured":"2013-11-14 11:18:45"'
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"info": {}, "licenses": [], "images": [')
        for i in range(images):
            comma = "," if i else ""
            file.write(f'{comma}{{"id":{i + 1},"file_name":"{i:012d}.jpg","width":640,"height":480,{more}}}')
        file.write('],\n"annotations": [')
        for start in range(0, images, _BLOCK):
            counts = 1 + random.poisson(segments - 1, min(_BLOCK, images - start))
            values = iter(random.integers(1, 480, (int(counts.sum()), 6)).tolist())
            for i, count in enumerate(counts.tolist(), start):
                rows = ",".join(_segment(number, next(values)) for number in range(count))
                comma = "," if i else ""
                file.write(f'{comma}{{"segments_info":[{rows}],"file_name":"{i:012d}.png","image_id":{i + 1}}}')
        categories = [{"id": c, "name": f"category {c}", "isthing": int(c <= 80)} for c in range(1, 134)]
        file.write('],\n"categories": ' + json.dumps(categories) + "}")


def _segment(number: int, v: list[int]) -> str:
    where = f'"bbox":[{v[1]},{v[2]},{v[3]},{v[4]}],"area":{v[3] * v[4]}'
    return f'{{"id":{v[5] * 1000 + number},"category_id":{v[0] % 133 + 1},"iscrowd":0,{where}}}'


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
    parser.add_argument("--segments", type=float, default=11, help="of an image on average (default: 11)")
    parser.add_argument("--workers", type=int, default=4, help="processes that walk through all records; 0 for none")
    parser.add_argument("--folder", type=Path, help="for the JSON, which stays there (default: a temporary one)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    console = Console(soft_wrap=True)
    if arguments.measure is not None:
        console.print_json(json.dumps(measure(arguments.measure, arguments.workers)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = (arguments.folder or Path(temporary)) / "panoptic_large.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_large_json(path, arguments.images, arguments.segments)
            time.sleep(4)  # what is read of a file that changed just now is not kept
        kept = path.with_name(f".{path.name}.index")
        kept.unlink(missing_ok=True)
        # In processes of their own, so that making the file does not count: the first reads the JSON, the second what
        # the first kept of it.
        command = [
            sys.executable,
            "-m",
            "benchmarks.index",
            "--measure",
            str(path),
            "--workers",
            str(arguments.workers),
        ]
        for _ in range(2):
            subprocess.run(command, check=True)
        sizes = f"{path.stat().st_size / 2**20:.0f} MiB of JSON, {kept.stat().st_size / 2**20:.0f} MiB of index"
        console.print(sizes)


if __name__ == "__main__":
    main()
