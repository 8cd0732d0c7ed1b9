"""The page in headless Chromium: it draws, sorts, opens runs, changes its colours, and asks nothing of the network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: install chromium or google-chrome")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 700}
Open = Any


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens a file; whatever the console or the network saw fails the test in the end."""
    faults: list[str] = []
    contexts: list[Any] = []

    def opened(path: Path, *, viewport: dict[str, int] = WIDE, at: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("request", lambda request: faults.append(request.url) if not _own(request.url, path) else None)
        page.goto(path.as_uri() + at)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def _own(url: str, path: Path) -> bool:
    return url.split("#")[0] == path.as_uri() or url.startswith("data:")


def column(page: Any, table: str, number: int) -> list[str]:
    """The texts of a column as they are shown, without spread."""
    texts = page.locator(f"{table} tbody tr:visible > :nth-child({number})").all_inner_texts()
    return [text.split(" ± ")[0].split(" se ")[0].split("\n")[0].strip() for text in texts]


def overflow(page: Any) -> int:
    width: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return width


def run_id(page: Any, condition: str) -> str:
    found: str = page.evaluate(
        f"JSON.parse(document.getElementById('data').textContent).runs.find((run) => {condition}).id"
    )
    return found


def test_every_figure_is_drawn(opened: Open, example: Path) -> None:
    page = opened(example)
    assert page.locator("#parameters-plot svg .mark").count() == 6  # head has no score on cb, and so no mean
    assert "Without a score there: head." in page.inner_text("#parameters-caption")
    assert page.locator(".plot.ranks svg .mark").count() == 7
    ranks = page.locator(".plot.ranks text[text-anchor=middle]")
    assert ranks.all_text_contents() == [str(rank) for rank in range(1, 8)]
    assert page.locator("#omega-view td").count() == 5 * 6
    assert page.locator("#transfer-view td.own").count() == 3
    page.select_option("#parameters-column", "rte")
    assert page.locator("#parameters-plot svg .mark").count() == 7


def test_headings_sort(opened: Open, example: Path) -> None:
    page = opened(example)
    trained, cb = (page.locator(".scores th").nth(place) for place in (1, 5))
    trained.locator("button").click()
    assert trained.get_attribute("aria-sort") == "descending"
    down = ["2,663,424", "447,264", "11,520", "1,920", "30", "5", "0"]  # as numbers: as texts 447,264 would be first
    assert column(page, ".scores", 2) == down
    trained.locator("button").focus()
    page.keyboard.press("Enter")
    assert trained.get_attribute("aria-sort") == "ascending"
    assert column(page, ".scores", 2) == down[::-1]
    for direction in ("descending", "ascending"):
        cb.locator("button").click()
        assert (cb.get_attribute("aria-sort"), trained.get_attribute("aria-sort")) == (direction, "none")
        *scores, last = column(page, ".scores", 6)
        assert last == "–"
        assert list(map(float, scores)) == sorted(map(float, scores), reverse=direction == "descending")


def test_differences_sort_through_zero(opened: Open, example: Path) -> None:
    page = opened(example)
    page.click(".pairs th:nth-child(3) button")
    differences = [float(text.replace("−", "-")) for text in column(page, ".pairs", 3)]
    assert differences == sorted(differences, reverse=True) and differences[0] > 0 > differences[-1]


def test_names_sort_from_a(opened: Open, example: Path) -> None:
    page = opened(example)
    page.click(".scores th:first-child button")
    assert column(page, ".scores", 1)[:4] == ["adapter", "adapterfusion", "head", "scalearn"]


def test_a_score_tells_its_interval_and_its_runs(opened: Open, example: Path) -> None:
    page = opened(example)
    page.locator(".scores tbody tr", has=page.get_by_role("rowheader", name="scalearn", exact=True)).locator(
        ".score"
    ).nth(1).click()
    card = page.locator("#card")
    assert "scalearn on rte" in card.inner_text() and "95 % interval" in card.inner_text()
    assert card.locator("a").all_inner_texts() == ["seed 0", "seed 1", "seed 2"]
    page.keyboard.press("Escape")
    assert not card.is_visible()
    page.locator(".score").first.focus()
    page.keyboard.press("Enter")
    card.locator("a").nth(1).click()
    assert "seed 1" in page.inner_text("#run .lead") and not card.is_visible()


def test_the_slider_goes_through_training(opened: Open, example: Path) -> None:
    page = opened(example)
    cell, slider = page.locator("#omega-view td").first, page.locator("#omega-view input[type=range]")
    assert "the model that was kept" in page.inner_text("#omega-view output")
    kept, colour = cell.inner_text(), cell.evaluate("(cell) => getComputedStyle(cell).backgroundColor")
    slider.focus()
    page.keyboard.press("Home")
    assert page.inner_text("#omega-view output") == "step 0"
    assert cell.inner_text() == "0.400" != kept  # 2 / 5 sources
    assert cell.evaluate("(cell) => getComputedStyle(cell).backgroundColor") != colour
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#omega-view output") == "step 16"
    assert "about where omega started, 0.400" in page.inner_text("#omega-view .note")
    page.select_option("#omega-view select", "0")
    assert "about 0" in page.inner_text("#omega-view .note")


def test_hints_have_the_numbers(opened: Open, example: Path) -> None:
    page = opened(example)
    page.locator("#omega-view td").nth(7).hover()
    assert page.inner_text("#tip").startswith("qqp, layer 2\nomega 0.")
    page.locator("#parameters-plot g").first.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert "parameters" in page.inner_text("#tip")
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()


def test_methods_choose_their_heat_map(opened: Open, example: Path) -> None:
    page = opened(example)
    target = page.locator("#omega-choice").get_by_label("Target")
    target.select_option("cb")
    assert page.locator("#omega-view tbody th").all_inner_texts() == ["mnli", "qqp", "sst2", "cola", "rte", "cb"]
    page.locator("#omega-choice").get_by_label("Method").select_option("scalearn++")
    assert page.locator("#omega-view thead th").all_inner_texts() == ["source", "all 6 layers"]
    assert target.input_value() == "cb"


def test_a_run_has_a_page_and_a_way_back(opened: Open, example: Path) -> None:
    page = opened(example)
    page.locator("#runs-table a", has_text="scalearn++").first.click()
    assert page.inner_text("#run h1") == "scalearn++ on rte"
    assert not page.locator("#report").is_visible()
    assert page.evaluate("document.activeElement.id") == "run-title"
    text = page.inner_text("#run")
    for told in ("2.80", "rows right", "3.11.2", "e27a545", "learning rate"):
        assert told in text
    assert page.locator("#run .plot svg polyline").count() == 3  # training and dev loss, dev score
    assert page.locator("#run .links a").all_inner_texts() == [
        f"{name} (done)" for name in ("mnli", "qqp", "sst2", "cola", "rte")
    ]
    page.locator("#run .links a").first.click()
    assert page.inner_text("#run h1") == "adapter on mnli"
    assert "scalearn on mrpc seed 0" in page.inner_text("#run")
    page.go_back()
    assert page.inner_text("#run h1") == "scalearn++ on rte"
    page.click("#back")
    assert page.locator("#report").is_visible() and not page.locator("#run").is_visible()


def test_failed_and_open_runs_have_pages(opened: Open, example: Path) -> None:
    page = opened(example)
    failed, left = run_id(page, "run.state === 'failed'"), run_id(page, "run.state === 'open'")
    page = opened(example, at=f"#run/{failed}")
    assert "RuntimeError: out of memory" in page.inner_text("#run")
    assert "<b>boom</b>" in page.inner_text("#run pre")
    page = opened(example, at=f"#run/{left}")
    assert "to do" in page.inner_text("#run .lead") and "learning rate" in page.inner_text("#run")
    assert "No run nothing" in opened(example, at="#run/nothing").inner_text("#run h1")


def test_runs_are_found(opened: Open, example: Path) -> None:
    page = opened(example)
    page.fill("#runs-find", "uniform++ mrpc seed 2")
    assert column(page, "#runs-table", 1) == ["scalearn-uniform++"]
    assert page.inner_text("#runs-count") == "1 of 75 runs"
    page.fill("#runs-find", "")
    page.select_option("#runs-state", "failed")
    assert column(page, "#runs-table", 1) == ["adapterfusion"]


def test_pairs_are_filtered(opened: Open, example: Path) -> None:
    page = opened(example)
    assert len(column(page, ".pairs", 1)) == 21
    page.select_option(".pairs-with", "head")
    assert len(column(page, ".pairs", 1)) == 6


def test_light_and_dark(opened: Open, example: Path) -> None:
    page = opened(example, color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(18, 22, 28)"
    page.click("#theme")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    assert page.get_attribute("#theme", "aria-pressed") == "false"
    page.reload()
    assert page.evaluate(background) == "rgb(255, 255, 255)"  # as it was left
    page.click("#theme")
    assert page.evaluate(background) == "rgb(18, 22, 28)"
    assert opened(example, color_scheme="light").evaluate(background) == "rgb(255, 255, 255)"


def test_few_shot_curves_and_a_table_for_each_point(opened: Open, made: Any) -> None:
    fields = {"few_shot": {"k": [4, 16, 100]}, "methods": ["head", "adapter", "scalearn"], "seeds": 2}
    path = made({**fields, "tasks": ["rte", "cb"]})
    page = opened(path)
    assert page.locator("#curves figure h3").all_inner_texts() == ["mean of tasks", "rte", "cb"]
    assert page.locator("#curves polyline").count() == 9
    first = column(page, ".scores", 3)
    page.select_option("#board", "2")
    assert column(page, ".scores", 3) != first and len(first) == 3
    page.locator("#curves-legend button", has_text="adapter").click()
    assert page.locator("#curves polyline").count() == 6
    assert page.locator("#parameters-plot .mark").count() == 2


def test_probes_are_shown_by_their_coefficient(opened: Open, made: Any) -> None:
    page = opened(made({"methods": [], "tasks": ["rte", "cb"], "probe": {"grid": [0, 1]}, "seeds": 1}))
    assert page.locator("#probes-view tbody th").all_inner_texts() == ["mnli", "qqp", "sst2", "cola", "rte"]
    at_one = page.locator("#probes-view td").all_inner_texts()
    page.get_by_label("Coefficient").select_option("0")
    assert page.locator("#probes-view td").all_inner_texts() != at_one


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_tables_not_the_page(opened: Open, large: Path, scheme: str) -> None:
    page = opened(large, viewport=NARROW, color_scheme=scheme)
    assert overflow(page) == 0
    assert page.evaluate("document.querySelector('.scores').parentElement.scrollWidth") > 375
    run = run_id(page, "run.label === 'scalearn'")
    page = opened(large, viewport=NARROW, color_scheme=scheme, at=f"#run/{run}")
    assert page.locator("#run .heat").is_visible() and overflow(page) == 0


def test_hostile_texts_do_nothing(opened: Open, made: Any) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    methods = [{"name": "head", "label": hostile}, "scalearn", "adapter"]
    path = made({"tasks": ["rte", "cb"], "methods": methods, "seeds": 2}, change=lambda run: {"commit": hostile})
    page = opened(path)
    assert page.locator("img").count() == 0
    assert hostile in page.inner_text(".scores")
    page.locator("#runs-table a", has_text="img").first.click()
    assert hostile in page.inner_text("#run h1") and page.locator("img").count() == 0
