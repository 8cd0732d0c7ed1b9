"""What models of one task and of several have in common: a backbone, the deltas of a method, and what is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from scalearn import sites
from scalearn.attention import supports_lean
from scalearn.backbones import Backbone, BackboneReference
from scalearn.deltas import Lora
from scalearn.dropout import make_cheap
from scalearn.encoding import Features, batches, encode, labels_of, lengths_of
from scalearn.errors import InputError
from scalearn.heads import Head, pool
from scalearn.methods import Method, Setting
from scalearn.precision import Attention, Precision, attention_for, autocast
from scalearn.quantised import is_quantised
from scalearn.reading import flattened, pooled
from scalearn.sites import Placement
from scalearn.state import keep_trained_only
from scalearn.tasks import Task
from scalearn.tokens import tokens_of

if TYPE_CHECKING:
    from scalearn.encoding import Processor


class Answer(NamedTuple):
    """What a head makes of a batch."""

    logits: Tensor
    """(B, outputs), or (B, C) for multiple choice."""
    hidden_states: tuple[Tensor, ...] | None
    """L + 1 of (B, S, d), or of (B * C, S, d)."""


class AdaptedModel(nn.Module, ABC):
    """A backbone, frozen unless the method trains it, with the deltas of a method attached.

    Args:
        backbone: loaded, without deltas; it is taken over, not copied.
        method: what is trained.
        setting: what the method is built for.
    """

    def __init__(self, backbone: Backbone, *, method: Method, setting: Setting) -> None:
        super().__init__()
        self.method = method
        self.sources = tuple(setting.sources)
        self.reference = BackboneReference.of(backbone)
        self.tokenizer = backbone.tokenizer
        self.image_processor = backbone.image_processor
        self.pooling = backbone.pooling
        self.backbone = backbone.model
        if method.trains_backbone and is_quantised(self.backbone):
            raise InputError(
                f"{backbone.name} is quantised, so method {method.name!r} cannot train its weights: choose another "
                "method, or the backbone as it was before"
            )
        self.backbone.requires_grad_(method.trains_backbone)
        self.backbone_dropout = True
        self.attention: Attention = "auto"
        """The attention implementation; ``"auto"`` chooses by `scalearn.precision.attention_for`."""
        self.protocol: str | None = None
        """Whose options the method has, where it was asked for by name and has other ones than it is published with."""
        self.facts: Mapping[str, Any] = {}  # what its folder said beside the weights: scores, provenance
        if sites.attached(self.backbone):
            raise InputError(
                f"{backbone.name} carries deltas already: load it anew, or call scalearn.sites.detach on it"
            )
        make_cheap(self.backbone)
        placement = method.build(setting)
        check_apart(self.backbone, placement)
        sites.attach(self.backbone, placement)
        keep_trained_only(self)

    @abstractmethod
    def heads_by_task(self) -> Mapping[str, Head]:
        """Every head, by the name of its task."""

    @abstractmethod
    def select(self, task: Task | None) -> tuple[Task, Head]:
        """Makes ready to compute a task: the model's own description of it, and its head.

        Args:
            task: one of the model's, maybe with other rows; None is the only one there is.
        """

    # ---- computation

    def answer(self, head: Head, batch: Mapping[str, Tensor], *, output_hidden_states: bool = False) -> Answer:
        """A head's logits and, where asked for, the hidden states.

        Args:
            head: of the task.
            batch: ``input_ids`` (B, S), or (B, C, S) where each row is a multiple choice; ``attention_mask`` and
                ``token_type_ids`` of the same shape, where there are any. Or ``pixel_values`` (B, C, H, W) of images.
                Or ``pooled`` alone, from `pooled_of`.
            output_hidden_states: also return them.
        """
        states: tuple[Tensor, ...] | None = None
        if "pooled" in batch:  # what the frozen part gives was computed before: (B, d), or (B, C, d)
            read = batch["pooled"]
        elif output_hidden_states:
            flat, shape = flattened(batch)
            encoded: BaseModelOutput = self.backbone(**flat, output_hidden_states=True)
            states = encoded.hidden_states
            read = pool(encoded.last_hidden_state, flat.get("attention_mask"), head.pooling).view(*shape, -1)
        else:
            read = pooled(self.backbone, batch, head.pooling)
        scores = head.score(read)
        return Answer(scores if read.ndim == 2 else scores.squeeze(-1), states)

    def computed(
        self, head: Head, batch: Mapping[str, Tensor | None], labels: Tensor | None, *, output_hidden_states: bool
    ) -> SequenceClassifierOutput:
        """As `answer`, with the loss where there are labels: in training including the method's penalty."""
        given = {key: tokens for key, tokens in batch.items() if tokens is not None}
        answer = self.answer(head, given, output_hidden_states=output_hidden_states)
        loss = None if labels is None else head.loss(answer.logits, labels)
        if loss is not None and self.training:
            loss = loss + self.penalty()
        return SequenceClassifierOutput(loss=loss, logits=answer.logits, hidden_states=answer.hidden_states)

    @property
    def trains_head_only(self) -> bool:
        """Whether the same row always gives the same pooled hidden state in training."""
        heads = {id(p) for head in self.heads_by_task().values() for p in head.parameters()}
        return not self.backbone_dropout and not any(p.requires_grad and id(p) not in heads for p in self.parameters())

    def penalty(self) -> Tensor | float:
        """What the method adds to the training loss."""
        return self.method.penalty(self.deltas)

    @property
    def placement(self) -> Placement:
        """The deltas by site; empty for full fine-tuning and a plain head."""
        return sites.attached(self.backbone)

    @property
    def deltas(self) -> list[nn.Module]:
        """All deltas, site by site, first layer first."""
        return [delta for layers in self.placement.values() for delta in layers]

    def train(self, mode: bool = True) -> AdaptedModel:
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

    def attention_for_training(self, precision: Precision) -> Attention:
        """The attention implementation to train with; evaluation sets its own.

        Args:
            precision: see `scalearn.precision`.
        """
        return self._attention_for(training=True, precision=precision)

    def _attention_for(self, *, training: bool, precision: Precision) -> Attention:
        if self.attention != "auto":
            return self.attention
        lean, dropout = supports_lean(self.backbone), self.backbone_dropout
        fused = bool(self.backbone._supports_sdpa)
        return attention_for(
            training=training, precision=precision, device=self.device, lean=lean, fused=fused, dropout=dropout
        )

    def activation_checkpointing_enable(self, **options: Any) -> None:
        """Trades computation for memory in the backbone; `transformers.Trainer` calls it by this name."""
        self.backbone.activation_checkpointing_enable(**options)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = next(self.backbone.parameters()).device
        return device

    def need_tokenizer(self) -> PreTrainedTokenizerBase:
        """The backbone's tokenizer.

        Raises:
            InputError: the model was built without one.
        """
        if self.tokenizer is None:
            raise InputError(
                "this model was built without a tokenizer or image processor: give one in its Backbone, or pass token "
                "ids or pixels to forward"
            )
        return self.tokenizer

    def need_processor(self) -> Processor:
        """What turns rows into tensors: the backbone's tokenizer or image processor.

        Raises:
            InputError: the model was built without one.
        """
        return self.need_tokenizer() if self.image_processor is None else self.image_processor

    def encode_for(self, task: Task, columns: Mapping[str, Sequence[Any]], labels: Any = None) -> Sequence[Features]:
        """Encodes the columns of a task, texts or images; see `scalearn.encoding.encode`."""
        check_inputs(self.backbone, task, name=self.reference.name)
        return encode(
            self.need_processor(), columns, max_length=task.max_length, truncation=task.truncation, labels=labels
        )

    def rows_of(self, task: Task, split: str, *, progress: bool = False) -> Sequence[Features]:
        """A split of a task, encoded, with labels; see `scalearn.tokens.tokens_of`."""
        check_inputs(self.backbone, task, name=self.reference.name)
        data = task.splits[split]
        return tokens_of(
            self.need_processor(),
            data,
            max_length=task.max_length,
            truncation=task.truncation,
            labels=data["label"][:],
            progress=progress,
        )

    def logits_of(
        self, head: Head, rows: Sequence[Features], *, batch_size: int = 64, precision: Precision = "auto"
    ) -> Tensor:
        """Logits in float32 of tokenised rows, in their order, in evaluation mode: (N, outputs), or (N, C)."""
        if not rows:
            return torch.empty(0, head.out.out_features)

        def compute(batch: Mapping[str, Tensor]) -> Tensor:
            return self.answer(head, batch).logits

        return self._over(rows, compute, batch_size=batch_size, precision=precision)

    def pooled_of(
        self, head: Head, rows: Sequence[Features], *, batch_size: int = 64, precision: Precision = "auto"
    ) -> list[Features]:
        """What a head reads of tokenised rows, in evaluation mode: rows with ``pooled`` (d,) or (C, d), and ``labels``.

        Where everything but the head is frozen and without dropout, these rows stand for the tokens in training.
        """

        def compute(batch: Mapping[str, Tensor]) -> Tensor:
            return pooled(self.backbone, batch, head.pooling)

        states = self._over(rows, compute, batch_size=batch_size, precision=precision)
        return [
            {"pooled": own, "labels": label, "length": int(length)}  # the length decides about batches
            for own, label, length in zip(states, labels_of(rows), lengths_of(rows), strict=True)
        ]

    @torch.no_grad()
    def _over(
        self,
        rows: Sequence[Features],
        compute: Callable[[Mapping[str, Tensor]], Tensor],
        *,
        batch_size: int,
        precision: Precision,
    ) -> Tensor:
        """What `compute` gives for each row, in float32, in evaluation mode."""
        was_training = self.training
        self.eval()
        self.backbone.set_attn_implementation(self._attention_for(training=False, precision=precision))
        result: Tensor | None = None
        try:
            for positions, batch in batches(self.need_processor(), rows, batch_size=batch_size):
                batch.pop("labels", None)
                with autocast(precision, self.device):
                    values = compute({key: value.to(self.device) for key, value in batch.items()})
                if result is None:
                    result = torch.empty(len(rows), *values.shape[1:])
                result[positions] = values.float().cpu()
        finally:
            self.train(was_training)
        assert result is not None, "there are rows"
        return result

    # ---- what was trained

    def trained_state(self) -> dict[str, Tensor]:
        """The method's own tensors by name: all that is trained and all parameters of deltas, shared ones once."""
        own = {id(p) for delta in self.deltas for p in delta.parameters()}
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad or id(p) in own}

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Sets the method's own tensors.

        Raises:
            InputError: names or shapes differ from this model's; all differences are named.
        """
        if any(isinstance(delta, Lora) and delta.merged for delta in self.deltas):
            raise InputError("this model was folded into its weights: load it anew to give it other tensors")
        own = self.trained_state()
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
            for name, tensor in own.items():
                tensor.copy_(state[name])
        for head in self.heads_by_task().values():
            head.fresh = False

    def parameter_counts(self) -> dict[str, int]:
        """Trained parameters: of the ``method`` (deltas or backbone), of the ``head`` (all heads), in ``total``."""
        total = sum(p.numel() for p in self.parameters() if p.requires_grad)
        head = sum(p.numel() for one in self.heads_by_task().values() for p in one.parameters() if p.requires_grad)
        return {"method": total - head, "head": head, "total": total}


def check_apart(backbone: PreTrainedModel, placement: Placement) -> None:
    """Raises `InputError` if two sites are one place, as where a linear map is named by its role and by its path.

    Args:
        backbone: where the deltas will act.
        placement: the deltas by site.
    """
    named: dict[tuple[nn.Module, bool], str] = {}
    for site in placement:
        at_input = site.endswith(sites.INPUT)
        for module in sites.find_sites(backbone, site):
            other = named.setdefault((module, at_input), site)
            if other != site:
                raise InputError(
                    f"{other!r} and {site!r} are one place in {type(backbone).__name__}: name it in one way, in all "
                    "sources"
                )


def check_inputs(backbone: PreTrainedModel, task: Task, *, name: str) -> None:
    """Raises `InputError` if a task is of texts and a backbone reads images, or the reverse.

    Args:
        backbone: with or without deltas.
        task: what is to be learned or computed.
        name: of the backbone.
    """
    reads_images = backbone.main_input_name == "pixel_values"
    if reads_images and task.image is None:
        raise InputError(
            f"task {task.name!r} is of texts, but backbone {name} reads images: give a backbone that reads texts "
            "(--backbone), or name a column of images (image=, --image)"
        )
    if task.image is not None and not reads_images:
        raise InputError(
            f"task {task.name!r} is of images, but backbone {name} reads texts: give a vision backbone "
            "(--backbone), for instance google/vit-base-patch16-224-in21k"
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws from a generator of its own, leaving the global one as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
