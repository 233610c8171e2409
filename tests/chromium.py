"""A browser, where there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def start_chromium(profile: Path):
    """Chromium without a window; it keeps what pages write to its console. A test without one is skipped.

    Args:
        profile: a folder of its own.
    """
    driver = pytest.importorskip("selenium.webdriver")
    binary, service = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or service is None:
        pytest.skip("needs chromium and chromedriver")
    options = driver.ChromeOptions()
    options.binary_location = binary
    for word in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update"):
        options.add_argument(f"--{word}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return driver.Chrome(options=options, service=driver.ChromeService(service))
