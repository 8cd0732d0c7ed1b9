"""What a method trains on a backbone, counted without a byte of the backbone's weights.

    method    all trained parameters but mask scores: of deltas, or of the backbone without its pooler
    masks     the scores of ProPETL's masks, of which one bit each is kept in use
    head      of two labels; a joint method has one for each task

At RoBERTa-base with T = 8 these are the numbers of ScaLearn's code (Frohmann et al., ACL Findings 2024). It ties the
first layer's mask of ProPETL-m to the last task's, as `ProPETLJoint(tie_first_layer=True)` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoConfig, AutoModel, BertConfig, PreTrainedConfig, RobertaConfig, XLMRobertaConfig

from scalearn.adapted import seeded
from scalearn.backbones import MINILM, BackboneReference, bare
from scalearn.combinable import tensors_of
from scalearn.deltas import MaskScores, TaskSwitch
from scalearn.errors import InputError
from scalearn.heads import Head
from scalearn.methods import REGISTRY, Adapter, Method, Probing, Setting
from scalearn.sites import Placement, Shape, find_sites
from scalearn.sources import Source

_ROBERTA = {"max_position_embeddings": 514, "type_vocab_size": 1}
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}

KNOWN: Mapping[str, PreTrainedConfig] = MappingProxyType(
    {
        # config.json of sentence-transformers/all-MiniLM-L6-v2
        MINILM: BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
        # config.json of google-bert/bert-base-uncased: the defaults of BertConfig
        "bert-base-uncased": BertConfig(),
        "bert-large-uncased": BertConfig(**_LARGE),
        # config.json of FacebookAI/roberta-base and FacebookAI/xlm-roberta-base, and of the large ones
        "roberta-base": RobertaConfig(vocab_size=50265, **_ROBERTA),
        "roberta-large": RobertaConfig(vocab_size=50265, **_ROBERTA, **_LARGE),
        "xlm-roberta-base": XLMRobertaConfig(vocab_size=250002, **_ROBERTA),
        "xlm-roberta-large": XLMRobertaConfig(vocab_size=250002, **_ROBERTA, **_LARGE),
    }
)
"""Backbones that are counted without network; what is not given is the class's default."""


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A backbone without its weights."""

    name: str
    shape: Shape
    parameters: int
    """Of the whole backbone but its pooler, which no head here reads."""
    embeddings: int
    """Those of them that are looked up, not multiplied with."""


def skeleton(backbone: str = MINILM) -> Skeleton:
    """The skeleton of a backbone.

    Args:
        backbone: a name in `KNOWN`, a folder with config.json, or a Hub id.

    Raises:
        InputError: there is no such backbone, or its sites are not known.
    """
    if backbone in KNOWN:
        config = KNOWN[backbone]
    else:
        try:
            config = AutoConfig.from_pretrained(backbone, trust_remote_code=False)
        except (OSError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(
                f"backbone {backbone!r} cannot be counted ({reason}): give {', '.join(KNOWN)}, a folder with "
                "config.json, or a Hub id (with network, or already in the Hub's cache)"
            ) from error
    with torch.device("meta"):
        model = bare(AutoModel.from_config(config, trust_remote_code=False))
    find_sites(model)  # an architecture without sites can carry no method
    tables = (module for module in model.modules() if isinstance(module, nn.Embedding))
    return Skeleton(
        name=backbone,
        shape=Shape.of(model),
        parameters=sum(p.numel() for p in model.parameters()),
        embeddings=sum(p.numel() for table in tables for p in table.parameters()),
    )


def count(
    method: Method, *, backbone: str | Skeleton = MINILM, sources: int = 8, source: Method | None = None
) -> dict[str, int]:
    """Trained parameters of a method: ``method``, ``masks``, ``head`` and their ``total``.

    Args:
        method: with any options; the coefficients of probing are taken as one for each source.
        backbone: its name, or its skeleton where many methods are counted.
        sources: T, the number of sources of a transfer method or of tasks of a joint one.
        source: what a transfer method's sources were trained with; an adapter of reduction 16.

    Raises:
        InputError: the method does not fit the backbone, or `sources` is below one.
    """
    if sources < 1:
        raise InputError(f"sources={sources}: count with at least one (--tasks)")
    bones = skeleton(backbone) if isinstance(backbone, str) else backbone
    shape = bones.shape
    shelf = [_source(source or Adapter(), bones)] * sources if method.stage == "transfer" else []
    switch = TaskSwitch([f"task{t}" for t in range(sources)]) if method.stage == "joint" else None
    with torch.device("meta"):
        filled = Probing(omega=(1.0,) * sources) if isinstance(method, Probing) else method.prepare(_Blank(sources))
        placement = filled.build(Setting(shape=shape, sources=shelf, switch=switch))
        head = Head(width=shape.width, outputs=2, kind="classification")
    masks = _trained(module for module in _modules(placement) if isinstance(module, MaskScores))
    counts = {
        "method": _trained(_modules(placement)) - masks + (bones.parameters if method.trains_backbone else 0),
        "masks": masks,
        "head": _trained([head]) * (sources if method.stage == "joint" else 1),
    }
    return {**counts, "total": sum(counts.values())}


def count_all(*, backbone: str | Skeleton = MINILM, sources: int = 8) -> dict[str, dict[str, int] | None]:
    """`count` of every method in the registry by name; None where one does not fit the backbone's architecture."""
    bones = skeleton(backbone) if isinstance(backbone, str) else backbone
    if sources < 1:
        raise InputError(f"sources={sources}: count with at least one (--tasks)")
    counts: dict[str, dict[str, int] | None] = {}
    for name, entry in REGISTRY.items():
        try:
            counts[name] = count(entry.method, backbone=bones, sources=sources)
        except InputError:
            counts[name] = None
    return counts


def _source(method: Method, bones: Skeleton) -> Source:
    """An untrained source without weights."""
    shape = bones.shape
    with seeded(0):
        tensors = tensors_of(method.build(Setting(shape=shape)))
    return Source(
        name="source",
        backbone=BackboneReference(
            name=bones.name, fingerprint="", model_type=shape.architecture, width=shape.width, layers=shape.layers
        ),
        task={},
        method=method.name,
        options=method.model_dump(),
        metrics={},
        provenance={},
        tensors={key: value.to("meta") for key, value in tensors.items()},
    )


class _Blank:
    """Evidence of no data: all sources are alike. What a method trains does not depend on what it would find."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.train_rows = 0
        self.tells_apart = False

    def error(self, omega: NDArray[np.float64]) -> float:
        return 0.0

    def losses(self, omegas: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.zeros((len(omegas), 2))

    def similarities(self) -> list[float]:
        return [1.0] * self.count

    def own(self) -> list[bool]:
        return [False] * self.count

    def scores(self) -> list[float]:
        return [0.0] * self.count


def _modules(placement: Placement) -> Iterable[nn.Module]:
    return (module for layers in placement.values() for delta in layers for module in delta.modules())


def _trained(modules: Iterable[nn.Module]) -> int:
    """Numbers in the trained parameters of some modules; one that several of them share counts once."""
    parameters = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
    return sum(p.numel() for p in parameters.values())
