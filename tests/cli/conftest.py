"""What several commands are given."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from scalearn.tasks import Task


@pytest.fixture
def rows_of(task: Task, tmp_path: Path) -> Callable[..., Path]:
    """From names of splits of `task` to a CSV file of their rows, with the columns ``text`` and ``label``."""

    def write(*splits: str) -> Path:
        path = tmp_path / "reviews.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for data in map(task.splits.__getitem__, splits):
                writer.writerows((t, task.labels[y]) for t, y in zip(data["text_a"], data["label"], strict=True))
        return path

    return write


@pytest.fixture
def rows(rows_of: Callable[..., Path]) -> Path:
    """The training rows of `task` as a CSV file."""
    return rows_of("train")
