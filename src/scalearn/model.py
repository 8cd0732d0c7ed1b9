"""`TransferModel`: a frozen backbone, the deltas of a method, and a head for one task.

On disk only what was trained is kept (`scalearn.saved`): kilobytes for ScaLearn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import SequenceClassifierOutput

from scalearn import sites
from scalearn.atomic import new_folder
from scalearn.backbones import MINILM, Backbone, load_backbone
from scalearn.deltas import Omega, ScaledSources
from scalearn.encoding import Features, batches, encode
from scalearn.errors import InputError
from scalearn.heads import Head, Pooling
from scalearn.methods import Adapter, Method, ScaLearn, method_from_name
from scalearn.precision import Precision, attention_for, autocast
from scalearn.prediction import Prediction, predictions, text_columns
from scalearn.saved import SavedModel, copy_in, refer
from scalearn.sources import BackboneReference, Shelf, Source
from scalearn.tasks import Task


class TransferModel(nn.Module):
    """Backbone, deltas and head. Build it with `from_backbone` or `from_pretrained`.

    Args:
        backbone: loaded, without deltas; it is taken over, not copied.
        task: what is learned.
        method: what is trained.
        sources: those that the method combines, in order.
        seed: of the initialisation of deltas and head.
    """

    def __init__(
        self, backbone: Backbone, *, task: Task, method: Method, sources: Sequence[Source] = (), seed: int = 0
    ) -> None:
        super().__init__()
        self.task = task
        self.method = method
        self.sources = tuple(sources)
        self.reference = BackboneReference.of(backbone)
        self.tokenizer = backbone.tokenizer
        self.backbone = backbone.model
        self.backbone.requires_grad_(method.trains_backbone)
        self.backbone_dropout = True
        with _seeded(seed):
            deltas = method.build(width=backbone.width, layers=backbone.layers, sources=sources)
            self.head = Head(width=backbone.width, outputs=task.outputs, kind=task.kind, pooling=backbone.pooling)
        if not deltas and sites.attached(self.backbone):
            raise InputError(
                f"{backbone.name} carries deltas already: load it anew, or call scalearn.sites.detach on it"
            )
        if deltas:
            sites.attach(self.backbone, deltas)

    @classmethod
    def from_backbone(
        cls,
        backbone: str | Backbone = MINILM,
        *,
        task: Task,
        method: Method | str = "scalearn",
        sources: Shelf | None = None,
        pooling: Pooling | None = None,
        seed: int = 0,
    ) -> TransferModel:
        """A model ready to be trained.

        Args:
            backbone: ``minilm``, a folder, a Hub id, or one loaded with `scalearn.backbones.load_backbone`.
            task: what is to be learned.
            method: one of `scalearn.methods`, or its name.
            sources: for transfer methods, the shelf to combine.
            pooling: which tokens the head reads; by default what suits the backbone.
            seed: of the initialisation.

        Raises:
            InputError: backbone, method and sources do not go together.
        """
        method = method_from_name(method) if isinstance(method, str) else method
        if method.stage == "transfer" and sources is None:
            raise InputError(
                f"method {method.name!r} combines sources: give a shelf (sources=Shelf(...), --sources DIR)"
            )
        if method.stage == "single" and sources is not None:
            raise InputError(f"method {method.name!r} uses no sources: leave them out, or choose a transfer method")
        if isinstance(backbone, str):
            backbone = load_backbone(backbone, pooling=pooling)
        elif pooling is not None:
            backbone = replace(backbone, pooling=pooling)
        if sources is not None:
            sources.check_fits(backbone)
        return cls(backbone, task=task, method=method, sources=tuple(sources or ()), seed=seed)

    # ---- computation

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> SequenceClassifierOutput:
        """Logits, and the loss where there are labels.

        Args:
            input_ids: (B, S).
            attention_mask: (B, S), 1 for tokens and 0 for padding.
            token_type_ids: (B, S), for backbones that have them.
            labels: (B,), class indices or numbers.
            output_hidden_states: also return the hidden states, L + 1 of (B, S, d).

        Returns:
            ``logits`` (B, outputs); ``loss``, in training including the method's penalty; ``hidden_states``.
        """
        extra = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        encoded = self.backbone(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=output_hidden_states, **extra
        )
        logits = self.head(encoded.last_hidden_state, attention_mask)
        loss = None if labels is None else self.head.loss(logits, labels)
        if loss is not None and self.training:
            loss = loss + self.penalty()
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=encoded.hidden_states)

    def penalty(self) -> Tensor | float:
        """What the method adds to the training loss: lambda times the omega regulariser, summed over layers."""
        if not isinstance(self.method, ScaLearn) or not self.method.regularisation:
            return 0.0
        omegas = [delta.omega for delta in self.deltas if isinstance(delta, ScaledSources)]
        return self.method.regularisation * sum(omega.penalty() for omega in omegas if isinstance(omega, Omega))

    @property
    def deltas(self) -> list[nn.Module]:
        """The deltas, first layer first; empty for full fine-tuning and a plain head."""
        return sites.attached(self.backbone)

    def train(self, mode: bool = True) -> TransferModel:
        """As `nn.Module.train`; with ``backbone_dropout = False`` the backbone itself stays without dropout."""
        super().train(mode)
        if mode and not self.backbone_dropout:
            self.backbone.eval()
            for delta in self.deltas:
                delta.train()
            for module in self.backbone.modules():
                if isinstance(module, GradientCheckpointingLayer):
                    module.training = True  # the flag of the layer itself only decides about checkpointing
        return self

    def activation_checkpointing_enable(self, **options: Any) -> None:
        """Trades computation for memory in the backbone; `transformers.Trainer` calls it by this name."""
        self.backbone.activation_checkpointing_enable(**options)

    @property
    def device(self) -> torch.device:
        """Where the head is."""
        return self.head.out.weight.device

    def predict(
        self, texts: Sequence[str | tuple[str, ...]], *, batch_size: int = 64, precision: Precision = "auto"
    ) -> list[Prediction]:
        """Answers rows of texts.

        Args:
            texts: one string, or a tuple of one or two, per row, as the task has them.
            batch_size: rows at a time; rows of like length go together.
            precision: see `scalearn.precision`.

        Raises:
            InputError: a row has another number of texts than the task, or one that is not a string.
        """
        columns = text_columns(texts, self.task)
        return predictions(self.logits(self.encode(columns), batch_size=batch_size, precision=precision), self.task)

    def encode(
        self, texts: Mapping[str, Sequence[str]], labels: Sequence[int] | Sequence[float] | None = None
    ) -> list[Features]:
        """Tokenises columns ``text_a`` and, for pairs, ``text_b``; see `scalearn.encoding.encode`."""
        return encode(self.need_tokenizer(), texts, max_length=self.task.max_length, labels=labels)

    def need_tokenizer(self) -> PreTrainedTokenizerBase:
        """The backbone's tokenizer.

        Raises:
            InputError: the model was built without one.
        """
        if self.tokenizer is None:
            raise InputError(
                "this model was built without a tokenizer: give one in its Backbone, or pass token ids to forward"
            )
        return self.tokenizer

    @torch.no_grad()
    def logits(self, rows: Sequence[Features], *, batch_size: int = 64, precision: Precision = "auto") -> Tensor:
        """Logits (N, outputs) in float32 of tokenised rows, in their order, in evaluation mode."""
        was_training = self.training
        self.eval()
        self.backbone.set_attn_implementation(attention_for(training=False, precision=precision, device=self.device))
        result = torch.empty(len(rows), self.task.outputs)
        try:
            for positions, batch in batches(self.need_tokenizer(), rows, batch_size=batch_size):
                batch.pop("labels", None)
                with autocast(precision, self.device):
                    out = self(**{key: value.to(self.device) for key, value in batch.items()})
                result[positions] = out.logits.float().cpu()
        finally:
            self.train(was_training)
        return result

    # ---- what was trained

    def trained_state(self) -> dict[str, Tensor]:
        """The trained tensors by name, an omega shared by layers once."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Sets the trained tensors.

        Raises:
            InputError: names or shapes differ from this model's; all differences are named.
        """
        own = {name: p for name, p in self.named_parameters() if p.requires_grad}
        faults = [f"{name} is missing" for name in own.keys() - state.keys()]
        faults += [f"{name} is unknown" for name in state.keys() - own.keys()]
        faults += [
            f"{name} has shape {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
            for name in own.keys() & state.keys()
            if state[name].shape != own[name].shape
        ]
        if faults:
            raise InputError(f"the weights do not fit method {self.method.name!r}: {'; '.join(sorted(faults))}")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state[name])

    def parameter_counts(self) -> dict[str, int]:
        """Trained parameters: of the ``method`` (deltas or backbone), of the ``head``, and in ``total``."""
        total = sum(p.numel() for p in self.parameters() if p.requires_grad)
        head = sum(p.numel() for p in self.head.parameters())
        return {"method": total - head, "head": head, "total": total}

    def omega(self) -> Tensor:
        """The coefficients as they act, (L, T, d) or (L, T, 1).

        Raises:
            InputError: the method has no omega.
        """
        omegas = [delta.omega for delta in self.deltas if isinstance(delta, ScaledSources)]
        if not omegas:
            raise InputError(
                f"method {self.method.name!r} has no omega: only unfolded ScaLearn and probing models have"
            )
        with torch.no_grad():
            return torch.stack([o.constrained() if isinstance(o, Omega) else o() for o in omegas])

    def fold(self) -> TransferModel:
        """Replaces sources and omega by one ordinary bottleneck per layer, of width T * r, in place; returns itself.

        The folded model gives the same answers, needs no sources, and is saved as an `Adapter`.

        Raises:
            InputError: there is nothing to fold.
        """
        folded = [delta.fold() for delta in self.deltas if isinstance(delta, ScaledSources)]
        if not folded:
            raise InputError(f"method {self.method.name!r} has nothing to fold: only ScaLearn and probing models have")
        sites.detach(self.backbone)
        sites.attach(self.backbone, folded)
        self.method = Adapter(bottleneck=folded[0].down.out_features)
        self.sources = ()
        return self.train(self.training)

    @property
    def makes_source(self) -> bool:
        """Whether what was trained can be combined by transfer methods."""
        return isinstance(self.method, Adapter)

    def to_source(self, *, name: str, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> Source:
        """The trained adapter as a source for other tasks.

        Raises:
            InputError: the method is not one whose deltas can be combined.
        """
        if not self.makes_source:
            raise InputError(f"method {self.method.name!r} gives no source: train with method 'adapter'")
        return Source(
            name=name,
            backbone=self.reference,
            task=self.task.describe(),
            method=self.method.name,
            options=self.method.model_dump(),
            metrics=metrics,
            provenance=provenance,
            tensors={
                f"layers.{index}.{key}": value.detach().cpu()
                for index, delta in enumerate(self.deltas)
                for key, value in delta.state_dict().items()
            },
        )

    # ---- disk

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        include_sources: bool = False,
        overwrite: bool = False,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes the model as a new folder.

        Args:
            folder: must not exist, unless `overwrite`.
            include_sources: copy the sources in, so that the folder and the backbone are all that is needed.
            overwrite: replace a folder that exists.
            extra: further facts to keep in `scalearn.json`, for instance scores.
        """
        folder = Path(folder)
        with new_folder(folder, overwrite=overwrite) as aside:
            self.write_into(aside, folder=folder, include_sources=include_sources, extra=extra)

    def write_into(
        self, aside: Path, *, folder: Path, include_sources: bool = False, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Writes the files into `aside`, which will be called `folder`."""
        SavedModel(
            backbone=self.reference,
            pooling=self.head.pooling,
            task=self.task,
            method=self.method,
            sources=[
                copy_in(source, aside=aside) if include_sources else refer(source, folder=folder)
                for source in self.sources
            ],
            state=self.trained_state(),
            facts={"trained_parameters": self.parameter_counts(), **(extra or {})},
        ).write(aside)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, backbone: str | Backbone | None = None, sources: Shelf | None = None
    ) -> TransferModel:
        """Loads a saved model, checking backbone, sources and weights.

        Args:
            folder: what `save_pretrained` wrote.
            backbone: where its backbone is now, if not where it was.
            sources: a shelf that holds its sources, if they are not where they were.

        Raises:
            InputError: something is missing or differs; the message says what.
        """
        folder = Path(folder)
        saved = SavedModel.read(folder)
        shelf = saved.find_sources(folder, sources)
        if not isinstance(backbone, Backbone):
            backbone = load_backbone(backbone or saved.backbone.name)
        backbone = replace(backbone, pooling=saved.pooling)
        if difference := saved.backbone.difference(backbone):
            raise InputError(f"{folder} {difference}: give its backbone with backbone=... (--backbone)")
        if shelf is not None:
            shelf.check_fits(backbone)
        model = cls(backbone, task=saved.task, method=saved.method, sources=tuple(shelf or ()))
        model.load_trained_state(saved.state)
        return model.eval()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draws from a generator of its own, leaving the global one as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
