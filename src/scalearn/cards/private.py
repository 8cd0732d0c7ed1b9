"""What is said of places where others may read it: nothing of how the user's machine is laid out."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

_ROOTED = re.compile(r"/|~|\\|[A-Za-z]:[\\/]|[A-Za-z]+:/")
_INNER = re.compile(r"""(?:^|[\s"'=:;,(\[{])(?:/|~|\\)|[A-Za-z]:[\\/]""")


def last_part(place: str) -> str:
    """The last component of a path of any system."""
    return PureWindowsPath(PurePosixPath(place).name).name


def shown_place(place: str) -> str:
    """A path relative to the folder as it is, if it names at most two components; else the last component only."""
    parts = [part for part in place.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return place if len(parts) <= 2 and not _ROOTED.match(place) else f".../{last_part(place)}"


def shown_command(command: object) -> str | None:
    """A command line with every absolute path, and every path that climbs, cut to its last component.

    Returns:
        None if there is no command, or places would remain in it.
    """
    if not isinstance(command, str) or not command:
        return None
    try:
        words = shlex.split(command)
    except ValueError:  # not a command line of a shell
        return None
    shown = [re.sub(r"[^=,;]+", lambda piece: _cut(piece[0]), word) for word in words]
    return None if any(_INNER.search(word) for word in shown) else shlex.join(shown)


def shareable_name(backbone: str) -> str:
    """The name of a backbone; of a local folder only the last component, as ``./name``, which is no name on the Hub."""
    if re.fullmatch(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?", backbone) and not os.path.exists(backbone):
        return backbone
    return f"./{last_part(backbone)}"


def without_places(fact: Any) -> Any:
    """A JSON value whose texts name no absolute path and none that climbs; a text that might still do is None."""
    if isinstance(fact, dict):
        return {key: without_places(value) for key, value in fact.items()}
    if isinstance(fact, list | tuple):
        return [without_places(value) for value in fact]
    if isinstance(fact, str) and (_INNER.search(fact) or _ROOTED.match(fact) or _climbs(fact)):
        return shown_command(fact)
    return fact


def _climbs(text: str) -> bool:
    return bool(re.search(r"(?:^|[^.\w])\.\.(?:[/\\]|$)", text))


def _cut(piece: str) -> str:
    climbs = ".." in piece.replace("\\", "/").split("/")
    if not climbs and not _ROOTED.match(piece):
        return piece
    last = last_part(piece)
    return "." if last in ("", "..") or last.startswith("~") else last
