"""What is installed is told as it is, and nothing that is not a stranger's business."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from panoptic_blend.doctor.installation import describe_extras, describe_installation, find_extras

REQUIREMENTS = [
    "numpy>=1.26",
    'rich>=13; extra == "pretty"',
    "no-such-package[speed]>=2 ; extra == 'pretty'",
    'pillow; extra == "small"',
    'panoptic-blend[pretty,small]; extra == "all"',
    'numpy; extra == "all"',
    'pytest>=8; extra == "test"',
]


def test_extras_are_whole_or_told_how_to_get() -> None:
    found = {extra.name: extra for extra in find_extras(REQUIREMENTS)}
    assert found.keys() == {"pretty", "small", "all"}
    assert found["small"].here == {"pillow": metadata.version("pillow")}
    assert found["pretty"].missing == found["all"].missing == ["no-such-package"]
    assert found["all"].here.keys() == {"numpy", "rich", "pillow"}
    lines = describe_extras(REQUIREMENTS)
    assert f"small: pillow {metadata.version('pillow')}" in lines
    assert any("pretty: without no-such-package (pip install 'panoptic-blend[pretty]')" in line for line in lines)


def test_versions_are_told_and_secrets_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "ada"))
    monkeypatch.setenv("PANOPTIC_BLEND_HOME", str(tmp_path / "ada" / "models"))
    monkeypatch.setenv("PANOPTIC_BLEND_MIRROR", "https://ada:secret@mirror.example")
    monkeypatch.setenv("PANOPTIC_BLEND_TOKEN", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    text = "\n".join(describe_installation())
    assert f"numpy {metadata.version('numpy')}" in text
    assert f"PANOPTIC_BLEND_HOME={Path('~') / 'models'}" in text
    assert "PANOPTIC_BLEND_MIRROR is set" in text
    assert "secret" not in text
    assert "ada" not in text


def test_a_library_that_is_missing_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = metadata.version

    def without_torch(name: str) -> str:
        if name == "torch":
            raise metadata.PackageNotFoundError
        return installed(name)

    monkeypatch.setattr(metadata, "version", without_torch)
    assert "torch is missing, torchvision " in "\n".join(describe_installation())
