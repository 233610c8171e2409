"""What an exported folder says about itself: its `model.json`.

Nothing in it is trusted: every value is checked, and no name of a file leads out of the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from panoptic_blend.categories import Categories
from panoptic_blend.config import ModelConfig, PredictionSettings
from panoptic_blend.config.plain import parse_settings, plain_settings
from panoptic_blend.errors import CheckpointError, ConfigError, DatasetError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.runtime.model_files import EXPORT_AGAIN, ModelFile, read_file_entry

MANIFEST = "model.json"
FORMAT = "panoptic-blend-export"
VERSION = 2
"""Of the layout, raised when older software could no longer run a folder. The first had no hashes."""
MOST_BYTES = 64 * 2**20
"""A larger `model.json` is none: thousands of categories take one of them."""

Runtime = Literal["onnxruntime", "openvino", "torch"]
Precision = Literal["fp32", "fp16", "int8"]
MODEL, WEIGHTS, BEFORE, AFTER = "model", "weights", "before", "after"
"""Names of a folder's files: the graph; for OpenVINO the network alone, its weights, and ONNX graphs around it."""


@dataclass(frozen=True)
class ImageInput:
    """How the network inside wants its images; the graph from `image` on does all of this itself.

    Attributes:
        pixel_mean: subtracted from each channel (0..255), in `channel_order`.
        pixel_std: each channel is divided by it.
        channel_order: of the network; images enter the graph as RGB always.
        size_divisor: the network's sides are padded with zeros to a multiple of this.
        size: (height, width) of the one size that the export was made for; None takes images of any size.
    """

    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    channel_order: Literal["RGB", "BGR"]
    size_divisor: int
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Manifest:
    """The content of `model.json`.

    Attributes:
        runtime: what runs the files.
        precision: of the network's weights.
        files: in the folder, by what they are; `model` is the one that the runtime opens.
        categories: of the data set that the model predicts.
        input: how images enter the network.
        settings: sizes and thresholds that the files were made with.
        config: of the model that was exported.
        made_with: versions of the software, by name.
        measured: what was measured when the folder was made, by name.
        cpu: the kind of processor that an int8 model was measured on; None for others.
    """

    runtime: Runtime
    precision: Precision
    files: Mapping[str, ModelFile]
    categories: Categories
    input: ImageInput
    settings: PredictionSettings
    config: ModelConfig
    made_with: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    cpu: str | None = None


