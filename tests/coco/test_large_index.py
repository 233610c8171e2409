import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_118_thousand_images_fit_every_worker():
    command = [sys.executable, "-m", "benchmarks.index", "--workers", "2"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, second = map(json.loads, re.findall(r"\{.*?\}", run.stdout, flags=re.DOTALL))
    for result in (first, second):
        assert result["images"] == 118_287
        assert result["resident_mib"] < 1024
        assert result["peak_mib"] < 500
        assert result["worker_unshared_after_mib"] - result["worker_unshared_before_mib"] < 20
    assert second["cpu_seconds"] < 0.5
    assert second["peak_mib"] < 200
