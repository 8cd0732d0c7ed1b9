"""Experiments: many runs, and what they show."""

from scalearn.experiments.compare import Row, Run, compare, markdown, summarise

__all__ = ["Row", "Run", "compare", "markdown", "summarise"]
