"""The site builds without a complaint, holds every page and every public name, and fetches nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import scalearn


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=repository, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_public_names_are_in_the_reference(site: Path) -> None:
    page = (site / "reference.html").read_text(encoding="utf-8")
    for name in scalearn.__all__:
        value = getattr(scalearn, name)
        path = f"{value.__module__}.{value.__qualname__}"
        assert f'id="{path}"' in page, f"{name}: put ::: {path} into docs/reference.md"


def test_a_name_comes_with_its_fields_and_faults(site: Path) -> None:
    page = re.sub(r"<[^>]+>", "", (site / "reference.html").read_text(encoding="utf-8"))
    for words in ("Dropout on omega.", "from_backbone", "Raises:"):
        assert words in page


def test_nothing_is_fetched(site: Path) -> None:
    for page in site.rglob("*.html"):
        if "report/report.html" not in page.as_posix():
            text = page.read_text(encoding="utf-8")
            assert re.findall(r"<(?:script|img|iframe)[^>]* src=\"?https?:|<link[^>]* href=\"?https?:", text) == [], (
                page
            )


def test_pages_outside_docs_are_there(site: Path) -> None:
    assert "make demo" in (site / "index.html").read_text(encoding="utf-8")
    assert "Everything is a" in (site / "contributing.html").read_text(encoding="utf-8")
    assert (site / "benchmarks/plots/step.png").is_file() or (site / "repository/benchmarks/plots/step.png").is_file()
    assert (site / "report/report.html").stat().st_size > 100_000


def test_links_work_on_the_plain_view(page: str, repository: Path) -> None:
    """What the site rewrites is a file of the repository, beside the page."""
    text = re.sub(r"^ *```.*?^ *```", "", (repository / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    links = [link for link in re.findall(r"\]\(([^)\s#]+)[)#]", text) if not re.match(r"[a-z]+:", link)]
    assert [link for link in links if not (repository / page).parent.joinpath(link).exists()] == []


def test_no_page_is_missing_from_the_navigation(repository: Path) -> None:
    def uris(entry: object) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values() if isinstance(entry, dict) else entry:  # type: ignore[attr-defined]
                yield from uris(below)

    named = list(uris(yaml.safe_load((repository / "mkdocs.yml").read_text())["nav"]))
    docs = repository / "docs"
    assert len(named) == len(set(named))
    assert {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} - {"report/report.md"} <= set(named)
