"""The splits of a suite's task as they were published: from the Hub, or from a folder laid out like it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from scalearn.atomic import new_folder, refuse_existing
from scalearn.errors import InputError
from scalearn.tasks.declarations import Declaration, Suite
from scalearn.tasks.tables import one_line

if TYPE_CHECKING:
    from datasets import Dataset

EXPORTED = "data.json"
"""Says where exported data is from, beside it."""


class MissingDataError(InputError):
    """A folder holds nothing of the task that was asked for."""


def read_published(suite: Suite, declaration: Declaration, *, data: Path | None) -> tuple[str, dict[str, Dataset]]:
    """The published splits of a task, and where they are for messages.

    Args:
        suite: that `declaration` belongs to.
        declaration: the task.
        data: a folder that holds ``<suite>/<task>/`` or ``<task>/`` with ``<split>-00000-of-00001.parquet`` files; None
            reads from the Hub.

    Raises:
        MissingDataError: the folder holds nothing of the task.
        InputError: the data cannot be reached or read, or the Hub gives another number of rows than were published.
    """
    if data is None:
        where = f"{suite.repository} ({declaration.config or declaration.name})"
        return where, _read_hub(suite, declaration)
    folder = _task_folder(data, suite, declaration)
    return str(folder), {split: _read_folder(folder, split) for split in declaration.published}


def export(suite: Suite, declaration: Declaration, *, out: Path, overwrite: bool = False) -> Path:
    """Writes the Hub's rows of a task as a folder that `read_published` reads on a machine without network.

    Args:
        suite: that `declaration` belongs to.
        declaration: the task; of a suite in one table, all its tasks are written with it.
        out: the folder to give as ``--data`` later.
        overwrite: replace the task's folder if it exists.

    Returns:
        The task's folder.

    Raises:
        InputError: the suite is not on the Hub or cannot be reached, or the folder exists.
    """
    folder = _folders(out, suite, declaration)[0]
    refuse_existing(folder, overwrite=overwrite)
    published = _read_hub(suite, declaration)
    with new_folder(folder, overwrite=overwrite) as aside:
        for split, rows in published.items():
            rows.to_parquet(aside / f"{split}-00000-of-00001.parquet")
        origin = {
            "repository": suite.repository,
            "revision": suite.revision,
            "config": None if suite.one_table else declaration.config or declaration.name,
            "rows": {split: len(rows) for split, rows in published.items()},
        }
        (aside / EXPORTED).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    return folder


def layout(suite: Suite, declaration: Declaration) -> str:
    """The files that a folder must have, in words."""
    files = ", ".join(f"{split}-00000-of-00001.parquet" for split in declaration.published)
    own, *others = (f"DIR/{folder.as_posix()}/" for folder in _folders(Path(), suite, declaration))
    return f"{own}{''.join(f' (or {other})' for other in others)} with {files}"


def _read_hub(suite: Suite, declaration: Declaration) -> dict[str, Dataset]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # under whichever name it is installed

    if suite.repository is None:
        raise InputError(
            f"{declaration.name} is not on the Hub: give a folder with --data DIR (data=DIR) that holds "
            f"{layout(suite, declaration)}"
        )
    splits = declaration.published
    try:
        if suite.files is None:
            config = declaration.config or declaration.name
            read = load_dataset(suite.repository, config, revision=suite.revision)
        else:
            at = f"@{suite.revision}" if suite.revision else ""
            place = f"hf://datasets/{suite.repository}{at}/{suite.files}"
            read = load_dataset("json", data_files={split: place.format(split=split) for split in splits})
        published = {split: read[split] for split in splits}
    except (OSError, KeyError, ValueError, DatasetsError, httpx.HTTPError) as error:
        raise InputError(
            f"{declaration.name}: cannot read {suite.repository} from the Hub: {one_line(error)}; connect, or give a "
            f"folder with --data DIR (data=DIR) that holds {layout(suite, declaration)}; on a machine with network, "
            f"`scalearn data export {declaration.name} --out DIR` writes it"
        ) from error
    for split, expected in declaration.rows.items():
        if len(published[split]) != expected:
            raise InputError(
                f"{declaration.name}: {suite.repository} gave {len(published[split])} rows of {split}, but {expected} "
                "were published: its copy in the cache of datasets is incomplete, remove it and read again"
            )
    return published


def _folders(data: Path, suite: Suite, declaration: Declaration) -> list[Path]:
    """Where a task may be; the first is where it is written."""
    if suite.one_table:
        return [data / suite.folder]
    config = declaration.config or declaration.name
    return list(dict.fromkeys((data / suite.folder / config, data / declaration.name)))


def _task_folder(data: Path, suite: Suite, declaration: Declaration) -> Path:
    for folder in _folders(data, suite, declaration):
        if folder.is_dir():
            return folder
    raise MissingDataError(
        f"{data}: holds no data of {declaration.name}; "
        f"expected, with DIR for this folder, {layout(suite, declaration)}; on a machine with network, "
        f"`scalearn data export {declaration.name} --out {data}` writes it"
    )


def _read_folder(folder: Path, split: str) -> Dataset:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset

    shards = sorted(folder.glob(f"{split}-*-of-*.parquet"))
    if not shards:
        raise InputError(f"{folder}: holds no {split}-00000-of-00001.parquet; copy the split from the Hub's repository")
    count = re.fullmatch(r".*-of-(\d+)\.parquet", shards[0].name)
    if count is None or int(count[1]) != len(shards):
        raise InputError(f"{folder}: {len(shards)} of the shards of {shards[0].name} are here; copy all of them")
    tables = []
    for shard in shards:
        try:
            tables.append(pq.ParquetFile(shard).read())
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{shard}: not a readable Parquet file: {one_line(error)}; copy it again") from error
    return Dataset(pa.concat_tables(tables))
