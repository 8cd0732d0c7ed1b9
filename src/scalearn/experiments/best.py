"""Which model of a comparison dev rows prefer, as a folder of its own."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

from scalearn.atomic import new_folder, refuse_existing
from scalearn.errors import InputError
from scalearn.experiments.compare import Run
from scalearn.saved import stands_in
from scalearn.shelf import Shelf


def best_place(folder: Path, *, sources: Shelf, own: bool = False) -> Path:
    """Where the best model of the runs in a folder will stand: ``best``, with own sources ``best-own``.

    Args:
        folder: of the comparison.
        sources: that it combines.
        own: whether targets' own sources are among them.

    Raises:
        InputError: what stands there may not be replaced, or is one of the sources. Ask before training, not after.
    """
    place = folder / ("best-own" if own else "best")
    try:
        refuse_existing(place, overwrite=True)
    except InputError as error:
        raise InputError(f"{error}, of the comparison (--out)") from error
    if place.exists() and not place.is_dir():
        raise InputError(f"{place} is a file, and the best model is to stand there: give another folder (--out)")
    if within := [source.name for source in sources if stands_in(source, folder=place)]:
        raise InputError(
            f"sources {', '.join(within)} stand in {place}, which is replaced: give another folder (--out)"
        )
    return place


def best_of(runs: Sequence[Run], *, main_metric: str) -> Run:
    """The run that dev rows prefer: test rows have no say.

    Of the method with the highest mean dev score, the earlier of equal ones, it is the seed with the highest. Seeds
    that drew rows of their own were scored on other dev rows each.

    Args:
        runs: of one call of `compare`.
        main_metric: of the task.
    """
    by_method: dict[str, list[Run]] = {}
    for run in runs:
        by_method.setdefault(run.method, []).append(run)

    def dev(run: Run) -> float:
        return run.metrics["dev"][main_metric]

    return max(max(by_method.values(), key=lambda own: statistics.fmean(map(dev, own))), key=dev)


def keep(run: Run, folder: Path, place: Path) -> None:
    """Copies the model of a run to its place beside it, from where it finds its sources; what was there is replaced.

    Args:
        run: of `compare`.
        folder: that this kept it in.
        place: `best_place`.

    Raises:
        InputError: the model is gone, or the place may not be written.
    """
    model = folder / run.model
    if not model.is_dir():
        raise InputError(
            f"{model}, the {run.method} of seed {run.seed}, is not there any more: remove {model}.json, and the same "
            "command trains it again"
        )
    with new_folder(place, overwrite=True) as aside:
        shutil.copytree(model, aside, dirs_exist_ok=True)
