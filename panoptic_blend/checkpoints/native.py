"""Our own checkpoint: one safetensors file with the weights, the model's settings and its categories."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from panoptic_blend.categories import Categories
from panoptic_blend.config import ModelConfig
from panoptic_blend.config.plain import parse_settings, plain_settings
from panoptic_blend.errors import CheckpointError, ConfigError, DatasetError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.modeling.build import build_model
from panoptic_blend.modeling.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.manifest import is_export

FORMAT = 1
"""Version of the layout, raised when older software could no longer read a file."""
BEST = "best.safetensors"
LAST = "last.safetensors"
HUB_FILE = "model.safetensors"
"""What the file is called in a folder that `push_to_hub` makes, as hubs expect."""
_PICKLES = (".pth", ".pt", ".ckpt", ".pkl", ".bin")


def save_model(model: PanopticBlend, path: Path | str) -> None:
    """Write weights, settings and categories to one file, which appears whole or not at all.

    Args:
        model: on any device, in any memory layout; tensors keep their own dtype.
        path: the `.safetensors` file; replaced when it exists.

    Raises:
        CheckpointError: the path has another ending, by which `load_model` would take it for something else.
    """
    if Path(path).suffix != ".safetensors":
        raise CheckpointError(f"{path}: models are written as .safetensors files. Let the name end so.")
    metadata = {
        "panoptic_blend_format": str(FORMAT),
        "model": json.dumps(plain_settings(model.config)),
        "categories": json.dumps(model.categories.to_json()),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(Path(path)) as unfinished:
        unfinished.write_bytes(save(tensors, metadata))  # save_file would make it readable by its owner only


def load_model(path: Path | str) -> PanopticBlend:
    """Rebuild a model from its file alone, on the CPU and in evaluation mode.

    Args:
        path: a `.safetensors` file, or a run's folder: its best.safetensors, or last.safetensors when there is no best.

    Raises:
        CheckpointError: the file is missing, not ours, truncated, newer than this software, or does not fit the
            model it describes.
    """
    path = find_model(Path(path))
    metadata, tensors = _read(path)
    config, categories = _describe(metadata, path)
    model = build_model(config, categories)
    _check_fit(model.state_dict(), tensors, path)
    model.load_state_dict(tensors)
    return model.eval()


def find_model(path: Path) -> Path:
    """The file of a model: the path itself, or the best (else last) one in a run's folder.

    Raises:
        CheckpointError: there is none, or the path is another kind of file.
    """
    if path.is_dir():
        for name in (BEST, LAST, HUB_FILE):
            if (path / name).is_file():
                return path / name
        if is_export(path):
            raise CheckpointError(
                f"{path}: is an exported folder, which only predicts. Name the checkpoint it was made from."
            )
        raise CheckpointError(f"{path}: holds neither {BEST} nor {LAST}. Name a run's folder or a .safetensors file.")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file. Name a run's folder or a .safetensors file.")
    if path.suffix == ".ckpt":
        raise CheckpointError(
            f"{path}: this is the state of a training run, not a model. Continue the run with "
            f"`panoptic-blend train --resume {path.parent}`, or load {BEST} or {LAST} beside it."
        )
    if path.suffix in _PICKLES:
        raise CheckpointError(
            f"{path}: pickled weights are not loaded as models, since a pickle can run any code. Name a .safetensors "
            "file that `panoptic-blend train` wrote; a backbone's weights go to `train --model.backbone.weights`."
        )
    return path


def read_categories(path: Path) -> Categories | None:
    """What a `.safetensors` file of ours says its model predicts; None for any other file.

    Raises:
        CheckpointError: the file is not complete, or what it says cannot be read.
    """
    described = read_description(path)
    return described[1] if described else None


def read_description(path: Path) -> tuple[ModelConfig, Categories] | None:
    """What a `.safetensors` file of ours says about its model; None for any other file.

    Raises:
        CheckpointError: the file is not complete, or what it says cannot be read.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise _incomplete(path, error) from error
    return _describe(metadata, path) if "panoptic_blend_format" in metadata else None


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _incomplete(path, error) from error


def _incomplete(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a complete safetensors file ({error}). Copy it again; it may be truncated or of another kind."
    )


def _describe(metadata: dict[str, str], path: Path) -> tuple[ModelConfig, Categories]:
    version = metadata.get("panoptic_blend_format")
    if version is None or "model" not in metadata or "categories" not in metadata:
        raise CheckpointError(
            f"{path}: safetensors without panoptic_blend's description of the model. Name a file that "
            "`panoptic-blend train` wrote; a backbone's weights go to `train --model.backbone.weights`."
        )
    if not version.isdecimal() or int(version) > FORMAT:
        raise CheckpointError(
            f"{path}: format {version}, this version reads up to {FORMAT}. Install a newer panoptic-blend."
        )
    try:
        config = parse_settings(ModelConfig, json.loads(metadata["model"]), "model")
        return config, Categories.from_json(json.loads(metadata["categories"]))
    except (json.JSONDecodeError, ConfigError, DatasetError) as error:
        raise CheckpointError(f"{path}: its description of the model cannot be read: {error}") from error


def _check_fit(expected: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    complaints = []
    if missing := sorted(expected.keys() - found.keys()):
        complaints.append(f"missing {_some(missing)}")
    if surplus := sorted(found.keys() - expected.keys()):
        complaints.append(f"surplus {_some(surplus)}")
    if misshaped := [
        f"{name} {list(found[name].shape)} instead of {list(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if found[name].shape != expected[name].shape
    ]:
        complaints.append(f"of the wrong shape {_some(misshaped)}")
    if complaints:
        raise CheckpointError(f"{path}: the weights do not fit the model the file describes: {'; '.join(complaints)}.")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
