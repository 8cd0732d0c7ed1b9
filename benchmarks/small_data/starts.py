"""What each start of omega gives before a step is trained, and what the sources that are pruned away cost.

    python -m benchmarks.small_data.starts --data DIR --out runs/starts [--targets mrpc --draws 3 --rows 16 100 500]
    python -m benchmarks.small_data.starts --data DIR --out runs/starts --prune [--rows 100]

Rows and targets are those of the comparison (`benchmarks.small_data.grid`), by default the development targets. The
first fits a head in closed form to the frozen features under each start (`scalearn.training.head_start`) and scores it,
as the first evaluation of a run does. The second trains ScaLearn from the published start, prunes it to fewer and fewer
sources, those of the largest mean |omega|, and scores each model with the head as it was.

Results are kept in `--out`; the same command goes on where it stopped, and prints the table at the end.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.small_data.grid import drawn, shelf_for
from benchmarks.small_data.targets import DEVELOPMENT, EVERY
from scalearn.atomic import write_text
from scalearn.experiments.tables import markdown_table
from scalearn.methods import Probing, ScaLearn, recipe_for
from scalearn.methods.base import Method
from scalearn.methods.start import Init
from scalearn.model import TransferModel
from scalearn.tasks import Task
from scalearn.training import evaluate, train
from scalearn.training.head_start import start_linear

KEPT = (6, 4, 3, 2, 1)
STARTS: Mapping[str, Init | None] = {
    "no source": None,
    "mean": "mean",
    "paper": "paper",
    "rank": "rank",
    "best": "best",
    "auto": "auto",
}


def starts(task: Task, *, draw: int, names: Sequence[str]) -> dict[str, float]:
    """The score in points of each start, by name."""
    shelf = shelf_for(task)
    found = {}
    for name in names:
        init = STARTS[name]
        method: Method = Probing(omega=(0.0,) * len(shelf)) if init is None else ScaLearn(init=init)
        model = TransferModel.from_backbone(task=task, method=method, sources=shelf, seed=draw)
        rows = model.pooled_of(model.head, model.rows_of(task, "train"))
        labels = np.asarray(task.splits["train"]["label"][:])
        start_linear(model.head, np.stack([row["pooled"].numpy() for row in rows]), labels)
        found[name] = 100 * evaluate(model, "test")[task.main_metric]
    return found


def pruned(task: Task, *, draw: int) -> dict[str, float]:
    """The score in points of a trained model with so many of its sources, by number."""
    method = ScaLearn(init="paper")
    shelf = shelf_for(task)
    model = TransferModel.from_backbone(task=task, method=method, sources=shelf, seed=draw)
    recipe = recipe_for(method, "small", rows=len(task.splits["train"]), kind=task.kind)
    result = train(model, recipe=recipe, seed=draw, progress=False)
    found = {"all": 100 * result.metrics["test"][task.main_metric]}
    for keep in KEPT:
        found[str(keep)] = 100 * evaluate(model.prune(keep=keep), "test")[task.main_metric]
    return found


def main() -> None:
    """Measures what is missing, and prints the table: means over draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", default=DEVELOPMENT, choices=EVERY)
    parser.add_argument("--rows", nargs="+", type=int, default=(16, 100, 500))
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS), help="which; without --prune")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    columns = ["all", *map(str, KEPT)] if given.prune else given.starts
    cells: dict[tuple[str, int], list[dict[str, float]]] = {}
    for name, k, draw in itertools.product(given.targets, given.rows, range(given.draws)):
        path = given.out / f"{'pruned' if given.prune else 'starts'}-{name}-{k}-{draw}.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if missing := [column for column in columns if column not in found]:
            task = drawn(name, data=given.data, k=k, draw=draw)
            found |= pruned(task, draw=draw) if given.prune else starts(task, draw=draw, names=missing)
            write_text(path, json.dumps(found) + "\n")
            print(path.name, flush=True)
        cells.setdefault((name, k), []).append(found)
    table: list[tuple[Any, ...]] = [
        (name, str(k), *(f"{np.mean([one[column] for one in own]):.1f}" for column in columns))
        for (name, k), own in cells.items()
    ]
    for k in given.rows:
        every = [own for (_, rows), own in cells.items() if rows == k]
        means = [np.mean([np.mean([one[column] for one in own]) for own in every]) for column in columns]
        table.append(("**mean**", str(k), *(f"{mean:.1f}" for mean in means)))
    print(markdown_table(("target", "rows", *columns), table, names=1))


if __name__ == "__main__":
    main()
