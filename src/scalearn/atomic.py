"""Folders and files that are either whole or absent: write aside, then rename."""

from __future__ import annotations

import glob
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from scalearn.errors import InputError

_WRITER = platform.node()
"""Whose process numbers those in the names of files aside are."""
EXPORTS = ("scalearn-onnx.json", "scalearn-peft.json", "scalearn-adapterhub.json")
"""A folder with one of these is a model as another library reads it, which can be written again from the model."""
OURS = ("scalearn.json", "source.json", "data.json", "explanation.json", *EXPORTS)
"""A folder with one of these is a result of this library; no other is ever replaced."""


def refuse_existing(path: Path, *, overwrite: bool = False, ours: Sequence[str] = OURS) -> None:
    """Refuses a path that may not be written.

    Args:
        path: of a folder or a file.
        overwrite: it may be replaced.
        ours: a folder may be replaced if it has one of these files.

    Raises:
        InputError: `path` exists and `overwrite` is false, or it is a folder that may not be replaced.
    """
    if not path.name:
        raise InputError(f"{path} is no name for a result: give a new folder, for instance runs/first")
    if not path.exists():
        return
    if not overwrite:
        raise InputError(f"{path} exists already: choose another name, or replace it with --overwrite (overwrite=True)")
    if path.is_dir() and any(path.iterdir()) and not any((path / name).is_file() for name in ours):
        what = "an export" if ours == EXPORTS else "a model, a source or exported data"
        raise InputError(f"{path} is not replaced: it holds other things than {what}; choose another name")


@contextmanager
def new_folder(folder: Path, *, overwrite: bool = False, ours: Sequence[str] = OURS) -> Iterator[Path]:
    """Yields a temporary sibling of `folder` to write into; it takes that name if the block succeeds, else vanishes.

    What writers of `folder` that were killed left behind goes too.

    Raises:
        InputError: `folder` may not be written (`refuse_existing`), or cannot be made.
    """
    refuse_existing(folder, overwrite=overwrite, ours=ours)
    with writable(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        aside = Path(tempfile.mkdtemp(prefix=_aside(folder), dir=folder.parent))
    try:
        yield aside
        aside.chmod(0o777 & ~_umask())  # mkdtemp makes private folders
        refuse_existing(folder, overwrite=overwrite, ours=ours)  # another process may have made it meanwhile
        replace_folder(aside, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turns the operating system's refusal to make `path` into an `InputError` that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): choose a place that can") from error


def replace_folder(new: Path, folder: Path) -> None:
    """Gives `new` the name `folder`; what stood there before goes away only once the new one is in place."""
    if not folder.exists():
        os.rename(new, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.rename(folder, old / folder.name)
    try:
        os.rename(new, folder)
    except BaseException:
        os.rename(old / folder.name, folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` in UTF-8 to `path`, as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path` as a whole or not at all; removes what a writer of it that was killed left behind."""
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        handle, aside = tempfile.mkstemp(prefix=_aside(path), dir=path.parent)
    try:
        with writable(path):
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(aside, 0o666 & ~_umask())
            os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def sweep(path: Path) -> None:
    """Removes what writers of `path` on this machine left beside it that do not live any more."""
    start = f".{path.name}.{_WRITER}-"
    for aside in path.parent.glob(f"{glob.escape(start)}*"):
        number = aside.name.removeprefix(start).partition(".")[0]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            if aside.is_dir():
                shutil.rmtree(aside, ignore_errors=True)
            else:
                aside.unlink(missing_ok=True)


def _aside(path: Path) -> str:
    """How the names of what this process puts aside for `path` begin."""
    return f".{path.name}.{_WRITER}-{os.getpid()}."


def _umask() -> int:
    """The process's umask; there is no way to read it but to set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
