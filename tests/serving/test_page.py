"""The pages in headless Chromium: a task is found and asked, names stay text, and nothing is fetched from elsewhere."""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scalearn import MultiTaskPredictor
from scalearn.model import TransferModel
from scalearn.serving.app import Service
from scalearn.serving.server import listen, server
from scalearn.shelf import Shelf
from scalearn.tasks import Task

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
expect = playwright.expect  # waits: answers are fetched
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: install chromium or google-chrome")
PATIENCE = 20_000
"""Milliseconds until what is expected counts as absent: a busy machine is slow."""
EVIL = "<img src=x onerror=\"document.title='gotcha'\">"


@pytest.fixture(scope="module")
def address(
    runs: Path, build: Callable[..., TransferModel], tasks: dict[str, Task], shared_shelf: Shelf
) -> Iterator[str]:
    many = MultiTaskPredictor.from_folders([runs])
    many.add(build("scalearn-uniform", tasks["topics"], shared_shelf), EVIL)
    for number in range(120):
        many.add(runs / "reviews", f"more-{number}")
    listener = listen("127.0.0.1", 0)
    own = server(Service(many))
    thread = threading.Thread(target=own.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    own.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """A page whose console and network are watched: whatever is wrong there fails the last test."""
    expect.set_options(timeout=PATIENCE)
    faults: list[str] = []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request",
            lambda asked: faults.append(asked.url) if not asked.url.startswith((address, "data:")) else None,
        )
        yield page
        browser.close()
    assert faults == []


def test_a_pair_is_asked_and_answered(page: Any, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="pairs").click()
    expect(page.locator("label")).to_have_text(["premise", "claim"])
    page.get_by_label("premise").fill("the good film")
    page.get_by_label("claim").fill("it's bad")
    page.get_by_role("button", name="Answer").click()
    expect(page.locator("#answer strong")).to_have_text(re.compile("^(no|perhaps|yes)$"))
    expect(page.locator(".chance")).to_have_count(3)
    shown = page.locator(".chance span:last-child").all_inner_texts()
    assert sum(float(share.removesuffix(" %")) for share in shown) == pytest.approx(100, abs=0.2)
    page.set_viewport_size({"width": 320, "height": 600})
    page.wait_for_function("innerWidth === 320")
    widths = page.evaluate("[...document.querySelectorAll('meter')].map(bar => bar.getBoundingClientRect().width)")
    assert min(widths) >= 32, "on a telephone the bars are seen too"
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.locator("summary").click()
    expect(page.locator("#curl")).to_be_visible()
    expect(page.locator("#curl")).to_contain_text(""""rows":[["the good film","it'\\''s bad"]]""")


def test_long_lists_are_searched(page: Any, address: str) -> None:
    page.goto(address)
    expect(page.locator("#count")).to_have_text("124 tasks, the first 100 shown")
    page.get_by_label("Search tasks").fill("more-11")
    expect(page.locator("#count")).to_have_text("11 tasks")
    expect(page.locator("#list button")).to_have_count(11)


def test_a_name_stays_text(page: Any, address: str) -> None:
    page.goto(address)
    page.get_by_label("Search tasks").fill("onerror")
    expect(page.locator("#count")).to_have_text("1 task")
    page.locator("#list button").click()
    expect(page.locator("#name")).to_have_text(EVIL)
    page.get_by_label("text").fill("the good film")
    page.get_by_role("button", name="Answer").click()
    expect(page.locator("#answer strong")).to_be_visible()
    assert page.title() == "scalearn: tasks" and page.locator("img").count() == 0


def test_the_api_is_shown(page: Any, address: str) -> None:
    page.goto(f"{address}/docs")
    expect(page.get_by_role("heading", name="/predict/mixed")).to_be_visible()
    expect(page.locator("section").first).to_contain_text('"rows": [string or [string, …], …]')
    expect(page.locator("section")).to_have_count(5)
