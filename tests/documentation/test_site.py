"""The site builds, and its generated pages hold all that they should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from panoptic_blend.cli import command_names
from panoptic_blend.config.names import setting_names

ROOT = Path(__file__).parents[2]


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The generated pages, by their functions."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    pytest.importorskip("nbformat")
    import site_pages.commands
    import site_pages.settings

    return site_pages


def test_every_setting_has_a_row_with_a_meaning(generated: ModuleType):
    found, section = [], ""
    for line in generated.settings.settings_page().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| `"):
            name, default, values, meaning = re.split(r"(?<!\\)\|", line.strip("|"))
            found.append(f"{section}.{name.strip().strip('`')}")
            assert default.strip(" `")
            assert values.strip()
            assert meaning.strip()
    assert sorted(found) == sorted(setting_names())


def test_bounds_are_said(generated: ModuleType):
    page = generated.settings.settings_page()
    assert "| `min_score` | `0.45` | number; in [0, 1] | instances below are dropped. |" in page


def test_every_command_has_a_section_and_settings_are_listed_once(generated: ModuleType):
    page = generated.commands.commands_page()
    assert re.findall(r"^## (.*)$", page, flags=re.MULTILINE) == list(command_names())
    assert "--trainer.max_steps MAX_STEPS" not in page


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link_and_asks_no_other_machine(tmp_path: Path):
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        loaded = re.findall(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"?([^\"\s>]+)", page.read_text("utf-8"))
        assert [each for each in loaded if re.match(r"(https?:)?//", each)] == [], page
