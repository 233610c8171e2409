"""Known models' files: downloaded once, checked, remembered, and never without permission."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from panoptic_blend.catalogue import cache
from panoptic_blend.catalogue.fetching import cached_file, fetch, mirrored
from panoptic_blend.catalogue.models import KnownModel
from panoptic_blend.errors import ConfigError, DownloadError
from tests.files.server import FileServer, serve

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of the test, on a machine that may use the network."""
    monkeypatch.setenv(cache.HOME, str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv(cache.OFFLINE, raising=False)
    monkeypatch.delenv(cache.MIRROR, raising=False)
    return tmp_path / "home"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve(CONTENT) as running:
        yield running


def model_at(server: FileServer, digest: str = "") -> KnownModel:
    url = f"{server.url}/folder/R_1.pth"
    return KnownModel("test-model", "for tests", "start", "detectron2", "CC0", url, digest=digest)


def test_a_file_is_fetched_once_after_its_licence_was_shown(
    server: FileServer, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_at(server, f"sha256:{SHA256}")
    for _ in range(2):
        assert fetch(model) == cached_file(model) == home / "models" / "test-model" / "R_1.pth"
    assert cached_file(model).read_bytes() == CONTENT
    assert server.paths == ["/folder/R_1.pth"]
    (said,) = caplog.messages
    assert said == f"test-model: for tests.\nLicence: CC0.\nDownloading {model.url}"


def test_adelaidets_models_are_said_to_find_things_alone(
    server: FileServer, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(replace(model_at(server), maker="AdelaiDet"))
    assert "its panoptic weights seem lost" in caplog.text


def test_a_file_that_changed_since_its_first_download_is_warned_of(
    server: FileServer, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_at(server)
    fetch(model).unlink()
    fetch(model).unlink()
    assert "has changed" not in caplog.text
    server.answer = replace(server.answer, content=b"others")
    fetch(model)
    assert f"its SHA-256 was {SHA256} and is {hashlib.sha256(b'others').hexdigest()} now" in caplog.text


def test_offline_only_what_is_here_is_used(server: FileServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_at(server)
    monkeypatch.setenv(cache.OFFLINE, "1")
    with pytest.raises(DownloadError, match=rf"test-model: is not on this machine.*put {model.url} into {home}"):
        fetch(model)
    monkeypatch.setenv(cache.OFFLINE, "0")
    fetch(model)
    monkeypatch.setenv(cache.OFFLINE, "1")
    assert fetch(model).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_file_that_somebody_put_there_is_checked(server: FileServer, home: Path) -> None:
    model = model_at(server, f"sha256:{SHA256}")
    cached_file(model).parent.mkdir(parents=True)
    cached_file(model).write_bytes(b"others")
    with pytest.raises(DownloadError, match="another file than expected"):
        fetch(model)
    cached_file(model).write_bytes(CONTENT)
    assert fetch(model) == cached_file(model)
    assert not server.requests


def test_a_mirror_takes_the_hosts_place(server: FileServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(model_at(server), url="https://models.invalid/folder/R_1.pth?download=true")
    monkeypatch.setenv(cache.MIRROR, f"{server.url}/mirror/")
    assert fetch(model).read_bytes() == CONTENT
    assert server.paths == ["/mirror/folder/R_1.pth?download=true"]
    monkeypatch.setenv(cache.MIRROR, "server:/folder")
    with pytest.raises(ConfigError, match="PANOPTIC_BLEND_MIRROR is 'server:/folder'; give an address"):
        mirrored(model.url)


def test_a_model_of_the_package_is_where_it_is(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "nano.safetensors"
    assert fetch(KnownModel("nano", "for tests", "model", "panoptic_blend", "CC0", file=file)) == file
    assert not home.exists()


def test_a_full_disk_names_the_setting_that_helps(
    server: FileServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 10))  # type: ignore[attr-defined]
    with pytest.raises(
        DownloadError, match=r"the disk is full \(.* MB are to come.*name another folder in PANOPTIC_BLEND_HOME"
    ):
        fetch(model_at(server))


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_named(server: FileServer, home: Path) -> None:
    home.mkdir()
    home.chmod(0o500)
    with pytest.raises(DownloadError, match=r"cannot be written to .*PANOPTIC_BLEND_HOME"):
        fetch(model_at(server))


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="Linux's folders")
def test_the_cache_folder_is_the_systems_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.HOME, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache.cache_folder() == Path("/caches/panoptic_blend")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert cache.cache_folder() == Path("/home/ada/.cache/panoptic_blend")
    monkeypatch.setenv(cache.HOME, "~/models")
    assert cache.cache_folder() == Path("/home/ada/models")
