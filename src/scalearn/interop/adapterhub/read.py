"""AdapterHub adapters as sources: `adapter_config.json` with `adapter.safetensors` or `pytorch_adapter.bin`.

A layer that the adapter leaves out gets a delta of zeros, one that is narrower than the widest is padded with zeros,
and a constant scaling goes into the up projection: all of it exact. The head is not read, only the labels it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from scalearn.backbones import Backbone, BackboneReference
from scalearn.errors import InputError
from scalearn.hub import local_or_fetched, place_of
from scalearn.interop.adapterhub.names import architecture_of, key_of, part_of, sites_fault
from scalearn.interop.adapterhub.options import BottleneckOptions
from scalearn.interop.files import fault_of, precise, read_json, read_tensors
from scalearn.sites import declared
from scalearn.sources import Source

CONFIG = "adapter_config.json"
HEAD_CONFIG = "head_config.json"
SAFE_WEIGHTS = "adapter.safetensors"
WEIGHTS = "pytorch_adapter.bin"
FILES = (CONFIG, HEAD_CONFIG, SAFE_WEIGHTS, WEIGHTS)
"""All that is read of a folder."""

_KINDS = {
    "classification": "classification",
    "text_classification": "classification",
    "image_classification": "classification",
    "multilabel_classification": "multi-label",
    "multiple_choice": "multiple-choice",
}
"""Type of head to kind of task."""


def read_adapter(folder: str | Path, *, backbone: Backbone, name: str | None = None) -> Source:
    """A bottleneck adapter of the `adapters` library as a source.

    Args:
        folder: with `FILES`, or a place on the Hub (`scalearn.hub`).
        backbone: that the adapter was trained on; the file only says its name, type, width and layers.
        name: of the source; by default the adapter's.

    Raises:
        InputError: an option is not supported, the backbone is another, or a tensor is missing, unknown, misshaped or
            not finite; all that is wrong is named.
    """
    found = local_or_fetched(folder, files=FILES)
    described = read_json(found / CONFIG)
    called = described.get("name")
    if not isinstance(called, str) or not called:
        raise InputError(f"{found / CONFIG} has no name of an adapter: give a folder that the adapters library wrote")
    options, faults = BottleneckOptions.read(described)
    faults += _differences(described, backbone)
    if faults or options is None:
        raise InputError(
            f"adapter {called!r} in {folder} cannot be a source on {backbone.name}: {'; '.join(faults)}; choose "
            "another adapter, or its own backbone"
        )
    layers, faults = _layers(
        read_tensors(found, safe=SAFE_WEIGHTS, pickled=WEIGHTS), called, options=options, backbone=backbone
    )
    if faults:
        raise InputError(
            f"adapter {called!r} in {folder} does not fit {backbone.name}: {'; '.join(faults)}; copy it again, or give "
            "its own backbone"
        )
    source = Source(
        name=name or called,
        backbone=BackboneReference.of(backbone),
        task=_task(found, name=called),
        method="adapter",
        options={"bottleneck": layers[0]["down.weight"].shape[0], "activation": options.activation},
        metrics={},
        provenance=_provenance(found, described),
        tensors={f"layers.{index}.{part}": value for index, own in enumerate(layers) for part, value in own.items()},
    )
    source.deltas()
    return source


def _differences(described: Mapping[str, Any], backbone: Backbone) -> list[str]:
    """How the backbone that the file names differs from the one given, as far as the file says."""
    model_type = backbone.model.config.model_type
    faults = []
    if described.get("model_type") not in (None, model_type):
        faults.append(f"model_type is {described['model_type']!r:.80} (of the backbone: {model_type!r})")
    if (sites := sites_fault(declared(backbone.model), model_type)) is not None:
        faults.append(sites)
    if described.get("hidden_size") not in (None, backbone.width):
        faults.append(f"hidden_size is {described['hidden_size']!r:.80} (of the backbone: {backbone.width})")
    return faults


def _layers(
    tensors: Mapping[str, Tensor], name: str, *, options: BottleneckOptions, backbone: Backbone
) -> tuple[list[dict[str, Tensor]], list[str]]:
    """The parts of each layer by name, all of one bottleneck, and all that is wrong with the tensors."""
    architecture = architecture_of(backbone.model.config.model_type)
    width = backbone.width
    found: dict[tuple[int, str], Tensor] = {}
    faults = []
    for key, tensor in tensors.items():
        place = part_of(architecture, key, name=name)
        if place is None or place[0] >= backbone.layers or place[0] in options.leave_out:
            faults.append(f"{key} is unknown")
        else:
            found[place] = tensor
    layers: list[dict[str, Tensor]] = []
    for layer in range(backbone.layers):
        if layer in options.leave_out:
            layers.append({})
            continue
        bottleneck = options.bottleneck(layer=layer, width=width)
        if bottleneck is None:
            faults.append(f"reduction_factor has neither layer {layer} nor a default")
            continue
        shapes = {
            "down.weight": (bottleneck, width),
            "down.bias": (bottleneck,),
            "up.weight": (width, bottleneck),
            "up.bias": (width,),
        }
        for part, shape in shapes.items():
            key = key_of(architecture, layer=layer, name=name, part=part)
            faults += _tensor_faults(key, found.get((layer, part)), shape)
        layers.append({part: found[layer, part] for part in shapes if (layer, part) in found})
    if not faults and not any(layers):
        faults.append("leave_out leaves out every layer")
    if faults:
        return [], faults
    widest = max(own["down.bias"].shape[0] for own in layers if own)
    return [_padded(own, options.scaling, width=width, bottleneck=widest) for own in layers], []


def _tensor_faults(key: str, tensor: Tensor | None, shape: tuple[int, ...]) -> list[str]:
    if tensor is None:
        return [f"{key} is missing"]
    if tuple(tensor.shape) != shape:
        return [f"{key} has shape {tuple(tensor.shape)}, expected {shape}"]
    return [f"{key} {fault}"] if (fault := fault_of(tensor)) else []


def _padded(own: Mapping[str, Tensor], scaling: float, *, width: int, bottleneck: int) -> dict[str, Tensor]:
    """The parts of a layer, scaled, in at least float32, of this bottleneck; zeros where the layer is left out."""
    if not own:
        own = {
            "down.weight": torch.zeros(0, width),
            "down.bias": torch.zeros(0),
            "up.weight": torch.zeros(width, 0),
            "up.bias": torch.zeros(width),
        }
    parts = {part: precise(value) for part, value in own.items()}
    missing = bottleneck - parts["down.bias"].shape[0]
    padded = {
        "down.weight": F.pad(parts["down.weight"], (0, 0, 0, missing)),
        "down.bias": F.pad(parts["down.bias"], (0, missing)),
        "up.weight": scaling * F.pad(parts["up.weight"], (0, missing)),
        "up.bias": scaling * parts["up.bias"],
    }
    return {part: value.detach().clone(memory_format=torch.contiguous_format) for part, value in padded.items()}


def _task(folder: Path, *, name: str) -> dict[str, Any]:
    """What the files say of the task: its name, and by the head its kind and labels."""
    task: dict[str, Any] = {"name": name}
    if not (folder / HEAD_CONFIG).is_file():
        return task
    described = read_json(folder / HEAD_CONFIG)
    head = described.get("config")
    if not isinstance(head, Mapping):  # the head of a model class that has just one
        if not str(described.get("model_class")).endswith(("ForSequenceClassification", "ForImageClassification")):
            return task
        head = {"head_type": "classification", **described}
    kind = _KINDS.get(str(head.get("head_type")))
    if kind == "classification":
        kind = (
            "multi-label" if head.get("multilabel") is True else "regression" if head.get("num_labels") == 1 else kind
        )
    if kind is not None:
        task["kind"] = kind
    indices = head.get("label2id")
    if kind not in ("classification", "multi-label") or not isinstance(indices, Mapping):
        return task
    if all(type(index) is int for index in indices.values()):
        task["labels"] = sorted(indices, key=lambda label: int(indices[label]))
    return task


def _provenance(folder: Path, described: Mapping[str, Any]) -> dict[str, Any]:
    """Where it comes from, the place on the Hub with its commit or the folder's name, and what its file says."""
    stated = ("config", "model_name", "model_class", "model_type", "hidden_size")
    record: dict[str, Any] = {
        "imported_from": place_of(folder) or folder.resolve().name,
        "format": "adapterhub",
        "adapter": {key: described[key] for key in stated if key in described},
    }
    if isinstance(version := described.get("version"), str):
        record["versions"] = {"adapters": version.removeprefix("adapters.")}
    return record
