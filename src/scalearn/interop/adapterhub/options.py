"""The options of an AdapterHub adapter: which of them a scalearn bottleneck can follow, read and written.

    out = LN(s + delta(LN(s)))        the library's ``seq_bn``, formerly ``pfeiffer``
    delta(z) = scaling * (U f(D z + d) + u)

Options that change this are refused by name; those that only matter in training, or only beside one that is refused,
say nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalearn.deltas import Activation

LIBRARY = "adapters.1.3.0"
"""The release whose format is written. Without a release in its file, the library takes ``gelu`` for ``gelu_new``."""

NAMED = ("seq_bn", "pfeiffer")
"""Configurations that files name instead of writing out; both stand for the defaults of `SEQ_BN`."""

SEQ_BN: Mapping[str, Any] = {
    "mh_adapter": False,
    "output_adapter": True,
    "reduction_factor": 16,
    "non_linearity": "relu",
    "original_ln_before": True,
    "original_ln_after": True,
    "ln_before": False,
    "ln_after": False,
    "init_weights": "bert",
    "init_weights_seed": None,
    "is_parallel": False,
    "scaling": 1.0,
    "use_gating": False,
    "residual_before_ln": True,
    "adapter_residual_before_ln": False,
    "inv_adapter": None,
    "inv_adapter_reduction_factor": None,
    "cross_adapter": False,
    "leave_out": [],
    "dropout": 0.0,
    "phm_layer": False,
    "phm_dim": 4,
    "factorized_phm_W": True,
    "shared_W_phm": False,
    "shared_phm_rule": True,
    "factorized_phm_rule": False,
    "phm_c_init": "normal",
    "phm_init_range": 0.0001,
    "learn_phm": True,
    "hypercomplex_nonlinearity": "glorot-uniform",
    "phm_rank": 1,
    "phm_bias": True,
    "stochastic_depth": 0.0,
}
"""``seq_bn`` as release 1.3.0 writes it out."""

_ABSENT: Mapping[str, Any] = {"original_ln_before": False, "mh_adapter": None, "output_adapter": None}
"""What the library takes for options that a file leaves out, where that is not what `SEQ_BN` has."""

_FIXED = (
    "mh_adapter",
    "output_adapter",
    "cross_adapter",
    "is_parallel",
    "original_ln_before",
    "original_ln_after",
    "residual_before_ln",
    "ln_before",
    "ln_after",
    "use_gating",
    "phm_layer",
    "inv_adapter",
)
"""Options that must be as in `SEQ_BN`."""

_OF_FUSION = ("attention_type", "new_attention_norm")
"""Options of AdapterFusion, that files of release 1.0 have beside the adapter's own."""

_ACTIVATIONS: Mapping[str, Activation] = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
    "leakyrelu": "leaky_relu",
}
_BEFORE_VERSIONS = {"gelu": "gelu_new", "gelu_orig": "gelu"}
"""What files without a release meant by these activations."""


@dataclass(frozen=True, kw_only=True)
class BottleneckOptions:
    """What is left of the options once they are known to be those of a ``seq_bn`` adapter."""

    activation: Activation
    scaling: float
    """Times the adapter's output."""
    leave_out: frozenset[int]
    """Layers without an adapter."""
    reduction_factor: float | Mapping[str, float]
    """Of all layers, or by layer index with a ``default``."""

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> tuple[BottleneckOptions | None, list[str]]:
        """The options in a file's ``config``, and all that is wrong with them; None if anything is.

        Args:
            described: the content of `adapter_config.json`.
        """
        config = described.get("config")
        if isinstance(config, str) and config in NAMED:
            config = SEQ_BN
        if not isinstance(config, Mapping):
            names = ", ".join(NAMED)
            return None, [f"config is {config!r:.80} (supported: a mapping of options, or one of {names})"]
        if (kind := config.get("architecture")) is not None:
            return None, [f"architecture is {kind!r:.80} (supported: none, which is a bottleneck)"]
        options = {**SEQ_BN, **_ABSENT, **_inverse_spelled_out(config, described)}
        faults = [
            f"{name} is {options[name]!r:.80} (supported: {SEQ_BN[name]!r})"
            for name in _FIXED
            if options[name] != SEQ_BN[name] or type(options[name]) is not type(SEQ_BN[name])
        ]
        faults += [
            f"{name} is {value!r:.80} (supported: that it is absent)"
            for name, value in options.items()
            if name not in SEQ_BN and name not in ("architecture", *_OF_FUSION) and value not in (None, False)
        ]
        activation = _activation(options["non_linearity"], described)
        if activation is None:
            known = ", ".join(_ACTIVATIONS)
            faults.append(f"non_linearity is {options['non_linearity']!r:.80} (supported: {known})")
        scaling = options["scaling"]
        if not _is_number(scaling):
            faults.append(f"scaling is {scaling!r:.80} (supported: a number)")
        leave_out = options["leave_out"] or []
        if not isinstance(leave_out, list) or not all(type(layer) is int for layer in leave_out):
            faults.append(f"leave_out is {leave_out!r:.80} (supported: a list of layer indices)")
        factor = options["reduction_factor"]
        factors = factor.values() if isinstance(factor, Mapping) else [factor]
        if not factors or not all(_is_number(one) and one > 0 for one in factors):
            faults.append(f"reduction_factor is {factor!r:.80} (supported: numbers above 0, by layer or for all)")
        if faults or activation is None:
            return None, faults
        read = cls(
            activation=activation, scaling=float(scaling), leave_out=frozenset(leave_out), reduction_factor=factor
        )
        return read, []

    def bottleneck(self, *, layer: int, width: int) -> int | None:
        """r of a layer as the library computes it; None where the file gives none for this layer."""
        factor = self.reduction_factor
        if isinstance(factor, Mapping):
            found = factor.get(str(layer), factor.get("default"))
            if found is None:
                return None
            factor = found
        return max(1, int(width // factor))


def written(*, activation: Activation, width: int, bottleneck: int) -> dict[str, Any]:
    """The options of an adapter of this width inside, as the library reads them."""
    names = {ours: theirs for theirs, ours in reversed(list(_ACTIVATIONS.items()))}
    factor = factor_of(width=width, bottleneck=bottleneck)
    return {**SEQ_BN, "non_linearity": names[activation], "reduction_factor": factor}


def factor_of(*, width: int, bottleneck: int) -> float:
    """A reduction factor that gives exactly this bottleneck: the library takes ``int(width // factor)``."""
    if width % bottleneck == 0:
        return width // bottleneck
    factor = width / bottleneck
    return factor if width // factor == bottleneck else math.nextafter(factor, 0)


def _inverse_spelled_out(config: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """The options with ``inv_adapter`` for the nested ``invertible_adapter`` of releases 1.x.

    There, task adapters name it and have none.
    """
    options = dict(config)
    nested = options.pop("invertible_adapter", None)
    if described.get("type") == "text_task":
        return {**options, "inv_adapter": None}
    return {**options, "inv_adapter": nested} if nested else options


def _activation(name: Any, described: Mapping[str, Any]) -> Activation | None:
    if not isinstance(name, str):
        return None
    if "version" not in described:
        name = _BEFORE_VERSIONS.get(name, name)
    return _ACTIVATIONS.get(name.lower())


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
