"""What the pages count is what there is: every method and every recipe, with current figures."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from scalearn.methods import REGISTRY


@pytest.fixture(scope="module")
def counted(repository: Path) -> ModuleType:
    """The script that writes the figures."""
    spec = importlib.util.spec_from_file_location("counted", repository / "docs" / "hooks" / "counted.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def marks(counted: ModuleType) -> list[tuple[str, str, str]]:
    """Page, part and argument of every place; arguments with a comma between are several."""
    found = [
        (page.name, mark) for page in counted.DOCS.glob("*.md") for mark in counted.MARK.finditer(page.read_text())
    ]
    return [(page, mark[2], argument) for page, mark in found for argument in mark[3].split(",")]


def test_no_page_is_stale(counted: ModuleType) -> None:
    for page in counted.DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert counted.written(text) == text, f"{page.name}: run docs/hooks/counted.py"


def test_every_method_has_its_place_on_the_page_of_its_stage(counted: ModuleType) -> None:
    expected = {(f"methods-{entry.method.stage}.md", "method", name) for name, entry in REGISTRY.items()}
    assert {mark for mark in marks(counted) if mark[1] == "method"} == expected
    assert {argument for _, part, argument in marks(counted) if part == "methods"} == {"single", "transfer", "joint"}


def test_every_recipe_has_a_place(counted: ModuleType) -> None:
    names = {path.stem.removesuffix("-mini") for path in counted.RECIPES.glob("*.yaml")}
    assert {argument for page, part, argument in marks(counted) if part == "recipe"} == names


def test_the_tables_link_to_sections(counted: ModuleType) -> None:
    links = re.findall(r"\]\((methods-\w+\.md)#([\w-]+)\)", (counted.DOCS / "methods.md").read_text())
    assert len(links) == len(REGISTRY)
    for page, section in links:
        headings = re.findall(r"^## (.+)$", (counted.DOCS / page).read_text(), flags=re.M)
        assert section in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
