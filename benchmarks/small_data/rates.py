"""Whether another learning rate would suit a method better on small data than the protocol's.

    python -m benchmarks.small_data.rates --data DIR --out runs/rates [--methods full lora] [--draws 1] [--rows 100]

Rows and targets are those of the comparison (`benchmarks.small_data.grid`), of the development targets alone; all but
the rate is the protocol for small data. ProPETL's masks have five times the rate, as published.

Runs are kept in `--out`; the same command goes on where it stopped, and prints the table at the end. A star marks the
protocol's rate.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.small_data.grid import drawn, shelf_for
from benchmarks.small_data.targets import DEVELOPMENT
from scalearn.backbones import load_backbone
from scalearn.experiments.kept import keep_run, key_of, place_of, read_run
from scalearn.experiments.tables import markdown_table
from scalearn.methods import changed, method_from_name, recipe_for, suited
from scalearn.model import TransferModel
from scalearn.tasks import Task
from scalearn.training import train

RATES: Mapping[str, tuple[float, ...]] = {
    "adapter": (1e-3, 3e-3, 1e-2),
    "compacter++": (3e-3, 1e-2, 3e-2),
    "propetl": (1e-3, 3e-3, 1e-2),
    "ia3": (5e-3, 2e-2, 6e-2),
    "lora": (3e-4, 1e-3, 3e-3),
    "full": (3e-5, 1e-4, 3e-4),
    "adapterfusion": (3e-4, 1e-3, 3e-3),
}
"""About the protocol's, each three times or a third of the next."""
MASKS = 5
"""Times the rate, for ProPETL's masks."""


def score(task: Task, name: str, rate: float, *, draw: int, folder: Path) -> float:
    """Of the test rows in points, trained now or found."""
    rows = len(task.splits["train"])
    method = suited(method_from_name(name), "small", rows=rows)
    recipe = recipe_for(method, "small", rows=rows, kind=task.kind)
    masks = {"mask_learning_rate": MASKS * rate} if recipe.mask_learning_rate is not None else {}
    recipe = changed(recipe, {"learning_rate": rate, **masks})
    backbone = load_backbone()
    shelf = shelf_for(task) if method.stage == "transfer" else None
    about = (backbone.name, backbone.fingerprint)
    cpu = torch.device("cpu")
    key = key_of(method, recipe, seed=draw, task=task.fingerprint(), backbone=about, sources=shelf or (), device=cpu)
    path = place_of(folder, key)
    if (kept := read_run(path)) is None:
        model = TransferModel.from_backbone(backbone, task=task, method=method, sources=shelf, seed=draw)
        metrics = train(model, recipe=recipe, seed=draw, progress=False).metrics
        kept = {"score": 100 * metrics["test"][task.main_metric]}
        keep_run(path, key, kept)
        print(f"{name} {rate:g} {task.name} draw {draw}: {kept['score']:.1f}", flush=True)
    return float(kept["score"])


def main() -> None:
    """Measures what is missing, and prints the table: means over draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=RATES, default=list(RATES))
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--draws", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, float], dict[str, list[float]]] = {}
    for method, draw, target in itertools.product(given.methods, range(given.draws), DEVELOPMENT):
        task = drawn(target, data=given.data, k=given.rows, draw=draw)
        for rate in RATES[method]:
            points = score(task, method, rate, draw=draw, folder=given.out)
            found.setdefault((method, rate), {}).setdefault(target, []).append(points)
    cells = []
    for (method, rate), by_target in found.items():
        usual = recipe_for(method_from_name(method), "small", rows=given.rows).learning_rate
        means = [statistics.fmean(by_target[target]) for target in DEVELOPMENT]
        star = " *" if rate == usual else ""
        cells.append([method, f"{rate:g}{star}", *(f"{mean:.1f}" for mean in (*means, statistics.fmean(means)))])
    print(f"\n{given.rows} rows, {given.draws} draws; points of the main metric\n")
    print(markdown_table(["method", "rate", *DEVELOPMENT, "mean"], cells, names=2))


if __name__ == "__main__":
    main()
