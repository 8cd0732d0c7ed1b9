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

from scalearn.atomic import replace_folder, writable, write_text
from scalearn.errors import InputError
from scalearn.methods import Optimisation
from scalearn.training.checks import DivergedError


class UnfinishedError(InputError):
    """An unfinished run with other settings stands in the place of a run."""


@contextmanager
def working_folder(folder: Path | None, run: Mapping[str, Any], *, restart: bool) -> Iterator[Path]:
    """The working folder of a run, new or that of the same run interrupted; removed when the run is done.

    Under several processes the first one opens it, and the others use what it opened.

    Args:
        folder: of the result; None for a run that is not kept.
        run: everything that makes it this run.
        restart: forget an unfinished run of the same folder.

    Raises:
        UnfinishedError: an unfinished run with other settings stands in its place.
        InputError: it cannot be made.
    """
    with PartialState().main_process_first():
        work = _open(folder, run, restart=restart and PartialState().is_main_process)
    try:
        yield work
    except BaseException as error:
        # With a folder, the same call goes on from the last checkpoint; but not where it would only diverge again.
        if folder is None or isinstance(error, DivergedError):
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
            raise UnfinishedError(
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


def provenance(
    recipe: Optimisation, *, rows: Mapping[str, Any], seed: int, protocol: str, precision: str, command: str | None
) -> dict[str, Any]:
    """What a reader needs to judge or repeat a run, for its folder.

    Args:
        recipe: the hyper-parameters.
        rows: split to number of rows, or that for each task.
        seed: of batches and dropout.
        protocol: that the recipe is of, or was changed from.
        precision: as it was resolved.
        command: the command line, where there was one.
    """
    return {
        "rows": rows,
        "seed": seed,
        "protocol": protocol,
        "recipe": recipe.model_dump(),
        "precision": precision,
        "command": command,
        "versions": {package: metadata.version(package) for package in ("scalearn", "torch", "transformers")},
    }
