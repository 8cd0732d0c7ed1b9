"""Reading the library's own files, with every check: JSON descriptions and safetensors of a recorded hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from scalearn.errors import InputError, faults

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
    if not path.is_file():
        raise InputError(f"{path} does not exist: copy the whole folder, or train anew")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise InputError(
            f"{path} ({len(data)} bytes) has SHA-256 {found[:12]}..., not {sha256[:12]}... as recorded: it was cut "
            "short or altered; copy it again or train anew"
        )
    try:
        tensors: dict[str, Tensor] = load_tensors(data)
    except SafetensorError as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}): copy it again or train anew") from error
    return tensors
