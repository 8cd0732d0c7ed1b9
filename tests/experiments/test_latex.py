"""LaTeX that compiles: what stands in the cells, and that braces, rules and columns are in order."""

import re
from typing import Any

import pytest

from scalearn.experiments.latex import escaped, latex_document, latex_table
from scalearn.experiments.plan import Point
from scalearn.experiments.scoreboard import Board, Column, Line, Score


def score(mean: float | None, **fields: Any) -> Score:
    usual = {"by_seed": {}, "deviation": None, "interval": None, "standard_error": None, "best": False}
    return Score(mean=mean, **{**usual, "published": None, **fields})


def line(label: str, first: Score, second: Score, mean: Score) -> Line:
    return Line(
        label=label, trained=18_432, mean=mean, cells={("rte", "test"): first, ("mnli", "test_mismatched"): second}
    )


BOARD = Board(
    backbone="my_folder/50%",
    point=Point("train_fraction", 0.5),
    columns=(
        Column(task="rte", split="test", metric="accuracy"),
        Column(task="mnli", split="test_mismatched", metric="accuracy"),
    ),
    lines=(
        line("adapter, bottleneck 4 & {x}", score(60.04, deviation=1.26), score(None), score(70.0)),
        line("scalearn", score(82.0, best=True, deviation=0.5, published=82.06), score(71.0), score(75.0)),
    ),
    comparison=None,
)


def rows(table: str) -> list[str]:
    return [row for row in table.splitlines() if row.endswith(r"\\")]


def test_cells() -> None:
    table = latex_table(BOARD, stages={"scalearn": "transfer"})
    assert rows(table) == [
        r"Method & Trained & rte & mnli mismatched & Mean \\",
        r"adapter, bottleneck 4 \& \{x\} & 18,432 & 60.0$_{\pm 1.3}$ & -- & 70.0 \\",
        r"scalearn & 18,432 & \textbf{82.0}$_{\pm 0.5}$ & 71.0 & 75.0 \\",
        r"\quad paper &  & \textit{82.1} &  &  \\",
    ]
    assert r"my\_folder/50\%, train\_fraction = 0.5." in table
    assert "In italics: Frohmann" in table


def test_a_rule_stands_between_stages() -> None:
    assert latex_table(BOARD, stages={"scalearn": "transfer"}).count(r"\midrule") == 2
    assert latex_table(BOARD, stages={}).count(r"\midrule") == 1


def test_the_document_is_well_formed() -> None:
    text = latex_document([BOARD, BOARD], [BOARD], stages={"scalearn": "transfer"})
    assert text.startswith(r"\documentclass") and text.endswith("\\end{document}\n")
    assert text.count("In the paper's metrics.") == 1
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    bare = re.sub(r"\\[{}]", "", text)
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    assert all(len(re.findall(r"(?<!\\)&", row)) == 4 for row in rows(text))
    assert text.count(r"\begin{tabular}{lrrrr}") == 3
    order = re.findall(r"\\(toprule|midrule|bottomrule)", text)
    assert order == ["toprule", "midrule", "midrule", "bottomrule"] * 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b", r"a\_b"),
        ("50% & #1 $2 {x}", r"50\% \& \#1 \$2 \{x\}"),
        ("a\\b~c^d", r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d"),
        ("p < 0.05", r"p \textless{} 0.05"),
    ],
)
def test_specials_are_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected
