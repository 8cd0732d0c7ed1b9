"""Boards as LaTeX in the paper's layout: a row for each method, a column for each task, the mean last.

The document compiles by itself with booktabs and graphicx; each table in it can be copied into another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scalearn.experiments.scoreboard import Board, Line, Score
from scalearn.experiments.tables import board_title

_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
}
_HEAD = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[a4paper,landscape,margin=1.5cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
"""
_CAPTION = (
    "Percent on the test rows, mean and standard deviation over seeds. Bold: significantly above every other method of "
    "its column (Holm-corrected, 0.05)."
)
_PAPER = " In italics: Frohmann et al. (2024)."


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def latex_document(boards: Sequence[Board], papers: Sequence[Board], *, stages: Mapping[str, str]) -> str:
    """A document with a table for each board.

    Args:
        boards: to print.
        papers: to print too, in the paper's metrics.
        stages: method, by its label, to its stage; a rule stands between stages.
    """
    tables = [latex_table(board, stages=stages) for board in boards]
    tables += [latex_table(board, stages=stages, note=" In the paper's metrics.") for board in papers]
    return _HEAD + "\n".join(tables) + "\\end{document}\n"


def latex_table(board: Board, *, stages: Mapping[str, str], note: str = "") -> str:
    """One table, with a note in its caption; see `latex_document`."""
    headings = ["Method", "Trained", *(column.heading for column in board.columns), "Mean"]
    rows = [" & ".join(map(escaped, headings)) + r" \\", r"\midrule"]
    published = False
    for before, line in zip((None, *board.lines), board.lines, strict=False):
        if before is not None and stages.get(before.label) != stages.get(line.label):
            rows.append(r"\midrule")
        scores = [*(line.cells[column.task, column.split] for column in board.columns), line.mean]
        rows.append(" & ".join([*_first(line), *map(_cell, scores)]) + r" \\")
        if any(score.published is not None for score in scores):
            published = True
            rows.append(" & ".join([r"\quad paper", "", *map(_paper, scores)]) + r" \\")
    caption = escaped(f"{board_title(board)}.{note} {_CAPTION}{_PAPER if published else ''}")
    parts = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"\toprule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(parts) + "\n"


def _first(line: Line) -> list[str]:
    return [escaped(line.label), "--" if line.trained is None else f"{line.trained:,}"]


def _cell(score: Score) -> str:
    if score.mean is None:
        return "--"
    mean = rf"\textbf{{{score.mean:.1f}}}" if score.best else f"{score.mean:.1f}"
    return mean if score.deviation is None else rf"{mean}$_{{\pm {score.deviation:.1f}}}$"


def _paper(score: Score) -> str:
    return "" if score.published is None else rf"\textit{{{score.published:.1f}}}"
