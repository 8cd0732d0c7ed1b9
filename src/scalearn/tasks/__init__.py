"""What is learned: tasks from files, from published suites, and built in."""

from scalearn.kinds import Kind
from scalearn.tasks.catalogue import load_task, task_names
from scalearn.tasks.files import read_texts
from scalearn.tasks.task import Task

__all__ = ["Kind", "Task", "load_task", "read_texts", "task_names"]
