"""ProPETL's masks, and bottlenecks behind them."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from scalearn.deltas import Bottleneck, JointMaskedBottleneck, MaskedBottleneck, MaskScores, TaskSwitch, safe_key

TASKS = ("rte", "glue.mrpc")


def literal_mask(scores: Tensor, keep: float) -> Tensor:
    """Sorts by absolute value, zeroes the first int((1 - k) n)."""
    entries = sorted(range(scores.numel()), key=lambda i: scores.flatten()[i].abs().item())
    mask = torch.ones(scores.numel())
    for i in entries[: int((1 - keep) * scores.numel())]:
        mask[i] = 0
    return mask.view_as(scores)


def masks(shared: Bottleneck, keep: float = 0.5) -> tuple[MaskScores, MaskScores]:
    down, up = shared.down.weight.shape, shared.up.weight.shape
    return MaskScores(tuple(down), keep=keep), MaskScores(tuple(up), keep=keep)


def joint(layers: int = 1, *, tie: bool = False) -> list[JointMaskedBottleneck]:
    shared, switch = Bottleneck(width=6, bottleneck=4), TaskSwitch(TASKS)
    of_tasks = {name: masks(shared, 0.3) for name in TASKS}
    of_layers = [masks(shared, 0.3) for _ in range(layers)]
    if tie:
        of_layers[0] = of_tasks[TASKS[-1]]
    return [
        JointMaskedBottleneck(
            shared,
            *own,
            task_down={name: pair[0] for name, pair in of_tasks.items()},
            task_up={name: pair[1] for name, pair in of_tasks.items()},
            switch=switch,
        )
        for own in of_layers
    ]


@pytest.mark.parametrize("shape", [(3, 7), (1, 5), (8, 8)])
@pytest.mark.parametrize("keep", [0.1, 0.3, 0.5, 0.77, 1.0])
def test_mask_keeps_the_largest(keep: float, shape: tuple[int, int]) -> None:
    scores = MaskScores(shape, keep=keep)
    assert torch.equal(scores(), literal_mask(scores.scores, keep))


def test_mask_rounds_as_published() -> None:
    """int((1 - k) n) entries are dropped: at (1 - 0.9) 10 = 0.9999... none, at 0.7 * 36,864 = 25,804.8 the lower."""
    assert MaskScores((2, 5), keep=0.9)().sum() == 10
    assert MaskScores((48, 768), keep=0.3)().sum() == 36_864 - 25_804


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_mask_drops_as_many_where_scores_tie(keep: float) -> None:
    """Which of the equal ones does not matter."""
    scores = MaskScores((8, 10), keep=keep)
    with torch.no_grad():
        scores.scores.copy_(torch.arange(80).remainder(3).view(8, 10) - 1.0)  # sizes 1, 0, 1
    mask, sizes = scores(), scores.scores.abs()
    assert mask.sum() == literal_mask(scores.scores, keep).sum() == 80 - int((1 - keep) * 80)
    assert sizes[mask == 1].min() >= sizes[mask == 0].max()


def test_mask_counts_negative_scores_by_size() -> None:
    scores = MaskScores((1, 4), keep=0.5)
    with torch.no_grad():
        scores.scores.copy_(torch.tensor([[-3.0, 1.0, 2.0, -0.5]]))
    assert scores().tolist() == [[1, 0, 1, 0]]


def test_gradient_goes_straight_through_with_the_sign() -> None:
    scores = MaskScores((3, 4), keep=0.5)
    weights = torch.randn(3, 4)
    (scores() * weights).sum().backward()
    assert torch.equal(scores.scores.grad, weights * scores.scores.sign()), "also of the entries that are dropped"


def test_scores_start_as_published() -> None:
    scores = MaskScores((400, 600), keep=0.5).scores  # kaiming-uniform, a = sqrt(5): +-1 / sqrt(fan in)
    assert scores.abs().max().item() == pytest.approx(1 / math.sqrt(600), rel=1e-3)
    assert scores.std().item() == pytest.approx(1 / math.sqrt(3 * 600), rel=0.01)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_masked_equals_literal(activation, perturbed, assert_same_function) -> None:
    shared = perturbed(Bottleneck(width=6, bottleneck=4, activation=activation))
    delta = MaskedBottleneck(shared, *masks(shared))
    z = torch.randn(2, 3, 6, requires_grad=True)
    down, up = literal_mask(delta.down_mask.scores, 0.5), literal_mask(delta.up_mask.scores, 0.5)
    hidden = z @ (shared.down.weight * down).T + shared.down.bias
    hidden = torch.relu(hidden) if activation == "relu" else nn.GELU()(hidden)
    expected = hidden @ (shared.up.weight * up).T + shared.up.bias
    assert_same_function(delta(z), expected, [z, *shared.parameters()])


def test_scores_get_the_gradient_of_their_masks(perturbed, assert_near) -> None:
    shared = perturbed(Bottleneck(width=6, bottleneck=4))
    delta = MaskedBottleneck(shared, *masks(shared))
    z = torch.randn(5, 6)
    delta(z).square().sum().backward()
    down, up = (mask().detach().requires_grad_() for mask in (delta.down_mask, delta.up_mask))
    hidden = torch.relu(z @ (shared.down.weight * down).T + shared.down.bias)
    (hidden @ (shared.up.weight * up).T + shared.up.bias).square().sum().backward()
    for mask, scores in ((down, delta.down_mask.scores), (up, delta.up_mask.scores)):
        assert_near(scores.grad, mask.grad * scores.sign())


@pytest.mark.parametrize("task", TASKS)
def test_joint_mask_keeps_what_either_keeps(task: str, perturbed, assert_near) -> None:
    (delta,) = joint()
    perturbed(delta)
    delta.switch.select(task)
    of_task = (delta.task_down[safe_key(task)], delta.task_up[safe_key(task)])
    expected = [
        torch.logical_or(literal_mask(own.scores, 0.3).bool(), literal_mask(tasks.scores, 0.3).bool()).double()
        for own, tasks in zip((delta.down_mask, delta.up_mask), of_task, strict=True)
    ]
    assert all(torch.equal(*pair) for pair in zip(delta.masks(), expected, strict=True))
    z = torch.randn(2, 3, 6)
    hidden = torch.relu(z @ (delta.shared.down.weight * expected[0]).T + delta.shared.down.bias)
    assert_near(delta(z), hidden @ (delta.shared.up.weight * expected[1]).T + delta.shared.up.bias)


def test_joint_gradients_reach_the_active_task_where_the_layer_drops(perturbed) -> None:
    (delta,) = joint()
    perturbed(delta)
    delta.switch.select("glue.mrpc")
    delta(torch.randn(40, 6)).square().sum().backward()
    inactive, active = (delta.task_down[safe_key(name)] for name in TASKS)
    assert inactive.scores.grad is None
    assert not active.scores.grad[delta.down_mask().bool()].any(), "d(1 - (1 - t)(1 - l)) / dt = 1 - l"
    assert active.scores.grad[~delta.down_mask().bool()].any()


def test_published_counts(trained) -> None:
    with torch.device("meta"):
        shared = Bottleneck(width=768, bottleneck=48)
        layers = [MaskedBottleneck(shared, *masks(shared)) for _ in range(12)]
        scores = sum(p.numel() for p in nn.ModuleList(layers).parameters() if p.ndim == 2) - 2 * 768 * 48
    assert scores == 884_736
    assert trained(layers) - scores == 74_544


@pytest.mark.parametrize(("tie", "expected"), [(True, 1_475_376), (False, 1_549_104)])
def test_published_joint_counts(tie: bool, expected: int, trained) -> None:
    with torch.device("meta"):
        shared, switch = Bottleneck(width=768, bottleneck=48), TaskSwitch([f"task{t}" for t in range(8)])
        of_tasks = {name: masks(shared) for name in switch.names}
        of_layers = [masks(shared) for _ in range(12)]
        if tie:
            of_layers[0] = of_tasks["task7"]
        parts = [{name: pair[part] for name, pair in of_tasks.items()} for part in (0, 1)]
        deltas = [
            JointMaskedBottleneck(shared, *own, task_down=parts[0], task_up=parts[1], switch=switch)
            for own in of_layers
        ]
    assert trained(deltas) == expected


def test_shared_parts_stay_shared_in_a_copy() -> None:
    layers = nn.ModuleList(joint(2, tie=True))
    twin = copy.deepcopy(layers)
    assert twin[0].shared is twin[1].shared and twin[0].shared is not layers[0].shared
    assert twin[0].switch is twin[1].switch and twin[0].switch is not layers[0].switch
    assert twin[0].down_mask is twin[1].task_down["task glue%2Emrpc"], "the tie too"
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.normal_()
    twin.load_state_dict(layers.state_dict())
    z = torch.randn(3, 6)
    assert all(torch.equal(ours(z), theirs(z)) for ours, theirs in zip(layers, twin, strict=True))
