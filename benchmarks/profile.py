"""Which share of an exported graph's time is the network's, by onnxruntime's own profile."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import onnxruntime

from panoptic_blend.files.images import Pixels

OWN = "network."
"""What names of the network's nodes begin with, see `exporting.graph`; onnxruntime adds nodes of other names."""
AROUND = "node_"
"""What onnxscript calls the nodes that surround it."""


def split_by_profile(graph: Path, picture: Pixels, threads: int) -> dict[str, float]:
    """Shares of 'input', 'network' and 'rest' in a prediction's time.

    Args:
        graph: as `export` writes it.
        picture: uint8 [H, W, 3]; it is predicted twice, and the second time counts.
        threads: that onnxruntime takes.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        for _ in range(2):
            session.run(None, {"image": picture})
        events = json.loads(Path(session.end_profiling()).read_text())
    last = max(event["ts"] for event in events if event["name"] == "model_run")
    nodes = [event for event in events if event["cat"] == "Node" and event["ts"] >= last]
    seconds = dict.fromkeys(("input", "network", "rest"), 0)
    before, busy_until = True, 0
    for event in sorted(nodes, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] < busy_until or not event["name"].endswith("kernel_time"):
            continue  # within a Loop, which counts as a whole
        busy_until = event["ts"] + event["dur"]
        before = before and not event["name"].startswith(OWN)
        around = AROUND in event["name"] and OWN not in event["name"]
        seconds["input" if before else "rest" if around else "network"] += event["dur"]
    total = sum(seconds.values())
    return {stage: spent / total for stage, spent in seconds.items()}
