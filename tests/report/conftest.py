"""A browser, where there is one, and a small data set with predictions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .scenes import CATEGORIES, MEANING, make_scene, write_predictions, write_truth


@pytest.fixture
def browser(tmp_path):
    """Chromium without a window; it keeps what pages write to its console."""
    driver = pytest.importorskip("selenium.webdriver")
    binary, service = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or service is None:
        pytest.skip("needs chromium and chromedriver")
    options = driver.ChromeOptions()
    options.binary_location = binary
    for word in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update"):
        options.add_argument(f"--{word}")
    options.add_argument(f"--user-data-dir={tmp_path / 'browser'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = driver.Chrome(options=options, service=driver.ChromeService(service))
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
