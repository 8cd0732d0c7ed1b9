"""`TransferModel`: a frozen backbone, the deltas of a method, and a head for one task.

On disk only what was trained is kept (`scalearn.saved`): kilobytes for ScaLearn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, cast

import torch
from torch import Tensor
from transformers.modeling_outputs import SequenceClassifierOutput

from scalearn import sites
from scalearn.adapted import AdaptedModel, seeded
from scalearn.atomic import new_folder
from scalearn.backbones import MINILM, Backbone
from scalearn.combinable import COMBINABLE, tensors_of
from scalearn.deltas import Lora, Scaled
from scalearn.deltas.scaling import acting
from scalearn.encoding import Features
from scalearn.errors import InputError
from scalearn.families import Family
from scalearn.folding import check_foldable, folded_deltas, folded_method
from scalearn.heads import Head, Pooling
from scalearn.methods import LoRA, Method, Protocol, Setting
from scalearn.precision import Precision
from scalearn.prediction import Prediction, columns_of, predictions
from scalearn.preparation import prepared
from scalearn.pruning import Strength, narrowed, scaling, staying, strengths
from scalearn.pushing import Pushed, Pushing
from scalearn.quantised import is_quantised
from scalearn.saved import SavedModel, SourceReference, copy_in, folder_of, refer, stands_in
from scalearn.shelf import Shelf
from scalearn.sites import Placement, Shape
from scalearn.sources import Source
from scalearn.tasks import Task


class TransferModel(AdaptedModel):
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
        setting = Setting(shape=Shape.of(backbone.model), sources=tuple(sources))
        with seeded(seed):
            super().__init__(backbone, method=method, setting=setting)
            self.task = task
            self.head = Head(width=backbone.width, outputs=task.outputs, kind=task.kind, pooling=backbone.pooling)

    @classmethod
    def from_backbone(
        cls,
        backbone: str | Backbone = MINILM,
        *,
        task: Task,
        method: Method | str = "scalearn",
        sources: Shelf | None = None,
        top_sources: int | None = None,
        pooling: Pooling | None = None,
        sites: str | Family | None = None,
        protocol: Protocol = "default",
        seed: int = 0,
    ) -> TransferModel:
        """A model ready to be trained.

        Args:
            backbone: ``minilm``, a folder, a Hub id, or one loaded with `scalearn.backbones.load_backbone`.
            task: what is to be learned.
            method: one of `scalearn.methods`, or its name: then with the options of `protocol`.
            sources: for transfer methods, the shelf to combine.
            top_sources: only so many of them, those that suit the task best: see `scalearn.ranking`.
            pooling: which tokens the head reads; by default what suits the backbone.
            sites: where the backbone's layers are, if scalearn does not know its type (`scalearn.sites.declare`).
            protocol: see `scalearn.methods.Protocol`.
            seed: of the initialisation.

        Raises:
            InputError: backbone, method and sources do not go together.
        """
        parts = prepared(
            backbone,
            task=task,
            method=method,
            sources=sources,
            top_sources=top_sources,
            pooling=pooling,
            sites=sites,
            protocol=protocol,
            seed=seed,
        )
        model = cls(parts.backbone, task=task, method=parts.method, sources=parts.sources, seed=seed)
        model.protocol = parts.protocol
        return model

    def heads_by_task(self) -> Mapping[str, Head]:
        """The one head."""
        return {self.task.name: self.head}

    def select(self, task: Task | None) -> tuple[Task, Head]:
        """The one task and its head."""
        return self.task, self.head

    # ---- computation

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        pooled: Tensor | None = None,
        pixel_values: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> SequenceClassifierOutput:
        """Logits, and the loss where there are labels.

        Args:
            input_ids: (B, S); (B, C, S) for multiple choice.
            attention_mask: of the same shape, 1 for tokens and 0 for padding.
            token_type_ids: of the same shape, for backbones that have them.
            labels: (B,), class indices, numbers or right choices; (B, labels) of 0 and 1 for multi-label.
            pooled: (B, d) or (B, C, d), instead of tokens: what `pooled_of` computed of them.
            pixel_values: (B, C, H, W), instead of tokens: images.
            output_hidden_states: also return the hidden states, L + 1 of (B, S, d).

        Returns:
            ``logits`` (B, outputs), or (B, C) for multiple choice; ``loss``, in training including the method's
            penalty; ``hidden_states``.
        """
        batch = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "pooled": pooled,
            "pixel_values": pixel_values,
        }
        return self.computed(self.head, batch, labels, output_hidden_states=output_hidden_states)

    def predict(self, rows: Sequence[Any], *, batch_size: int = 64, precision: Precision = "auto") -> list[Prediction]:
        """Answers rows of texts or images.

        Args:
            rows: one string, or a tuple of one or two, per row, as the task has them; for multiple choice, the text
                and then its choices; for images a path, the bytes of a file or a `PIL.Image.Image`.
            batch_size: rows at a time; rows of like length go together.
            precision: see `scalearn.precision`.

        Raises:
            InputError: a row has another number of texts than the task, or one that is not a string; or it is no image
                that can be opened.
        """
        columns = columns_of(rows, self.task)
        return predictions(self.logits(self.encode(columns), batch_size=batch_size, precision=precision), self.task)

    def encode(self, columns: Mapping[str, Sequence[Any]], labels: Any = None) -> Sequence[Features]:
        """Encodes the columns of the model's task, texts or images."""
        return self.encode_for(self.task, columns, labels)

    def logits(self, rows: Sequence[Features], *, batch_size: int = 64, precision: Precision = "auto") -> Tensor:
        """Logits in float32 of tokenised rows, in their order, in evaluation mode: (N, outputs), or (N, C)."""
        return self.logits_of(self.head, rows, batch_size=batch_size, precision=precision)

    # ---- what the deltas say and give

    @property
    def has_omega(self) -> bool:
        """Whether `omega` can be read."""
        scaled = [delta.omega for delta in self.deltas if isinstance(delta, Scaled)]
        return len({tuple(omega.values.shape) for omega in scaled}) == 1

    def omega(self) -> Tensor:
        """The coefficients as they act, (L, T, d) or (L, T, 1); over LoRA sources, site by site.

        Raises:
            InputError: the method has no omega, or its sites are of unequal width.
        """
        omegas = [delta.omega for delta in self.deltas if isinstance(delta, Scaled)]
        if not omegas:
            raise InputError(
                f"method {self.method.name!r} has no omega: only unfolded ScaLearn and probing models have"
            )
        if len({tuple(omega.values.shape) for omega in omegas}) > 1:
            raise InputError(
                "the sources act on maps of unequal width: read model.placement[site][layer].omega instead"
            )
        with torch.no_grad():
            return torch.stack([acting(omega) for omega in omegas])

    def fold(self) -> TransferModel:
        """Replaces sources and coefficients by one ordinary delta per site, in place; returns itself.

        Bottlenecks become one bottleneck of width T * r. LoRA updates become one of rank T * r that is added to the
        weight itself, so that inference costs nothing more; a model of method ``lora`` is folded likewise. Scales
        (IA3) become one scale. The folded model gives the same answers, needs no sources, and is saved as `Adapter`,
        `LoRA` or `IA3`. One folded into its weights, also after saving and loading, cannot be trained any more.

        Raises:
            InputError: there is nothing to fold, or the weights are quantised.
        """
        folded = self.placement
        check_foldable(folded, method=self.method, backbone=self.reference.name, quantised=is_quantised(self.backbone))
        if not isinstance(self.method, LoRA):
            folded = folded_deltas(self.placement)
            self._become(folded, method=folded_method(folded), sources=(), fact="folded_from")
        if isinstance(self.method, LoRA):
            self.method = self.method.model_copy(update={"folded": True})
            for site, layers in folded.items():
                for linear, delta in zip(sites.find_sites(self.backbone, site), layers, strict=True):
                    cast(Lora, delta).merge(linear)
        return cast(TransferModel, self.train(self.training))

    def strengths(self) -> list[Strength]:
        """How strongly each source acts, in the order of `sources` (`scalearn.pruning`).

        Raises:
            InputError: the method has no coefficient for each source.
        """
        return strengths(scaling(self.placement, self.method, self.sources), self.sources)

    def prune(self, *, threshold: float | None = None, keep: int | None = None) -> TransferModel:
        """Drops the sources that hardly act from memory and computation, in place; returns itself.

        The pruned model needs the sources that stay, in `sources`; it is saved, folded, served and trained on as any
        other over these. Omega stays as it acts: what a constraint or `keep` made of it is now its values. Scores that
        were measured before, and are not its own any more, move to the fact ``pruned_from``.

        Args:
            threshold: drop sources whose coefficients are all at most this share of the largest one; 0, also where
                neither is given, drops those that are 0 throughout.
            keep: keep so many sources, those of the largest mean |omega|.

        Raises:
            InputError: there is nothing to prune, both are given, or one is out of range.
        """
        found = self.strengths()
        kept = staying(found, threshold=threshold, keep=keep)
        method, left = narrowed(
            self.placement, method=self.method, sources=self.sources, kept=kept, shape=Shape.of(self.backbone)
        )
        if len(kept) < len(found):
            stale: dict[str, Any] = {}
            if any(one.largest for t, one in enumerate(found) if t not in kept):  # else it answers as before
                stale = {"metrics": self.facts.get("metrics", {})}
                self.facts = {name: fact for name, fact in self.facts.items() if name != "metrics"}
            self._become(left, method=method, sources=[self.sources[t] for t in kept], fact="pruned_from", stale=stale)
        return cast(TransferModel, self.train(self.training))

    def _become(
        self,
        deltas: Placement,
        *,
        method: Method,
        sources: Sequence[Source],
        fact: str,
        stale: Mapping[str, Any] | None = None,
    ) -> None:
        """Puts other deltas in the place of its own; keeps as a fact what it was, and `stale`, earlier ones within."""
        was = {
            "method": self.method.name,
            "options": self.method.model_dump(),
            "sources": [{"name": source.name, "sha256": source.digest()} for source in self.sources],
            "trained_parameters": self.parameter_counts(),
            **(stale or {}),
            **({fact: self.facts[fact]} if fact in self.facts else {}),
        }
        sites.detach(self.backbone)
        sites.attach(self.backbone, deltas)
        self.method, self.sources = method, tuple(sources)
        self.facts = {**self.facts, fact: was}

    @property
    def makes_source(self) -> bool:
        """Whether what was trained can be combined by transfer methods."""
        return self.method.gives_source

    def to_source(
        self,
        *,
        name: str,
        metrics: Mapping[str, Any],
        provenance: Mapping[str, Any],
        embedding: Sequence[float] = (),
    ) -> Source:
        """The trained deltas as a source for other tasks.

        Raises:
            InputError: the method is not one whose deltas can be combined.
        """
        if not self.makes_source:
            raise InputError(f"method {self.method.name!r} gives no source: train with {', '.join(COMBINABLE)}")
        return Source(
            name=name,
            backbone=self.reference,
            task=self.task.describe(),
            method=self.method.name,
            options=self.method.model_dump(),
            metrics=metrics,
            provenance=provenance,
            tensors=tensors_of(self.placement),
            embedding=tuple(embedding),
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
            overwrite: replace a folder that exists; sources that stand in it are copied in all the same.
            extra: further facts to keep in `scalearn.json`, for instance scores.
        """
        folder = Path(folder)
        with new_folder(folder, overwrite=overwrite) as aside:
            self.write_into(aside, folder=folder, include_sources=include_sources, extra=extra)

    def write_into(
        self, aside: Path, *, folder: Path, include_sources: bool = False, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Writes the files into `aside`, which will be called `folder`."""
        references = [
            copy_in(source, aside=aside)
            if include_sources or stands_in(source, folder=folder)
            else refer(source, folder=folder)
            for source in self.sources
        ]
        self._saved(extra, sources=references).write(aside)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        include_sources: bool = False,
        backbone: str | None = None,
        extra: Mapping[str, Any] | None = None,
        **how: Unpack[Pushing],
    ) -> Pushed:
        """Uploads the model as a model repository, which is made if there is none.

        What is uploaded names no place of this machine. Sources that neither ship with scalearn nor are on the Hub
        are uploaded too, so that the repository and the backbone are all that others need.

        Args:
            repo_id: ``owner/name``.
            include_sources: upload all sources.
            backbone: where others find its backbone, if it was a local folder.
            extra: further facts to keep in `scalearn.json`, for instance scores.
            how: ``private``, ``revision``, ``token``, ``commit_message``: see `scalearn.pushing.Pushing`.

        Raises:
            InputError: the Hub refuses, or cannot be reached.
        """
        return self._saved(extra).push_to_hub(
            repo_id, sources=self.sources, include_sources=include_sources, backbone=backbone, **how
        )

    def _saved(self, extra: Mapping[str, Any] | None, sources: Sequence[SourceReference] = ()) -> SavedModel:
        return SavedModel(
            backbone=self.reference,
            pooling=self.head.pooling,
            tasks=[self.task],
            method=self.method,
            sources=sources,
            state=self.trained_state(),
            facts={**self.facts, "trained_parameters": self.parameter_counts(), **(extra or {})},
        )

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        backbone: str | Backbone | None = None,
        sources: Shelf | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> TransferModel:
        """Loads a saved model, checking backbone, sources and weights.

        Args:
            folder: what `save_pretrained` wrote, or a place on the Hub: see `scalearn.hub`.
            backbone: where its backbone is now, if not where it was.
            sources: a shelf that holds its sources, if they are not where they were.
            revision: on the Hub, a branch, a tag or a commit.
            token: for the Hub; by default ``HF_TOKEN`` or that of ``hf auth login``.

        Raises:
            InputError: something is missing or differs; the message says what.
        """
        folder = folder_of(folder, revision=revision, token=token)
        saved = SavedModel.read(folder)
        if saved.method.stage == "joint":
            names = ", ".join(task.name for task in saved.tasks)
            raise InputError(f"{folder} is a model of several tasks ({names}): load it with JointModel, or give --task")
        shelf = saved.find_sources(folder, sources)
        backbone = saved.load_backbone(backbone, folder=folder)
        if shelf is not None:
            shelf.check_fits(backbone)
        model = cls(backbone, task=saved.task, method=saved.method, sources=tuple(shelf or ()))
        model.load_trained_state(saved.state)
        model.facts = saved.facts
        if isinstance(saved.method, LoRA) and saved.method.folded:
            model.fold()
        return model.eval()
