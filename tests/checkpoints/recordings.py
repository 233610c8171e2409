"""Recordings of the reference implementation: weights, inputs, and every number it computed from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

RECORDINGS = Path(__file__).parent / "recordings"
"""The small ones. README.md there lists what is in each."""


def write_recording(tree: dict[str, Any], folder: Path, name: str) -> None:
    """Write a tree of dicts, lists, tensors and plain values: tensors into NAME.npz, all else into NAME.json."""
    arrays = {}

    def plain(node: Any, path: str) -> Any:
        if isinstance(node, Tensor):
            arrays[path] = node.detach().numpy()
            return {"array": path}
        if isinstance(node, dict):
            return {key: plain(value, f"{path}/{key}" if path else key) for key, value in node.items()}
        if isinstance(node, list):
            return [plain(value, f"{path}/{index}") for index, value in enumerate(node)]
        return node

    (folder / f"{name}.json").write_text(json.dumps(plain(tree, ""), indent=1) + "\n")
    np.savez_compressed(folder / f"{name}.npz", **arrays)


def read_recording(folder: Path, name: str) -> dict[str, Any]:
    """The tree again. Nothing is executed by reading it."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:

        def filled(node: dict[str, Any]) -> Any:
            return torch.from_numpy(arrays[node["array"]]) if node.keys() == {"array"} else node

        return json.loads((folder / f"{name}.json").read_text(), object_hook=filled)
