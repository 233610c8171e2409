"""A browser, where there is one, and a small data set with predictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chromium import start_chromium

from .scenes import CATEGORIES, MEANING, make_scene, write_predictions, write_truth


@pytest.fixture
def browser(tmp_path):
    """Chromium, of a test's own."""
    browser = start_chromium(tmp_path / "browser")
    browser.implicitly_wait(20)  # for what a script adds later, on a busy machine too
    yield browser
    browser.quit()


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Three pictures with a thing each."""
    return write_truth(tmp_path / "data", "val", CATEGORIES, [(seed, make_scene(20), MEANING) for seed in range(3)])


@pytest.fixture
def predictions(tmp_path: Path, truth: Path) -> Path:
    """The first is right, the second misses, the third has an extra thing."""
    maps = [(make_scene(20), MEANING, 0.9), (make_scene(90), MEANING, 0.4), (make_scene(22, extra=True), MEANING, 0.6)]
    return write_predictions(tmp_path / "run", truth, CATEGORIES, maps)
