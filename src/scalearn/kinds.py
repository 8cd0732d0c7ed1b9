"""The kinds of task: what a label is, and so which loss and which metrics."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["classification", "regression", "multi-label", "multiple-choice"]
"""One of several classes; a number; any number of several classes; one of the choices that a row itself brings."""

KINDS: tuple[Kind, ...] = get_args(Kind)
