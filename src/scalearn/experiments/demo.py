"""The demonstration: from the shelf that ships to the target that ships, offline, in minutes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scalearn.experiments.compare import Row, Run, compare, summarise
from scalearn.experiments.page import Example, write_page
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import BUILTIN
from scalearn.tasks import load_task

METHODS = ("head", "adapter", "scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++")
SEEDS = (0, 1, 2)
TASK = "policy-claims"
METRIC = "accuracy"
EXAMPLES = 10
CHANGES = {"epochs": 6}
"""Few epochs: the whole demonstration is to take minutes on two cores."""


def demo(out: Path, *, progress: bool = True, done: Callable[[Run], None] | None = None) -> list[Row]:
    """Trains six methods with three seeds on `policy-claims` and writes one page about it.

    Args:
        out: a folder for the runs and ``demo.html``; finished runs found there are not trained again.
        progress: show progress bars.
        done: called with every finished run.

    Returns:
        The table, a row per method.
    """
    task = load_task(TASK)
    shelf = Shelf(BUILTIN)
    runs = compare(
        task,
        methods=METHODS,
        seeds=SEEDS,
        sources=shelf,
        folder=out / "runs",
        changes=CHANGES,
        progress=progress,
        done=done,
    )
    rows = summarise(runs, main_metric=METRIC)
    first = next(run for run in runs if run.method == "scalearn")
    model = TransferModel.from_pretrained(out / "runs" / first.model)
    test = task.splits["test"].select(range(EXAMPLES))
    texts = list(zip(test["text_a"], test["text_b"], strict=True))
    examples = [
        Example(
            texts=dict(zip(task.text, pair, strict=True)),
            truth=task.labels[label],
            answer=str(prediction.label),
            probabilities=prediction.probabilities,
        )
        for pair, label, prediction in zip(texts, test["label"], model.predict(texts), strict=True)
    ]
    write_page(
        out / "demo.html",
        task=task,
        rows=rows,
        sources=list(shelf),
        omega=model.omega().mean(dim=-1).T.numpy(),
        starts=getattr(model.method, "starts", ()) or [2 / len(shelf)] * len(shelf),
        examples=examples,
        peak_memory=max(run.peak_memory for run in runs),
    )
    return rows
