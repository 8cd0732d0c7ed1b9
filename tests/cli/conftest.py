"""What several commands are given."""

import csv
from pathlib import Path

import pytest

from scalearn.tasks import Task


@pytest.fixture
def rows(task: Task, tmp_path: Path) -> Path:
    """The training rows of `task` as a CSV file, with the columns ``text`` and ``label``."""
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        data = task.splits["train"]
        writer.writerows((t, task.labels[y]) for t, y in zip(data["text_a"], data["label"], strict=True))
    return path
