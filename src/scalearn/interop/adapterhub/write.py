"""A model as one adapter and its head, in the files that the `adapters` library loads.

Sources and coefficients are folded into one bottleneck per layer, the model itself stays as it is. The head of a model
here (`scalearn.heads`) is the library's flexible head with two layers, tanh between and no pooler, where both read the
same token.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from scalearn.atomic import EXPORTS, new_folder, write_text
from scalearn.deltas import Bottleneck, Compacter, ScaledSources
from scalearn.errors import InputError
from scalearn.interop.adapterhub.names import Architecture, architecture_of, key_of, sites_fault
from scalearn.interop.adapterhub.options import LIBRARY, written
from scalearn.interop.adapterhub.read import CONFIG, HEAD_CONFIG, SAFE_WEIGHTS, WEIGHTS
from scalearn.interop.facts import public_name, write_facts
from scalearn.model import TransferModel
from scalearn.sites import LAYER

HEAD_WEIGHTS = "pytorch_model_head.bin"
SAFE_HEAD_WEIGHTS = "model_head.safetensors"
FACTS = "scalearn-adapterhub.json"


def write_adapter(
    model: TransferModel,
    folder: str | Path,
    *,
    name: str | None = None,
    head: bool = True,
    safetensors: bool = False,
    overwrite: bool = False,
) -> None:
    """Writes the model as an AdapterHub adapter, and its head, in a new folder.

    ``AutoAdapterModel.from_pretrained(backbone).load_adapter(folder, set_active=True)`` then gives the model's logits.

    Args:
        model: of a method whose deltas are bottlenecks, or that scales bottleneck sources.
        folder: must not exist, unless `overwrite`.
        name: of adapter and head; by default the task's.
        head: without it, the adapter alone.
        safetensors: write safetensors, which the library reads with ``use_safetensors=True``, instead of the files of
            torch that it reads by default.
        overwrite: replace a folder that an export wrote.

    Raises:
        InputError: the model has deltas that are no bottlenecks, or a backbone, sites or a head that the library has
            not; or the folder is none that may be replaced.
    """
    name = model.task.name if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_+-]*", name):
        raise InputError(f"adapter name {name!r}: choose one (--name, name=...) of letters, digits, '_', '+' and '-'")
    architecture = architecture_of(model.reference.model_type)
    if (fault := sites_fault(model.reference.sites, model.reference.model_type)) is not None:
        raise InputError(f"{model.reference.name} cannot be exported to AdapterHub: {fault}; train without")
    layers = _bottlenecks(model)
    files = {CONFIG: _adapter_config(model, layers[0], name=name, model_class=architecture.model_class)}
    tensors = {
        (SAFE_WEIGHTS if safetensors else WEIGHTS): {
            key_of(architecture, layer=index, name=name, part=part): value
            for index, delta in enumerate(layers)
            for part, value in delta.state_dict().items()
        }
    }
    if head:
        files[HEAD_CONFIG] = _head_config(model, architecture, name=name)
        tensors[SAFE_HEAD_WEIGHTS if safetensors else HEAD_WEIGHTS] = _head_tensors(model, name=name)
    with new_folder(Path(folder), overwrite=overwrite, ours=EXPORTS) as aside:
        write_facts(aside / FACTS, model, head=HEAD_CONFIG if head else "left out")
        for file, content in files.items():
            write_text(aside / file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")  # labels in their order
        for file, content in tensors.items():
            plain = {key: value.detach().to("cpu", torch.float32).contiguous() for key, value in content.items()}
            if safetensors:
                (aside / file).write_bytes(save(plain, metadata={"format": "pt"}))
            else:
                torch.save(plain, aside / file)


def _bottlenecks(model: TransferModel) -> list[Bottleneck]:
    """One bottleneck per layer, all of one width, that act as the model's deltas do in evaluation."""
    placement = model.placement
    layers = []
    for delta in placement.get(LAYER, ()):
        if isinstance(delta, ScaledSources):
            layers.append(delta.fold())
        elif isinstance(delta, Compacter):
            layers.append(delta.bottleneck())
        elif isinstance(delta, Bottleneck):
            layers.append(delta)
    if set(placement) != {LAYER} or len(layers) != len(placement[LAYER]):
        raise InputError(
            f"method {model.method.name!r} is no bottleneck adapter and cannot be folded into one: export models of "
            "adapter, compacter++, or a method that scales or averages such sources (LoRA: --format peft)"
        )
    return layers


def _adapter_config(model: TransferModel, delta: Bottleneck, *, name: str, model_class: str) -> dict[str, Any]:
    options = written(activation=delta.activation, width=delta.up.out_features, bottleneck=delta.down.out_features)
    return {**_described(model, name=name, model_class=model_class), "config": options}


def _head_config(model: TransferModel, architecture: Architecture, *, name: str) -> dict[str, Any]:
    """The head as the library's flexible heads are described.

    Raises:
        InputError: the library has no such head for this model type.
    """
    head, task = model.head, model.task
    without = "export the adapter without its head (--no-head, head=False)"
    if head.pooling != architecture.pooling:
        raise InputError(
            f"the head reads the {head.pooling} of the tokens, but heads of {architecture.model_class} read the "
            f"{architecture.pooling} one: {without}, or train with --pooling {architecture.pooling}"
        )
    types = dict(architecture.head_types)
    if task.kind not in types:
        raise InputError(f"{architecture.model_class} has no head for {task.kind}: {without}")
    labels = {label: index for index, label in enumerate(task.labels)}
    config: dict[str, Any] = {
        "head_type": types[task.kind],
        "layers": 2,
        "activation_function": "tanh",
        "use_pooler": False,
        "dropout_prob": head.dropout.p,
        "label2id": labels if labels and not task.choices else None,
    }
    if task.kind == "multiple-choice":
        config["num_choices"] = len(task.choices)
    else:
        config |= {"num_labels": head.out.out_features, "bias": True}
    if types[task.kind] == "image_classification":
        config["multilabel"] = task.kind == "multi-label"
    return {**_described(model, name=name, model_class=architecture.model_class), "config": config}


def _head_tensors(model: TransferModel, *, name: str) -> dict[str, Tensor]:
    """Dropout, dense, tanh, dropout, out: numbers 1 and 4 of the head's modules have weights."""
    modules = {1: model.head.dense, 4: model.head.out}
    return {
        f"heads.{name}.{number}.{part}": value
        for number, linear in modules.items()
        for part, value in linear.state_dict().items()
    }


def _described(model: TransferModel, *, name: str, model_class: str) -> dict[str, Any]:
    """What the library writes beside the options of adapters and heads."""
    return {
        "name": name,
        "model_type": model.reference.model_type,
        "model_class": model_class,
        "model_name": public_name(model) or "",
        "hidden_size": model.reference.width,
        "version": LIBRARY,
    }
