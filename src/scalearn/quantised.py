"""Quantised backbones: weights of 8 or 4 bits, as bitsandbytes and torchao make them.

They are left as they are: deltas act on what the quantised layers give, in full precision, and gradients pass through.
Only what would change the weights themselves, full fine-tuning and folding LoRA updates into them, cannot be done.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers.quantizers.auto import AutoQuantizationConfig

from scalearn.errors import InputError

ELSEWHERE = {"quant_method": "elsewhere"}
"""Stands for a quantisation that the model's configuration does not tell of."""


_REPACKS = "support_avx512bf16_for_cpu"  # of bitsandbytes' 4-bit layers


def is_quantised(model: nn.Module) -> bool:
    """Whether some weights are not plain numbers."""
    return any(is_packed(parameter) for parameter in model.parameters())


def quantisation_of(model: Any) -> dict[str, Any] | None:
    """How a model was quantised, as transformers' configuration has it in JSON; None if it was not."""
    known = getattr(model.config, "quantization_config", None)
    if known is not None and is_quantised(model):
        return dict(known if isinstance(known, dict) else known.to_dict())
    return ELSEWHERE if is_quantised(model) else None


def quantisation_from(recorded: dict[str, Any]) -> Any:
    """The configuration that `quantisation_of` made JSON of.

    Raises:
        InputError: this version of transformers cannot read it, or lacks what it needs.
    """
    try:
        return AutoQuantizationConfig.from_dict(dict(recorded))
    except (ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
        raise InputError(
            f"the backbone was quantised in a way that cannot be read here ({' '.join(str(error).split())}): install "
            "what it needs, or give a backbone that is loaded (backbone=...)"
        ) from error


def keep_differentiable(model: nn.Module) -> None:
    """Keeps bitsandbytes from repacking 4-bit weights when it computes without gradients.

    It does so on CPUs with AVX512-BF16, for good; what is computed with them later lets no gradient through.
    """
    for module in model.modules():
        if hasattr(module, _REPACKS):
            setattr(module, _REPACKS, False)


def plain(parameter: Tensor) -> Tensor:
    """A parameter's numbers: what torchao packs, unpacked; what bitsandbytes packs, as integers."""
    values = parameter.detach()
    return values.dequantize() if _of_torchao(parameter) else values


def is_packed(parameter: Tensor) -> bool:
    """Whether a parameter is not plain numbers."""
    return not parameter.is_floating_point() or _of_torchao(parameter)


def _of_torchao(parameter: Tensor) -> bool:
    return type(parameter.data).__module__.partition(".")[0] == "torchao"
