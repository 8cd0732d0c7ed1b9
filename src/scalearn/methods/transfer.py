"""Transfer methods that mix sources otherwise than by scaling, and the table of all transfer methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from scalearn import deltas as d
from scalearn.errors import InputError
from scalearn.methods.base import Entry, Evidence, Method, Setting, large, published, small
from scalearn.methods.combine import Transfer, averaged, only_layers
from scalearn.methods.scaling import Probing, ScaLearn, UniformAverage
from scalearn.methods.search import BestSource, LoraHub
from scalearn.methods.sharing import share
from scalearn.sites import LAYER, Placement


class AdapterSoup(Transfer):
    """The sources' weights, averaged by the similarity of their texts to the target's; only a head is trained."""

    reference: ClassVar[str] = "Chronopoulou et al., Findings of EACL 2023"

    top_k: int | None = Field(5, gt=0)
    """How many of the most similar sources enter; None is all."""
    include_target: bool = True
    """Whether a source that was trained on the target task itself may enter, as published."""
    weights: tuple[float, ...] = ()
    """One per source, at least 0; empty until they are computed from similarities, which sum to 1."""

    @property
    def name(self) -> str:
        """``adaptersoup``."""
        return "adaptersoup"

    def prepare(self, evidence: Evidence) -> AdapterSoup:
        """Weighs the sources by similarity."""
        if self.weights:
            return self
        similarities = np.array(evidence.similarities())
        allowed = np.array([self.include_target or not own for own in evidence.own()])
        return self.model_copy(update={"weights": soup_weights(similarities, allowed=allowed, top_k=self.top_k)})

    def build(self, setting: Setting) -> Placement:
        """The averaged adapter."""
        if len(self.weights) != len(setting.sources):
            raise InputError(
                f"adaptersoup has {len(self.weights)} weights for {len(setting.sources)} sources: give a task with "
                "training rows, so that similarities can be computed, or weights=..."
            )
        if not all(weight >= 0 for weight in self.weights) or not any(self.weights):
            raise InputError(f"adaptersoup has the weights {self.weights}: give at least one above 0, and none below")
        chosen = [(source, weight) for source, weight in zip(setting.sources, self.weights, strict=True) if weight]
        return averaged([source for source, _ in chosen], [weight for _, weight in chosen])


def soup_weights(similarities: np.ndarray, *, allowed: np.ndarray, top_k: int | None) -> tuple[float, ...]:
    """Similarities (T,) of the `top_k` most similar sources among those allowed, normalised to sum 1; 0 elsewhere.

    Raises:
        InputError: no source that is allowed is similar at all.
    """
    kept = np.where(allowed, np.maximum(similarities, 0.0), 0.0)
    if top_k is not None:
        kept[np.argsort(-kept, kind="stable")[top_k:]] = 0.0
    if not kept.any():
        raise InputError("no source's texts are similar to the target's: give other sources, or weights=...")
    return tuple(float(value) for value in kept / kept.sum())


class AdapterFusion(Transfer):
    """Attention over the sources' outputs in every layer (`scalearn.deltas.AdapterFusion`)."""

    reference: ClassVar[str] = "Pfeiffer et al., EACL 2021"

    value: bool = True
    """Whether there is a value matrix; the published variant without is called static."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """On the attention scores."""
    regularisation: float = Field(0.01, ge=0)
    """Weight of the value matrices' distance from the identity in the loss."""

    @property
    def name(self) -> str:
        """``adapterfusion``."""
        return "adapterfusion"

    def build(self, setting: Setting) -> Placement:
        """A fusion of all sources per layer."""
        layers = only_layers(setting.sources, why="AdapterFusion reads the outputs of bottlenecks")
        width = setting.shape.width
        fusions = (d.AdapterFusion(own, width=width, value=self.value, dropout=self.dropout) for own in layers)
        return {LAYER: [share(fusion) for fusion in fusions]}

    def penalty(self, deltas: Sequence[nn.Module]) -> Tensor | float:
        """The regulariser of the value matrices, summed over layers."""
        if not self.value or not self.regularisation:
            return 0.0
        parts = [delta.penalty() for delta in deltas if isinstance(delta, d.AdapterFusion)]
        return self.regularisation * torch.stack(parts).sum()


def _scaling(method: ScaLearn) -> Entry:
    # The published single rate of 6e-3 ruins the head on small data: omega wants a large rate, the head a small one.
    return Entry(method=method, published=published(6e-3, 30), large=large(6e-3, 3e-4), small=small(1e-2))


def _head_only(method: Method) -> Entry:
    return Entry(method=method, published=published(3e-4), large=large(1e-3, 1e-3), small=small(3e-4))


ENTRIES = (
    _scaling(ScaLearn()),
    _scaling(ScaLearn(uniform=True)),
    _scaling(ScaLearn(shared=True)),
    _scaling(ScaLearn(uniform=True, shared=True)),
    Entry(method=AdapterFusion(), published=published(5e-5), large=large(3e-4, 1e-3), small=small(1e-3)),
    _head_only(AdapterSoup()),
    _head_only(LoraHub()),
    _head_only(BestSource()),
    _head_only(UniformAverage()),
    _head_only(Probing(omega=(1.0,))),
)
