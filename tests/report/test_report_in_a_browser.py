"""The page of `report` as readers use it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from .scenes import CATEGORIES, HOSTILE, MEANING, make_scene, report, write_predictions, write_truth


def wait_until(holds: Callable[[], bool]) -> None:
    """Return as soon as something holds, which takes a moment."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_in_a_browser(truth, predictions, tmp_path, browser):
    from selenium.webdriver.support.ui import Select

    assert report(tmp_path / "page", truth, predictions) == 0
    browser.get((tmp_path / "page/index.html").as_uri())
    table = browser.find_element("css selector", "table.sortable")

    def names() -> list[str]:
        cells = table.find_elements("css selector", "tbody th")
        return [cell.text for cell in cells if cell.is_displayed()]

    assert names() == [HOSTILE, "grass"]
    quality = table.find_elements("css selector", "thead button")[2]
    quality.click()
    assert names() == ["grass", HOSTILE]
    assert quality.find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    quality.click()
    assert names() == [HOSTILE, "grass"]
    search = browser.find_element("css selector", "input[type=search]")
    search.send_keys("GRA")
    assert names() == ["grass"]

    assert len(browser.find_elements("css selector", ".card")) == 3
    error, wrong = map(Select, browser.find_elements("css selector", "#filters select"))
    error.select_by_visible_text("background")
    assert browser.find_element("id", "count").text == "2 of 3 pictures"
    error.select_by_visible_text("all")
    wrong.select_by_visible_text(HOSTILE)
    assert browser.find_element("id", "count").text == "2 of 3 pictures"
    browser.find_elements("css selector", ".card")[1].click()
    viewer = browser.find_element("id", "viewer")
    assert "score 0.60, background" in viewer.text
    assert len(viewer.find_elements("css selector", ".panel")) == 4
    viewer.send_keys("\ue00c")  # escape
    assert not viewer.is_displayed()
    assert browser.get_log("browser") == []


def test_a_place_in_a_picture_tells_its_segments(truth, predictions, tmp_path, browser):
    from selenium.webdriver import ActionChains

    better = write_predictions(tmp_path / "better", truth, CATEGORIES, [(make_scene(20), MEANING, 0.9)] * 3)
    assert report(tmp_path / "page", truth, predictions, better) == 0
    browser.get((tmp_path / "page/index.html").as_uri())
    browser.find_elements("css selector", ".card")[0].click()
    viewer, told = browser.find_element("id", "viewer"), browser.find_element("id", "picked")
    viewer.find_element("css selector", ".pick")  # they are loaded
    stacks = viewer.find_elements("css selector", ".stack")

    def press(panel: int, x: float, y: float) -> str:
        """Press a place (in pixels of the image) of a panel; what is told then."""
        image = stacks[panel].find_element("css selector", "img")
        width, height = image.size["width"], image.size["height"]
        scale = min(width / 160, height / 120)
        move = ActionChains(browser).move_to_element_with_offset(image, scale * (x - 80), scale * (y - 60))
        move.click().perform()
        return told.text

    def lit(panel: int, x: int, y: int) -> bool:
        """Whether a place of a panel is not in the shade."""
        script = "return arguments[0].getContext('2d').getImageData(arguments[1], arguments[2], 1, 1).data[3] == 0"
        return browser.execute_script(script, stacks[panel].find_element("css selector", "canvas"), x, y)

    assert press(0, 21, 21) == (
        f"A predicted: grass: IoU {16000 / 19200:.2f}, 17,600 pixels. "
        f"B predicted: {HOSTILE}: score 0.90, IoU 1.00, 1,600 pixels. "
        f"Truth: {HOSTILE}: A missed, B IoU 1.00, 1,600 pixels."
    )
    assert [lit(1, 10, 10), lit(1, 100, 40), lit(2, 21, 21), lit(2, 100, 100)] == [True, False, True, False]
    assert press(3, 158, 118).count("grass") == 3
    lines = viewer.find_elements("css selector", ".pick")
    assert [line.text for line in lines if line.get_attribute("aria-pressed") == "true"] == [
        line.text for line in lines if line.text.startswith("grass")
    ]
    # The same by keyboard: every segment is a button.
    wrong = next(line for line in lines if "background" in line.text)
    wrong.send_keys("\ue007")
    assert told.text == f"A predicted: {HOSTILE}: score 0.40, background, 1,600 pixels."
    assert [lit(1, 95, 25), lit(1, 10, 10), lit(2, 10, 10)] == [True, False, True]
    assert browser.get_log("browser") == []


