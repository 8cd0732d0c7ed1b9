"""From rows of many targets to logits: tokens, batches of like length, a call of the backbone for each, the heads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from threading import Lock

import torch
from torch import Tensor

from scalearn.backbones import Backbone
from scalearn.encoding import Features, by_length, collator, encode
from scalearn.errors import InputError
from scalearn.heads import pool
from scalearn.kinds import Truncation
from scalearn.precision import Precision, autocast
from scalearn.reading import pooled
from scalearn.serving import mixture
from scalearn.serving.mixture import Mixture
from scalearn.serving.target import Target


@dataclass(frozen=True, kw_only=True)
class Question:
    """One row whose target is found and whose texts are as many as that target's task has."""

    name: str
    target: Target
    texts: tuple[str, ...]

    @property
    def inputs(self) -> list[tuple[str, ...]]:
        """What the backbone reads, one or two texts each: of a multiple choice, the text with each choice."""
        if self.target.task.choices:
            return [(self.texts[0], choice) for choice in self.texts[1:]]
        return [self.texts]


class Computation:
    """Computes on one backbone; several threads may at once.

    Args:
        backbone: in evaluation mode, with the deltas of `scalearn.serving.mixture`.
        precision: see `scalearn.precision`.

    Raises:
        InputError: it has no tokenizer, or one that cannot pad; or the rows of a batch are not apart at its sites.
    """

    def __init__(self, backbone: Backbone, *, precision: Precision) -> None:
        if backbone.tokenizer is None:
            raise InputError(f"{backbone.name} was wrapped without a tokenizer: give one in its Backbone")
        self.backbone = backbone
        self.precision: Precision = precision
        self._tokenizer = backbone.tokenizer
        self._collate = collator(backbone.tokenizer)
        self._tokenising = Lock()  # how a tokenizer cuts is a state of its own
        self._check_rows_are_apart()

    @torch.no_grad()
    def _check_rows_are_apart(self) -> None:
        """Asks once, with two rows of three tokens: some backbones have tokens first inside, or all in a row."""
        model = self.backbone.model
        tokens = torch.zeros(2, 3, dtype=torch.long, device=model.device)
        with mixture.rows(Mixture(plain=len(tokens))):
            try:
                model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
            except mixture.RowsApartError as error:
                raise InputError(
                    f"{self.backbone.name} ({model.config.model_type}) cannot serve many targets in one batch, as "
                    f"{error}: load its models one by one, with TransferModel (scalearn predict)"
                ) from None

    @torch.inference_mode()
    def logits(self, questions: Sequence[Question], *, batch_size: int) -> list[Tensor]:
        """Of each row (outputs,), or (C,) for multiple choice.

        Args:
            questions: in any order.
            batch_size: inputs at a time; those of like length go together.
        """
        device = self.backbone.model.device
        tokens = self._encode(questions)
        owners = [question.target for question in questions for _ in question.inputs]
        scores: dict[int, Tensor] = {}
        for alike in by_length(tokens, batch_size=batch_size):
            chosen = sorted(alike, key=lambda index: _place(owners[index]))
            batch = {name: ids.to(device) for name, ids in self._collate([tokens[i] for i in chosen]).items()}
            targets = [owners[i] for i in chosen]
            with autocast(self.precision, device):
                read = self._read(batch, targets)
                scores |= zip(chosen, _scores(read, targets), strict=True)
        ordered = iter(range(len(owners)))
        return [torch.cat([scores[next(ordered)] for _ in question.inputs]) for question in questions]

    def _encode(self, questions: Sequence[Question]) -> list[Features]:
        """The tokens of all inputs; those that are cut alike are tokenised at once."""
        alike: dict[tuple[int, Truncation, int], dict[int, tuple[str, ...]]] = defaultdict(dict)
        inputs = [(question.target.task, texts) for question in questions for texts in question.inputs]
        for index, (task, texts) in enumerate(inputs):
            alike[task.max_length, task.truncation, len(texts)][index] = texts
        encoded: list[Features] = [{}] * len(inputs)
        for (max_length, truncation, _), own in alike.items():
            columns = dict(zip(("text_a", "text_b"), zip(*own.values(), strict=True), strict=False))
            with self._tokenising:
                rows = encode(self._tokenizer, columns, max_length=max_length, truncation=truncation)
            for index, row in zip(own, rows, strict=True):
                encoded[index] = row
        return encoded

    def _read(self, batch: Mapping[str, Tensor], targets: Sequence[Target]) -> Tensor:
        """What the heads read of B inputs, (B, d)."""
        poolings = {target.pooling for target in targets}
        with mixture.rows(_mixture(targets)):
            if len(poolings) == 1:
                return pooled(self.backbone.model, batch, poolings.pop())
            hidden: Tensor = self.backbone.model(**batch).last_hidden_state
        read = hidden.new_empty(hidden.shape[0], hidden.shape[-1])
        for pooling in poolings:
            own = [index for index, target in enumerate(targets) if target.pooling == pooling]
            read[own] = pool(hidden[own], batch["attention_mask"][own], pooling)
        return read


def _place(target: Target) -> tuple[int, int]:
    """Orders the rows of a batch as `mixture` wants them."""
    if target.own:
        return 1, id(target)
    return {0: 0, 1: 2}.get(target.width, 3), id(target)


def _runs(targets: Sequence[Target]) -> Iterator[tuple[int, Target]]:
    """Neighbours of one target: how many, and whose."""
    for _, run in groupby(targets, key=id):
        own = list(run)
        yield len(own), own[0]


def _mixture(targets: Sequence[Target]) -> Mixture:
    """Whose the rows are, from the targets of rows that `_place` has ordered."""
    kinds = [_place(target)[0] for target in targets]
    uniform = [target.omegas for target, kind in zip(targets, kinds, strict=True) if kind == 2]
    runs = list(_runs(targets))
    return Mixture(
        plain=kinds.count(0),
        own=[(count, target.own) for count, target in runs if _place(target)[0] == 1],
        uniform={site: torch.stack([omegas[site].squeeze(-1) for omegas in uniform]) for site in uniform[0]}
        if uniform
        else None,
        wide=[(count, target.omegas) for count, target in runs if _place(target)[0] == 3],
    )


def _scores(read: Tensor, targets: Sequence[Target]) -> list[Tensor]:
    """The logits of B rows, (outputs,) each, from what the heads read, (B, d)."""
    scores: list[Tensor] = []
    for count, target in _runs(targets):
        scores += target.head.score(read[len(scores) : len(scores) + count])
    return scores
