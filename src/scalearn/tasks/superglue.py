"""SuperGLUE (Wang et al., 2019), as declarations: the two small tasks of the paper's SuperGLUE experiments so far.

Metrics are the benchmark's own. COPA's premise is joined with the word that its question stands for, as published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scalearn.tasks.suites import Declaration, Suite

_CONNECTIVES = {"cause": " because", "effect": " so"}


def _copa(columns: Mapping[str, list[Any]]) -> Mapping[str, list[Any]]:
    """Premise + " because" or " so", to be paired with each choice."""
    pairs = zip(columns["premise"], columns["question"], strict=True)
    return {**columns, "premise": [premise + _CONNECTIVES[question] for premise, question in pairs]}


SUPERGLUE = Suite(
    repository="aps/super_glue",
    folder="super_glue",
    tasks=(
        Declaration(
            name="cb",
            text=("premise", "hypothesis"),
            labels=("entailment", "contradiction", "neutral"),
            metrics=("accuracy", "f1_macro"),
            stratified=False,
        ),
        Declaration(
            name="copa",
            kind="multiple-choice",
            text=("premise",),
            choices=("choice1", "choice2"),
            labels=("choice1", "choice2"),
            prepare=_copa,
            reads=("question",),
        ),
    ),
)
