"""What is learned: tasks from files, from published suites, and built in."""

from scalearn.kinds import Kind
from scalearn.tasks.catalogue import (
    SUITES,
    declared,
    export_task,
    load_task,
    only_in_folders,
    published_rows,
    task_names,
    unpublished_rows,
)
from scalearn.tasks.declarations import Declaration, Suite
from scalearn.tasks.fewshot import FewShotProtocol, few_shot
from scalearn.tasks.files import read_texts
from scalearn.tasks.reading import MissingDataError
from scalearn.tasks.task import Task

__all__ = [
    "SUITES",
    "Declaration",
    "FewShotProtocol",
    "Kind",
    "MissingDataError",
    "Suite",
    "Task",
    "declared",
    "export_task",
    "few_shot",
    "load_task",
    "only_in_folders",
    "published_rows",
    "read_texts",
    "task_names",
    "unpublished_rows",
]
