"""Any text a user may have chosen, as Markdown that shows just that text and as code that means it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_SHOWN = 200
"""Characters of a name that are shown."""


def one_line(text: object) -> str:
    """The text without line breaks and characters that cannot be seen, cut after 200 characters."""
    seen = " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())
    return seen if len(seen) <= _SHOWN else f"{seen[: _SHOWN - 1]}…"


def markdown(text: object) -> str:
    """The text within a paragraph, a heading or a table, where none of it is markup, HTML or a link."""
    return re.sub(r"([\\`*_\[\]<>|~&$@:]|(?<=www)\.)", r"\\\1", one_line(text), flags=re.IGNORECASE)


def code(text: object) -> str:
    """The text in one line as a span of code, within a paragraph."""
    line = one_line(text)
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    gap = " " if line[:1] in ("", "`") or line[-1:] == "`" else ""
    return f"{ticks}{gap}{line}{gap}{ticks}"


def block(language: str, lines: list[str]) -> str:
    """Lines of code behind a fence that none of them can close."""
    text = "\n".join(lines)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def literal(text: str) -> str:
    """A string as Python writes it, in double quotes as formatters have it."""
    return json.dumps(text, ensure_ascii=False)
