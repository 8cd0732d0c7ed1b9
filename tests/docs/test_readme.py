"""The README's quick start, run as it stands: minutes of training on the packaged weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_the_commands_and_the_python(pages: Mapping[str, Sequence[Any]], reader: Any) -> None:
    start, *blocks = [block for block in pages["README.md"] if block.said == "tests/docs/test_readme.py"]
    assert "make demo" in start.body and [block.language for block in blocks] == ["", "", "python"]
    output = reader.read(blocks)
    for expected in ("label,contradicted,not stated,supported", "saved in runs/claims", "fits minilm"):
        assert expected in output
    size = sum(path.stat().st_size for path in Path("runs/claims").rglob("*"))
    assert size < 2**20
    assert Path("runs/claims-python/scalearn.json").is_file()


@pytest.mark.slow
def test_the_demo(repository: Path, reader: Any) -> None:
    (command,) = [line for line in (repository / "Makefile").read_text().splitlines() if "scalearn demo" in line]
    assert command.split() == ["$(BIN)/scalearn", "demo", "--out", "demo"]
    output = reader.here("scalearn demo --quiet --out demo")
    page = Path("demo/demo.html").read_text(encoding="utf-8")
    for method in ("head", "adapter", "scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++"):
        assert method in output and f"<td>{method}</td>" in page
