"""Models on Hugging Face's hub: a repository with our safetensors file and a card."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from panoptic_blend.catalogue.cache import is_offline
from panoptic_blend.checkpoints.model_card import model_card
from panoptic_blend.checkpoints.native import HUB_FILE, load_model, save_model
from panoptic_blend.config_files import read_config
from panoptic_blend.errors import CheckpointError, ConfigError, DownloadError
from panoptic_blend.modeling.panoptic_blend import PanopticBlend

PREFIX = "hf:"
_MOST_PICTURES = 4
_REPOSITORY = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


def push_to_hub(
    source: PanopticBlend | Path | str,
    repository: str,
    licence: str | None = None,
    evaluation: Path | str | None = None,
    private: bool = False,
) -> str:
    """Upload a model with a card to Hugging Face's hub, where `pb.load("hf:me/model")` finds it.

    Who you are is what `hf auth login` or HF_TOKEN says.

    Args:
        source: a model, a run's folder, or a `.safetensors` file of ours. Of a run, the card says how it was trained.
        repository: `me/model`, made if it is not there.
        licence: the hub's short name of one, such as `apache-2.0`.
        evaluation: a folder that `evaluate` wrote, whose numbers and first pictures (`overlays/`) go into the card.
        private: whether a new repository is seen by you alone.

    Returns:
        The repository's address.

    Raises:
        CheckpointError: no model, or no evaluation in that folder.
        ConfigError: huggingface_hub is not installed, or the repository's name is no such name.
        DownloadError: the hub refuses or cannot be reached.
    """
    hub = _import_hub()
    if not re.fullmatch(_REPOSITORY, repository):
        raise ConfigError(f"{repository!r} is no repository's name on the hub. Write OWNER/MODEL.")
    with TemporaryDirectory() as folder:
        write_hub_folder(source, Path(folder), repository, licence, evaluation)
        api = hub.HfApi(library_name="panoptic-blend")
        with _explained(repository):
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload from panoptic-blend")
    return f"{api.endpoint}/{repository}"


def write_hub_folder(
    source: PanopticBlend | Path | str,
    folder: Path,
    repository: str,
    licence: str | None = None,
    evaluation: Path | str | None = None,
) -> None:
    """Write what `push_to_hub` uploads: `model.safetensors`, `README.md`, `pictures/`. `pb.load` opens the folder.

    Args:
        folder: an existing one.

    Raises:
        CheckpointError: no model, or no evaluation in that folder.
    """
    config, run = None, None
    if not isinstance(source, PanopticBlend):
        run = Path(source)
        source = load_model(run)
        if (run / "config.yaml").is_file():
            config = read_config(run / "config.yaml")
    save_model(source, folder / HUB_FILE)
    metrics, pictures = (None, []) if evaluation is None else _copy_evaluation(Path(evaluation), folder)
    card = model_card(repository, source.config, source.categories, licence, config, metrics, pictures)
    (folder / "README.md").write_text(card, encoding="utf-8")


def download_model(reference: str) -> Path:
    """The `.safetensors` file of a model on the hub, from the hub's own cache or downloaded into it.

    Args:
        reference: `hf:me/model`, or with a branch, tag or commit `hf:me/model@revision`.

    Raises:
        CheckpointError: not such a reference, or the repository holds no model of ours.
        ConfigError: huggingface_hub is not installed.
        DownloadError: no such repository or revision, or no network.
    """
    match = re.fullmatch(rf"{PREFIX}({_REPOSITORY})(?:@(\S+))?", reference)
    if not match:
        raise CheckpointError(f"{reference}: write hf:OWNER/MODEL, or hf:OWNER/MODEL@REVISION.")
    hub, here_only = _import_hub(), is_offline()
    with _explained(reference):
        return Path(hub.hf_hub_download(match[1], HUB_FILE, revision=match[2], local_files_only=here_only))


def _copy_evaluation(evaluation: Path, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The numbers, and the pictures, which get names of their own: those of the images may be nobody's business."""
    try:
        metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{evaluation}: has no metrics.json that can be read ({error}). Name a folder that `evaluate` wrote."
        ) from error
    found = sorted((evaluation / "overlays").rglob("*.jpg"))[:_MOST_PICTURES]
    pictures = [f"pictures/{number}.jpg" for number in range(1, len(found) + 1)]
    for source, name in zip(found, pictures, strict=True):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source, folder / name)
    return metrics, pictures


def _import_hub() -> ModuleType:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise ConfigError("Models on the hub need huggingface_hub. Run `pip install 'panoptic-blend[hub]'`.") from error
    return huggingface_hub


@contextmanager
def _explained(reference: str) -> Iterator[None]:
    """What goes wrong with the hub as one of our errors."""
    from huggingface_hub import errors

    try:
        yield
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(
            f"{reference}: the hub has no such model, or does not show it to you. Private ones need `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"{reference}: the model has no such revision. Name a branch, tag or commit.") from error
    except errors.LocalEntryNotFoundError as error:
        why = "working offline forbids to download it" if is_offline() else "the hub cannot be reached"
        raise DownloadError(f"{reference}: is not on this machine, and {why}.") from error
    except errors.EntryNotFoundError as error:
        raise CheckpointError(
            f"{reference}: holds no {HUB_FILE}, so it is no model that pb.push_to_hub wrote."
        ) from error
    except (errors.HTTPError, OSError, ValueError) as error:
        raise DownloadError(f"{reference}: the hub said: {' '.join(str(error).split())}") from error
