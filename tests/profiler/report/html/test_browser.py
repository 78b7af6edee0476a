"""The pages in a real browser: they draw, they load nothing, they answer to mouse and keys, hostile text stays text."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profiler.report.html.experiment_page import experiment_page
from profiler.report.html.run_page import run_page
from tests.profiler.report.html.made_experiment import made_experiment
from tests.profiler.report.html.made_run import HOSTILE, made_page

sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
for package in ("altair", "jinja2", "vl_convert"):
    pytest.importorskip(package)

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
ALL_DRAWN = "document.querySelectorAll('.plot svg').length === document.querySelectorAll('.plot').length"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    pages = {
        "run": run_page(made_page(text=HOSTILE, dispatches=True)),
        "experiment": experiment_page(made_experiment(HOSTILE), (), "runs/made"),
    }
    for name, text in pages.items():
        folder.joinpath(f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


class Opened:
    """A page that is open, with what it said and what it asked for."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_function(ALL_DRAWN)


@pytest.fixture
def opened(browser: Any, files: dict[str, Path]) -> Iterator[Any]:
    made: list[Opened] = []

    def open_page(name: str, **context: Any) -> Opened:
        made.append(Opened(browser, files[name], **context))
        return made[-1]

    yield open_page
    for one in made:
        one.context.close()


@pytest.mark.parametrize(
    ("name", "charts"),
    [("run", ["timeline", "cache-map", "causes", "residency"]), ("experiment", ["effects", "task-map", "points"])],
)
def test_every_chart_is_drawn_and_nothing_is_asked_for(
    opened: Any, files: dict[str, Path], name: str, charts: list[str]
) -> None:
    one = opened(name)
    assert [element.get_attribute("id") for element in one.page.locator(".chart").all()] == charts
    for chart in charts:
        assert one.page.locator(f"#{chart} .plot svg path").count() > 3
    assert one.said == []
    assert one.asked == [files[name].as_uri()]


@pytest.mark.parametrize("name", ["run", "experiment"])
def test_hostile_text_is_shown_and_does_nothing(opened: Any, name: str) -> None:
    one = opened(name)
    assert one.page.evaluate("window.broken") is None
    assert "<script>window.broken = 1</script>" in one.page.content().replace("&lt;", "<").replace("&gt;", ">")
    assert one.page.locator("img").count() == 0


def test_a_click_shows_the_difference_of_the_prompts(opened: Any) -> None:
    one = opened("run")
    panel = one.page.locator("#difference")
    assert panel.locator("article").count() == 0
    one.page.locator("#cache-map .mark-rect path[fill='var(--p1)']").first.click()
    one.page.wait_for_selector("#difference article", timeout=5_000)
    assert "The system prompt holds a time that changes." in panel.inner_text()
    before, now = (panel.locator(side).first.inner_text() for side in ("del", "ins"))
    assert HOSTILE[:30] in before
    assert before != now
    panel.get_by_role("button", name="Next loss").click()
    assert panel.locator("article").count() == 1


def test_the_keys_do_what_the_mouse_does(opened: Any) -> None:
    page = opened("run").page
    page.locator("#cache-map .plot").focus()
    for _ in range(14):
        page.keyboard.press("ArrowRight")
    assert page.locator("#cache-map-at").inner_text().startswith("request 14, session 1/main, turn 2: partial")
    page.keyboard.press("Enter")
    assert "Request 14" in page.locator("#difference").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#difference").inner_text().strip() == ""
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert "Request 1 lost nothing" in page.locator("#difference").inner_text()


def test_another_session_can_be_chosen(opened: Any) -> None:
    page = opened("run").page
    before = page.locator("#timeline .plot").inner_html()
    page.get_by_label("Show").select_option(label="session 2")
    page.wait_for_function("text => document.querySelector('#timeline .plot').innerHTML !== text", arg=before)
    assert "slot 2" in page.locator("#timeline .plot").inner_text()


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<svg"), ("png", b"\x89PNG")])
def test_a_chart_is_saved(opened: Any, form: str, begins: bytes) -> None:
    one = opened("run", accept_downloads=True)
    with one.page.expect_download() as download:
        one.page.locator(f"#causes [data-save={form}]").click()
    assert download.value.suggested_filename == f"causes.{form}"
    saved = Path(download.value.path()).read_bytes()
    assert saved.startswith(begins)
    assert b"var(--" not in saved
    assert one.said == []


def test_a_phone_and_the_dark_scheme(opened: Any) -> None:
    one = opened("run", viewport={"width": 390, "height": 844}, color_scheme="dark")
    assert one.page.evaluate("document.documentElement.scrollWidth") == 390
    assert one.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
    one.page.emulate_media(color_scheme="light")
    assert one.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    one.page.emulate_media(media="print", color_scheme="dark")
    assert one.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not one.page.locator("#timeline .tools").is_visible()
    assert one.said == []
