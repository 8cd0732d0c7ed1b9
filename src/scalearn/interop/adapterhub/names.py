"""What the `adapters` library calls the tensors of a bottleneck adapter, as data for both directions.

    roberta.encoder.layer.3.output.adapters.NAME.adapter_down.0.weight   there
    layers.3.down.weight                                                 here (`scalearn.combinable`)

The place differs by architecture, the part after the adapter's name does not. A model without a head leaves the first
word out. Releases 1.x of adapter-transformers had other words for ``adapters``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scalearn.errors import InputError
from scalearn.families import FAMILIES, Family
from scalearn.heads import Pooling
from scalearn.kinds import Kind


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How the `adapters` library treats one model type."""

    place: str
    """The module that holds the adapters of a layer; ``*`` stands for the layer's index."""
    model_class: str
    """Its model with flexible heads; a head is loaded only by the class that its file names."""
    pooling: Pooling = "first"
    """Which token its heads read."""
    head_types: tuple[tuple[Kind, str], ...] = (
        ("classification", "classification"),
        ("regression", "classification"),
        ("multi-label", "multilabel_classification"),
        ("multiple-choice", "multiple_choice"),
    )
    """Kind of task to the type of head."""


_DECODER_HEADS = Architecture.head_types[:3]
_IMAGE_HEADS: tuple[tuple[Kind, str], ...] = tuple((kind, "image_classification") for kind, _ in _DECODER_HEADS)

ARCHITECTURES: dict[str, Architecture] = {
    "bert": Architecture(place="bert.encoder.layer.*.output.adapters", model_class="BertAdapterModel"),
    "roberta": Architecture(place="roberta.encoder.layer.*.output.adapters", model_class="RobertaAdapterModel"),
    "xlm-roberta": Architecture(place="roberta.encoder.layer.*.output.adapters", model_class="XLMRobertaAdapterModel"),
    "electra": Architecture(place="electra.encoder.layer.*.output.adapters", model_class="ElectraAdapterModel"),
    "deberta": Architecture(place="deberta.encoder.layer.*.output.adapters", model_class="DebertaAdapterModel"),
    "deberta-v2": Architecture(place="deberta.encoder.layer.*.output.adapters", model_class="DebertaV2AdapterModel"),
    "distilbert": Architecture(
        place="distilbert.transformer.layer.*.output_adapters.adapters", model_class="DistilBertAdapterModel"
    ),
    "gpt2": Architecture(
        place="transformer.h.*.output_adapters.adapters",
        model_class="GPT2AdapterModel",
        pooling="last",
        head_types=_DECODER_HEADS,
    ),
    "llama": Architecture(
        place="model.layers.*.output_adapters.adapters",
        model_class="LlamaAdapterModel",
        pooling="last",
        head_types=_DECODER_HEADS,
    ),
    "mistral": Architecture(
        place="model.layers.*.output_adapters.adapters",
        model_class="MistralAdapterModel",
        pooling="last",
        head_types=_DECODER_HEADS,
    ),
    "vit": Architecture(
        place="vit.encoder.layer.*.output.output_adapters.adapters",
        model_class="ViTAdapterModel",
        head_types=_IMAGE_HEADS,
    ),
}
"""Model type (``config.model_type``) to what the library calls things."""

PARTS = {
    "adapter_down.0.weight": "down.weight",
    "adapter_down.0.bias": "down.bias",
    "adapter_up.weight": "up.weight",
    "adapter_up.bias": "up.bias",
}
"""The end of a key there to that here."""

_OLD_WORDS = ("layer_text_task_adapters", "layer_text_lang_adapters")
"""What releases 1.x had for ``adapters``, by the type of adapter."""


def architecture_of(model_type: str) -> Architecture:
    """What the library calls things in one model type.

    Raises:
        InputError: scalearn does not exchange adapters of this model type.
    """
    if model_type not in ARCHITECTURES:
        raise InputError(
            f"AdapterHub adapters of model type {model_type!r} are not exchanged; those of "
            f"{', '.join(ARCHITECTURES)} are: choose a backbone of these types"
        )
    return ARCHITECTURES[model_type]


def sites_fault(sites: Family | None, model_type: str) -> str | None:
    """What is wrong with the sites that a backbone was declared to have, if it was; None if the library's are these."""
    usual = FAMILIES.get(model_type)
    if sites is None or usual is None or (sites.path, sites.kind) == (usual.path, usual.kind):
        return None
    return f"deltas act at {sites.path!r} (--sites, sites=), where the adapters library has {usual.path!r}"


def key_of(architecture: Architecture, *, layer: int, name: str, part: str) -> str:
    """The key of a part, such as ``down.weight``, of the adapter `name` in a layer."""
    there = {here: there for there, here in PARTS.items()}
    return f"{architecture.place.replace('*', str(layer))}.{name}.{there[part]}"


def part_of(architecture: Architecture, key: str, *, name: str) -> tuple[int, str] | None:
    """Layer and part, such as ``down.weight``, of a key; None if it is none of the adapter `name`."""
    first, _, rest = architecture.place.removesuffix(".adapters").partition(".")
    words = "|".join(("adapters", *_OLD_WORDS))
    within = re.escape(rest).replace(r"\*", r"(\d+)")
    match = re.fullmatch(rf"(?:{re.escape(first)}\.)?{within}\.(?:{words})\.{re.escape(name)}\.(.+)", key, re.ASCII)
    if match is None or match[2] not in PARTS:
        return None
    return int(match[1]), PARTS[match[2]]
