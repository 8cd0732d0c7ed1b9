"""What a PEFT checkpoint's folder holds: `adapter_config.json`, and LoRA updates or IA3 scales by module.

    base_model.model.<module>.lora_A.weight    (r, inputs)
    base_model.model.<module>.lora_B.weight    (outputs, r)
    base_model.model.<module>.ia3_l            (outputs, 1), or (1, inputs) where it rescales the input

A module's path may begin with the name that a model with a head has for its base: ``bert.``, ``model.``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from scalearn.deltas import Lora, Rescaling
from scalearn.errors import InputError
from scalearn.interop.files import fault_of, precise, read_json, read_tensors
from scalearn.interop.peft.options import Options
from scalearn.sites import INPUT, numbered

CONFIG = "adapter_config.json"
SAFE_WEIGHTS = "adapter_model.safetensors"
WEIGHTS = "adapter_model.bin"
FILES = (CONFIG, SAFE_WEIGHTS, WEIGHTS)
"""All that is read of a folder."""

PREFIX = "base_model.model."
"""Before every module's path: PEFT's own wrappers."""

_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")
_IA3 = re.compile(r"(?P<module>.+)\.ia3_l(?:\.default)?")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a folder."""

    folder: Path
    described: Mapping[str, Any]
    """Its `adapter_config.json`."""
    options: Options
    deltas: Mapping[str, Lora | Rescaling] = field(repr=False)
    """By the module's path in the file, with ``:input`` behind where an input is rescaled; in at least float32."""
    ignored: tuple[str, ...] = ()
    """Modules of the model itself that the file has weights of, which are not read."""

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Reads a folder.

        Raises:
            InputError: a file is missing or damaged, an option is not supported, or a tensor is unknown, misshaped or
                not finite; all that is wrong is named.
        """
        described = read_json(folder / CONFIG)
        options, faults = Options.read(described)
        if options is None:
            raise InputError(
                f"{folder} cannot be read: {'; '.join(faults)}; train or save it without, or merge it into a backbone"
            )
        tensors = {
            key.removeprefix(PREFIX): tensor
            for key, tensor in read_tensors(folder, safe=SAFE_WEIGHTS, pickled=WEIGHTS).items()
        }
        left = {key: tensor for key, tensor in tensors.items() if not _is_saved(key, options)}
        faults = [f"{key} {fault}" for key, tensor in left.items() if (fault := fault_of(tensor))]
        deltas: dict[str, Lora | Rescaling] = {}
        if not faults:
            deltas, faults = _loras(left, options) if options.kind == "lora" else _rescalings(left)
        if not faults and not deltas:
            faults = [f"there is no tensor of {described['peft_type']}"]
        if faults:
            raise InputError(f"{folder} cannot be read: {'; '.join(faults)}; copy it again, or save it with PEFT")
        ignored = dict.fromkeys(key.rpartition(".")[0] for key in tensors if key not in left)
        return cls(folder=folder, described=described, options=options, deltas=deltas, ignored=tuple(ignored))

    def placed(
        self, linears: Mapping[str, nn.Module], *, bases: tuple[str, ...], frozen: Collection[str]
    ) -> tuple[dict[str, Lora | Rescaling], list[str]]:
        """The deltas by the names that their modules have in a model, and modules of a head that the model lacks.

        What lies in no layer and is not there belongs to a head: a pooler, ``lm_head``, ``score``.

        Args:
            linears: the model's linear maps, by name.
            bases: what may stand before a name here or there: what a model with a head calls its base, dot included.
            frozen: names of the modules that must be as they were pretrained: all but those of heads.

        Raises:
            InputError: the model has no such map, or one of another size, or two deltas are meant for one map, or the
                checkpoint has weights of its own for a frozen module; all that is wrong is named.
        """
        found: dict[str, Lora | Rescaling] = {}
        beyond: list[str] = []
        whole = [module for module in self.ignored if _called_there(module, frozen, bases) is not None]
        faults = [f"{module} was trained as a whole (modules_to_save)" for module in whole]
        for path, delta in self.deltas.items():
            module, behind = path.removesuffix(INPUT), INPUT if path.endswith(INPUT) else ""
            name = _called_there(module, linears, bases)
            if name is None and numbered(module) is None:
                beyond.append(module)
            elif name is None:
                faults.append(f"there is no linear map {module}")
            elif f"{name}{behind}" in found:
                faults.append(f"{name} has two updates")
            elif (own := _size(delta, behind)) != (size := _size_of(linears[name], delta, behind)):
                faults.append(f"{name} maps {size}, the checkpoint {own}")
            else:
                found[f"{name}{behind}"] = delta
        if not found and not faults:
            faults = [f"it acts on {', '.join(beyond)} alone"]
        if faults:
            raise InputError(
                f"{self.folder} does not fit this backbone: {'; '.join(faults)}; give the one it was trained on"
            )
        return found, beyond


def linear_maps(model: nn.Module) -> dict[str, nn.Module]:
    """The linear maps of a model, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)}


