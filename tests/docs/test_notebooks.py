"""The notebooks run, show what their stored outputs show, and their pages link to them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat import NotebookNode

QUICK = "first-transfer"
NAMES = (QUICK, "compare-methods", "serve-many-tasks")


@pytest.fixture(scope="module")
def run(repository: Path) -> ModuleType:
    """The script that runs notebooks and keeps what they show."""
    spec = importlib.util.spec_from_file_location("run", repository / "notebooks" / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(notebook: NotebookNode) -> Sequence[Sequence[str]]:
    """What each cell of code shows: printed lines, pictures."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[output.get("name") or ", ".join(sorted(output.data)) for output in cell.outputs] for cell in cells]


@pytest.mark.parametrize(
    "name", [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_it_runs_and_shows_what_is_stored(
    name: str, run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SCALEARN_PRECISION", raising=False)  # as users have it
    path = run.FOLDER / f"{name}.ipynb"
    stored = nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    assert shown(run.executed(path, tmp_path)) == shown(stored)
    assert run.pictures(stored)


def test_all_are_tested(run: ModuleType) -> None:
    assert {path.stem for path in run.FOLDER.glob("*.ipynb")} == set(NAMES)


def test_their_page_shows_the_stored_picture(run: ModuleType, repository: Path) -> None:
    stored = nbformat.read(run.FOLDER / f"{run.PICTURE.stem}.ipynb", as_version=4)
    assert run.pictures(stored)[0] == run.PICTURE.read_bytes()
    page = (repository / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert all(f"](../notebooks/{name}.ipynb)" in page for name in NAMES)
