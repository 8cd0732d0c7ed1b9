"""`state_dict` holds what was trained, once, and comes back into a model with the same backbone."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model, save_file, save_model
from torch import nn

from scalearn.backbones import load_backbone
from scalearn.joint import JointModel
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task

METHODS = ["adapter", "lora", "head", "full", "scalearn", "scalearn++"]


@pytest.fixture
def fresh(tiny_backbone: str, pair_task: Task, shelf: Shelf) -> Callable[..., TransferModel]:
    def make(method: str, seed: int = 0) -> TransferModel:
        sources = shelf if method.startswith("scalearn") else None
        return TransferModel.from_backbone(tiny_backbone, task=pair_task, method=method, sources=sources, seed=seed)

    return make


def changed(model: TransferModel) -> TransferModel:
    with torch.no_grad():
        for tensor in model.trained_state().values():
            tensor.add_(torch.randn(tensor.shape))
    return model


ROWS = [("good film", "bad"), ("a b", "c")]


@pytest.mark.parametrize("method", METHODS)
def test_it_holds_what_was_trained(method: str, fresh: Callable[..., TransferModel]) -> None:
    model = fresh(method)
    state = model.state_dict()
    assert state.keys() == model.trained_state().keys()
    assert all(torch.equal(tensor, model.trained_state()[name]) for name, tensor in state.items())
    assert sum(name.endswith("omega.values") for name in state) == {"scalearn": 2, "scalearn++": 1}.get(method, 0)
    assert any("embeddings" in name for name in state) == (method == "full")


@pytest.mark.parametrize("method", METHODS)
def test_it_comes_back_through_safetensors(method: str, fresh: Callable[..., TransferModel], tmp_path: Path) -> None:
    model = changed(fresh(method))
    save_file(model.state_dict(), tmp_path / "model.safetensors")  # which refuses tensors that share memory
    save_model(model, str(tmp_path / "other.safetensors"))
    for file in ("model", "other"):
        again = fresh(method, seed=1)
        load_model(again, tmp_path / f"{file}.safetensors")
        assert again.predict(ROWS) == model.predict(ROWS)


def test_loading_is_strict_about_what_is_trained_only(fresh: Callable[..., TransferModel]) -> None:
    model = fresh("scalearn")
    state = model.state_dict()
    assert model.load_state_dict(state) == ([], [])
    everything = {**dict(model.named_parameters()), **state}
    assert model.load_state_dict(everything) == ([], []), "the backbone may come along"
    del state["head.out.bias"]
    with pytest.raises(RuntimeError, match=r"Missing key.*head\.out\.bias"):
        model.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*head\.other"):
        model.load_state_dict({**model.state_dict(), "head.other": torch.zeros(1)})


def test_a_parameter_that_the_user_frees_is_kept(fresh: Callable[..., TransferModel]) -> None:
    model = fresh("scalearn")
    norm = "backbone.encoder.layer.0.output.LayerNorm.weight"
    assert norm not in model.state_dict()
    model.get_parameter(norm).requires_grad_(True)
    assert norm in model.state_dict()


def test_inside_another_module(fresh: Callable[..., TransferModel]) -> None:
    outer = nn.ModuleDict({"inner": fresh("scalearn++"), "other": nn.Linear(2, 2)})
    state = outer.state_dict()
    trained = {f"inner.{name}" for name in outer["inner"].trained_state()}
    assert state.keys() == trained | {"other.weight", "other.bias"}
    outer.load_state_dict(state)
    for name in ("other.weight", "inner.head.out.bias"):
        with pytest.raises(RuntimeError, match="Missing key"):
            outer.load_state_dict({key: value for key, value in state.items() if key != name})


def test_copies_keep_everything(fresh: Callable[..., TransferModel]) -> None:
    model = changed(fresh("scalearn++"))
    twin = copy.deepcopy(model)
    assert twin.state_dict().keys() == model.state_dict().keys()
    assert twin.predict(ROWS) == model.predict(ROWS)
    changed(twin)
    assert twin.predict(ROWS) != model.predict(ROWS), "the copy's tensors are its own"
    assert torch.equal(twin.deltas[0].omega.values, twin.deltas[1].omega.values)


def test_joint_models_too(tiny_backbone: str, task: Task) -> None:
    tasks = [task, Task(**{**vars(task), "name": "again"})]
    model = JointModel.from_backbone(load_backbone(tiny_backbone), tasks=tasks, method="hyperformer")
    assert model.state_dict().keys() == model.trained_state().keys()