def test_everything_is_reached_by_keyboard(truth, predictions, tmp_path, browser):
    from selenium.webdriver import ActionChains

    assert report(tmp_path / "page", truth, predictions) == 0
    browser.get((tmp_path / "page/index.html").as_uri())

    def keys(*each: str) -> None:
        for key in each:
            ActionChains(browser).send_keys(key).perform()

    def focused() -> str:
        script = "const e = document.activeElement; return e.className || e.id || e.textContent || e.tagName"
        return browser.execute_script(script)

    reached = set()
    for _ in range(80):
        keys("\ue004")  # tab
        reached.add(focused())
        ring = "return getComputedStyle(document.activeElement).outlineStyle"
        assert browser.execute_script(ring) != "none", focused()
        if focused() == "card":
            break
    assert {"sort", "scroll", "opacity", "card"} <= reached

    def titles() -> str:
        return browser.execute_script("return document.activeElement.querySelector('.text').firstChild.textContent")

    keys("\ue014")  # right
    assert titles() == "002.png"
    keys("\ue012", "\ue012")  # left, and there is nothing further left
    assert titles() == "001.png"
    keys("\ue007")  # enter
    viewer = browser.find_element("id", "viewer")
    assert viewer.is_displayed()
    assert focused() == "Next"
    keys("\ue007", "\ue007", "\ue007")  # there are three pictures
    assert viewer.find_element("css selector", "h3").text == "000.png"
    assert focused() == "Next"
    keys("\ue012")
    assert viewer.find_element("css selector", "h3").text == "002.png"
    viewer.find_element("css selector", ".pick")  # they are loaded
    for _ in range(12):
        keys("\ue004")
        if focused() == "pick wrong":
            break
    keys(" ")
    assert "background" in browser.find_element("id", "picked").text
    keys("\ue00c")  # escape
    assert not viewer.is_displayed()
    assert titles() == "001.png"  # where the reader came from

    table = browser.find_element("css selector", "table.sortable")
    table.find_elements("css selector", "thead button")[2].send_keys("\ue007")
    told = browser.find_element("css selector", "[role=status]")
    assert told.get_attribute("textContent") == "Sorted by PQ, descending"
    browser.find_element("css selector", "input[type=search]").send_keys("gra")
    assert told.get_attribute("textContent") == "1 of 2 rows"
    assert browser.get_log("browser") == []


def test_names_from_anywhere_stay_text_in_a_browser(tmp_path, browser):
    truth = write_truth(tmp_path / "data", "val", CATEGORIES, [(0, make_scene(20), MEANING)])
    name = f"{HOSTILE}\"'&.png"
    text = truth.read_text(encoding="utf-8")
    (tmp_path / "data/val/000.png").rename(tmp_path / "data/val" / name)
    truth.write_text(text.replace('"file_name": "000.png", "width"', f'"file_name": {json.dumps(name)}, "width"'))
    run = write_predictions(tmp_path / HOSTILE, truth, CATEGORIES, [(make_scene(90), MEANING, 0.9)])
    assert report(tmp_path / "page", truth, run) == 0
    browser.get((tmp_path / "page/index.html").as_uri())
    assert browser.title == f"Predictions: {HOSTILE}"
    browser.find_element("css selector", ".card").click()
    assert browser.find_element("css selector", "#viewer h3").text == name
    assert len(browser.find_elements("css selector", ".pick")) == 4
    assert browser.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    assert browser.get_log("browser") == []


def test_a_comparison_in_a_browser(truth, predictions, tmp_path, browser):
    from selenium.webdriver.support.ui import Select

    better = write_predictions(tmp_path / "better", truth, CATEGORIES, [(make_scene(20), MEANING, 0.9)] * 3)
    assert report(tmp_path / "page", truth, better, predictions) == 0
    browser.get((tmp_path / "page/index.html").as_uri())

    def titles() -> list[str]:
        return [card.text.splitlines()[-2] for card in browser.find_elements("css selector", ".card")]

    assert titles() == ["001.png", "002.png", "000.png"]
    _, _, flipped, order = map(Select, browser.find_elements("css selector", "#filters select"))
    order.select_by_visible_text("B gains most")
    assert titles() == ["000.png", "002.png", "001.png"]
    flipped.select_by_visible_text("A is better")
    assert titles() == ["002.png", "001.png"]
    detail = browser.find_element("css selector", "details")
    detail.find_element("css selector", "summary").click()
    assert "What is wrong with things" in detail.text
    assert browser.get_log("browser") == []


def test_little_is_there_until_it_is_asked_for(tmp_path, browser):
    scenes = [(seed, make_scene(20), MEANING) for seed in range(12)]
    truth = write_truth(tmp_path / "data", "val", CATEGORIES, scenes)
    runs = [
        write_predictions(tmp_path / name, truth, CATEGORIES, [(make_scene(25), MEANING, 0.9)] * 12) for name in "ab"
    ]
    assert report(tmp_path / "page", truth, *runs) == 0
    browser.get((tmp_path / "page/index.html").as_uri())

    def cards() -> int:
        return len(browser.find_elements("css selector", "#gallery > .card"))

    scripts = "return [...document.scripts].filter((script) => script.src.includes('pictures/')).length"
    assert cards() == 10  # of six panels each
    assert {image.get_attribute("loading") for image in browser.find_elements("css selector", ".card img")} == {"lazy"}
    assert browser.execute_script(scripts) == 0
    browser.find_element("id", "more").send_keys("\ue007")
    assert cards() == 12
    assert not browser.find_element("id", "more").is_displayed()
    place = "return [...document.querySelectorAll('.card')].indexOf(document.activeElement)"
    assert browser.execute_script(place) == 10
    browser.switch_to.active_element.send_keys("\ue007")
    assert len(browser.find_elements("css selector", ".pick")) == 6
    assert browser.execute_script(scripts) == 1
    assert browser.get_log("browser") == []
    for path in (tmp_path / "page/pictures").glob("*.js"):
        path.unlink()
    browser.find_element("xpath", "//dialog//button[text()='Previous']").click()
    wait_until(lambda: "is missing." in browser.find_element("id", "picked").text)
