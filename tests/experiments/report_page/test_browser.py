"""The page in headless Chromium: it draws, sorts, opens runs, changes its colours, and asks nothing of the network."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
expect = playwright.expect  # waits: what a click changes is not there at once
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: install chromium or google-chrome")
PATIENCE = 20_000
"""Milliseconds until what is expected counts as absent: a busy machine is slow."""
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 700}
Open = Any


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    expect.set_options(timeout=PATIENCE)
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
        page.set_default_timeout(PATIENCE)
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


def cells(page: Any, table: str, number: int) -> Any:
    """The cells of a column that are shown."""
    return page.locator(f"{table} tbody tr:visible > :nth-child({number})")


def column(page: Any, table: str, number: int) -> list[str]:
    """The texts of a column as they are shown, without spread. Does not wait: expect what came with them before."""
    texts = cells(page, table, number).all_inner_texts()
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
    marks = page.locator("#parameters-plot svg .mark")
    expect(marks).to_have_count(6)  # head has no score on cb, and so no mean
    expect(page.locator("#parameters-caption")).to_contain_text("Without a score there: head.")
    expect(page.locator(".plot.ranks svg .mark")).to_have_count(7)
    ranks = page.locator(".plot.ranks text[text-anchor=middle]")
    expect(ranks).to_have_text([str(rank) for rank in range(1, 8)])
    expect(page.locator("#omega-view td")).to_have_count(5 * 6)
    expect(page.locator("#transfer-view td.own")).to_have_count(3)
    page.select_option("#parameters-column", "rte")
    expect(marks).to_have_count(7)


def test_headings_sort(opened: Open, example: Path) -> None:
    page = opened(example)
    trained, cb = (page.locator(".scores th").nth(place) for place in (1, 5))
    trained.locator("button").click()
    expect(trained).to_have_attribute("aria-sort", "descending")
    down = ["2,663,424", "447,264", "11,520", "1,920", "30", "5", "0"]  # as numbers: as texts 447,264 would be first
    assert column(page, ".scores", 2) == down
    trained.locator("button").focus()
    page.keyboard.press("Enter")
    expect(trained).to_have_attribute("aria-sort", "ascending")
    assert column(page, ".scores", 2) == down[::-1]
    for direction in ("descending", "ascending"):
        cb.locator("button").click()
        expect(cb).to_have_attribute("aria-sort", direction)
        expect(trained).to_have_attribute("aria-sort", "none")
        *scores, last = column(page, ".scores", 6)
        assert last == "–"
        assert list(map(float, scores)) == sorted(map(float, scores), reverse=direction == "descending")


def test_differences_sort_through_zero(opened: Open, example: Path) -> None:
    page = opened(example)
    page.click(".pairs th:nth-child(3) button")
    expect(page.locator(".pairs th:nth-child(3)")).to_have_attribute("aria-sort", "descending")
    differences = [float(text.replace("−", "-")) for text in column(page, ".pairs", 3)]
    assert differences == sorted(differences, reverse=True) and differences[0] > 0 > differences[-1]


def test_names_sort_from_a(opened: Open, example: Path) -> None:
    page = opened(example)
    page.click(".scores th:first-child button")
    expect(page.locator(".scores th").first).to_have_attribute("aria-sort", "ascending")
    assert column(page, ".scores", 1)[:4] == ["adapter", "adapterfusion", "head", "scalearn"]


def test_a_score_tells_its_interval_and_its_runs(opened: Open, example: Path) -> None:
    page = opened(example)
    page.locator(".scores tbody tr", has=page.get_by_role("rowheader", name="scalearn", exact=True)).locator(
        ".score"
    ).nth(1).click()
    card = page.locator("#card")
    expect(card).to_be_visible()
    expect(card).to_contain_text("scalearn on rte")
    expect(card).to_contain_text("95 % interval")
    expect(card.locator("a")).to_have_text(["seed 0", "seed 1", "seed 2"])
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    page.locator(".score").first.focus()
    page.keyboard.press("Enter")
    card.locator("a").nth(1).click()
    expect(page.locator("#run .lead").first).to_contain_text("seed 1")
    expect(card).to_be_hidden()


def test_the_slider_goes_through_training(opened: Open, example: Path) -> None:
    page = opened(example)
    cell, slider = page.locator("#omega-view td").first, page.locator("#omega-view input[type=range]")
    step, note = page.locator("#omega-view output"), page.locator("#omega-view .note").first
    expect(step).to_contain_text("the model that was kept")
    kept, colour = cell.inner_text(), cell.evaluate("(cell) => getComputedStyle(cell).backgroundColor")
    slider.focus()
    page.keyboard.press("Home")
    expect(step).to_have_text("step 0")
    expect(cell).to_have_text("0.400")  # 2 / 5 sources
    assert kept != "0.400"
    expect(cell).not_to_have_css("background-color", colour)
    page.keyboard.press("ArrowRight")
    expect(step).to_have_text("step 16")
    expect(note).to_contain_text("about where omega started, 0.400")
    page.select_option("#omega-view select", "0")
    expect(note).to_contain_text("about 0")
    expect(note).not_to_contain_text("about where omega started")


def test_hints_have_the_numbers(opened: Open, example: Path) -> None:
    page = opened(example)
    hint = page.locator("#tip")
    page.locator("#omega-view td").nth(7).hover()
    expect(hint).to_have_text(re.compile(r"^qqp, layer 2\nomega 0\."), use_inner_text=True)
    page.locator("#parameters-plot g").first.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    expect(hint).to_contain_text("parameters")
    page.keyboard.press("Escape")
    expect(hint).to_be_hidden()


def test_methods_choose_their_heat_map(opened: Open, example: Path) -> None:
    page = opened(example)
    target = page.locator("#omega-choice").get_by_label("Target")
    target.select_option("cb")
    expect(page.locator("#omega-view tbody th")).to_have_text(["mnli", "qqp", "sst2", "cola", "rte", "cb"])
    page.locator("#omega-choice").get_by_label("Method").select_option("scalearn++")
    expect(page.locator("#omega-view thead th")).to_have_text(["source", "all 6 layers"])
    expect(target).to_have_value("cb")


def test_a_run_has_a_page_and_a_way_back(opened: Open, example: Path) -> None:
    page = opened(example)
    report, run, title = page.locator("#report"), page.locator("#run"), page.locator("#run h1")
    page.locator("#runs-table a", has_text="scalearn++").first.click()
    expect(title).to_have_text("scalearn++ on rte")
    expect(report).to_be_hidden()
    expect(page.locator("#run-title")).to_be_focused()
    for told in ("2.80", "rows right", "3.11.2", "e27a545", "learning rate"):
        expect(run).to_contain_text(told, use_inner_text=True)
    expect(run.locator(".plot svg polyline")).to_have_count(3)  # training and dev loss, dev score
    expect(run.locator(".links a")).to_have_text([f"{name} (done)" for name in ("mnli", "qqp", "sst2", "cola", "rte")])
    run.locator(".links a").first.click()
    expect(title).to_have_text("adapter on mnli")
    expect(run).to_contain_text("scalearn on mrpc seed 0", use_inner_text=True)
    page.go_back()
    expect(title).to_have_text("scalearn++ on rte")
    page.click("#back")
    expect(report).to_be_visible()
    expect(run).to_be_hidden()


def test_failed_and_open_runs_have_pages(opened: Open, example: Path) -> None:
    page = opened(example)
    failed, left = run_id(page, "run.state === 'failed'"), run_id(page, "run.state === 'open'")
    page = opened(example, at=f"#run/{failed}")
    expect(page.locator("#run")).to_contain_text("RuntimeError: out of memory")
    expect(page.locator("#run pre")).to_contain_text("<b>boom</b>")
    page = opened(example, at=f"#run/{left}")
    expect(page.locator("#run .lead").first).to_contain_text("to do")
    expect(page.locator("#run")).to_contain_text("learning rate")
    expect(opened(example, at="#run/nothing").locator("#run h1")).to_contain_text("No run nothing")


def test_runs_are_found(opened: Open, example: Path) -> None:
    page = opened(example)
    names, count = cells(page, "#runs-table", 1), page.locator("#runs-count")
    page.fill("#runs-find", "uniform++ mrpc seed 2")
    expect(names).to_have_text(["scalearn-uniform++"])
    expect(count).to_have_text("1 of 75 runs")
    page.fill("#runs-find", "")
    page.select_option("#runs-state", "failed")
    expect(names).to_have_text(["adapterfusion"])


def test_pairs_are_filtered(opened: Open, example: Path) -> None:
    page = opened(example)
    expect(cells(page, ".pairs", 1)).to_have_count(21)
    page.select_option(".pairs-with", "head")
    expect(cells(page, ".pairs", 1)).to_have_count(6)


def test_light_and_dark(opened: Open, example: Path) -> None:
    page = opened(example, color_scheme="dark")
    dark, light = ("background-color", "rgb(18, 22, 28)"), ("background-color", "rgb(255, 255, 255)")
    body = page.locator("body")
    expect(body).to_have_css(*dark)
    page.click("#theme")
    expect(body).to_have_css(*light)
    expect(page.locator("#theme")).to_have_attribute("aria-pressed", "false")
    page.reload()
    expect(body).to_have_css(*light)  # as it was left
    page.click("#theme")
    expect(body).to_have_css(*dark)
    expect(opened(example, color_scheme="light").locator("body")).to_have_css(*light)


def test_few_shot_curves_and_a_table_for_each_point(opened: Open, made: Any) -> None:
    fields = {"few_shot": {"k": [4, 16, 100]}, "methods": ["head", "adapter", "scalearn"], "seeds": 2}
    path = made({**fields, "tasks": ["rte", "cb"]})
    page = opened(path)
    expect(page.locator("#curves figure h3")).to_have_text(["mean of tasks", "rte", "cb"])
    expect(page.locator("#curves polyline")).to_have_count(9)
    scores = cells(page, ".scores", 3)
    expect(scores).to_have_count(3)
    first = scores.all_inner_texts()
    page.select_option("#board", "2")
    expect(scores).not_to_have_text(first, use_inner_text=True)
    expect(scores).to_have_count(3)
    page.locator("#curves-legend button", has_text="adapter").click()
    expect(page.locator("#curves polyline")).to_have_count(6)
    expect(page.locator("#parameters-plot .mark")).to_have_count(2)


def test_probes_are_shown_by_their_coefficient(opened: Open, made: Any) -> None:
    page = opened(made({"methods": [], "tasks": ["rte", "cb"], "probe": {"grid": [0, 1]}, "seeds": 1}))
    expect(page.locator("#probes-view tbody th")).to_have_text(["mnli", "qqp", "sst2", "cola", "rte"])
    shown = page.locator("#probes-view td")
    at_one = shown.all_inner_texts()
    assert at_one
    page.get_by_label("Coefficient").select_option("0")
    expect(shown).not_to_have_text(at_one, use_inner_text=True)
    expect(shown).to_have_count(len(at_one))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_tables_not_the_page(opened: Open, large: Path, scheme: str) -> None:
    page = opened(large, viewport=NARROW, color_scheme=scheme)
    assert overflow(page) == 0
    assert page.evaluate("document.querySelector('.scores').parentElement.scrollWidth") > 375
    run = run_id(page, "run.label === 'scalearn'")
    page = opened(large, viewport=NARROW, color_scheme=scheme, at=f"#run/{run}")
    expect(page.locator("#run .heat")).to_be_visible()
    assert overflow(page) == 0


def test_hostile_texts_do_nothing(opened: Open, made: Any) -> None:
    hostile = "</script><img src=x onerror=alert(1)>"
    methods = [{"name": "head", "label": hostile}, "scalearn", "adapter"]
    path = made({"tasks": ["rte", "cb"], "methods": methods, "seeds": 2}, change=lambda run: {"commit": hostile})
    page = opened(path)
    expect(page.locator(".scores")).to_contain_text(hostile)
    assert page.locator("img").count() == 0
    page.locator("#runs-table a", has_text="img").first.click()
    expect(page.locator("#run h1")).to_contain_text(hostile)
    assert page.locator("img").count() == 0
