"""Generated bottlenecks against the equations, matrix by matrix."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from scalearn.deltas import GeneratedBottleneck, HyperNetworks, TaskEncoder, TaskSwitch, safe_key

TASKS = ("rte", "glue.mrpc", "set-1")
WIDTH, BOTTLENECK, EMBEDDING, HIDDEN, PROJECTED = 6, 4, 5, 9, 7


@pytest.fixture
def layers(perturbed):
    """The deltas of two layers."""

    def make(*, shared: bool) -> nn.ModuleList:
        sizes = {"embedding": EMBEDDING, "hidden": HIDDEN, "projected": PROJECTED}
        encoder = TaskEncoder(TaskSwitch(TASKS), **sizes, layers=2 if shared else None)
        networks = [
            HyperNetworks(width=WIDTH, bottleneck=BOTTLENECK, projected=PROJECTED) for _ in range(1 if shared else 2)
        ]
        return perturbed(
            nn.ModuleList(GeneratedBottleneck(encoder, networks[i % len(networks)], layer=i) for i in range(2))
        )

    return make


def normed(x: Tensor, eps: float) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / ((x - mean).square().mean(-1, keepdim=True) + eps).sqrt()


def literal(delta: GeneratedBottleneck, task: str, z: Tensor) -> Tensor:
    encoder, networks = delta.encoder, delta.networks
    embedding = encoder.tasks[safe_key(task)]
    if encoder.layers is not None:
        embedding = torch.cat([embedding, encoder.layers[delta.layer]])  # the task's first
    hidden = (encoder.hidden.weight @ embedding + encoder.hidden.bias).clamp(min=0)
    e = encoder.projected.weight @ hidden + encoder.projected.bias
    e = normed(e, 1e-6) * encoder.norm.weight + encoder.norm.bias

    def generated(linear: nn.Linear) -> Tensor:
        return linear.weight @ e + linear.bias

    down, up = generated(networks.down_weight), generated(networks.up_weight)
    inner = z @ down.reshape(BOTTLENECK, WIDTH).T + generated(networks.down_bias)
    inner = 0.5 * inner * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))  # gelu_new
    out = inner @ up.reshape(WIDTH, BOTTLENECK).T + generated(networks.up_bias)
    return normed(out, 1e-5) * generated(networks.norm_weight) + generated(networks.norm_bias)


@pytest.mark.parametrize("shared", [False, True], ids=["hyperformer", "hyperformer++"])
@pytest.mark.parametrize("task", TASKS)
def test_equals_literal(task: str, shared: bool, layers, assert_same_function) -> None:
    for delta in layers(shared=shared):
        delta.encoder.switch.select(task)
        z = torch.randn(2, 3, WIDTH, requires_grad=True)
        own = [p for name, p in delta.named_parameters() if "encoder.tasks" not in name]
        wanted = [z, *own, delta.encoder.tasks[safe_key(task)]]
        assert_same_function(delta(z), literal(delta, task, z), wanted)


def test_only_the_active_task_learns(layers) -> None:
    deltas = layers(shared=True)
    deltas[0].encoder.switch.select("glue.mrpc")
    sum(delta(torch.randn(3, WIDTH)).square().sum() for delta in deltas).backward()
    learning = [name for name, p in deltas[0].encoder.tasks.items() if p.grad is not None]
    assert learning == ["task glue%2Emrpc"]
    assert deltas[0].encoder.layers.grad.any(dim=1).all(), "every layer's embedding"


@pytest.mark.parametrize("shared", [False, True], ids=["hyperformer", "hyperformer++"])
def test_each_layer_generates_once_per_step(shared: bool, layers) -> None:
    """However many texts and tokens there are, and not again in the backward pass."""
    deltas = layers(shared=shared)
    generated = []
    for networks in {delta.networks for delta in deltas}:
        for linear in networks.children():
            linear.register_forward_hook(lambda module, args, output: generated.append(output.numel()))
    z = torch.randn(4, 5, WIDTH)
    for delta in deltas:
        z = z + delta(z)
    z.square().sum().backward()
    parts = [WIDTH * BOTTLENECK, BOTTLENECK, WIDTH * BOTTLENECK, WIDTH, WIDTH, WIDTH]
    assert sorted(generated) == sorted(2 * parts)


@pytest.mark.parametrize("shared", [False, True], ids=["hyperformer", "hyperformer++"])
def test_tasks_and_layers_differ(shared: bool, layers) -> None:
    deltas = layers(shared=shared)
    z = torch.randn(3, WIDTH)
    outputs = []
    for task in TASKS:
        deltas[0].encoder.switch.select(task)
        outputs += [delta(z) for delta in deltas]
    assert all(not torch.allclose(a, b) for i, a in enumerate(outputs) for b in outputs[:i])


def test_starts_as_published() -> None:
    encoder = TaskEncoder(TaskSwitch(TASKS), layers=24)
    assert torch.stack(list(encoder.tasks.values())).std().item() == pytest.approx(1, rel=0.1)
    assert encoder.layers.std().item() == pytest.approx(0.02, rel=0.05)
    assert (encoder.norm.eps, encoder.norm.weight.min().item(), encoder.norm.bias.any().item()) == (1e-6, 1, False)
    networks = HyperNetworks(width=200, bottleneck=100, projected=64)
    linears = [encoder.hidden, encoder.projected, *networks.children()]
    assert len(linears) == 8
    for linear in linears:
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not linear.bias.any()


@pytest.mark.parametrize(("shared", "expected"), [(False, 59_420_544), (True, 5_095_024)])
def test_published_counts(shared: bool, expected: int, trained) -> None:
    with torch.device("meta"):
        encoder = TaskEncoder(TaskSwitch([f"task{t}" for t in range(8)]), layers=12 if shared else None)
        made = [HyperNetworks(width=768, bottleneck=48, projected=64) for _ in range(1 if shared else 12)]
        deltas = [GeneratedBottleneck(encoder, made[i % len(made)], layer=i) for i in range(12)]
    assert trained(deltas) == expected


def test_shared_parts_stay_shared_in_a_copy(layers) -> None:
    deltas = layers(shared=True)
    twin = copy.deepcopy(deltas)
    assert twin[0].encoder is twin[1].encoder and twin[0].encoder is not deltas[0].encoder
    assert twin[0].networks is twin[1].networks
    with torch.no_grad():
        for parameter in deltas.parameters():
            parameter.normal_()
    twin.load_state_dict(deltas.state_dict())
    deltas[0].encoder.switch.select("set-1"), twin[1].encoder.switch.select("set-1")
    z = torch.randn(3, WIDTH)
    assert all(torch.equal(ours(z), theirs(z)) for ours, theirs in zip(deltas, twin, strict=True))
