"""When a run is done already: everything that can change its result, as its key, and small results kept under that.

A run of a grid has a folder of its own (`scalearn.experiments.store`); one of `compare` or `probe` is a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from scalearn.experiments.sealed import digest, seal, unseal
from scalearn.methods import Method, Optimisation
from scalearn.precision import resolve
from scalearn.sources import Source


def key_of(
    method: Method,
    recipe: Optimisation,
    *,
    seed: int,
    task: str | Sequence[str],
    backbone: tuple[str, str],
    sources: Iterable[Source] = (),
    device: torch.device,
) -> dict[str, Any]:
    """Everything that can change the result of a training run.

    Args:
        method: with its options.
        recipe: hyper-parameters.
        seed: of initialisation, batches and dropout.
        task: its fingerprint with the rows that are seen; of a joint method, those of all tasks.
        backbone: its name and fingerprint.
        sources: those combined, in order.
        device: that computes.
    """
    return {
        "method": [method.name, method.model_dump(mode="json")],
        "recipe": recipe.model_dump(mode="json"),
        "seed": seed,
        "task": task,
        "backbone": list(backbone),
        "sources": [source.digest() for source in sources],
        "device": device.type,
        "precision": resolve("auto", device),
        "version": metadata.version("scalearn"),
    }


def place_of(folder: Path, key: Mapping[str, Any]) -> Path:
    """Where a run stands: a file named by the hash of everything that makes it this run."""
    return folder / f"{digest(key)[:16]}.json"


def read_run(path: Path) -> dict[str, Any] | None:
    """The run that was kept here; None if there is none.

    Raises:
        DamagedError: it was cut short or changed.
    """
    if not path.exists():
        return None
    run: dict[str, Any] = unseal(path, remedy="restore it, or remove it and give the same command again")["run"]
    return run


def keep_run(path: Path, key: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Writes a run, with what makes it this run, as a whole."""
    seal(path, {"key": key, "run": run})
