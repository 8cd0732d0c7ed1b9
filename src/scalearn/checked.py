"""Reading the library's own files, with every check: JSON descriptions, and files of a recorded hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError

from scalearn.errors import InputError, faults

if TYPE_CHECKING:
    from torch import Tensor

_Described = TypeVar("_Described", bound=BaseModel)


def read_description(path: Path, kind: type[_Described], *, version: int) -> _Described:
    """Reads one of the library's JSON descriptions.

    Raises:
        InputError: it is missing, not JSON, of another format than `version`, or a field is missing or of a wrong type;
            all such fields are named.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a folder that scalearn wrote")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}): restore it, or train anew") from error
    found = description.get("format_version") if isinstance(description, dict) else None
    if found != version:
        raise InputError(
            f"{path} has format_version {found!r}, this scalearn reads {version}: install the scalearn that wrote it"
        )
    try:
        return kind.model_validate_json(json.dumps(description))
    except ValidationError as error:
        raise InputError(f"{path} cannot be used: {faults(error)}; restore the file, or train anew") from error


def read_checked(path: Path, *, sha256: str) -> dict[str, Tensor]:
    """Reads a safetensors file after checking its hash.

    Raises:
        InputError: it is missing, its hash is another, or it is not a safetensors file.
    """
    from safetensors.torch import load as load_tensors  # which imports torch

    _refuse_missing(path)
    data = path.read_bytes()
    _refuse_altered(path, hashlib.sha256(data).hexdigest(), sha256)
    try:
        tensors: dict[str, Tensor] = load_tensors(data)
    except SafetensorError as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}): copy it again or train anew") from error
    return tensors


def check_file(path: Path, *, sha256: str) -> None:
    """Checks the hash of a file that something else will read.

    Raises:
        InputError: it is missing, or its hash is another.
    """
    _refuse_missing(path)
    with path.open("rb") as file:
        _refuse_altered(path, hashlib.file_digest(file, "sha256").hexdigest(), sha256)


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} does not exist: copy the whole folder, or train anew")


def _refuse_altered(path: Path, found: str, recorded: str) -> None:
    if found != recorded:
        raise InputError(
            f"{path} ({path.stat().st_size} bytes) has SHA-256 {found[:12]}..., not {recorded[:12]}... as recorded: it "
            "was cut short or altered; copy it again or train anew"
        )
