"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 1) -> str:
    """A Markdown table, with a line end.

    Args:
        headings: one for each column.
        rows: cells.
        names: so many columns on the left hold names; the others hold numbers and stand to the right.
    """
    rules = ["---" if column < names else "---:" for column in range(len(headings))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (headings, rules, *rows))
