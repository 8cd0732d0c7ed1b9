"""What is measured: MiniLM with random sources, through the library or as transformers computes it.

Frozen tensors are shared by all models of a process; only what differs is made anew.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from benchmarks.literal import LiteralFusion, LiteralScaling
from scalearn import sites
from scalearn.adapted import AdaptedModel
from scalearn.attention import supports_lean
from scalearn.backbones import Backbone, BackboneReference, load_backbone
from scalearn.deltas import AdapterFusion, Bottleneck, Omega, ScaledSources
from scalearn.heads import Head, Pooling
from scalearn.joint import JointModel
from scalearn.methods import Method
from scalearn.model import TransferModel
from scalearn.precision import Precision, attention_for, autocast
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task
from scalearn.training.trainer import use_training_attention

BOTTLENECK = 24
"""r of the sources: MiniLM's width 384 over the published reduction factor 16."""
OMEGA_DROPOUT = 0.3
"""As published; of the literal layer too."""

Batch = dict[str, Tensor]
Step = Callable[[], object]


def two_classes(name: str = "two-classes") -> Task:
    """A task without rows: what a head needs to know."""
    return Task(
        name=name,
        kind="classification",
        text=("text",),
        label="label",
        labels=("no", "yes"),
        metrics=("accuracy",),
        main_metric="accuracy",
    )


@cache
def _loaded() -> Backbone:
    return load_backbone()


def backbone(pooling: Pooling = "mean", *, shared: bool = True) -> Backbone:
    """MiniLM in float32 and frozen, a model of its own over tensors that all share, unless they are to be trained."""
    loaded = _loaded()
    tensors = (*loaded.model.parameters(), *loaded.model.buffers()) if shared else ()
    model = copy.deepcopy(loaded.model, {id(tensor): tensor for tensor in tensors})
    return replace(loaded, model=model, pooling=pooling)


@cache
def sources(count: int, bottleneck: int = BOTTLENECK) -> tuple[Source, ...]:
    """Random adapters of MiniLM, T of them; what is measured does not depend on the values."""
    return tuple(_source(index, bottleneck) for index in range(count))


@cache
def _source(index: int, bottleneck: int) -> Source:
    loaded = _loaded()
    generator = torch.Generator().manual_seed(index)
    tensors = {
        f"layers.{layer}.{key}": 0.02 * torch.randn(value.shape, generator=generator)
        for layer in range(loaded.layers)
        for key, value in Bottleneck(width=loaded.width, bottleneck=bottleneck).state_dict().items()
    }
    return Source(
        name=f"source-{index}",
        backbone=BackboneReference.of(loaded),
        task={"name": f"source-{index}"},
        method="adapter",
        options={"bottleneck": bottleneck},
        metrics={},
        provenance={},
        tensors=tensors,
    )


def ours(
    method: Method | str,
    device: torch.device,
    *,
    count: int = 0,
    pooling: Pooling = "mean",
    backbone_dropout: bool = False,
) -> TransferModel:
    """The library's own model, in training mode.

    Args:
        method: of `scalearn.methods`.
        device: where it is computed.
        count: T, for methods that combine sources.
        pooling: which tokens the head reads.
        backbone_dropout: whether the backbone's dropout acts.
    """
    shelf = Shelf(sources(count)) if count else None
    model = TransferModel.from_backbone(backbone(pooling), task=two_classes(), method=method, sources=shelf)
    model.backbone_dropout = backbone_dropout
    model.to(device).train()
    return model


def ours_joint(method: str, device: torch.device) -> JointModel:
    """The library's own model of two tasks, in training mode without the backbone's dropout."""
    tasks = [two_classes("first"), two_classes("second")]
    own = backbone(shared=method != "full-m")
    model = JointModel.from_backbone(own, tasks=tasks, method=method)
    model.backbone_dropout = False
    model.to(device).train()
    return model


