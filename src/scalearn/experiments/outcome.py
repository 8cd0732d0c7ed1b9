"""What a run of a grid gave: a result, or why there is none. `scalearn.experiments.store` keeps both on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished run."""

    rows: Mapping[str, Mapping[str, int]]
    """Task to split to number of rows."""
    unpublished: Mapping[str, Mapping[str, list[int]]] = field(default_factory=dict)
    """Task to published split to its number of rows, here and as published, where they differ."""
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Task to split to scores of the best checkpoint, each metric with its bootstrap standard error."""
    main: Mapping[str, str]
    """Task to the metric to compare by."""
    parameters: Mapping[str, int]
    """`AdaptedModel.parameter_counts`."""
    sources: Sequence[str] = field(default_factory=list)
    """Under ``top_sources`` the names of those that were combined, the best first; else none, for all are."""
    best_step: int = 0
    """Of the checkpoint that was kept."""
    steps: int
    """Of training, before the end or the early stop."""
    seconds: float
    """Choosing among sources, training and evaluation, in all attempts, with whatever else the machine was doing."""
    attempts: int = 1
    """How often it was begun; more than 1 where it was interrupted."""
    tokens_per_second: float | None = None
    """Tokens without padding in the training steps of the last attempt; None where the backbone did not train along."""
    peak_memory: float = 0.0
    """The most resident memory of the process during the last attempt, GB."""
    gpu_memory: float = 0.0
    """The most memory allocated on the GPU during the last attempt, GB."""
    bytes: int = 0
    """Of the model's files."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Packages, and Python."""
    commit: str | None = None
    """The git commit of scalearn where it runs from a clone, with ``+`` where that was changed."""
    machine: Mapping[str, str | int | float] = field(default_factory=dict)
    """``platform``, ``processor``, ``cores``, ``threads``, ``memory`` (GB), ``gpu``."""
    finished: str = ""
    """When, ISO 8601, UTC."""
    model: str
    """Where its files are: a folder's name beside those of other runs. Without a model where only scores are kept."""

    def score(self, task: str, split: str = "test") -> float:
        """The main metric, in percent."""
        return 100 * self.metrics[task][split][self.main[task]]

    def standard_error(self, task: str, split: str = "test") -> float | None:
        """Of `score` by bootstrap, in percent; None if it was not computed."""
        error = self.metrics[task][split].get(f"{self.main[task]}_stderr")
        return None if error is None else 100 * error


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A run that ended in an error."""

    error: str
    """In one line."""
    traceback: str
