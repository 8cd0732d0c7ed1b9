"""Losses of training in bf16 and in fp32 on a real task."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from benchmarks.measure import Setting
from benchmarks.results import Row, note, summary
from scalearn.methods import recipe_for
from scalearn.methods.base import changed
from scalearn.model import TransferModel
from scalearn.precision import Precision
from scalearn.shelf import Shelf
from scalearn.sources import BUILTIN
from scalearn.tasks import load_task
from scalearn.training.train import train

TASK = "cola"
SEEDS = 5
STEPS = 300
BATCH = 32
WINDOW = 20
"""Steps whose losses are averaged: one batch's loss says little."""
FORMATS: tuple[Precision, ...] = ("fp32", "bf16")
CURVES = "loss_curves.csv"


def loss_curves(setting: Setting) -> list[Row]:
    """ScaLearn over the seven other sources of the shelf that ships, 300 steps of CoLA with batches of 32 (rates of the
    library's defaults), through `scalearn.train`: five seeds in each format, a seed drawing the same batches in both.
    Losses of every step are in loss_curves.csv. Compared are means over windows of 20 steps: the largest difference
    between the formats' means over seeds, against the standard deviation among the seeds of fp32 (its mean over
    windows, and at the same place); and the largest difference between two runs of one seed.
    """
    if setting.data is None:
        return [note("loss_curves", "Not measured: give a folder of GLUE as parquet (`--data DIR`).")]
    curves: dict[tuple[Precision, int], list[float]] = {}
    runs = [(number_format, seed) for seed in range(SEEDS) for number_format in FORMATS]
    for number_format, seed in setting.track(runs, "loss_curves"):
        curves[number_format, seed] = losses(setting, number_format, seed)
    write_curves(setting.out / CURVES, curves)
    return compared(curves)


def losses(setting: Setting, number_format: Precision, seed: int) -> list[float]:
    """The training loss of every step of one run."""
    task = load_task(TASK, data=setting.data)
    task = replace(task, splits={split: task.splits[split] for split in ("train", "dev")})
    model = TransferModel.from_backbone(task=task, method="scalearn", sources=Shelf(BUILTIN).without([TASK]), seed=seed)
    changes = {"steps": STEPS, "evaluate_every": STEPS, "batch_size": BATCH}
    result = train(
        model.to(setting.device),
        recipe=changed(recipe_for(model.method), changes),
        seed=seed,
        precision=number_format,
        progress=False,
        callbacks=[_LogEveryStep()],
    )
    return [float(entry["loss"]) for entry in result.history if "loss" in entry]


class _LogEveryStep(TrainerCallback):
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> TrainerControl:
        control.should_log = True
        return control


def windows(curve: Sequence[float]) -> NDArray[np.float64]:
    """Means over windows of `WINDOW` steps."""
    whole = len(curve) // WINDOW * WINDOW
    means: NDArray[np.float64] = np.asarray(curve[:whole]).reshape(-1, WINDOW).mean(axis=1)
    return means


def compared(curves: Mapping[tuple[Precision, int], Sequence[float]]) -> list[Row]:
    """How the losses of the two formats differ, given those of every step by format and seed."""
    fp32, bf16 = (
        np.stack([windows(curve) for (own, _), curve in curves.items() if own == number_format])
        for number_format in FORMATS
    )  # (seeds, windows)
    apart = np.abs(fp32.mean(axis=0) - bf16.mean(axis=0))
    among = fp32.std(axis=0, ddof=1)
    worst = int(apart.argmax())
    figures = {
        "largest difference of means": apart[worst],
        "standard deviation among seeds, same place": among[worst],
        "standard deviation among seeds, mean": among.mean(),
        "largest difference within a seed": np.abs(fp32 - bf16).max(),
        "last window, fp32": fp32[:, -1].mean(),
        "last window, bf16": bf16[:, -1].mean(),
    }
    rows = [summary("loss_curves", name, [float(value)], "nats") for name, value in figures.items()]
    ratio = [float(apart[worst] / among.mean())]
    return [*rows, summary("loss_curves", "difference of means over deviation among seeds", ratio, "")]


def write_curves(path: Path, curves: Mapping[tuple[Precision, int], Sequence[float]]) -> None:
    """Writes the loss of every step of every run."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["format", "seed", "step", "loss"])
        for (number_format, seed), curve in curves.items():
            writer.writerows([number_format, seed, step, loss] for step, loss in enumerate(curve, start=1))


def read_curves(path: Path) -> dict[tuple[str, int], list[float]]:
    """What `write_curves` wrote."""
    curves: dict[tuple[str, int], list[float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for cells in csv.DictReader(file):
            curves.setdefault((cells["format"], int(cells["seed"])), []).append(float(cells["loss"]))
    return curves
