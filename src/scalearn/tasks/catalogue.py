"""Every task that has a name: the suites' and the built-in one."""

from __future__ import annotations

import difflib
from pathlib import Path

from scalearn.errors import InputError
from scalearn.tasks.builtin import POLICY_CLAIMS, load_policy_claims
from scalearn.tasks.glue import GLUE
from scalearn.tasks.humset import DISASTER, HUMSET
from scalearn.tasks.suites import load_from_suite
from scalearn.tasks.superglue import SUPERGLUE
from scalearn.tasks.task import Task

_SUITES = (GLUE, SUPERGLUE, HUMSET, DISASTER)
_DECLARED = {declaration.name: (suite, declaration) for suite in _SUITES for declaration in suite.tasks}


def task_names() -> tuple[str, ...]:
    """What `load_task` knows."""
    return (*_DECLARED, POLICY_CLAIMS)


def load_task(name: str, *, data: str | Path | None = None) -> Task:
    """Loads a task by name.

    Args:
        name: one of `task_names`.
        data: a folder laid out like the Hub's parquet repositories, ``glue/rte/train-00000-of-00001.parquet``; without
            it, suites come from the Hub. The built-in task needs neither.

    Raises:
        InputError: there is no such task, or its data cannot be read.
    """
    if name == POLICY_CLAIMS:
        return load_policy_claims()
    if name not in _DECLARED:
        close = difflib.get_close_matches(name, task_names(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(
            f"there is no task {name!r}; valid are {', '.join(task_names())}, or your own files "
            f"(--train-file, Task.from_files){hint}"
        )
    suite, declaration = _DECLARED[name]
    return load_from_suite(suite, declaration, data=None if data is None else Path(data))
