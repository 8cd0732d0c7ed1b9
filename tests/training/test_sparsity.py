"""Training with an L1 penalty and with the top k: exact zeros, and the same after a stop, a save and a load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from scalearn.methods import Recipe, ScaLearn
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task
from scalearn.training import optimizer_for, train
from scalearn.training.callbacks import StopAtCheckpoint, Stopped

RECIPE = Recipe(learning_rate=2e-2, head_learning_rate=1e-2, epochs=2, patience=9, batch_size=8)
VARIANTS = [{"uniform": uniform, "shared": shared} for uniform in (False, True) for shared in (False, True)]


def fresh(backbone: str, task: Task, shelf: Shelf, **options: Any) -> TransferModel:
    return TransferModel.from_backbone(backbone, task=task, method=ScaLearn(**options), sources=shelf, pooling="mean")


def fit(model: TransferModel, out: Path | None = None, *callbacks: Any, **changes: Any) -> None:
    recipe = RECIPE.model_copy(update=changes)
    train(model, out, recipe=recipe, precision="fp32", progress=False, callbacks=callbacks)


def texts(model: TransferModel) -> torch.Tensor:
    return model.logits(model.encode({"text_a": ["good film", "the bad film was long", "bad"]}), precision="fp32")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_shrinks_every_coefficient_once(
    tiny_backbone: str, task: Task, shelf: Shelf, variant: dict[str, bool]
) -> None:
    """Beside a gradient of zero: by l1 times the rate of the moment, shared ones too, and nothing of the head."""
    model = fresh(tiny_backbone, task, shelf, l1=0.5, **variant)
    optimizer = optimizer_for(model, RECIPE)
    optimizer.param_groups[0]["lr"] = 0.1
    before = {name: tensor.clone() for name, tensor in model.trained_state().items()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    for name, tensor in model.trained_state().items():
        torch.testing.assert_close(tensor, before[name] - (0.05 if "omega" in name else 0.0), msg=name)


@pytest.mark.parametrize("variant", VARIANTS[1:3])
def test_l1_ends_in_exact_zeros(tiny_backbone: str, task: Task, shelf: Shelf, variant: dict[str, bool]) -> None:
    """They begin at 0.1; four steps of rates 0.02 to 0.005 shrink by 0.15, and Adam moves by 0.05."""
    for l1, zeros in ((0.0, False), (3.0, True)):
        model = fresh(tiny_backbone, task, shelf, l1=l1, init_scale=0.3, dropout=0.0, **variant)
        fit(model, epochs=1)
        assert bool((model.omega() == 0).any()) == zeros


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_top_k_survive_saving_and_folding(
    tiny_backbone: str, task: Task, shelf: Shelf, tmp_path: Path, variant: dict[str, bool]
) -> None:
    model = fresh(tiny_backbone, task, shelf, keep=2, **variant)
    fit(model, tmp_path / "model", epochs=1)
    acting = (model.omega() != 0).any(dim=2)
    assert acting.sum(dim=1).tolist() == [2, 2] and torch.equal(acting[0], acting[1]), "the same two in both layers"
    loaded = TransferModel.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded.omega(), model.omega())
    expected = texts(model)
    assert torch.equal(texts(loaded), expected)
    torch.testing.assert_close(texts(loaded.fold()), expected)


def test_a_stop_changes_nothing(tiny_backbone: str, task: Task, shelf: Shelf, tmp_path: Path) -> None:
    options = {"keep": 1, "l1": 0.2}
    whole = fresh(tiny_backbone, task, shelf, **options)
    fit(whole, tmp_path / "whole")
    asked = iter([False] * 5 + [True])
    with pytest.raises(Stopped):
        fit(fresh(tiny_backbone, task, shelf, **options), tmp_path / "halves", StopAtCheckpoint(lambda: next(asked)))
    second = fresh(tiny_backbone, task, shelf, **options)
    fit(second, tmp_path / "halves")
    assert torch.equal(second.omega(), whole.omega())
