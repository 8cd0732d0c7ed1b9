"""The house is built as CONTRIBUTING.md says: each room is in its table, and imports only from rooms above it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "scalearn"
TABLE = [
    re.findall(r"`([a-z]+)/?`", line.split("|")[1])
    for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]
FLOOR = {room: floor for floor, rooms in enumerate(TABLE) for room in rooms}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py"]


def imported(tree: ast.AST) -> Iterator[str]:
    """The rooms that a file imports from when it runs: not what stands under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "scalearn":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scalearn."):
            yield str(node.module).split(".")[1]
        yield from imported(node)


def test_the_table_has_every_room() -> None:
    assert set(FLOOR) == {room_of(file) for file in FILES}


def test_rooms_import_only_from_rooms_above() -> None:
    faults = [
        f"{file.relative_to(PACKAGE)} imports from {room}"
        for file in FILES
        for room in imported(ast.parse(file.read_text(encoding="utf-8")))
        if FLOOR[room] > FLOOR[room_of(file)]
    ]
    assert not faults


def test_an_import_inside_a_function_counts_and_one_for_types_alone_does_not() -> None:
    source = "if TYPE_CHECKING:\n    from scalearn.cli import x\ndef f():\n    from scalearn.model import y\n"
    assert list(imported(ast.parse(source))) == ["model"]
