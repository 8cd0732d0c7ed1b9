"""Bulk dropout has torch's distribution: how often, where, and what it does to a tensor and its gradient."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.utils.checkpoint import checkpoint

from scalearn import dropout
from scalearn.dropout import BulkDropout, keep_mask, make_cheap, masked

N = 1 << 22
UNLIKELY = 1e-6
"""Of what a right mask would do worse than, under the fixed seed."""


def dropped(p: float, *, shape: tuple[int, ...] = (N,)) -> np.ndarray:
    return ~keep_mask(shape, p).numpy()


@pytest.mark.parametrize("p", [0.001, 1 / 256, 0.05, 0.1, 0.25, 0.3, 0.5, 0.9, 0.999])
def test_elements_are_dropped_as_often_as_asked(p: float) -> None:
    # One byte alone would be off by up to 1 / 256; this test sees 0.0003 at p = 0.1.
    assert stats.binomtest(int(dropped(p).sum()), N, p).pvalue > UNLIKELY


def test_nothing_is_dropped_at_0() -> None:
    assert not dropped(0.0, shape=(1000,)).any()


@pytest.mark.parametrize("lag", [1, 2, 3, 7, 8, 9, 16, 32, 64, 128, 384, 4096, dropout.CHUNK, 2 * dropout.CHUNK])
def test_an_element_says_nothing_about_another(lag: int) -> None:
    p = 0.1
    mask = dropped(p)
    pairs = int((mask[lag:] & mask[:-lag]).sum())
    # Pairs at one lag are correlated with each other: their variance has a term of overlapping pairs.
    deviation = math.sqrt(N * (p**2 * (1 - p**2) + 2 * p**3 * (1 - p)))
    assert abs(pairs - (N - lag) * p**2) < 5 * deviation


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_eight_in_a_row_come_in_every_pattern(p: float) -> None:
    patterns = np.packbits(dropped(p).reshape(-1, 8), axis=1).ravel()
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
    expected = len(patterns) * p**bits * (1 - p) ** (8 - bits)
    common = expected >= 5
    observed = np.bincount(patterns, minlength=256)
    counts = np.append(observed[common], observed[~common].sum())
    chances = np.append(expected[common], expected[~common].sum())
    counts, chances = counts[chances > 0], chances[chances > 0]
    assert stats.chisquare(counts, chances).pvalue > UNLIKELY


def test_drops_spread_evenly_over_the_tensor() -> None:
    counts = dropped(0.1).reshape(256, -1).sum(axis=1)
    assert stats.chisquare(counts).pvalue > UNLIKELY
    assert stats.chi2.cdf(stats.chisquare(counts).statistic, 255) > UNLIKELY  # nor more evenly than by chance


def test_two_masks_are_independent() -> None:
    first, second = dropped(0.1), dropped(0.1)
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    assert stats.chi2_contingency(table).pvalue > UNLIKELY


def test_torchs_seed_decides() -> None:
    first = keep_mask((3, N // 4), 0.1)
    assert not torch.equal(keep_mask((3, N // 4), 0.1), first)
    torch.manual_seed(0)  # as every test begins
    assert torch.equal(keep_mask((3, N // 4), 0.1), first)


def test_the_number_of_threads_does_not() -> None:
    masks = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(5)
        masks.append(keep_mask((N,), 0.1))
    torch.set_num_threads(1)
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_masked_is_where(kind: torch.dtype) -> None:
    x, keep = torch.randn(7, 33).to(kind), torch.rand(7, 33) > 0.4
    expected = torch.where(keep, x, 0.0).to(kind)
    assert torch.equal(masked(x, keep), expected)
    assert masked(x, keep, out=x) is not None
    assert torch.equal(x, expected)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32], ids=str)
def test_a_tensor_and_its_gradient_are_dropped_and_scaled_alike(kind: torch.dtype) -> None:
    x = torch.ones(64, 1024, dtype=kind, requires_grad=True)
    y = BulkDropout(0.25)(x)
    y.backward(torch.full_like(y, 3.0))
    assert set(y.detach().float().unique().tolist()) == {0.0, torch.tensor(4 / 3).to(kind).float().item()}
    assert x.grad is not None
    assert torch.equal(x.grad == 0, y == 0)
    assert set(x.grad.float().unique().tolist()) == {0.0, 4.0}
    assert y.detach().double().mean().item() == pytest.approx(1, abs=0.02)


def test_a_tensor_may_lie_in_memory_as_it_likes() -> None:
    x = torch.randn(256, 128, requires_grad=True)
    y = BulkDropout(0.1)(x.T)
    y.sum().backward()
    kept = y.detach() != 0
    torch.testing.assert_close(y.detach()[kept], (x.T / 0.9).detach()[kept])
    assert x.grad is not None
    assert torch.equal(x.grad.T != 0, kept)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_all_or_nothing(p: float) -> None:
    x = torch.randn(256, 128)
    assert torch.equal(BulkDropout(p)(x), x * (1 - p))


def test_evaluation_drops_nothing() -> None:
    x = torch.randn(256, 128)
    assert torch.equal(BulkDropout(0.5).eval()(x), x)


def test_activation_checkpointing_draws_the_same_mask_again() -> None:
    layer = BulkDropout(0.5)
    x = torch.ones(256, 128, requires_grad=True)
    y = checkpoint(layer, x, use_reentrant=False)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_there_is_no_second_derivative() -> None:
    x = torch.ones(256, 128, requires_grad=True)
    (gradient,) = torch.autograd.grad(BulkDropout(0.5)(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_threads_of_its_own() -> None:
    code = (
        "import os, signal, torch; from scalearn.dropout import keep_mask\n"
        "torch.set_num_threads(2); keep_mask((1 << 21,), 0.1)\n"
        "child = os.fork()\n"
        "if child: os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)\n"
        "signal.alarm(60); keep_mask((1 << 21,), 0.1); os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


def test_make_cheap_is_in_place() -> None:
    model = nn.Sequential(nn.Dropout(0.1), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2)), nn.Dropout1d(0.3)).eval()
    model[1].train()
    calls: list[int] = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    before, names = list(model.modules()), list(model.state_dict())
    make_cheap(model)
    found = {name: module for name, module in model.named_modules() if isinstance(module, BulkDropout)}
    assert {name: module.p for name, module in found.items()} == {"0": 0.1, "1.1": 0.2}
    assert {name: module.training for name, module in found.items()} == {"0": False, "1.1": True}
    assert all(one is other for one, other in zip(model.modules(), before, strict=True))
    assert list(model.state_dict()) == names
    model(torch.ones(4, 2))
    assert calls == [1]
