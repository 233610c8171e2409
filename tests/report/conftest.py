"""A browser, where there is one."""

from __future__ import annotations

import shutil

import pytest


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
    yield browser
    browser.quit()
