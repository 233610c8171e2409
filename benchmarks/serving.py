"""`panoptic-blend serve` under load: many clients at once, and some that send what they should not."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from panoptic_blend.synthetic.scene import paint_scene

PAUSE = 0.1
"""Seconds that a client waits after 429: far less than `Retry-After` asks for."""


@dataclass
class Seen:
    """What clients saw, all together.

    Attributes:
        statuses: of answers, counted.
        seconds: of each answer with a map.
        broken: requests that were not answered, or with 429 and no Retry-After.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--hostile", type=int, default=4, help="clients more that send damaged, huge and slow requests")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--batch", default="1")
    options = parser.parse_args()
    command = [sys.executable, "-m", "panoptic_blend", "serve", "--checkpoint", options.checkpoint, "--port", "0"]
    server = subprocess.Popen([*command, "--batch", options.batch], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    found = re.search(r":(\d+) until", server.stdout.readline())
    if found is None:
        raise SystemExit("the server did not start")
    port = int(found[1])
    try:
        pictures = [_picture(seed) for seed in range(16)]
        for picture in pictures[:2]:
            _ask(port, picture, Seen())
        before = _memory(server.pid, "VmRSS")
        good, bad = Seen(), Seen()
        end = time.monotonic() + options.seconds
        clients = [threading.Thread(target=_load, args=(port, pictures, good, end)) for _ in range(options.clients)]
        clients += [threading.Thread(target=_attack, args=(port, bad, end, n)) for n in range(options.hostile)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        last = Seen()
        _ask(port, pictures[0], last)
        _report(options.seconds, good, bad, last, before, server.pid)
    finally:
        server.terminate()
        server.wait()


def _report(seconds: float, good: Seen, bad: Seen, last: Seen, before: float, pid: int) -> None:
    table = Table("clients", "answers", "broken", "pictures/s", "median, s", "95 %, s")
    ordered = sorted(good.seconds)
    table.add_row(
        "those that mean well",
        ", ".join(f"{status}: {count}" for status, count in sorted(good.statuses.items())),
        str(len(good.broken)),
        f"{len(ordered) / seconds:.1f}",
        f"{statistics.median(ordered):.2f}",
        f"{ordered[int(0.95 * (len(ordered) - 1))]:.2f}",
    )
    counts = ", ".join(f"{status}: {count}" for status, count in sorted(bad.statuses.items()))
    table.add_row("hostile ones", counts, str(len(bad.broken)), "", "", "")
    console = Console()
    console.print(table)
    console.print(
        f"afterwards: {dict(last.statuses)}; MiB before {before:.0f}, at the peak {_memory(pid, 'VmHWM'):.0f}"
    )
    for said in (good.broken + bad.broken)[:5]:
        console.print(said)


def _load(port: int, pictures: list[bytes], seen: Seen, end: float) -> None:
    turn = 0
    while time.monotonic() < end:
        turn += 1
        if _ask(port, pictures[turn % len(pictures)], seen) == 429:
            time.sleep(PAUSE)


def _ask(port: int, body: bytes, seen: Seen) -> int:
    """One request on a connection of its own; what came of it is noted."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", "/predict", body)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        with seen.lock:
            seen.broken.append(repr(error))
        return 0
    finally:
        connection.close()
    with seen.lock:
        seen.statuses[answer.status] += 1
        if answer.status == 200:
            seen.seconds.append(time.perf_counter() - started)
        if answer.status == 429 and not answer.headers["retry-after"]:
            seen.broken.append("429 without Retry-After")
    return answer.status


def _attack(port: int, seen: Seen, end: float, turn: int) -> None:
    """By turns: cut off, of another type, of very many pixels, of 100 MB, and slow."""
    picture, bomb = _picture(turn), io.BytesIO()
    Image.new("1", (30_000, 5_000)).save(bomb, "PNG")
    bodies = [picture[: len(picture) // 2], b"%!PS-Adobe-3.0 EPSF-3.0\n", bomb.getvalue(), bytes(100_000_000)]
    while time.monotonic() < end:
        turn += 1
        if turn % 5 < 4:
            _ask(port, bodies[turn % 5], seen)
            continue
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
            for letter in picture[:20]:
                slow.sendall(bytes([letter]))
                time.sleep(PAUSE)


def _picture(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(paint_scene(np.random.default_rng(seed)).image).save(file, "JPEG", quality=92)
    return file.getvalue()


def _memory(pid: int, name: str) -> float:
    """MiB of a process: `VmRSS` now, `VmHWM` at the peak (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else float("nan")


if __name__ == "__main__":
    main()
