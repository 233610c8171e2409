"""The table of known models holds together, and is printed."""

from __future__ import annotations

import io
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from panoptic_blend.catalogue import cache
from panoptic_blend.catalogue.listing import list_models
from panoptic_blend.catalogue.models import MODELS, KnownModel
from panoptic_blend.config_files import read_config


def test_names_and_addresses_are_there_once_and_safe_as_folders() -> None:
    assert len({model.name for model in MODELS}) == len({model.url for model in MODELS}) == len(MODELS)
    for model in MODELS:
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", model.name)
        assert re.fullmatch(r"((sha256:[0-9a-f]{8,64})|(md5:[0-9a-f]{6,32}))?", model.digest)
        assert (model.file is None) == (urlsplit(model.url).scheme == "https")
        assert model.file is None or model.file.is_file()
        assert model.licence


def test_models_have_configurations_and_starts_do_not() -> None:
    for model in MODELS:
        assert (model.maker == "AdelaiDet") == bool(model.configuration)
        if model.configuration:
            assert not read_config(model.configuration).model.semantic.enabled


def test_every_model_is_listed_with_what_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.HOME, str(tmp_path))
    downloaded = next(model for model in MODELS if model.url)
    folder = tmp_path / "models" / downloaded.name
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(1_234_567))
    ours = tmp_path / "nano.safetensors"
    ours.write_bytes(bytes(7_900_000))
    nano = KnownModel("nano", "for tests", "model", "panoptic_blend", "CC0", file=ours, score="PQ 80.0")
    console = Console(width=80, record=True, file=io.StringIO())
    list_models(console, (*MODELS, nano))
    text = console.export_text()
    for model in MODELS:
        assert f" {model.name} " in text
        assert model.score in text
    assert re.search(rf"{downloaded.name} .* 1\.2 MB", text)
    assert re.search(r"nano +for tests +PQ 80\.0 +\? +7\.9 MB", text)
    assert "CC0; from the package" in text
    (folder / "model.safetensors").rename(folder / "model.pth.part")
    console = Console(width=90, record=True, file=io.StringIO())
    list_models(console, MODELS)
    assert re.search(rf"{downloaded.name} .* 1\.2 MB so", console.export_text())
    assert f"Kept in {tmp_path}" in text
    assert all(len(line) <= 80 for line in text.splitlines() if str(tmp_path) not in line)
