"""What transfer methods may find out about a target before they are built: the evidence that `Method.prepare` asks for.

Only training rows are looked at: the dev split is left to the choice of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scalearn import sites
from scalearn.backbones import Backbone
from scalearn.deltas import FixedOmega, Scaled
from scalearn.encoding import Features, encode
from scalearn.errors import InputError
from scalearn.methods.combine import scaled
from scalearn.similarity import embed_task, similarity
from scalearn.sources import Source
from scalearn.tasks import Task
from scalearn.tokens import INPUT_COLUMNS

if TYPE_CHECKING:
    from sklearn.model_selection import KFold

ROWS = 64
"""Training rows that an error is estimated on, drawn with the run's seed."""
FOLDS = 4


class TaskEvidence:
    """Evidence from a task's training rows; everything is computed when it is asked for.

    Args:
        backbone: loaded, without deltas; it is left without.
        task: the target, with training rows.
        sources: T of them.
        seed: of the draw of rows and of the folds.
    """

    def __init__(self, backbone: Backbone, *, task: Task, sources: Sequence[Source], seed: int) -> None:
        self.backbone = backbone
        self.task = task
        self.sources = sources
        self.seed = seed

    @property
    def count(self) -> int:
        """T."""
        return len(self.sources)

    def own(self) -> list[bool]:
        """Which of the T sources were trained on the target task itself."""
        return [source.task.get("name") == self.task.name for source in self.sources]

    def similarities(self) -> list[float]:
        """Mean cosine similarity of the target's texts to each source's, T numbers.

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
        target = embed_task(self._with_rows())
        return [similarity(target, source.embedding) for source in self.sources]

    def error(self, omega: NDArray[np.float64]) -> float:
        """Cross-validated loss of a linear model on the pooled features of training rows under omega (T,).

        Mean log loss for classes, multi-label columns and choices; mean squared error over the variance for numbers.
        """
        features, labels = self._features(omega), self._rows[1]
        if not np.isfinite(features).all():  # coefficients that no network survives
            return float("inf")
        if self.task.kind == "regression":
            return _regression_error(features, labels, seed=self.seed)
        if self.task.kind == "multi-label":
            columns = [_class_error(features, column, seed=self.seed) for column in labels.T]
            return float(np.mean(columns))
        return _class_error(features, labels, seed=self.seed)

    def _with_rows(self) -> Task:
        rows = len(self.task.splits.get("train", ()))
        if rows < 2:
            found = "one training row only" if rows else "no training rows"
            raise InputError(f"task {self.task.name!r} has {found} to choose sources by: load it with its data")
        return self.task

    @cached_property
    def _rows(self) -> tuple[Sequence[Features], NDArray[np.float64]]:
        """Tokenised rows, and labels: of a multiple choice 1 for the right choice and 0 for the others, flat."""
        if self.backbone.processor is None:
            raise InputError("choosing sources needs a tokenizer: give one in the Backbone")
        drawn = self._with_rows().take(train_rows=ROWS, seed=self.seed).splits["train"]
        columns = {key: list(drawn[key]) for key in INPUT_COLUMNS if key in drawn.column_names}
        labels = np.asarray(drawn["label"][:])
        if self.task.kind == "multiple-choice":
            labels = np.eye(len(self.task.choices), dtype=int)[labels].flatten()
        rows = encode(
            self.backbone.processor, columns, max_length=self.task.max_length, truncation=self.task.truncation
        )
        return rows, labels

    def _features(self, omega: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pooled hidden states (N, d) of the rows, or of all their choices, with the sources scaled by omega."""
        rows, _ = self._rows
        model = self.backbone.model
        values = FixedOmega([float(value) for value in omega]).to(model.device)
        for layers in self._fused.values():
            for delta in layers:
                assert isinstance(delta, Scaled)
                delta.omega = values
        sites.attach(model, self._fused)
        try:
            states = self.backbone.pooled(rows, batch_size=32)
        finally:
            sites.detach(model)
        return np.asarray(states.flatten(0, -2).double().numpy())

    @cached_property
    def _fused(self) -> sites.Placement:
        placement = scaled(self.sources, lambda _: FixedOmega([0.0] * self.count))
        for layers in placement.values():
            for delta in layers:
                delta.to(self.backbone.model.device)
        return placement


def _folds(count: int, seed: int) -> KFold:
    from sklearn.model_selection import KFold

    return KFold(n_splits=min(FOLDS, count), shuffle=True, random_state=seed)


def _class_error(features: NDArray[np.float64], labels: NDArray[np.float64], *, seed: int) -> float:
    """Mean log loss; a class that a fold's training part lacks counts with probability 1e-3."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    losses = []
    for train, held in _folds(len(labels), seed).split(features):
        classes = np.unique(labels[train])
        known = {name: column for column, name in enumerate(classes)}
        if len(classes) == 1:
            probabilities = np.ones((len(held), 1))
        else:
            scaler = StandardScaler().fit(features[train])
            model = LogisticRegression(C=0.01, max_iter=200).fit(scaler.transform(features[train]), labels[train])
            probabilities = model.predict_proba(scaler.transform(features[held]))
        for row, label in enumerate(labels[held]):
            losses.append(-np.log(max(probabilities[row, known[label]] if label in known else 0.0, 1e-3)))
    return float(np.mean(losses))


def _regression_error(features: NDArray[np.float64], labels: NDArray[np.float64], *, seed: int) -> float:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    squares = []
    for train, held in _folds(len(labels), seed).split(features):
        scaler = StandardScaler().fit(features[train])
        model = Ridge(alpha=float(features.shape[1])).fit(scaler.transform(features[train]), labels[train])
        squares.extend((model.predict(scaler.transform(features[held])) - labels[held]) ** 2)
    return float(np.mean(squares) / max(float(np.var(labels)), 1e-12))
