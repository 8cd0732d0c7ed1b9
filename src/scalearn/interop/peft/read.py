"""PEFT checkpoints as sources: every module's update goes to the site where it acts.

A module is a site by its role (``query``) or by its path (``layers.*.self_attn.o_proj``): see `scalearn.sites`. Layers
that have no update get one of zeros (IA3: a scale of ones). A source has one alpha, so what `rank_pattern`,
`alpha_pattern` and rank-stabilised scaling make of it goes into the up matrices: all of it exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scalearn.backbones import Backbone, BackboneReference
from scalearn.deltas import Lora, Rescaling
from scalearn.errors import InputError
from scalearn.hub import local_or_fetched, own_name, place_of
from scalearn.interop.peft.checkpoint import FILES, Checkpoint, linear_maps
from scalearn.methods import IA3, LoRA, Method
from scalearn.sites import INPUT, Shape, find_sites
from scalearn.sources import Source

_STATED = ("peft_type", "base_model_name_or_path", "task_type", "target_modules", "r", "lora_alpha", "use_rslora")


def read_peft(folder: str | Path, *, backbone: Backbone, name: str | None = None) -> Source:
    """A LoRA or IA3 checkpoint of PEFT as a source.

    What belongs to the head, also as a whole (``modules_to_save``), is not read; `Source.provenance` names it.

    Args:
        folder: with `FILES`, or a place on the Hub (`scalearn.hub`).
        backbone: that it was trained on; the file only says its name.
        name: of the source; by default the folder's, or the repository's.

    Raises:
        InputError: an option is not supported, the backbone is another, or a tensor is missing, unknown, misshaped or
            not finite; all that is wrong is named.
    """
    found = local_or_fetched(folder, files=FILES)
    checkpoint = Checkpoint.read(found)
    sites, beyond = _by_site(checkpoint, backbone)
    called = name or re.sub(r"[^A-Za-z0-9._+-]", "-", own_name(found)).lstrip("._+-") or "peft"
    options = checkpoint.options
    if options.kind == "lora":
        method: Method = LoRA(rank=options.rank, alpha=options.alpha, modules=tuple(sites))
    else:
        method = IA3(modules=tuple(sites))
    source = Source(
        name=called,
        backbone=BackboneReference.of(backbone),
        task={"name": called},
        method=method.name,
        options=method.model_dump(),
        metrics={},
        provenance=_provenance(found, checkpoint, ignored=[*checkpoint.ignored, *beyond]),
        tensors={
            f"layers.{layer}.{site}.{part}": tensor
            for site, layers in sites.items()
            for layer in range(backbone.layers)
            for part, tensor in _tensors(layers, layer, checkpoint).items()
        },
    )
    source.deltas()
    return source


def _by_site(checkpoint: Checkpoint, backbone: Backbone) -> tuple[dict[str, dict[int, Lora | Rescaling]], list[str]]:
    """Site to the deltas there by layer, roles first; and modules of a head."""
    model = backbone.model
    shape, linears = Shape.of(model), linear_maps(model)
    names = tuple(dict.fromkeys((*shape.linears, *shape.paths)))
    places: dict[nn.Module, tuple[str, int]] = {}
    for site in names:
        for layer, module in enumerate(find_sites(model, site)):
            places.setdefault(module, (site, layer))
    base = f"{model.base_model_prefix}."
    frozen = {name for name, _ in model.named_modules()}
    placed, beyond = checkpoint.placed(linears, bases=(base, f"{base}encoder.", "encoder."), frozen=frozen)
    found: dict[str, dict[int, Lora | Rescaling]] = {site + at: {} for site in names for at in ("", INPUT)}
    faults = []
    for path, delta in placed.items():
        name, at = path.removesuffix(INPUT), INPUT if path.endswith(INPUT) else ""
        if place := places.get(linears[name]):
            found[place[0] + at][place[1]] = delta
        else:
            faults.append(f"{name} is not a map that every layer has")
    found = {site: layers for site, layers in found.items() if layers}
    if checkpoint.options.every_layer:
        for site, layers in found.items():
            faults += [f"{site} has no update in layer {n}" for n in range(backbone.layers) if n not in layers]
    if faults:
        raise InputError(
            f"{checkpoint.folder} cannot be a source on {backbone.name}: {'; '.join(faults)}; save it without those "
            "that are too many, copy it again if there are too few, or merge it into a backbone"
        )
    return found, beyond


def _tensors(layers: Mapping[int, Lora | Rescaling], layer: int, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a layer at a site, scaled as if its alpha were the checkpoint's."""
    some = next(iter(layers.values()))
    delta = layers.get(layer)
    if isinstance(some, Rescaling):
        return {"scale": (some.absent() if delta is None else delta).state_dict()["scale"]}
    if not isinstance(delta, Lora):
        rank = checkpoint.options.rank
        zeros = {"down.weight": (rank, some.down.in_features), "up.weight": (some.up.out_features, rank)}
        return {part: torch.zeros(shape, dtype=some.up.weight.dtype) for part, shape in zeros.items()}
    own = delta.state_dict()
    return {**own, "up.weight": (delta.alpha / checkpoint.options.alpha) * own["up.weight"]}


def _provenance(folder: Path, checkpoint: Checkpoint, *, ignored: Sequence[str]) -> dict[str, Any]:
    """Where it comes from, the place on the Hub with its commit or the folder's name, and what its file says."""
    described = checkpoint.described
    record: dict[str, Any] = {
        "imported_from": place_of(folder) or folder.resolve().name,
        "format": "peft",
        "adapter": {key: described[key] for key in _STATED if described.get(key) is not None},
    }
    if ignored:
        record["ignored_modules"] = list(ignored)
    if isinstance(version := described.get("peft_version"), str):
        record["versions"] = {"peft": version}
    return record
