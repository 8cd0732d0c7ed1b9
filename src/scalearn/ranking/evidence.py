"""What may be found out about a target before a method is built for it: the evidence that `Method.prepare` asks for.

Only training rows are looked at: the dev split is left to the choice of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from scalearn import sites
from scalearn.attention import supports_lean
from scalearn.backbones import Backbone
from scalearn.deltas import FixedOmega, Scaled
from scalearn.encoding import Features, batches, encode
from scalearn.errors import InputError
from scalearn.methods.combine import scaled
from scalearn.precision import Precision, attention_for, autocast
from scalearn.ranking.criteria import DECIDING, judged, together
from scalearn.ranking.linear import Array, Column, Fold, held_out_loss, held_out_losses
from scalearn.reading import pooled
from scalearn.similarity import ROWS as EMBEDDED
from scalearn.similarity import embed_task, similarity
from scalearn.sources import Source
from scalearn.tasks import Task
from scalearn.tokens import INPUT_COLUMNS

ROWS = 64
"""Training rows that an error is estimated on, drawn with the run's seed."""
RANKING_ROWS = 128
"""Training rows that sources are ranked by."""
FOLDS = 4
REPEATS = 3
"""How often all rows are held out where a start is chosen: less of the choice is then due to the folds."""
_BATCH = 32


