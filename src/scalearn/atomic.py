"""Folders and files that are either whole or absent: write aside, then rename."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scalearn.errors import InputError


def refuse_existing(folder: Path, *, overwrite: bool = False) -> None:
    """Raises `InputError` if `folder` exists and may not be replaced."""
    if folder.exists() and not overwrite:
        raise InputError(
            f"{folder} exists already: choose another folder, or replace it with --overwrite (overwrite=True)"
        )


@contextmanager
def new_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary sibling of `folder` to write into; it takes that name if the block succeeds, else vanishes.

    Raises:
        InputError: `folder` exists and `overwrite` is false.
    """
    refuse_existing(folder, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield aside
        aside.chmod(0o755)  # mkdtemp makes private folders; a result is to be shared
        replace_folder(aside, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def replace_folder(new: Path, folder: Path) -> None:
    """Gives `new` the name `folder`; what stood there before goes away only once the new one is in place."""
    if not folder.exists():
        os.rename(new, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.rename(folder, old / folder.name)
    os.rename(new, folder)
    shutil.rmtree(old)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