def _called_there(module: str, names: Collection[str], bases: tuple[str, ...]) -> str | None:
    """What a model that has these names calls a module of the checkpoint; None if it has none."""
    known = [module, *(module.removeprefix(base) for base in bases), *(f"{base}{module}" for base in bases)]
    return next((name for name in known if name in names), None)


def _is_saved(key: str, options: Options) -> bool:
    """Whether a tensor is of a module that was saved as a whole."""
    return any(f".{module}." in f".{key}" for module in options.modules_to_save)


def _loras(tensors: Mapping[str, Tensor], options: Options) -> tuple[dict[str, Lora | Rescaling], list[str]]:
    """The updates by module, and all that is wrong with the tensors."""
    parts: dict[str, dict[str, Tensor]] = {}
    faults = []
    for key, tensor in tensors.items():
        if match := _LORA.fullmatch(key):
            parts.setdefault(match["module"], {})[match["part"]] = tensor
        else:
            faults.append(f"{key} is no LoRA update of a linear map")
    deltas: dict[str, Lora | Rescaling] = {}
    for module, own in parts.items():
        rank = options.rank_of(module)
        a, b = own.get("A"), own.get("B")
        if a is None or b is None:
            faults.append(f"{module} has no lora_{'B' if b is None else 'A'}")
        elif a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
            faults.append(
                f"{module} has lora_A {tuple(a.shape)} and lora_B {tuple(b.shape)}, of rank {rank} by its options"
            )
        else:
            alpha = options.scaling_of(module) * rank
            lora = Lora(inputs=a.shape[1], outputs=b.shape[0], rank=rank, alpha=alpha).to(precise(a))
            lora.load_state_dict({"down.weight": precise(a), "up.weight": precise(b)})
            deltas[module] = lora
    return deltas, faults


def _rescalings(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Lora | Rescaling], list[str]]:
    """The scales by module, and all that is wrong with the tensors."""
    deltas: dict[str, Lora | Rescaling] = {}
    faults = []
    for key, tensor in tensors.items():
        match = _IA3.fullmatch(key)
        if match is None:
            faults.append(f"{key} is no IA3 scale")
        elif tensor.ndim != 2 or 1 not in tensor.shape:
            faults.append(f"{key} has shape {tuple(tensor.shape)}, expected (outputs, 1) or (1, inputs)")
        else:
            scale = precise(tensor).flatten()
            delta = Rescaling(width=scale.shape[0]).to(scale)
            delta.load_state_dict({"scale": scale})
            deltas[match["module"] + (INPUT if tensor.shape[1] > 1 else "")] = delta
    return deltas, faults


def _size(delta: Lora | Rescaling, behind: str) -> str:
    if isinstance(delta, Lora):
        return f"{delta.down.in_features} to {delta.up.out_features}"
    return f"{'from' if behind else 'to'} {delta.scale.shape[0]}"


def _size_of(linear: nn.Module, delta: Lora | Rescaling, behind: str) -> str:
    """The same of the map itself."""
    inputs, outputs = (
        (linear.nx, linear.nf) if isinstance(linear, Conv1D) else (linear.in_features, linear.out_features)
    )
    if isinstance(delta, Lora):
        return f"{inputs} to {outputs}"
    return f"from {inputs}" if behind else f"to {outputs}"