class TaskEvidence:
    """Evidence from a task's training rows; everything is computed when it is asked for.

    Args:
        backbone: loaded, without deltas; it is left without.
        task: the target, with training rows.
        sources: T of them.
        seed: of the draw of rows and of the folds.
        rows: at most so many training rows are looked at.
        precision: of the backbone; see `scalearn.precision`.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        task: Task,
        sources: Sequence[Source],
        seed: int,
        rows: int = ROWS,
        precision: Precision = "fp32",
    ) -> None:
        self.backbone = backbone
        self.task = task
        self.sources = sources
        self.seed = seed
        self.rows = rows
        self.precision: Precision = precision
        self._alone: dict[str, Array] = {}

    # ---- about sources

    @property
    def count(self) -> int:
        """T."""
        return len(self.sources)

    def own(self) -> list[bool]:
        """Which of the T sources were trained on the target task itself."""
        return [source.task.get("name") == self.task.name for source in self.sources]

    def similarities(self, *, rows: int = EMBEDDED) -> list[float]:
        """Mean cosine similarity of the target's texts to each source's, T numbers.

        Args:
            rows: of the target, at most.

        Raises:
            InputError: a source does not say what its texts are like.
        """
        if self.task.image is not None:
            raise InputError(f"task {self.task.name!r} has images, and similarity is of texts: give the weights")
        silent = [source.name for source in self.sources if not source.embedding]
        if silent:
            raise InputError(
                f"sources {', '.join(silent)} have no embedding of their texts: train them with scalearn, which "
                "computes it, run `scalearn similarity --update SHELF --data DIR`, or give the weights"
            )
        target = embed_task(self._with_rows(), rows=rows)
        return [similarity(target, source.embedding) for source in self.sources]

    def error(self, omega: Array) -> float:
        """Cross-validated loss of a linear model on the pooled features of training rows under omega (T,).

        Mean log loss for classes, multi-label columns and choices; mean squared error over the variance for numbers.
        """
        features = self.features(omega)
        if not np.isfinite(features).all():  # coefficients that no network survives
            return float("inf")
        return held_out_loss(features, self.columns, classes=self.classes, folds=self.folds)

    def losses(self, omegas: Sequence[Array]) -> Array:
        """The same of each row under each omega, on the rows that a ranking looks at, (omegas, rows)."""
        from threadpoolctl import threadpool_limits

        evidence = self.for_ranking
        found = [evidence.features(omega) for omega in omegas]
        folds = evidence._folds(REPEATS)
        with threadpool_limits(1, user_api="blas"):  # as for ranking
            losses = [
                held_out_losses(features, evidence.columns, classes=evidence.classes, folds=folds)
                if np.isfinite(features).all()
                else np.full(len(features), np.inf)
                for features in found
            ]
        each = np.stack(losses).reshape(len(omegas), -1, evidence._choices)
        return np.asarray(each.mean(axis=2))

    def scores(self) -> list[float]:
        """How well each of the T sources suits the target, by the deciding criteria together; higher is better."""
        return together(judged(self.for_ranking, DECIDING)[0])

    @cached_property
    def for_ranking(self) -> TaskEvidence:
        """Evidence of the same from as many rows as a ranking looks at, as fast as the device computes."""
        return TaskEvidence(
            self.backbone,
            task=self.task,
            sources=self.sources,
            seed=self.seed,
            rows=RANKING_ROWS,
            precision="auto",
        )

    def only(self, names: Sequence[str]) -> TaskEvidence:
        """Evidence of these sources, in the order given; no features of a source alone are computed again.

        Args:
            names: of sources that there is evidence about.
        """
        by_name = {source.name: source for source in self.sources}
        fewer = TaskEvidence(
            self.backbone,
            task=self.task,
            sources=[by_name[name] for name in names],
            seed=self.seed,
            rows=self.rows,
            precision=self.precision,
        )
        fewer._alone = self._alone
        if "for_ranking" in vars(self):
            fewer.for_ranking = self.for_ranking.only(names)
        return fewer

    # ---- rows and labels

    @property
    def train_rows(self) -> int:
        """How many training rows the task has."""
        return len(self.task.splits.get("train", ()))

    @property
    def row_count(self) -> int:
        """How many of them are looked at."""
        return len(self._labels)

    @property
    def tells_apart(self) -> bool:
        """Whether the rows that sources are ranked by differ in their labels."""
        return bool(self.for_ranking._varied.shape[1])

    @cached_property
    def classes(self) -> int | None:
        """How many classes a column of labels has; None where it has numbers."""
        if self.task.kind == "regression":
            return None
        return len(self.task.labels) if self.task.kind == "classification" else 2

    @cached_property
    def columns(self) -> list[Column]:
        """What is learned of the N rows that features have: one column (N,), or one a label of several.

        Of a multiple choice every choice is a row, 1 for the right one and 0 for the others.
        """
        labels = self._labels
        if self.task.kind == "multi-label":
            return list(labels.T)
        if self.task.kind == "multiple-choice":
            return [np.eye(self._choices, dtype=int)[labels].flatten()]
        return [labels]

    @cached_property
    def targets(self) -> Array:
        """The labels as numbers, (N, k): classes as columns of 0 and 1. Without columns that are the same in every row.

        Raises:
            InputError: none is left: the rows say nothing about what a source is good for.
        """
        if not self._varied.shape[1]:
            raise InputError(
                f"the {len(self._labels)} training rows of task {self.task.name!r} all have one label: give rows that "
                "differ"
            )
        return self._varied

    @cached_property
    def _varied(self) -> Array:
        if self.classes is None or self.task.kind != "classification":
            found = np.stack(self.columns, axis=1).astype(np.float64)
        else:
            found = np.eye(self.classes)[self._labels]
        return found[:, found.std(axis=0) > 0]

    def contrasted(self, values: Array) -> Array:
        """(N, k) as what is independent of it: of C choices the C - 1 orthonormal contrasts, else the same.

        Choices are compared with one another alone, so that of two the one is minus the other.
        """
        count = self._choices
        if count == 1:
            return values
        contrasts = np.linalg.svd(np.eye(count) - 1 / count)[2][:-1]  # (C - 1, C), orthogonal to (1, ..., 1)
        found = np.einsum("kc,ncd->nkd", contrasts, values.reshape(-1, count, values.shape[1]))
        return np.asarray(found.reshape(-1, values.shape[1]))

    @cached_property
    def folds(self) -> list[Fold]:
        """Which of the N rows are held out in turn; all choices of a question together."""
        return self._folds(1)

    def _folds(self, repeats: int) -> list[Fold]:
        from sklearn.model_selection import KFold, RepeatedKFold

        count = len(self._labels)
        splits = min(FOLDS, count)
        folds = (
            KFold(n_splits=splits, shuffle=True, random_state=self.seed)
            if repeats == 1
            else RepeatedKFold(n_splits=splits, n_repeats=repeats, random_state=self.seed)
        )
        parts = folds.split(np.empty(count))
        each = np.arange(self._choices)
        return [
            (
                (train[:, None] * self._choices + each).flatten(),
                (held[:, None] * self._choices + each).flatten(),
            )
            for train, held in parts
        ]

    @property
    def _choices(self) -> int:
        """Rows of features that a row of the task has."""
        return len(self.task.choices) if self.task.kind == "multiple-choice" else 1

    def _with_rows(self) -> Task:
        rows = len(self.task.splits.get("train", ()))
        if rows < 2:
            found = "one training row only" if rows else "no training rows"
            raise InputError(f"task {self.task.name!r} has {found} to choose sources by: load it with its data")
        return self.task

    @cached_property
    def _drawn(self) -> tuple[Sequence[Features], Column]:
        """Encoded rows, and their labels as the task has them."""
        if self.backbone.processor is None:
            raise InputError("choosing sources needs a tokenizer: give one in the Backbone")
        drawn = self._with_rows().take(train_rows=self.rows, seed=self.seed).splits["train"]
        columns = {key: list(drawn[key]) for key in INPUT_COLUMNS if key in drawn.column_names}
        rows = encode(
            self.backbone.processor, columns, max_length=self.task.max_length, truncation=self.task.truncation
        )
        return rows, np.asarray(drawn["label"][:])

    @property
    def _labels(self) -> Column:
        return self._drawn[1]

    # ---- through the backbone

    def features(self, omega: Array) -> Array:
        """Pooled hidden states (N, d) of the rows, with the sources scaled by omega (T,)."""
        self._set([float(value) for value in omega])
        return self._under(self._fused)

    def alone(self, source: Source) -> Array:
        """Pooled hidden states (N, d) of the rows under one source, kept for the next who asks."""
        if source.name not in self._alone:
            self._alone[source.name] = self._under(_moved(source.deltas(), self.backbone.model.device))
        return self._alone[source.name]

    def differentiated(self, loss: Callable[[Tensor, NDArray[np.int64]], Tensor], *, start: float) -> list[float]:
        """The gradient of a loss, summed over the rows, in each of the T coefficients, where all of them are `start`.

        Args:
            loss: of features (n, d) in float64 and the positions of their rows among the N.
            start: omega of every source.
        """
        omega = self._set([start] * self.count)
        omega.values.requires_grad_()
        model = self.backbone.model
        with _attached(model, self._fused, training=True, precision=self.precision), torch.enable_grad():
            for positions, batch in self._batches():
                states = self._pooled(batch)
                rows = (np.array(positions)[:, None] * self._choices + np.arange(self._choices)).flatten()
                loss(states.cpu(), rows).backward()  # type: ignore[no-untyped-call]
        assert omega.values.grad is not None, "there are rows"
        return [float(value) for value in omega.values.grad[:, 0]]

    @torch.no_grad()
    def _under(self, placement: sites.Placement) -> Array:
        """Features with these deltas attached."""
        with _attached(self.backbone.model, placement, training=False, precision=self.precision):
            parts = [(positions, self._pooled(batch).cpu().numpy()) for positions, batch in self._batches()]
        found = np.empty((len(self._labels), self._choices, self.backbone.width))
        for positions, states in parts:
            found[positions] = states.reshape(len(positions), self._choices, -1)
        return found.reshape(-1, self.backbone.width)

    def _batches(self) -> Sequence[tuple[list[int], dict[str, Tensor]]]:
        rows, _ = self._drawn
        assert self.backbone.processor is not None, "rows were encoded by it"
        return list(batches(self.backbone.processor, rows, batch_size=_BATCH))

    def _pooled(self, batch: dict[str, Tensor]) -> Tensor:
        """(n, d) in float64; of choices relative to the mean of their question, which decides nothing."""
        model = self.backbone.model
        with autocast(self.precision, model.device):
            states = pooled(model, {k: v.to(model.device) for k, v in batch.items()}, self.backbone.pooling)
        states = states.double()
        if states.ndim == 3:
            states = states - states.mean(dim=1, keepdim=True)
        return states.flatten(0, -2)

    def _set(self, values: Sequence[float]) -> FixedOmega:
        """One omega for all layers, of these values."""
        omega = FixedOmega(values).to(self.backbone.model.device)
        for layers in self._fused.values():
            for delta in layers:
                assert isinstance(delta, Scaled)
                delta.omega = omega
        return omega

    @cached_property
    def _fused(self) -> sites.Placement:
        placement = scaled(self.sources, lambda _: FixedOmega([0.0] * self.count))
        return _moved(placement, self.backbone.model.device)


@contextmanager
def _attached(
    model: PreTrainedModel, placement: sites.Placement, *, training: bool, precision: Precision
) -> Iterator[None]:
    """The backbone with deltas, and with the attention that suits what it computes; afterwards as it was."""
    usual = model.config._attn_implementation
    lean = supports_lean(model)
    chosen = attention_for(training=training, precision=precision, device=model.device, lean=lean)
    model.eval()
    model.set_attn_implementation("eager" if chosen == "sdpa" and not model._supports_sdpa else chosen)
    try:
        sites.attach(model, placement)
        yield
    finally:
        sites.detach(model)
        model.set_attn_implementation(usual)


def _moved(placement: sites.Placement, device: torch.device) -> sites.Placement:
    """The same deltas, now on the device."""
    for layers in placement.values():
        for delta in layers:
            delta.to(device)
    return placement
