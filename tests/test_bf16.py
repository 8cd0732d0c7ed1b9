"""Every method trains under bf16 autocast with every attention, whichever tokens its head reads."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from scalearn.adapted import AdaptedModel
from scalearn.backbones import load_backbone
from scalearn.heads import Pooling
from scalearn.joint import JointModel
from scalearn.methods import REGISTRY, BestSource, CompacterPlusPlus, Method, Probing
from scalearn.model import TransferModel
from scalearn.precision import Attention, autocast
from scalearn.shelf import Shelf
from scalearn.tasks import Task

FITTING: dict[str, Method] = {
    "best-source": BestSource(chosen=0),
    "probing": Probing(omega=(1.0, 0.5, 0.0)),
    "compacter++": CompacterPlusPlus(reduction_factor=4),
}
"""What these otherwise find out from a task's rows, or is too narrow in a backbone of width 16. AdapterSoup and LoraHub
train no delta."""
IDS = torch.tensor([[2, 5, 7, 3, 9, 8], [2, 6, 3, 0, 0, 0]])


@pytest.fixture
def tasks(task: Task, pair_task: Task) -> Sequence[Task]:
    return [task, pair_task]


@pytest.mark.parametrize("attention", ["lean", "eager", "sdpa"])
@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("name", [name for name in REGISTRY if name not in ("adaptersoup", "lorahub")])
def test_a_step(
    name: str, pooling: Pooling, attention: Attention, tiny_backbone: str, tasks: Sequence[Task], shelf: Shelf
) -> None:
    backbone = load_backbone(tiny_backbone, pooling=pooling)
    method = FITTING.get(name, REGISTRY[name].method)
    model: AdaptedModel
    if method.stage == "joint":
        model = JointModel.from_backbone(backbone, tasks=tasks, method=method)
    else:
        sources = tuple(shelf) if method.stage == "transfer" else ()
        model = TransferModel(backbone, task=tasks[0], method=method, sources=sources)
    model.attention = attention
    model.backbone.set_attn_implementation(model.attention_for_training("bf16"))
    model.train()
    batch = {"input_ids": IDS, "attention_mask": (IDS != 0).long(), "labels": torch.tensor([1, 0])}
    others = {"task": tasks[0].name} if isinstance(model, JointModel) else {}
    with autocast("bf16", model.device):
        loss = model(**batch, **others).loss
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)
    head = model.heads_by_task()[tasks[0].name]
    assert head.out.weight.grad is not None
    assert head.out.weight.grad.abs().sum() > 0
