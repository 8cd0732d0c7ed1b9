"""The command line: each command is a thin call of one public function."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import warnings

import typer
from rich.console import Console

from scalearn.cli import (
    exchange,
    explain,
    grid,
    grow,
    joint,
    learn,
    plan,
    probe,
    push,
    registry,
    runs,
    serve,
    show,
    similarity,
    sources,
    tasks,
    use,
)
from scalearn.errors import InputError

_SPINS = "2000"
"""Turns of waiting: libgomp's default of 300,000 halves the speed beside one other process, and 0 takes a fifth of it
beside none (docs/experiments.md)."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Task transfer by learned scaling: frozen source adapters, a handful of coefficients per new task.",
    epilog="Start with `scalearn demo`: it needs neither data nor network.",
)
for command in (
    show.demo,
    learn.train,
    learn.transfer,
    grow.grow,
    joint.joint,
    use.evaluate,
    use.predict,
    use.fold,
    explain.explain,
    explain.prune,
    serve.serve,
    show.compare,
    probe.probe,
    plan.plan,
    grid.run,
    grid.report,
    runs.runs,
    similarity.similarity,
    tasks.tasks,
    registry.methods,
    registry.params,
    exchange.export,
    push.push,
):
    app.command()(command)
app.command("import")(exchange.import_adapters)
app.add_typer(tasks.data, name="data")
app.add_typer(sources.sources, name="sources")


def main() -> None:
    """Runs the command line.

    Exit codes: 0 done, 1 some runs of a recipe failed, 2 something given cannot be used, 130 stopped by the user.
    """
    _quieten()
    _let_others_compute()
    atexit.register(gc.freeze)  # else the interpreter, ending, looks through all that torch and transformers made
    try:
        app()
    except InputError as error:
        Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {_plain(error)}", soft_wrap=True)
        sys.exit(2)


def _plain(error: InputError) -> str:
    """The message in one line and its detail as it stands, with nothing that rich would take for markup."""
    message = " ".join(str(error).removesuffix(error.detail).split())
    return "\n".join(filter(None, (message, error.detail))).replace("[", r"\[")


def _let_others_compute() -> None:
    """A thread that waits for another sleeps after microseconds, not milliseconds, unless the user says otherwise.

    Where other processes use the cores too, a thread that spins takes the core that the one it waits for needs. OpenMP
    reads this when torch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def _quieten() -> None:
    """Silences what the libraries print while loading; the commands say what matters."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", module=r"torch\..*")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # which tells, where installed, what it lacks