def is_export(path: Path | str) -> bool:
    """Whether a path is a folder with a `model.json`, by which exported folders are known."""
    return (Path(path) / MANIFEST).is_file()


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `model.json` into a folder; `read_manifest` gives it back unchanged."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "runtime": manifest.runtime,
        "precision": manifest.precision,
        "cpu": manifest.cpu,
        "files": {key: asdict(file) for key, file in manifest.files.items()},
        "categories": manifest.categories.to_json(),
        "input": asdict(manifest.input),
        "settings": asdict(manifest.settings),
        "config": plain_settings(manifest.config),
        "made_with": dict(manifest.made_with),
        "measured": dict(manifest.measured),
    }
    with atomic_path(folder / MANIFEST) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_manifest(folder: Path | str) -> Manifest:
    """Read and check the `model.json` of an exported folder.

    Raises:
        CheckpointError: it is missing, damaged, older or newer than what this software reads, or says something that
            cannot be; a file it names is missing or lies outside of the folder. What the files hold is not looked at.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    content = _read_json(path)
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: 'format' is {content.get('format')!r}, not {FORMAT!r}. {EXPORT_AGAIN}")
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise CheckpointError(
            f"{path}: 'version' must be a number from 1 to {VERSION}, found {version!r}. {EXPORT_AGAIN}"
        )
    if version < VERSION:
        raise CheckpointError(f"{path}: version {version} has no hashes to check its files by. {EXPORT_AGAIN}")
    if version > VERSION:
        raise CheckpointError(
            f"{path}: version {version}, this software reads up to {VERSION}. Install a newer panoptic-blend."
        )
    cpu = content.get("cpu")
    if cpu is not None and not isinstance(cpu, str):
        raise CheckpointError(f"{path}: 'cpu' must be text or null, found {cpu!r}. {EXPORT_AGAIN}")
    made_with = _object(content, "made_with", path)
    if not all(isinstance(value, str) for value in made_with.values()):
        raise CheckpointError(f"{path}: 'made_with' must hold versions as text. {EXPORT_AGAIN}")
    try:
        return Manifest(
            runtime=_choice(content, "runtime", get_args(Runtime), path),
            precision=_choice(content, "precision", get_args(Precision), path),
            files=_files(content, folder),
            categories=Categories.from_json(content.get("categories"), str(path)),
            input=_image_input(_object(content, "input", path), path),
            settings=_settings(_object(content, "settings", path), path),
            config=parse_settings(ModelConfig, content.get("config"), "config"),
            made_with=made_with,
            measured=_object(content, "measured", path),
            cpu=cpu,
        )
    except DatasetError as error:  # of the categories, which names the file
        raise CheckpointError(f"{error} {EXPORT_AGAIN}") from error
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error} {EXPORT_AGAIN}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CheckpointError(f"{path}: larger than {MOST_BYTES // 2**20} MiB, which is no description of a model.")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}). Name an exported folder.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not complete JSON ({error}). Copy it again; it may be truncated.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: must be an object, found {type(content).__name__}. {EXPORT_AGAIN}")
    return content


def _object(content: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    value = content.get(name)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: '{name}' must be an object, found {type(value).__name__}. {EXPORT_AGAIN}")
    return value


def _choice(content: dict[str, Any], name: str, choices: tuple[str, ...], path: Path) -> Any:
    value = content.get(name)
    if value not in choices:
        raise CheckpointError(f"{path}: '{name}' must be one of {', '.join(choices)}, found {value!r}. {EXPORT_AGAIN}")
    return value


def _files(content: dict[str, Any], folder: Path) -> dict[str, ModelFile]:
    files = _object(content, "files", folder / MANIFEST)
    if MODEL not in files:
        raise CheckpointError(f"{folder / MANIFEST}: 'files' must name a '{MODEL}'. {EXPORT_AGAIN}")
    return {key: read_file_entry(folder, entry, f"{folder / MANIFEST}: files.{key}") for key, entry in files.items()}


def _image_input(values: dict[str, Any], path: Path) -> ImageInput:
    mean: Any = values.get("pixel_mean")
    std: Any = values.get("pixel_std")
    order: Any = values.get("channel_order")
    divisor: Any = values.get("size_divisor")
    size: Any = values.get("size")
    fits = (
        _numbers(mean, (int, float), 3)
        and _numbers(std, (int, float), 3)
        and min(std) > 0
        and order in ("RGB", "BGR")
        and _numbers([divisor], (int,), 1)
        and divisor > 0
        and (size is None or (_numbers(size, (int,), 2) and min(size) > 0))
    )
    if not fits:
        raise CheckpointError(
            f"{path}: 'input' must hold pixel_mean and pixel_std (three numbers each), channel_order (RGB or BGR), "
            f"size_divisor (a whole number) and size ([height, width] or null), found {values!r:.200}. {EXPORT_AGAIN}"
        )
    return ImageInput(tuple(mean), tuple(std), order, divisor, None if size is None else tuple(size))


def _numbers(value: object, kinds: tuple[type, ...], count: int) -> bool:
    """Whether a value is a list of so many finite numbers; JSON may spell others."""
    if not isinstance(value, list) or len(value) != count:
        return False
    return all(type(each) in kinds and abs(each) < 2**31 for each in value)


def _settings(values: dict[str, Any], path: Path) -> PredictionSettings:
    kinds = get_type_hints(PredictionSettings)
    for name in values.keys() ^ kinds.keys():
        problem = "missing" if name in kinds else "not a setting of predictions"
        raise CheckpointError(f"{path}: settings.{name} is {problem}. {EXPORT_AGAIN}")
    for name, kind in kinds.items():
        allowed = (int, float) if kind is float else (kind,)
        if type(values[name]) not in allowed:
            raise CheckpointError(
                f"{path}: settings.{name} must be {kind.__name__}, found {values[name]!r:.200}. {EXPORT_AGAIN}"
            )
    settings = PredictionSettings(**values)
    settings.check()
    return settings
