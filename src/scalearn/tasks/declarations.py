"""What a task of a published suite is, as data: `Declaration`s in a `Suite`.

Adding a task is a declaration in the file of its suite and a row in its test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scalearn.kinds import Kind, Truncation
from scalearn.tasks.metrics import COMBINED
from scalearn.tasks.splits import Unit

Row = Mapping[str, Any]
"""Column name to cell."""


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A task of a suite."""

    name: str
    """What the task is called here."""
    config: str = ""
    """What it is called in its suite: the Hub's configuration and the folder's name; `name` if empty."""
    text: tuple[str, ...]
    """The one or two text columns, as `prepare` leaves them."""
    labels: tuple[str, ...] = ()
    """Names of classes or choices in the order of the suite's indices; none for regression and multi-label."""
    kind: Kind = "classification"
    """What a label is."""
    unit: Unit = "row"
    """What is scored: see `scalearn.tasks.splits`."""
    choices: tuple[str, ...] = ()
    """The columns of the choices, for multiple choice."""
    label: str = "label"
    """The label column; of a multi-label task it holds lists of names."""
    metrics: tuple[str, ...] = ("accuracy",)
    """As the benchmark defines them."""
    main: str = ""
    """The metric to choose and compare by; if empty, the only one, or the mean of several."""
    max_length: int = 128
    """Tokens kept of a row."""
    truncation: Truncation = "longest_first"
    """Which text is cut."""
    dev: str | None = None
    """The suite's name of the development split; None sets a tenth of train aside."""
    stratified: bool = True
    """Whether that tenth is drawn by class, where there are classes."""
    tests: tuple[tuple[str, str], ...] = (("test", "validation"),)
    """Our name and the suite's name of each test split."""
    prepare: Callable[[Row], Iterable[Row]] | None = None
    """From a published row to the rows of the task; None leaves rows as they are."""
    reads: tuple[str, ...] = ()
    """The columns that `prepare` reads."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Published rows of each split that is read."""
    version: int = 1
    """Counts the definitions of this task here: rows, texts or metrics changed with it."""

    @property
    def main_metric(self) -> str:
        """The metric to choose and compare by."""
        return self.main or (self.metrics[0] if len(self.metrics) == 1 else COMBINED)

    @property
    def published(self) -> tuple[str, ...]:
        """The suite's names of the splits that are read."""
        return ("train", *([self.dev] if self.dev else []), *(theirs for _, theirs in self.tests))

    @property
    def columns(self) -> tuple[str, ...]:
        """The published columns that are read."""
        return self.reads or (*self.text, *self.choices, self.label)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Tasks that are published together."""

    repository: str | None
    """Dataset repository on the Hub; None if it is not there."""
    revision: str | None = None
    """The commit of it that is read."""
    one_table: bool = False
    """Whether all tasks are columns of one data set, instead of a configuration and folder each."""
    files: str | None = None
    """Where a split's JSONL file is in the repository, for one that `datasets` cannot load by name."""
    folder: str
    """What the suite is called in a local folder, and before the slash of a task's full name."""
    tasks: tuple[Declaration, ...]
    """In the order in which tables show them."""

    def full_name(self, declaration: Declaration) -> str:
        """Suite and task, ``super_glue/copa``."""
        return f"{self.folder}/{declaration.config or declaration.name}"
