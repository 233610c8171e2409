"""Brings a known model's file here, once, and makes sure that it is the one that was meant."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from panoptic_blend.catalogue.cache import HOME, MIRROR, cache_folder, is_offline
from panoptic_blend.catalogue.models import INSTANCES_ONLY, KnownModel
from panoptic_blend.errors import ConfigError, DownloadError
from panoptic_blend.files.atomic import atomic_path
from panoptic_blend.files.download import Progress as Told
from panoptic_blend.files.download import check_digest, download

_log = logging.getLogger(__name__)


def model_folder(model: KnownModel) -> Path:
    """Where a model's files are kept; others may be beside them."""
    return cache_folder() / "models" / model.name


def cached_file(model: KnownModel) -> Path:
    """Where a model's file lies once it was downloaded, under its makers' name."""
    return model_folder(model) / PurePosixPath(urlsplit(model.url).path).name


def fetch(model: KnownModel) -> Path:
    """A model's file as its makers published it; downloaded unless it is here. Only with the lock on its folder.

    Raises:
        DownloadError: it is not here and the network may not be used, or does not bring it; `files.download` says
            what can go wrong.
        ConfigError: PANOPTIC_BLEND_MIRROR is no address.
    """
    if model.file is not None:
        return model.file
    target, url = cached_file(model), mirrored(model.url)
    if target.is_file():
        if not _note(model).is_file():  # somebody put it here
            _remember(model, check_digest(str(target), target, model.digest))
        return target
    if is_offline():
        raise DownloadError(
            f"{model.name}: is not on this machine, and working offline forbids to download it. Run once without "
            f"--offline and PANOPTIC_BLEND_OFFLINE, or put {url} into {target.parent}."
        )
    about = f"{model.about}. {INSTANCES_ONLY}" if model.maker == "AdelaiDet" else f"{model.about}."
    _log.warning(f"{model.name}: {about}\nLicence: {model.licence}.\nDownloading {url}")
    try:
        with _bar(model.name) as told:
            sha256 = download(url, target, model.digest, told)
        _remember(model, sha256)
    except OSError as error:
        full = "the disk is full" if error.errno == errno.ENOSPC else "cannot be written to"
        raise DownloadError(
            f"{target.parent}: {full} ({error.strerror}). Free some space or name another folder in {HOME}; what has "
            "come is kept, and continued."
        ) from error
    return target


def mirrored(url: str) -> str:
    """The address with the host of PANOPTIC_BLEND_MIRROR, and its path before the file's own, if that is set.

    Raises:
        ConfigError: the mirror is no http or https address.
    """
    named = os.environ.get(MIRROR)
    if not named:
        return url
    mirror, own = urlsplit(named), urlsplit(url)
    if mirror.scheme not in ("http", "https") or not mirror.netloc:
        raise ConfigError(f"{MIRROR} is {named!r}; give an address such as https://mirror.example/models.")
    return urlunsplit((mirror.scheme, mirror.netloc, mirror.path.rstrip("/") + own.path, own.query, ""))


def _remember(model: KnownModel, sha256: str) -> None:
    """Warn of a file that changed since its first download, where its makers publish no SHA-256 to hold it against."""
    note = _note(model)
    before = note.read_text(encoding="utf-8").strip() if note.is_file() else sha256
    if before != sha256:
        _log.warning(
            f"{model.name}: the file has changed since it was first downloaded here: its SHA-256 was {before} and is "
            f"{sha256} now. Ask its makers, {model.maker}, whether they replaced it."
        )
    with atomic_path(note) as unfinished:
        unfinished.write_text(f"{sha256}\n", encoding="utf-8")


def _note(model: KnownModel) -> Path:
    return model_folder(model) / "sha256.txt"


@contextmanager
def _bar(name: str) -> Iterator[Told]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)
        yield lambda here, total: progress.update(task, completed=here, total=total)
