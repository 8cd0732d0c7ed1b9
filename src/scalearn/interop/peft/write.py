"""A model's updates as one PEFT checkpoint: `adapter_config.json` and `adapter_model.safetensors`.

Sources and coefficients are folded on the way: T LoRA sources become one LoRA of rank T * r whose scaling is 1, IA3
sources one IA3. The head:

    BERT, RoBERTa, XLM-R, CamemBERT, MPNet, reading the first token    theirs has the same form: it is written as
                                                                      ``modules_to_save``, and the checkpoint is for
                                                                      `AutoModelForSequenceClassification`
    any other                                                         in `head.safetensors` beside the checkpoint, which
                                                                      is for the backbone alone (`AutoModel`)

`scalearn-peft.json` says which, and has task, pooling and sources. It is for people; nothing reads it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from scalearn.atomic import EXPORTS, new_folder, write_text
from scalearn.deltas import Lora, Rescaling, Scaled
from scalearn.errors import InputError
from scalearn.interop.facts import public_name, write_facts
from scalearn.interop.peft.checkpoint import CONFIG, PREFIX, SAFE_WEIGHTS
from scalearn.model import TransferModel
from scalearn.sites import INPUT, find_sites

FACTS = "scalearn-peft.json"
HEAD = "head.safetensors"


@dataclass(frozen=True)
class OwnHead:
    """What transformers calls the two maps of a classification head of our form, and what PEFT saves as a whole."""

    dense: str
    out: str
    saved: tuple[str, ...]


_ROBERTA = OwnHead("classifier.dense", "classifier.out_proj", ("classifier",))
OWN_HEADS: Mapping[str, OwnHead] = {
    "bert": OwnHead("bert.pooler.dense", "classifier", ("classifier", "pooler")),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": _ROBERTA,
}
"""Model types whose classification head is ours in evaluation: dense, tanh, linear over the first token."""


def write_peft(model: TransferModel, folder: str | Path, *, overwrite: bool = False) -> None:
    """Writes LoRA or IA3 deltas, or sources of these as they act together, as a PEFT checkpoint.

    Args:
        model: of method ``lora`` or ``ia3``, or of one that scales or averages such sources; it stays as it is.
        folder: must not exist, unless `overwrite`.
        overwrite: replace a folder that an export wrote.

    Raises:
        InputError: the model has other deltas, or rescales both input and output of one map, which PEFT cannot.
    """
    head = _own_head(model)
    base = f"{model.backbone.base_model_prefix}." if head else ""
    loras, scales = _by_module(model, base)
    config = {
        "base_model_name_or_path": public_name(model),
        "fan_in_fan_out": any(isinstance(module, Conv1D) for module in model.backbone.modules()),
        "inference_mode": True,
        "modules_to_save": list(head.saved) if head else None,
        "task_type": "SEQ_CLS" if head else "FEATURE_EXTRACTION",
        **(_lora_config(loras) if loras else _ia3_config(scales)),
    }
    tensors = {
        **{f"{module}.lora_A.weight": lora.down.weight for module, lora in loras.items()},
        **{f"{module}.lora_B.weight": lora.up.weight for module, lora in loras.items()},
    }
    for module, delta in scales.items():
        name, scale = module.removesuffix(INPUT), delta.scale
        tensors[f"{name}.ia3_l"] = scale.unsqueeze(0) if module.endswith(INPUT) else scale.unsqueeze(1)
    weights = model.head.state_dict()
    if head:
        tensors |= {f"{head.dense}.{part}": weights[f"dense.{part}"] for part in ("weight", "bias")}
        tensors |= {f"{head.out}.{part}": weights[f"out.{part}"] for part in ("weight", "bias")}
    with new_folder(Path(folder), overwrite=overwrite, ours=EXPORTS) as aside:
        write_text(aside / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
        _save({f"{PREFIX}{key}": tensor for key, tensor in tensors.items()}, aside / SAFE_WEIGHTS)
        if not head:
            _save(weights, aside / HEAD)
        write_facts(aside / FACTS, model, head="in the checkpoint" if head else HEAD)


def _own_head(model: TransferModel) -> OwnHead | None:
    """The head that transformers has for this backbone, if it computes what the model's head does."""
    fits = model.head.pooling == "first" and model.task.kind != "multiple-choice"
    return OWN_HEADS.get(model.reference.model_type) if fits else None


def _by_module(model: TransferModel, base: str) -> tuple[dict[str, Lora], dict[str, Rescaling]]:
    """The ordinary deltas by the path of their module, with ``:input`` behind where an input is rescaled."""
    names = {module: name for name, module in model.backbone.named_modules()}
    loras: dict[str, Lora] = {}
    scales: dict[str, Rescaling] = {}
    for site, layers in model.placement.items():
        for module, delta in zip(find_sites(model.backbone, site), layers, strict=True):
            ordinary = delta.fold() if isinstance(delta, Scaled) else delta
            name = f"{base}{names[module]}"
            if isinstance(ordinary, Lora):
                loras[name] = ordinary
            elif isinstance(ordinary, Rescaling):
                scales[name + (INPUT if site.endswith(INPUT) else "")] = ordinary
    if not loras and not scales:
        raise InputError(
            f"method {model.method.name!r} has neither LoRA nor IA3: export models of lora, ia3, or a method that "
            "scales or averages such sources (bottleneck adapters: --format adapterhub)"
        )
    both = [name for name in scales if f"{name}{INPUT}" in scales]
    if both:
        raise InputError(
            f"PEFT rescales the input or the output of a map, but here both of {', '.join(both)}: leave out sources "
            "until it is one (--exclude)"
        )
    return loras, scales


def _lora_config(loras: Mapping[str, Lora]) -> dict[str, Any]:
    """The options of updates whose ranks and alphas may differ."""
    ranks = {module: lora.down.out_features for module, lora in loras.items()}
    alphas = {module: lora.alpha for module, lora in loras.items()}
    (rank, alpha), _ = Counter(zip(ranks.values(), alphas.values(), strict=True)).most_common(1)[0]
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {module: own for module, own in ranks.items() if own != rank},
        "alpha_pattern": {module: own for module, own in alphas.items() if own != alpha},
        "target_modules": list(loras),
        "bias": "none",
        "lora_dropout": 0.0,
    }


def _ia3_config(scales: Mapping[str, Rescaling]) -> dict[str, Any]:
    return {
        "peft_type": "IA3",
        "target_modules": [module.removesuffix(INPUT) for module in scales],
        "feedforward_modules": [module.removesuffix(INPUT) for module in scales if module.endswith(INPUT)],
    }


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes tensors in float32; PEFT wants to be told the format."""
    plain = {key: tensor.detach().to("cpu", torch.float32).contiguous() for key, tensor in tensors.items()}
    path.write_bytes(save(plain, metadata={"format": "pt"}))
