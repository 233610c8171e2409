"""Tensors by name out of any weights file, none of which gets to run code."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from panoptic_blend.checkpoints.pickles import read_pickle
from panoptic_blend.errors import MALFORMED, CheckpointError


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read a .safetensors file, detectron2's .pkl, or what torch.save wrote; training states give their model.

    Returns:
        The tensors by the names their author gave them.

    Raises:
        CheckpointError: the file is missing, unreadable, without tensors, or asks to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file. Name a .safetensors, .pth or .pkl of weights.")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: not a complete safetensors file ({error}). Copy it again.") from error
    content = read_pickle(path) if path.suffix == ".pkl" else _read_torch(path)
    for section in ("model", "state_dict", "model_state", "blobs"):
        if isinstance(content.get(section), dict):
            content = content[section]
            break
    tensors = {
        name.removeprefix("module."): torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, (np.ndarray, Tensor)) and not name.endswith("_momentum")
    }
    if not tensors:
        raise CheckpointError(f"{path}: no tensors in it. Expected weights by name, alone or under 'model'.")
    return tensors


def refused_call(error: pickle.UnpicklingError) -> str | None:
    """What `torch.load(weights_only=True)` was asked to call and refused to; None when it failed for another reason."""
    asked = re.search(r"GLOBAL (\S+)", str(error))
    return asked[1] if asked else None


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = refused_call(error)
        if asked is None:
            raise CheckpointError(f"{path}: not a file that torch.save wrote; it may be truncated.") from error
        raise CheckpointError(
            f"{path}: refused, because loading it would call {asked}. Weights need tensors, text, numbers and "
            "containers only; get the file from a source you trust, or have it saved as safetensors."
        ) from error
    except (OSError, *MALFORMED) as error:
        raise CheckpointError(
            f"{path}: not a readable weights file ({type(error).__name__}: {error}). It may be truncated or damaged; "
            "copy it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected tensors by name.")
    return content
