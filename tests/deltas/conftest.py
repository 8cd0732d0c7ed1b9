"""Float64, and comparisons of a delta with a literal form of its equation."""

from collections.abc import Callable, Iterable, Iterator

import pytest
import torch
from torch import Tensor, nn

TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def _double(_one_seed: None) -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def assert_near() -> Callable[..., None]:
    """Fails unless two tensors agree to rounding."""

    def check(ours: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
        assert ours.shape == expected.shape
        assert (ours - expected).abs().max().item() <= tolerance * max(1.0, expected.abs().max().item())

    return check


@pytest.fixture
def assert_same_function(assert_near: Callable[..., None]) -> Callable[..., None]:
    """Fails unless two outputs agree, and their gradients with regard to each of `tensors`."""

    def check(ours: Tensor, expected: Tensor, tensors: Iterable[Tensor]) -> None:
        assert_near(ours, expected)
        direction = torch.randn_like(ours)
        wanted = list(tensors)
        gradients = [
            torch.autograd.grad((output * direction).sum(), wanted, allow_unused=True) for output in (ours, expected)
        ]
        for mine, theirs in zip(*gradients, strict=True):
            assert mine is not None and theirs is not None
            assert_near(mine, theirs)

    return check


@pytest.fixture
def perturbed() -> Callable[..., nn.Module]:
    """Draws every parameter at random, so that no term vanishes."""

    def perturb(module: nn.Module, std: float = 0.5) -> nn.Module:
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=std)
        return module

    return perturb


@pytest.fixture
def trained() -> Callable[[Iterable[nn.Module]], int]:
    """Counts the parameters of the deltas of all layers, shared ones once."""

    def count(deltas: Iterable[nn.Module]) -> int:
        return sum(p.numel() for p in nn.ModuleList(deltas).parameters() if p.requires_grad)

    return count


@pytest.fixture
def largest_saved() -> Callable[[Callable[[], Tensor]], int]:
    """Elements of the largest tensor that autograd keeps for the backward pass."""

    def largest(run: Callable[[], Tensor]) -> int:
        sizes = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            run()
        return max(sizes)

    return largest
