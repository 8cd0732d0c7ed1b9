"""Files of other libraries: JSON, and tensors without running what a pickle may hold."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from scalearn.errors import InputError


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file that another library wrote.

    Raises:
        InputError: it is missing, or holds no JSON object.
    """
    if not path.is_file():
        inner = sorted(file.parent.name for file in path.parent.glob(f"*/{path.name}"))
        within = f"; the folder has adapters in {', '.join(inner)}: give one of these" if inner else ""
        raise InputError(f"{path} does not exist{within or ': give a folder with an adapter'}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}): copy it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not the options of an adapter: copy it again")
    return content


def read_tensors(folder: Path, *, safe: str, pickled: str) -> dict[str, Tensor]:
    """The tensors of an adapter, from safetensors where there are both files.

    Args:
        folder: of the adapter.
        safe: name of a safetensors file.
        pickled: name of a file that `torch.save` wrote; nothing but tensors is loaded from it.

    Raises:
        InputError: there is neither, or it is cut short, or holds more than tensors.
    """
    whole, other = folder / safe, folder / pickled
    if whole.is_file():
        try:
            tensors: Any = load_file(whole)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{whole} is not a whole safetensors file ({error}): copy it again") from error
        return dict(tensors)
    if not other.is_file():
        raise InputError(f"{folder} has neither {safe} nor {pickled}: give a folder with an adapter")
    try:
        tensors = torch.load(other, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{other} is not loaded ({reason:.120}): it is cut short, or holds more than tensors, and such a file "
            "can run any code; get the adapter from those who trained it as safetensors"
        ) from error
    if not isinstance(tensors, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in tensors.items()
    ):
        raise InputError(f"{other} does not hold tensors by name: give an adapter as its library wrote it")
    return dict(tensors)


def precise(tensor: Tensor) -> Tensor:
    """A tensor in at least float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def fault_of(tensor: Tensor) -> str | None:
    """Why a tensor can be no weight; None if it can."""
    if tensor.layout != torch.strided or not tensor.is_floating_point():
        return f"holds {tensor.dtype}, expected plain floating-point numbers"
    return None if bool(precise(tensor).isfinite().all()) else "has values that are not finite"  # float8 cannot say
