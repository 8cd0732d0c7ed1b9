"""Every task that has a name: the suites' and the built-in one."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from scalearn.errors import InputError
from scalearn.tasks.builtin import POLICY_CLAIMS, load_policy_claims
from scalearn.tasks.declarations import Declaration, Suite
from scalearn.tasks.glue import GLUE
from scalearn.tasks.humset import DISASTER, HUMSET
from scalearn.tasks.reading import export
from scalearn.tasks.splits import QUESTION
from scalearn.tasks.suites import load_from_suite
from scalearn.tasks.superglue import SUPERGLUE
from scalearn.tasks.task import Task

if TYPE_CHECKING:
    from datasets import Dataset

SUITES = (GLUE, SUPERGLUE, HUMSET, DISASTER)
_DECLARED = {declaration.name: (suite, declaration) for suite in SUITES for declaration in suite.tasks}
_FULL_NAMES = {suite.full_name(declaration): name for name, (suite, declaration) in _DECLARED.items()}


def task_names() -> tuple[str, ...]:
    """What `load_task` knows; a suite's task also by its full name, ``super_glue/copa``."""
    return (*_DECLARED, POLICY_CLAIMS)


def declared(name: str) -> Declaration:
    """The declaration of a suite's task.

    Raises:
        InputError: no suite has such a task.
    """
    return _find(name)[1]


def load_task(name: str, *, data: str | Path | None = None) -> Task:
    """Loads a task by name.

    Args:
        name: one of `task_names`, or a full name.
        data: a folder laid out like the Hub's parquet repositories, ``glue/rte/train-00000-of-00001.parquet``; without
            it, suites come from the Hub. The built-in task needs neither.

    Raises:
        InputError: there is no such task, or its data cannot be read.
    """
    if name == POLICY_CLAIMS:
        return load_policy_claims()
    suite, declaration = _find(name)
    return load_from_suite(suite, declaration, data=None if data is None else Path(data))


def only_in_folders(name: str) -> bool:
    """Whether a task can be read from a folder only: it is neither on the Hub nor shipped."""
    return name != POLICY_CLAIMS and _find(name)[0].repository is None


def published_rows(task: Task) -> dict[str, int]:
    """Rows of each published split that a whole task holds, by the suite's name of the split; of picks, questions.

    Raises:
        InputError: no suite has such a task.
    """
    declaration = declared(task.name)
    ours = {theirs: [ours] for ours, theirs in (("train", "train"), *declaration.tests)}
    if declaration.dev is None:
        ours["train"].append("dev")
    else:
        ours[declaration.dev] = ["dev"]

    def count(rows: Dataset) -> int:
        return len(set(rows[QUESTION][:])) if declaration.unit == "pick" else len(rows)

    return {theirs: sum(count(task.splits[split]) for split in splits) for theirs, splits in ours.items()}


def unpublished_rows(task: Task) -> dict[str, tuple[int, int]]:
    """The published splits of which a suite's task, whole, has another number of rows: here, and as published."""
    if task.name not in _DECLARED:
        return {}
    official = declared(task.name).rows
    return {split: (here, official[split]) for split, here in published_rows(task).items() if here != official[split]}


def export_task(name: str, out: str | Path, *, overwrite: bool = False) -> Path:
    """Writes a suite's task from the Hub as a folder for ``data``, to be used where there is no network.

    Args:
        name: one of `task_names`, or a full name.
        out: the folder to give as ``data`` later; the task gets one in it.
        overwrite: replace the task's folder.

    Returns:
        The task's folder; the tasks of HumSet share one.

    Raises:
        InputError: there is no such task on the Hub, it cannot be reached, or the folder exists.
    """
    return export(*_find(name), out=Path(out), overwrite=overwrite)


def _find(name: str) -> tuple[Suite, Declaration]:
    known = _FULL_NAMES.get(name, name)
    if known == POLICY_CLAIMS:
        raise InputError(f"{POLICY_CLAIMS} ships with the package: it is of no suite, and there is nothing to export")
    if known not in _DECLARED:
        close = difflib.get_close_matches(name, (*task_names(), *_FULL_NAMES), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(
            f"there is no task {name!r}; valid are {', '.join(task_names())}, or your own files "
            f"(--train-file, Task.from_files){hint}"
        )
    return _DECLARED[known]
