"""The kinds of task: what a label is, and so which loss and which metrics; and how its texts are cut."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["classification", "regression", "multi-label", "multiple-choice"]
"""One of several classes; a number; any number of several classes; one of the choices that a row itself brings."""

Truncation = Literal["longest_first", "only_first"]
"""What is cut of a pair that is too long: its longer text, token by token, or its first one only."""

KINDS: tuple[Kind, ...] = get_args(Kind)
