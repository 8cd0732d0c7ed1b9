"""A training step and an answer against the number of sources kept: `python -m benchmarks.kept`.

MiniLM over 16 random sources, ScaLearn: whole, and pruned to fewer (`TransferModel.prune`); beside these the whole
model with ``keep=2`` in training, whose other sources are still computed. 16 rows of 64 tokens, float32. Every round
runs every case once, in an order of its own, and a factor is one of times of the same round. "Stack" is what the
sources take up; "peak" is the most that a step holds beyond model and batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks import models
from benchmarks.measure import Case, Setting, interleaved
from benchmarks.results import Row
from benchmarks.sections.memory import memory_of
from scalearn.methods import ScaLearn
from scalearn.model import TransferModel
from scalearn.precision import Precision

SOURCES = 16
KEPT = (8, 4, 2, 1)
SHAPE = (16, 64)
WHOLE = f"{SOURCES}, whole"
PRECISION: Precision = "fp32"
CPU = torch.device("cpu")

Make = Callable[[], TransferModel]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each case.")] = 9,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
) -> None:
    """Prints a Markdown table: medians over rounds, and in brackets the smallest and largest."""
    torch.set_num_threads(threads)
    setting = Setting(device=CPU, rounds=rounds, seed=0, out=Path())
    batch = models.tokens(*SHAPE, CPU)
    learning = {name: _with_attention(make(), training=True) for name, make in makers().items()}
    answering = {name: _with_attention(make(), training=False) for name, make in makers().items()}
    steps = _cases({name: models.training_step(model, batch, PRECISION) for name, model in learning.items()})
    answers = _cases({name: models.answers(model, batch, PRECISION) for name, model in answering.items()})
    rows = {"step": interleaved("step", steps, setting), "answer": interleaved("answer", answers, setting)}
    print("| sources | step, ms | of whole | answer, ms | of whole | peak of a step, MB | stack, MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for case in steps:
        peak, _ = memory_of(learning[case.name], case.run, CPU)
        cells = [cell for own in rows.values() for cell in _cells(own, case.name)]
        stack = stacked(learning[case.name]) / 1e6
        print(f"| {case.name} | {' | '.join(cells)} | {peak / 1e6:.1f} | {stack:.2f} |")


def makers() -> dict[str, Make]:
    """What is measured, by name."""

    def whole(keep: int | None = None) -> TransferModel:
        return models.ours(ScaLearn(keep=keep), CPU, count=SOURCES)

    def pruned(kept: int) -> TransferModel:
        return whole().prune(keep=kept)

    fewer: dict[str, Make] = {f"pruned to {kept}": partial(pruned, kept) for kept in KEPT}
    return {WHOLE: whole, **fewer, f"{SOURCES}, keep=2": partial(whole, 2)}


def stacked(model: TransferModel) -> int:
    """Bytes of the sources in a model."""
    return sum(b.numel() * b.element_size() for delta in model.deltas for b in delta.buffers(recurse=False))


def _with_attention(model: TransferModel, *, training: bool) -> TransferModel:
    models.use_attention(model, training=training, precision=PRECISION)
    return model


def _cases(runs: dict[str, Callable[[], object]]) -> list[Case]:
    return [Case(name=name, run=run, against=(WHOLE,)) for name, run in runs.items()]


def _cells(rows: Sequence[Row], name: str) -> list[str]:
    """The time of a case in ms, and its factor."""
    (time,) = (row for row in rows if row.case == name and row.unit == "s")
    factors = [row for row in rows if row.case == name and row.unit == "x"]
    shown = f"{1e3 * time.median:.0f} ({1e3 * time.minimum:.0f} to {1e3 * time.maximum:.0f})"
    return [shown, str(factors[0]) if factors else "1"]


if __name__ == "__main__":
    typer.run(main)
