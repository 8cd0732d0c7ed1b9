"""Where a head starts: the linear model that scikit-learn gives, of every kind of task; and runs that start there."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from scalearn.errors import InputError
from scalearn.heads import Head, balanced_weights
from scalearn.kinds import Kind
from scalearn.methods import ScaLearn, recipe_for
from scalearn.methods.base import Recipe, changed
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task
from scalearn.training import TrainResult, train
from scalearn.training.head_start import PENALTY, start_linear

N, D = 60, 8
CHANCE = np.random.default_rng(0)
READ = 3.0 + 2.0 * CHANCE.normal(size=(N, D))
DIRECTION = CHANCE.normal(size=D)
RATES = Recipe(learning_rate=1e-2, head_learning_rate=1e-3, patience=9, batch_size=8, backbone_dropout=False)
RECIPE = changed(RATES, {"steps": 12, "evaluate_every": 3, "select": "metric", "head_start": "linear"})


def started(kind: Kind, read: np.ndarray, labels: Any, *, outputs: int) -> Callable[[np.ndarray], np.ndarray]:
    """From what is read to the logits of a head that was started, (..., outputs)."""
    head = Head(width=D, outputs=outputs, kind=kind).double().eval()
    start_linear(head, read, np.asarray(labels))

    @torch.no_grad()
    def logits(states: np.ndarray) -> np.ndarray:
        return np.asarray(head.score(torch.from_numpy(states)))

    return logits


def seen(read: np.ndarray) -> np.ndarray:
    """The features of the linear model."""
    mean = READ.mean(axis=0)
    return np.asarray(np.tanh(0.5 * (read - mean) / (READ - mean).std()))


def test_two_classes_are_told_as_by_logistic_regression() -> None:
    labels = np.digitize(READ @ DIRECTION, [np.median(READ @ DIRECTION)])
    logits = started("classification", READ, labels, outputs=2)(READ)
    model = LogisticRegression(C=1 / PENALTY, max_iter=1_000).fit(seen(READ), labels)
    assert logits[:, 1] - logits[:, 0] == pytest.approx(model.decision_function(seen(READ)), abs=1e-9)
    assert (logits.argmax(axis=1) == labels).mean() > 0.85


def test_a_class_without_rows_is_improbable_and_does_not_disturb() -> None:
    labels = np.digitize(READ @ DIRECTION, np.quantile(READ @ DIRECTION, [1 / 3, 2 / 3]))
    with_gap = np.array([0, 1, 3])[labels]
    logits = started("classification", READ, with_gap, outputs=4)(READ)
    model = LogisticRegression(C=1 / PENALTY, max_iter=1_000).fit(seen(READ), labels)
    assert logits[:, [0, 1, 3]] == pytest.approx(model.decision_function(seen(READ)), abs=1e-9)
    assert logits[:, 2] == pytest.approx(np.full(N, -math.log(2 * N)))


def test_one_class_alone() -> None:
    logits = started("classification", READ, np.ones(N, dtype=int), outputs=3)(READ)
    assert logits == pytest.approx(np.tile([-math.log(2 * N), 0, -math.log(2 * N)], (N, 1)))


def test_numbers_are_told_as_by_ridge_regression() -> None:
    labels = READ @ DIRECTION
    logits = started("regression", READ, labels, outputs=1)(READ)
    assert logits[:, 0] == pytest.approx(Ridge(alpha=PENALTY).fit(seen(READ), labels).predict(seen(READ)), abs=1e-9)


def test_rare_labels_are_given_to_rows() -> None:
    """One row in twelve has the first label; the second has all, the third none."""
    order = np.argsort(READ @ DIRECTION)
    labels = np.zeros((N, 3), dtype=int)
    labels[order[-5:], 0], labels[:, 1] = 1, 1
    logits = started("multi-label", READ, labels, outputs=3)(READ)
    assert (logits[order[-5:], 0] > 0).all() and 5 <= (logits[:, 0] > 0).sum() < N / 2
    assert logits[:, 1] == pytest.approx(np.full(N, math.log(2 * N)))
    assert logits[:, 2] == pytest.approx(np.full(N, -math.log(2 * N)))


def test_the_right_choice_scores_above_the_others() -> None:
    read = np.stack([READ, READ[::-1], np.roll(READ, 7, axis=0)], axis=1)  # (N, 3, d)
    labels = (read @ DIRECTION).argmax(axis=1)
    scores = started("multiple-choice", read, labels, outputs=1)(read)[..., 0]
    assert (scores.argmax(axis=1) == labels).mean() > 0.85
    moved = started("multiple-choice", read[:, [2, 0, 1]], (labels + 1) % 3, outputs=1)(read)[..., 0]
    assert moved == pytest.approx(scores, abs=1e-6)  # the order of the choices says nothing


# ---- in training


@pytest.fixture
def fresh(tiny_backbone: str, task: Task, shelf: Shelf) -> Callable[..., TransferModel]:
    """A model before training."""

    def made(method: Any = "scalearn") -> TransferModel:
        sources = None if method == "head" else shelf
        return TransferModel.from_backbone(tiny_backbone, task=task, method=method, sources=sources, pooling="mean")

    return made


def fit(model: TransferModel, out: Path | None = None, *, recipe: Recipe = RECIPE) -> TrainResult:
    return train(model, out, recipe=recipe, precision="fp32", progress=False)


def test_the_start_is_looked_at_first_and_kept_if_nothing_is_better(
    fresh: Callable[..., TransferModel], task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.8, 0.7, 0.8, 0.5, 0.6, 0.8, 0.8])
    monkeypatch.setattr(Task, "judge", lambda *_: {"accuracy": next(scores), "f1_macro": 0.0})
    model = fresh()
    omega = model.omega().clone()
    result = fit(model)
    assert [entry["step"] for entry in result.history if "eval_loss" in entry] == [0, 3, 6, 9, 12]
    assert (result.best_step, result.best_epoch, result.steps) == (0, 0, 12)
    assert model.omega().equal(omega)  # what was trained since is forgotten


def test_patience_counts_from_the_start(fresh: Callable[..., TransferModel], monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.8, 0.7, 0.8, 0.9, 0.9])
    monkeypatch.setattr(Task, "judge", lambda *_: {"accuracy": next(scores), "f1_macro": 0.0})
    assert fit(fresh(), recipe=changed(RECIPE, {"patience": 2})).steps == 6


def test_a_better_checkpoint_is_kept(fresh: Callable[..., TransferModel], monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.7, 0.9, 0.8, 0.7, 0.7, 0.7])
    monkeypatch.setattr(Task, "judge", lambda *_: {"accuracy": next(scores), "f1_macro": 0.0})
    assert fit(fresh()).best_step == 6


def test_a_head_that_starts_linear_knows_the_answer_before_any_step(fresh: Callable[..., TransferModel]) -> None:
    """Of rows without padding to speak of, the words decide; a head at random knows nothing."""
    first: dict[str, float] = {}
    for start in ("random", "linear"):
        result = fit(fresh("head"), recipe=changed(RECIPE, {"head_start": start}))
        first[start] = next(entry["eval_loss"] for entry in result.history if "eval_loss" in entry)
    assert first["linear"] < first["random"]


@pytest.mark.parametrize("step", [1, 7])
def test_an_interrupted_run_resumes_to_the_same_end(
    fresh: Callable[..., TransferModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole = fresh()
    expected = fit(whole)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        from scalearn.training.trainer import TransferTrainer

        usual = TransferTrainer.training_step

        def stopping(self: TransferTrainer, *args: Any, **options: Any) -> Any:
            if self.state.global_step == step:
                raise KeyboardInterrupt
            return usual(self, *args, **options)

        patch.setattr(TransferTrainer, "training_step", stopping)
        fit(fresh(), tmp_path / "out")
    model = fresh()
    result = fit(model, tmp_path / "out")
    assert (result.metrics, result.best_step) == (expected.metrics, expected.best_step)
    for name, value in whole.trained_state().items():
        assert model.trained_state()[name].equal(value), name


def test_small_data_has_its_own_recipe_and_start(
    fresh: Callable[..., TransferModel], tiny_backbone: str, task: Task, shelf: Shelf
) -> None:
    model = fresh("scalearn")
    assert isinstance(model.method, ScaLearn) and model.method.init == "auto" and len(model.method.starts) == 3
    assert fresh(ScaLearn()).method == ScaLearn()  # an object is taken as it is
    published = TransferModel.from_backbone(tiny_backbone, task=task, sources=shelf, protocol="published")
    assert published.method == ScaLearn()
    assert recipe_for(ScaLearn(), rows=32).head_start == "linear"


def test_a_model_that_was_trained_goes_on_from_its_own_head(
    fresh: Callable[..., TransferModel], task: Task, tmp_path: Path
) -> None:
    model = fresh()
    fit(model, tmp_path / "out")
    loaded = TransferModel.from_pretrained(tmp_path / "out")
    loaded.task = task
    head = loaded.head.dense.weight.detach().clone()
    untouched = changed(RECIPE, {"steps": 1, "head_learning_rate": 1e-12, "learning_rate": 1e-12})
    fit(loaded, recipe=untouched)
    assert torch.allclose(loaded.head.dense.weight, head, atol=1e-9)


def test_a_model_built_for_small_data_is_not_trained_by_another_protocol(fresh: Callable[..., TransferModel]) -> None:
    with pytest.raises(InputError, match=r"built for protocol 'small', but is to be trained by 'published': give prot"):
        train(fresh(), protocol="published", progress=False)


def test_the_weights_of_labels_are_of_training_alone(tiny_backbone: str, task: Task) -> None:
    model = TransferModel.from_backbone(tiny_backbone, task=task, method="head")
    fit(model, recipe=changed(RECIPE, {"balance_labels": True, "steps": 1}))
    assert model.head.label_weights is None
    head = Head(width=D, outputs=2, kind="multi-label")
    logits, labels = torch.zeros(4, 2), torch.tensor([[1, 0], [0, 0], [0, 0], [0, 0]])
    plain = head.loss(logits, labels)
    head.label_weights = balanced_weights(labels)
    assert head.label_weights.tolist() == pytest.approx(np.array([[2 / 3, 1], [2, 1]]))
    logits[0, 0] = 1.0
    gain = head.loss(torch.zeros(4, 2), labels) - head.loss(logits, labels)
    assert plain.item() == pytest.approx(math.log(2)) and gain.item() > 0
