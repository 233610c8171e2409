from __future__ import annotations

import subprocess
import sys

import pytest

KEPT = """
import resource, torch
from panoptic_blend.training.hardware import keep_freed_memory
if {keep}:
    keep_freed_memory()
def step():
    torch.ones(1 << 24).sum()  # 64 MiB
for _ in range(8):  # until the heap has found its size
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the pages that a process was given")
def test_memory_of_tensors_that_are_gone_is_used_again() -> None:
    pages = {}
    for keep in (False, True):
        script = KEPT.format(keep=keep)
        pages[keep] = int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    assert pages[True] < max(pages[False] / 2, 100)
