"""Between the deltas of a source and its tensors: the kinds of delta that transfer methods can combine.

Tensors are named ``layers.<index>.<parameter>`` for a delta on a layer's output, ``layers.<index>.<site>.<parameter>``
for one on a linear map or its input, with the site's name (`scalearn.sites`), and ``rule`` for the rule that the layers
of a Compacter++ share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn

from scalearn.deltas import Activation, Bottleneck, Compacter, Lora, Rescaling
from scalearn.errors import InputError
from scalearn.sites import LAYER, Placement

MODULES = {"lora": ("query", "value"), "ia3": ("key", "value", "intermediate")}
"""Methods on linear maps, and their maps where none are named."""

COMBINABLE = ("adapter", "compacter++", *MODULES)
"""Names of the methods whose deltas are sources."""

_RULE = "rule"


def tensors_of(deltas: Placement) -> dict[str, Tensor]:
    """The tensors of trained deltas, by their names in a source."""
    tensors = {}
    for site, layers in deltas.items():
        for index, delta in enumerate(layers):
            for key, value in delta.state_dict().items():
                prefix = f"layers.{index}." if site == LAYER else f"layers.{index}.{site}."
                tensors[_RULE if key == _RULE else prefix + key] = value.detach().cpu()
    return tensors


def deltas_from(
    tensors: Mapping[str, Tensor], *, method: str, options: Mapping[str, Any], width: int, layers: int
) -> Placement:
    """The deltas that were written as these tensors, in float32 (float64 stays); Compacter++ as plain bottlenecks.

    Args:
        tensors: by name.
        method: one of `COMBINABLE`.
        options: of the method, as recorded.
        width: d of the backbone.
        layers: of the backbone.

    Raises:
        InputError: the method is another, or a tensor is missing, unknown or of a wrong shape.
    """
    if method not in COMBINABLE:
        raise InputError(f"is of method {method!r}, but sources are {', '.join(COMBINABLE)}: train or import it anew")
    roles = options.get("modules", MODULES[method]) if method in MODULES else [LAYER]
    if not isinstance(roles, list | tuple) or not all(isinstance(role, str) for role in roles):
        raise InputError(f"has modules {roles!r}, not a list of names: train or import it anew")
    sites = {role: "" if role == LAYER else f"{role}." for role in roles}
    left = dict(tensors)
    rule = left.pop(_RULE, None) if method == "compacter++" else None
    built: dict[str, list[nn.Module]] = {site: [] for site in sites}
    for index in range(layers):
        for site, part in sites.items():
            prefix = f"layers.{index}.{part}"
            own = {key: left.pop(key) for key in list(left) if key.startswith(prefix)}
            own = {key[len(prefix) :]: value for key, value in own.items()}
            try:
                built[site].append(_delta(own, method=method, options=options, width=width, rule=rule))
            except (InputError, RuntimeError, KeyError, ValueError, TypeError, IndexError) as error:
                reason = f"no tensor {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
                raise InputError(f"cannot be used at {prefix}: {reason}; train or import it anew") from error
    if left:
        names = ", ".join(sorted(left, key=lambda key: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", key)]))
        raise InputError(f"has {names}, which a backbone of {layers} layers has no place for: train or import it anew")
    return built


def _delta(
    own: dict[str, Tensor], *, method: str, options: Mapping[str, Any], width: int, rule: Tensor | None
) -> nn.Module:
    dtype = torch.float64 if any(value.dtype == torch.float64 for value in own.values()) else torch.float32
    if method == "lora":
        down, up = own["down.weight"], own["up.weight"]
        delta: nn.Module = Lora(
            inputs=down.shape[1], outputs=up.shape[0], rank=down.shape[0], alpha=float(options.get("alpha", 16.0))
        )
    elif method == "ia3":
        delta = Rescaling(width=own["scale"].shape[0])
    elif method == "compacter++":
        if rule is None:
            raise KeyError(_RULE)
        bottleneck = own["down.bias"].shape[0]
        delta = Compacter(width=width, bottleneck=bottleneck, rule=nn.Parameter(rule.to(dtype)))
        own[_RULE] = rule
    else:
        down = own["down.weight"]
        if down.ndim != 2 or down.shape[1] != width:
            raise ValueError(f"down.weight has shape {tuple(down.shape)}, expected (bottleneck, {width})")
        activation = options.get("activation", "relu")
        if activation not in get_args(Activation):
            raise ValueError(f"activation {activation!r} is not one of {', '.join(get_args(Activation))}")
        delta = Bottleneck(width=width, bottleneck=down.shape[0], activation=activation)
    delta = delta.to(dtype)
    delta.load_state_dict({key: value.to(dtype) for key, value in own.items()})
    return delta.bottleneck() if isinstance(delta, Compacter) else delta
