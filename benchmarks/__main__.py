"""`python -m benchmarks`: measures, and writes results.csv, plots and RESULTS.md."""

from __future__ import annotations

import gc
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks import plots, report, results
from benchmarks.facts import FACTS, device_name, facts
from benchmarks.measure import Setting
from benchmarks.sections.registry import SECTIONS
from scalearn.allocation import keep_freed_memory
from scalearn.experiments.machine import commit

CSV = "results.csv"


def main(
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
    rounds: Annotated[int, typer.Option(min=1, help="Of every section that measures time.")] = 9,
    only: Annotated[str, typer.Option(help=f"Of {', '.join(SECTIONS)}; all by default.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the results; what other sections left there stays.")] = Path(
        "benchmarks"
    ),
    data: Annotated[Path | None, typer.Option(help="A folder of GLUE as parquet, for loss_curves.")] = None,
    seed: Annotated[int, typer.Option(help="Of data, and of the order within rounds.")] = 0,
) -> None:
    """Measures speed side by side, and writes RESULTS.md."""
    chosen = [name.strip() for name in only.split(",") if name.strip()] or list(SECTIONS)
    if unknown := [name for name in chosen if name not in SECTIONS]:
        sys.exit(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    if device == "cpu":
        keep_freed_memory()  # as in training; the rivals gain by it too
    console = Console(stderr=True)
    setting = Setting(device=torch.device(device), rounds=rounds, seed=seed, data=data, out=out, console=console)
    told = {"device": device_name(setting.device), "commit": commit() or "", "date": date.today().isoformat()}
    results.put(out / CSV, FACTS, facts(setting.device), **told)
    for name in chosen:
        gc.collect()  # the models of the section before
        torch.manual_seed(seed)
        results.put(out / CSV, name, SECTIONS[name].run(setting), **told)
        rows = results.read(out / CSV)
        written = report.write(out, rows, plots.draw(out, rows))
        console.print(f"{name}: {written}")


if __name__ == "__main__":
    typer.run(main)