class Reference(nn.Module):
    """transformers' model as it stands, with deltas and a head: nothing of what the library adds to make it quick.

    Args:
        deltas: one per layer; none for the plain backbone.
        pooling: which tokens the head reads.
        backbone_dropout: whether the backbone's dropout, torch's, acts.
        dtype: in which the backbone's weights are stored; the head's stay in float32.
    """

    def __init__(
        self,
        deltas: Sequence[nn.Module] = (),
        *,
        pooling: Pooling = "mean",
        backbone_dropout: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        own = backbone(pooling, shared=dtype == torch.float32)
        self.backbone = own.model.to(dtype)
        if deltas:
            sites.attach(self.backbone, {sites.LAYER: deltas})
        self.head = Head(width=own.width, outputs=2, kind="classification", pooling=pooling)
        self.backbone_dropout = backbone_dropout
        self.train()
        if not backbone_dropout:
            self.backbone.eval()
            for delta in deltas:
                delta.train()

    def forward(self, input_ids: Tensor, labels: Tensor | None = None, **others: Tensor) -> SequenceClassifierOutput:
        """Logits (B, 2), and the loss where there are labels (B,), of tokens (B, S)."""
        hidden = self.backbone(input_ids=input_ids, **others).last_hidden_state
        if not torch.is_autocast_enabled(hidden.device.type):
            hidden = hidden.float()
        logits = self.head(hidden, others.get("attention_mask"))
        return SequenceClassifierOutput(loss=None if labels is None else self.head.loss(logits, labels), logits=logits)


def from_first_site(model: Reference | TransferModel) -> None:
    """Adds a trained vector of zeros (d,) to the output of the first layer: the gradient goes as deep as omega's."""
    site = sites.find_sites(model.backbone)[0]
    offset = nn.Parameter(torch.zeros(model.backbone.config.hidden_size, device=next(model.parameters()).device))
    site.register_parameter("offset", offset)
    site.register_forward_hook(lambda module, arguments, output: output + offset.to(output.dtype))


def from_embeddings(model: Reference) -> None:
    """Lets the gradient go down to the embeddings' output, through every layer."""
    embeddings = cast(nn.Module, model.backbone.embeddings)
    embeddings.register_forward_hook(lambda module, arguments, output: output.requires_grad_())


def bottlenecks(count: int) -> list[list[Bottleneck]]:
    """Per layer, the bottlenecks of `sources`."""
    placed = [source.deltas()[sites.LAYER] for source in sources(count)]
    return [[cast(Bottleneck, delta) for delta in layer] for layer in zip(*placed, strict=True)]


def literal_scaling(count: int) -> list[nn.Module]:
    """Per layer, ScaLearn as its equation is written."""
    width = _loaded().width
    return [LiteralScaling(own, Omega(sources=count, width=width, dropout=OMEGA_DROPOUT)) for own in bottlenecks(count)]


def fused_scaling(count: int) -> list[nn.Module]:
    """Per layer, ScaLearn as the library computes it."""
    width = _loaded().width
    return [ScaledSources(own, Omega(sources=count, width=width, dropout=OMEGA_DROPOUT)) for own in bottlenecks(count)]


def fresh_bottlenecks() -> list[nn.Module]:
    """Per layer, an adapter that is to be trained."""
    loaded = _loaded()
    return [Bottleneck(width=loaded.width, bottleneck=BOTTLENECK) for _ in range(loaded.layers)]


def literal_fusion(count: int) -> list[nn.Module]:
    """Per layer, AdapterFusion as its equation is written."""
    width = _loaded().width
    return [LiteralFusion(own, AdapterFusion(own, width=width)) for own in bottlenecks(count)]


def tokens(rows: int, length: int, device: torch.device) -> Batch:
    """A batch without padding, (rows, length), with labels (rows,)."""
    generator = torch.Generator().manual_seed(0)
    shape = (rows, length)
    batch = {
        "input_ids": torch.randint(1000, 20000, shape, generator=generator),
        "token_type_ids": torch.zeros(shape, dtype=torch.long),
        "attention_mask": torch.ones(shape, dtype=torch.long),
        "labels": torch.randint(2, (rows,), generator=generator),
    }
    return {key: value.to(device) for key, value in batch.items()}


def use_attention(model: Any, *, training: bool, precision: Precision, named: str | None = None) -> None:
    """Sets the attention that the library's rule chooses, or the one that is named.

    With torch's dropout the library's own attention is out of the question: it has cheap dropout of its own.
    """
    if named:
        model.backbone.set_attn_implementation(named)
    elif training and isinstance(model, AdaptedModel):
        use_training_attention(model, precision)
    else:
        device = next(model.parameters()).device
        lean = training and supports_lean(model.backbone) and not model.backbone_dropout
        chosen = attention_for(training=training, precision=precision, device=device, lean=lean)
        model.backbone.set_attn_implementation(chosen)


def training_step(model: nn.Module, batch: Batch, precision: Precision, **others: str) -> Step:
    """Forward, loss and backward; without an optimizer.

    Args:
        model: in the mode and with the attention it is to be measured with.
        batch: with labels.
        precision: of autocast.
        others: passed to the model, for instance its task.
    """
    device = batch["input_ids"].device

    def run() -> None:
        model.zero_grad(set_to_none=True)
        with autocast(precision, device):
            loss = model(**batch, **others).loss
        loss.backward()

    return run


def answers(model: nn.Module, batch: Batch, precision: Precision) -> Step:
    """Logits in inference mode."""
    given = {key: value for key, value in batch.items() if key != "labels"}
    model.eval()

    def run() -> None:
        with torch.inference_mode(), autocast(precision, batch["input_ids"].device):
            model(**given)

    return run
