"""The working folder of a training run: what makes it safe to stop and start again.

While a run is under way everything it writes stands in ``.<name>.partial`` beside its folder. When it is done, the
finished folder takes its name in one rename. The same call after an interruption goes on from the last checkpoint.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers.integrations import get_available_reporting_integrations

from scalearn.adapted import AdaptedModel
from scalearn.atomic import replace_folder, writable, write_text
from scalearn.errors import InputError
from scalearn.tasks import Task


@contextmanager
def working_folder(folder: Path | None, run: Mapping[str, Any], *, restart: bool) -> Iterator[Path]:
    """The working folder of a run, new or that of the same run interrupted; removed when the run is done.

    Under several processes the first one opens it, and the others use what it opened.

    Args:
        folder: of the result; None for a run that is not kept.
        run: everything that makes it this run.
        restart: forget an unfinished run of the same folder.

    Raises:
        InputError: an unfinished run with other settings stands in its place.
    """
    with PartialState().main_process_first():
        work = _open(folder, run, restart=restart and PartialState().is_main_process)
    try:
        yield work
    except BaseException as error:
        # With a folder, the same call goes on from the last checkpoint; but not where it would only fail again.
        if folder is None or isinstance(error, InputError):
            shutil.rmtree(work, ignore_errors=True)
        raise
    PartialState().wait_for_everyone()
    if PartialState().is_main_process:
        shutil.rmtree(work, ignore_errors=True)


def _open(folder: Path | None, run: Mapping[str, Any], *, restart: bool) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="scalearn-"))
    work = folder.parent / f".{folder.name}.partial"
    text = json.dumps(run, indent=2, sort_keys=True)
    path = work / "run.json"  # written first: without it nothing was begun
    if path.is_file() and not restart:
        if path.read_text(encoding="utf-8") != text:
            raise InputError(
                f"{work} holds an unfinished run of {folder} with other settings: finish it with the command that "
                "began it, or discard it with --restart (restart=True)"
            )
        return work
    shutil.rmtree(work, ignore_errors=True)
    with writable(folder):
        work.mkdir(parents=True)
    write_text(path, text)
    return work


def finish(work: Path, folder: Path, write: Callable[[Path], None]) -> None:
    """Puts the result together in the working folder and gives it its name; the first process does it alone.

    Args:
        work: from `working_folder`.
        folder: of the result.
        write: writes the result's files into the folder it is given.
    """
    if PartialState().is_main_process:
        finished = work / "finished"
        shutil.rmtree(finished, ignore_errors=True)  # what an interruption left
        finished.mkdir()
        write(finished)
        if (logs := work / "checkpoints" / "runs").is_dir():  # what report_to wrote
            logs.rename(finished / "logs")
        replace_folder(finished, folder)


def check_finite(model: AdaptedModel) -> None:
    """Raises `InputError` if training diverged, before anything of it is saved."""
    wrong = [name for name, tensor in model.trained_state().items() if not tensor.isfinite().all()]
    if wrong:
        raise InputError(
            f"training diverged: {len(wrong)} trained tensors are not finite ({wrong[0]}, ...): lower the learning "
            "rates (--learning-rate, --head-learning-rate)"
        )


def check_seed(seed: int) -> None:
    """Raises `InputError` unless the seed is one that all generators take."""
    if not 0 <= seed < 2**32:
        raise InputError(f"seed {seed}: give a number from 0 to {2**32 - 1}")


def versions() -> dict[str, str]:
    """Of the libraries that a result depends on."""
    return {package: metadata.version(package) for package in ("scalearn", "torch", "transformers")}


def check_rows(task: Task) -> None:
    """Raises `InputError` unless the task can be trained on: rows to train and choose by, of the same known labels."""
    for split in ("train", "dev"):
        if split not in task.splits or not len(task.splits[split]):
            raise InputError(f"task {task.name!r} has no {split} rows: load it with its data to train on it")
    for name, rows in task.splits.items():
        declared = tuple(getattr(rows.features["label"], "names", task.labels))
        if declared != task.labels:
            raise InputError(
                f"task {task.name!r}: split {name!r} has the labels {', '.join(declared)}, not "
                f"{', '.join(task.labels)}: give splits with one set of labels in one order"
            )
    if task.kind == "classification" and len(set(task.splits["train"]["label"])) < 2:
        raise InputError(f"task {task.name!r} has one class only among its training rows: draw or give more rows")


def check_tracker(report_to: str) -> None:
    """Raises `InputError` unless it is a tracker that is installed."""
    known = get_available_reporting_integrations()
    if report_to not in ("none", "all", *known):
        raise InputError(
            f"report_to {report_to!r} is not installed or unknown: give none, {', '.join(known) or 'or install one'}"
        )
