"""JSON files that carry their own SHA-256, so that a cut or an edit is noticed and named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalearn.atomic import write_text
from scalearn.errors import InputError

_SHA256 = "sha256"


class DamagedError(InputError):
    """A file of a finished run is not what was written."""


def digest(value: Any) -> str:
    """SHA-256 of a value as JSON, in hexadecimal; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def seal(path: Path, told: Mapping[str, Any]) -> None:
    """Writes a file as a whole."""
    write_text(path, json.dumps({**told, _SHA256: digest(told)}, indent=2) + "\n")


def unseal(path: Path, *, remedy: str) -> dict[str, Any]:
    """What `seal` wrote.

    Args:
        path: of the file.
        remedy: what to do if it is damaged.

    Raises:
        DamagedError: the file is missing, cut short or changed.
    """
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sha256 = told.pop(_SHA256)
    except FileNotFoundError as error:
        raise DamagedError(f"{path} is missing: {remedy}") from error
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise DamagedError(f"{path} is no whole result ({error}): {remedy}") from error
    if digest(told) != sha256:
        raise DamagedError(f"{path} was changed after it was written (SHA-256 differs): {remedy}")
    return told
