"""The options in a PEFT checkpoint's `adapter_config.json`: which of them a source can follow.

    LoRA:    W + s B A        s = alpha / r, with ``use_rslora`` alpha / sqrt(r); both by module in ``rank_pattern``
                              and ``alpha_pattern``
    IA3:     l * (W x + b), and W (l * x) + b at the ``feedforward_modules``

Options that change this are refused by name. Those that decide where or how training starts (``target_modules``,
``layers_to_transform``, initialisations that leave the backbone's weights alone) say nothing that the tensors do not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Kind = Literal["lora", "ia3"]
_Value = TypeVar("_Value")

KINDS: Mapping[str, Kind] = {"LORA": "lora", "IA3": "ia3"}
"""PEFT's types that can be sources."""

_ANY = {
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "revision",
    "target_modules",
    "task_type",
}
_INERT: Mapping[Kind, frozenset[str]] = {
    "lora": frozenset(
        _ANY
        | {
            "alpha_pattern",
            "corda_config",
            "ensure_weight_tying",
            "eva_config",
            "init_lora_weights",
            "layers_pattern",
            "layers_to_transform",
            "loftq_config",
            "lora_alpha",
            "lora_dropout",
            "lora_ga_config",
            "megatron_config",
            "megatron_core",
            "qalora_group_size",
            "r",
            "rank_pattern",
            "runtime_config",
            "use_rslora",
        }
    ),
    "ia3": frozenset(_ANY | {"feedforward_modules", "init_ia3_weights"}),
}
"""Options that are read, or that matter in training only."""

_STARTS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
"""Ways to begin LoRA that leave the backbone's own weights as they are."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is left of the options once they are known to be plain LoRA or IA3."""

    kind: Kind
    rank: int = 0
    """r of modules that ``rank_pattern`` does not name; 0 for IA3."""
    alpha: float = 0.0
    """Of modules that ``alpha_pattern`` does not name."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """``rank_pattern``."""
    alphas: Mapping[str, float] = field(default_factory=dict)
    """``alpha_pattern``."""
    rslora: bool = False
    modules_to_save: tuple[str, ...] = ()
    """Modules whose own weights the checkpoint has: the head's, as a rule."""
    every_layer: bool = False
    """Whether each target module has its update in every layer."""

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> tuple[Options | None, list[str]]:
        """The options in a file, and all that is wrong with them; None if anything is.

        Args:
            described: the content of `adapter_config.json`.
        """
        kind = KINDS.get(str(described.get("peft_type")))
        if kind is None:
            return None, [f"peft_type is {described.get('peft_type')!r:.80} (supported: {', '.join(KINDS)})"]
        faults = [
            f"{name} is {value!r:.80} (supported: that it is off)"
            for name, value in sorted(described.items())
            if name not in _INERT[kind] and value and (name, value) != ("bias", "none")
        ]
        saved = described.get("modules_to_save") or []
        if not isinstance(saved, list) or not all(isinstance(module, str) for module in saved):
            faults.append(f"modules_to_save is {saved!r:.80} (supported: a list of names)")
            saved = []
        if kind == "ia3":
            return (None, faults) if faults else (cls(kind=kind, modules_to_save=tuple(saved)), [])
        start = described.get("init_lora_weights", True)
        if not any(start is known or (isinstance(start, str) and start == known) for known in _STARTS):
            faults.append(
                f"init_lora_weights is {start!r:.80}, which changes the backbone's weights (supported: what PEFT makes "
                "of it in save_pretrained with path_initial_model_for_weight_conversion)"
            )
        rank, alpha = described.get("r", 8), described.get("lora_alpha", 8)
        if not _is_rank(rank):
            faults.append(f"r is {rank!r:.80} (supported: a whole number above 0)")
        if not _is_positive(alpha):
            faults.append(f"lora_alpha is {alpha!r:.80} (supported: a number above 0)")
        ranks, alphas = described.get("rank_pattern") or {}, described.get("alpha_pattern") or {}
        for name, pattern, valid in (("rank_pattern", ranks, _is_rank), ("alpha_pattern", alphas, _is_positive)):
            if not isinstance(pattern, Mapping) or not all(_is_pattern(k) and valid(v) for k, v in pattern.items()):
                faults.append(f"{name} is {pattern!r:.80} (supported: numbers above 0 by module)")
        if faults:
            return None, faults
        read = cls(
            kind=kind,
            rank=rank,
            alpha=float(alpha),
            ranks=ranks,
            alphas=alphas,
            rslora=bool(described.get("use_rslora")),
            modules_to_save=tuple(saved),
            every_layer=_is_every_layer(described),
        )
        return read, []

    def rank_of(self, module: str) -> int:
        """r of a module, by its path in the checkpoint."""
        return _by_pattern(self.ranks, module, self.rank)

    def scaling_of(self, module: str) -> float:
        """s of a module."""
        rank, alpha = self.rank_of(module), _by_pattern(self.alphas, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def _by_pattern(patterns: Mapping[str, _Value], module: str, usual: _Value) -> _Value:
    """As PEFT looks them up: a name or a regular expression for the end of the path; the first that matches."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), usual)


def _is_pattern(key: Any) -> bool:
    try:
        re.compile(rf"(.*\.)?({key})$")
    except re.error:
        return False
    return isinstance(key, str)


def _is_every_layer(described: Mapping[str, Any]) -> bool:
    """Whether the targets are names of maps, with no choice among layers."""
    targets = described.get("target_modules")
    return (
        isinstance(targets, list)
        and not any(described.get(option) for option in ("exclude_modules", "layers_pattern"))
        and described.get("layers_to_transform") is None
        and not any(part.isdigit() for target in targets for part in str(target).split("."))
    )


def _is_rank(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0
