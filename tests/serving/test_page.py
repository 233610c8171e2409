"""The page in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic_blend.coco.segments_png import rgb_to_ids
from panoptic_blend.serving.answers import encode_map
from panoptic_blend.serving.page_files import page_files
from tests.serving.conftest import Site
from tests.serving.pictures import encode, pixels

THING = ".segments button[data-id='1']"


def test_the_page_needs_nothing_from_elsewhere():
    for path, (content, kind) in page_files().items():
        if not kind.startswith("image"):
            assert not re.search(rb"https?://|//cdn", content), path
    assert {"/", "/api", "/page/page.js", "/page/example-1.jpg"} <= set(page_files())


def test_every_file_is_served_as_what_it_is(site: Site):
    for path, (content, kind) in page_files().items():
        reply = site.ask("GET", path)
        assert (reply.status, reply.body, reply.headers["content-type"]) == (200, content, kind)


def wait_for(browser, condition: Callable[[], object]):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 60, poll_frequency=0.05).until(lambda _: condition())


def find(browser, selector: str):
    return browser.find_elements("css selector", selector)


def open_page(browser, site: Site, picture: Path | None = None):
    browser.get(f"http://127.0.0.1:{site.port}/")
    wait_for(browser, lambda: find(browser, ".pane"))
    if picture is not None:
        find(browser, "#file input")[0].send_keys(str(picture))
        settled(browser)


def settled(browser):
    """Every pane has its list, and no request runs."""
    panes = find(browser, ".pane")
    wait_for(browser, lambda: len(find(browser, ".segments:not(:empty)")) == len(panes) and not find(browser, ".busy"))


def move(browser, slider: str, value: float):
    """As a hand would, at once."""
    script = "const [id, value] = arguments, it = document.getElementById(id); it.value = value;"
    script += "it.dispatchEvent(new Event('input'));"
    browser.execute_script(script, slider, value)


def names(browser, pane: int = 0) -> list[str]:
    script = (
        "return [...document.querySelectorAll('.pane')[arguments[0]].querySelectorAll('.segments button')]"
        ".map(each => each.getAttribute('aria-label'))"
    )
    return browser.execute_script(script, pane)


def color_at(browser, x: int, y: int) -> list[int]:
    script = "return [...document.querySelector('.pane canvas').getContext('2d').getImageData(...arguments, 1, 1).data]"
    return browser.execute_script(script, x, y)


def no_complaints(browser):
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "a <b> view.png").write_bytes(encode(pixels(2, 90, 61)))
    return tmp_path / "a <b> view.png"


def test_a_picture_its_map_and_the_sliders(site: Site, browser, picture: Path):
    open_page(browser, site, picture)
    expected = site.ask("POST", "/predict", picture.read_bytes()).json
    segments = expected["segments_info"]
    for pane in (0, 1):
        said = sorted(f"{name}".split(",")[0] for name in names(browser, pane))
        assert said == sorted(segment["category"] for segment in segments)
    ids = rgb_to_ids(np.asarray(Image.open(io.BytesIO(base64.b64decode(expected["png"])))))
    find(browser, "#borders")[0].click()
    for segment in segments:
        y, x = np.argwhere(ids == segment["id"])[0].tolist()
        assert color_at(browser, x, y) == [*bytes.fromhex(segment["color"][1:]), 255]

    hidden = segments[0]
    find(browser, f"#classes input[name='{hidden['category']}']")[0].click()
    y, x = np.argwhere(ids == hidden["id"])[0].tolist()
    assert color_at(browser, x, y)[3] == 0
    find(browser, f"#classes input[name='{hidden['category']}']")[0].click()

    for minimum in np.linspace(0, 1, 21):  # faster than the server answers
        move(browser, "min_score", float(minimum))
    stuff = [segment for segment in segments if not segment["isthing"]]
    wait_for(browser, lambda: [len(names(browser, pane)) for pane in (0, 1)] == [len(stuff)] * 2)
    move(browser, "min_stuff_area", 300)
    wait_for(browser, lambda: not find(browser, ".segments button"))
    find(browser, "#reset")[0].click()
    wait_for(browser, lambda: len(names(browser, 0)) == len(segments))
    no_complaints(browser)


def test_what_is_pointed_at_is_named(site: Site, browser, picture: Path):
    from selenium.webdriver import ActionChains

    open_page(browser, site, picture)
    canvas = find(browser, ".pane canvas")[0]
    ActionChains(browser).move_to_element(canvas).perform()
    tip = wait_for(browser, lambda: find(browser, ".tip:not([hidden])"))[0]
    chosen = find(browser, ".segments .chosen")[0].get_attribute("aria-label")
    assert tip.text == chosen.replace(", ", " ", 1)
    ActionChains(browser).move_to_element(find(browser, "h1")[0]).perform()
    assert not find(browser, ".tip:not([hidden])")
    no_complaints(browser)


def test_by_keyboard_from_the_list_to_bases_and_attention(site: Site, browser, picture: Path):
    from selenium.webdriver import ActionChains, Keys

    open_page(browser, site, picture)
    find(browser, "h1")[0].click()
    for _ in range(60):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if browser.switch_to.active_element.get_attribute("data-id"):
            break
    assert browser.switch_to.active_element.get_attribute("class") == "chosen"
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    wait_for(browser, lambda: find(browser, "dialog[open]"))
    assert len(find(browser, "#bases img")) == 4
    assert len(find(browser, "#steps img")) == 3 * 4 + 1
    sizes = browser.execute_script("return [...document.querySelectorAll('dialog img')].map(it => it.naturalWidth)")
    assert all(sizes)
    assert "box" in find(browser, "#followed")[0].text or "ball" in find(browser, "#followed")[0].text
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not find(browser, "dialog[open]")
    no_complaints(browser)


def test_the_files_to_download_are_those_that_save_writes(site: Site, browser, picture: Path, tmp_path: Path):
    folder = tmp_path / "downloads"
    browser.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    open_page(browser, site, picture)
    expected = site.ask("POST", "/predict", picture.read_bytes()).json
    for kind in ("png", "json"):
        find(browser, f".pane a.{kind}")[0].click()
        wait_for(browser, lambda kind=kind: list(folder.glob(f"*.{kind}")))
    name = "a _b_ view"
    assert (folder / f"{name}.png").read_bytes() == base64.b64decode(expected["png"])
    rows = [{key: value for key, value in row.items() if key != "color"} for row in expected["segments_info"]]
    assert json.loads((folder / f"{name}.json").read_text()) == {"file_name": f"{name}.png", "segments_info": rows}


def test_a_picture_that_is_not_kept_any_more_is_sent_again(site: Site, browser, picture: Path):
    open_page(browser, site, picture)
    before = len(names(browser))
    site.service.kept.clear()
    move(browser, "min_score", 1)
    wait_for(browser, lambda: 0 < len(names(browser)) < before)


def test_what_is_no_picture_is_said(site: Site, browser, tmp_path: Path):
    (tmp_path / "notes.png").write_text("no picture")
    open_page(browser, site)
    find(browser, "#file input")[0].send_keys(str(tmp_path / "notes.png"))
    wait_for(browser, lambda: "no picture" in find(browser, "#status")[0].text)


def test_examples_on_a_phone(site: Site, browser):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    )
    open_page(browser, site)
    find(browser, "#examples button")[1].click()
    settled(browser)
    wide = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert browser.execute_script(wide) == [390, 390]
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert all(name.startswith((f"http://127.0.0.1:{site.port}/", "blob:", "data:")) for name in asked)
    no_complaints(browser)


def test_everything_has_a_name(site: Site, browser, picture: Path):
    open_page(browser, site, picture)
    find(browser, THING)[0].click()
    wait_for(browser, lambda: find(browser, "dialog[open]"))
    for inside in ("dialog", "main > :not(#token)"):
        if inside != "dialog":
            find(browser, "dialog button")[0].click()
        for each in find(browser, ", ".join(f"{inside} {kind}" for kind in ("button", "input", "a", "img", "canvas"))):
            assert each.accessible_name, each.get_attribute("outerHTML")


def test_a_token_is_asked_for(start_site: Callable[..., Site], browser, picture: Path):
    site = start_site(token="open-sesame")
    browser.get(f"http://127.0.0.1:{site.port}/")
    field = find(browser, "#token input")[0]
    wait_for(browser, field.is_displayed)
    field.send_keys("wrong")
    field.submit()
    wait_for(browser, lambda: "token" in find(browser, "#status")[0].text)
    field.clear()
    field.send_keys("open-sesame")
    field.submit()
    wait_for(browser, lambda: find(browser, ".pane"))
    assert not field.is_displayed()
    find(browser, "#file input")[0].send_keys(str(picture))
    settled(browser)


def test_any_map_is_decoded(site: Site, browser):
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(40), 3 * np.arange(50)).astype(np.int32)  # which PNG filters in several ways
    blocks = rng.integers(0, 256**3, (8, 10)).astype(np.int32).repeat(5, 0).repeat(5, 1)
    maps = [smooth, blocks, rng.integers(0, 256**3, (40, 50)).astype(np.int32), np.zeros((1, 1), np.int32)]
    browser.get(f"http://127.0.0.1:{site.port}/")
    script = (
        "const [png, done] = arguments;"
        "Promise.all([import('/page/idmap.js'), import('/page/server.js')])"
        ".then(([idmap, server]) => idmap.decodeIds(server.fromBase64(png))).then(map => done([...map.ids]));"
    )
    filters = set()
    for id_map in maps:
        png = encode_map(id_map)
        filters |= filters_of(png, id_map.shape)
        assert browser.execute_async_script(script, base64.b64encode(png).decode()) == id_map.ravel().tolist()
    assert len(filters) >= 4


def filters_of(png: bytes, shape: tuple[int, ...]) -> set[int]:
    """The filters of a PNG's rows."""
    import zlib

    start = png.index(b"IDAT")
    rows = zlib.decompressobj().decompress(png[start + 4 :])
    return {rows[row * (3 * shape[1] + 1)] for row in range(shape[0])}


def test_the_api_described(site: Site, browser):
    browser.get(f"http://127.0.0.1:{site.port}/api")
    wait_for(browser, lambda: len(find(browser, "#calls section")) > 8)
    text = find(browser, "#calls")[0].text
    for said in ("POST /predict", "min_score", "number, 0 to 1", "Retry-After", "segments_info", "list of SegmentRow"):
        assert said in text
    no_complaints(browser)
