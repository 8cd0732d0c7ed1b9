"""LoRA against W + (alpha / r) U D, and scaled LoRA sources against their sum one by one, folded and merged."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from scalearn.deltas import Constraint, FixedOmega, Lora, Omega, ScaledLoras
from scalearn.errors import InputError
from scalearn.methods import Setting, method_from_name
from scalearn.sites import Shape

INPUTS, OUTPUTS = 10, 6
RANKS, ALPHAS = (4, 1, 6), (8.0, 3.0, 2.0)
Check = Callable[..., None]
LINEARS = {"query": (768, 768), "value": (768, 768), "intermediate": (768, 3072)}
ROBERTA = Shape(architecture="roberta", width=768, layers=12, linears=LINEARS)


def lora(rank: int = 4, alpha: float = 8.0, *, inputs: int = INPUTS, outputs: int = OUTPUTS) -> Lora:
    made = Lora(inputs=inputs, outputs=outputs, rank=rank, alpha=alpha)
    nn.init.normal_(made.up.weight)
    return made


def sources() -> list[Lora]:
    """Of unequal ranks and alphas."""
    return [lora(rank, alpha) for rank, alpha in zip(RANKS, ALPHAS, strict=True)]


def omega_of(width: int, *, count: int = len(RANKS), dropout: float = 0.0, constraint: Constraint = "none") -> Omega:
    omega = Omega(sources=count, width=width, dropout=dropout, constraint=constraint)
    nn.init.uniform_(omega.values, 0.2, 1.8)
    return omega


def update(source: Lora, x: Tensor) -> Tensor:
    """(alpha / r) U D x."""
    rank = source.down.weight.shape[0]
    return (source.alpha / rank) * (x @ source.down.weight.T @ source.up.weight.T)


def literal(x: Tensor, y: Tensor, made: list[Lora], omega: Tensor) -> Tensor:
    """y + sum_t omega_t * (alpha_t / r_t) U_t D_t x."""
    total = y
    for t, source in enumerate(made):
        total = total + omega[t] * update(source, x)
    return total


# ---- one update


@pytest.mark.parametrize(("rank", "alpha"), [(1, 1.0), (4, 8.0), (6, 3.0)])
def test_equation_with_gradients(rank: int, alpha: float) -> None:
    delta = lora(rank, alpha)
    x, y, weights = torch.randn(2, 3, INPUTS), torch.randn(2, 3, OUTPUTS), torch.randn(2, 3, OUTPUTS)
    torch.testing.assert_close(delta(x, y), y + update(delta, x))
    torch.testing.assert_close(delta(x, y), y + x @ delta.weight().T)
    ours = torch.autograd.grad((delta(x, y) * weights).sum(), [delta.down.weight, delta.up.weight])
    expected = torch.autograd.grad((update(delta, x) * weights).sum(), [delta.down.weight, delta.up.weight])
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_wider_update_is_the_same_update_and_an_absent_one_is_none() -> None:
    delta, x, y = lora(3, 7.0), torch.randn(2, INPUTS), torch.randn(2, OUTPUTS)
    wide = delta.widened(5)
    assert (wide.down.out_features, wide.scaling) == (5, 1.0)
    torch.testing.assert_close(wide(x, y), delta(x, y))
    absent = delta.double().absent()
    assert absent.up.weight.dtype == torch.float64 and not any(p.any() for p in absent.parameters())
    assert torch.equal(absent(x.double(), y.double()), y.double())


def test_starts_as_the_identity() -> None:
    delta = Lora(inputs=400, outputs=300, rank=8, alpha=16.0)
    x, y = torch.randn(3, 400), torch.randn(3, 300)
    assert not delta.up.weight.any()
    assert torch.equal(delta(x, y), y)
    # kaiming uniform with a = sqrt(5): U(-b, b) with b = 1 / sqrt(inputs)
    bound = 400**-0.5
    assert 0.98 * bound < delta.down.weight.abs().max().item() <= bound
    assert delta.down.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_count_at_roberta_base() -> None:
    with torch.device("meta"):
        built = method_from_name("lora", rank=4, modules=("query", "intermediate")).build(Setting(shape=ROBERTA))
    assert {role: len(layers) for role, layers in built.items()} == {"query": 12, "intermediate": 12}
    counted = sum(p.numel() for layers in built.values() for p in nn.ModuleList(layers).parameters())
    assert counted == 12 * 4 * (768 + 768 + 768 + 3072)
    with torch.device("meta"):
        default = method_from_name("lora").build(Setting(shape=ROBERTA))
    assert sum(p.numel() for layers in default.values() for p in nn.ModuleList(layers).parameters()) == 294_912


# ---- merging


def test_merging_into_a_linear_map() -> None:
    linear, delta = nn.Linear(INPUTS, OUTPUTS), lora()
    x = torch.randn(2, 3, INPUTS)
    original, before = linear.weight.clone(), delta(x, linear(x))
    delta.eval().merge(linear)
    torch.testing.assert_close(linear(x), before)
    torch.testing.assert_close(delta(x, linear(x)), before)
    assert not torch.allclose(linear.weight, original)
    once = linear.weight.clone()
    delta.eval().merge(linear)
    assert torch.equal(linear.weight, once), "a second merge does nothing"


@pytest.mark.parametrize("outputs", [OUTPUTS, INPUTS], ids=["oblong", "square"])
def test_merging_into_a_transposed_map(outputs: int) -> None:
    """GPT-2's Conv1D holds its weight as (inputs, outputs)."""
    linear, delta = Conv1D(outputs, INPUTS).double(), lora(outputs=outputs)
    x = torch.randn(2, 3, INPUTS)
    before = delta(x, linear(x))
    delta.eval().merge(linear)
    torch.testing.assert_close(delta(x, linear(x)), before)


# ---- several sources


def constrained(values: Tensor, constraint: Constraint) -> Tensor:
    weights = values.exp() if constraint == "softmax" else values
    return values if constraint == "none" else weights / weights.sum(dim=0)


@pytest.mark.parametrize("constraint", ["none", "mean", "softmax"])
@pytest.mark.parametrize("width", [OUTPUTS, 1], ids=["vector", "uniform"])
def test_scaled_equals_literal(width: int, constraint: Constraint, assert_same_function: Check) -> None:
    made = sources()
    fused = ScaledLoras(made, omega_of(width, constraint=constraint))
    values = fused.omega.values
    x, y = torch.randn(2, 5, INPUTS, requires_grad=True), torch.randn(2, 5, OUTPUTS, requires_grad=True)
    assert_same_function(fused(x, y), literal(x, y, made, constrained(values, constraint)), [x, y, values])


def test_fixed_omega_equals_literal(assert_same_function: Check) -> None:
    made = sources()
    fused = ScaledLoras(made, FixedOmega([0.3, -0.7, 1.0])).train()
    x, y = torch.randn(2, 5, INPUTS, requires_grad=True), torch.randn(2, 5, OUTPUTS, requires_grad=True)
    expected = literal(x, y, made, torch.tensor([[0.3], [-0.7], [1.0]]))
    assert_same_function(fused(x, y), expected, [x, y])


@pytest.mark.parametrize("width", [OUTPUTS, 1], ids=["vector", "uniform"])
def test_a_shared_omega_sums_the_gradients_of_its_layers(width: int, assert_same_function: Check) -> None:
    """The "++" variants, of two square maps with a nonlinearity between them."""
    width = INPUTS if width == OUTPUTS else 1
    layers = [[lora(rank, inputs=INPUTS, outputs=INPUTS) for rank in RANKS] for _ in range(2)]
    omega = omega_of(width)
    first, second = (ScaledLoras(made, omega) for made in layers)
    x = torch.randn(2, 5, INPUTS, requires_grad=True)
    inner, between = torch.tanh(first(x, x)), torch.tanh(literal(x, x, layers[0], omega.values))
    expected = literal(between, between, layers[1], omega.values)
    assert_same_function(second(inner, inner), expected, [x, omega.values])


@pytest.mark.parametrize("width", [OUTPUTS, 1], ids=["vector", "uniform"])
def test_one_mask_of_dropout_on_omega(width: int, assert_same_function: Check) -> None:
    made = sources()
    fused = ScaledLoras(made, omega_of(width, dropout=0.5)).train()
    values = fused.omega.values
    x, y = torch.randn(2, 5, INPUTS, requires_grad=True), torch.randn(2, 5, OUTPUTS)
    torch.manual_seed(7)
    ours = fused(x, y)
    torch.manual_seed(7)
    masked = F.dropout(values, 0.5, training=True)
    assert (masked == 0).any() and (masked != 0).any()
    assert_same_function(ours, literal(x, y, made, masked), [x, values])


def test_sources_are_frozen_copies() -> None:
    made = sources()
    fused = ScaledLoras(made, omega_of(1))
    x, y = torch.randn(2, INPUTS), torch.randn(2, OUTPUTS)
    before = fused(x, y)
    with torch.no_grad():
        for source in made:
            source.up.weight.zero_(), source.down.weight.zero_()
    assert torch.equal(fused(x, y), before)
    assert [name for name, _ in fused.named_parameters()] == ["omega.values"]
    assert {name for name, _ in fused.named_buffers()} == {"down_weight", "up_weight"}
    assert list(fused.state_dict()) == ["omega.values"], "loading one would write into what several models share"
    assert fused.down_weight.shape == (3 * 6, INPUTS) and fused.up_weight.shape == (3, 6, OUTPUTS)


@pytest.mark.parametrize("width", [OUTPUTS, 1], ids=["vector", "uniform"])
def test_fold_and_merge_equal_unfolded(width: int, assert_near: Check, assert_same_function: Check) -> None:
    fused = ScaledLoras(sources(), omega_of(width, dropout=0.5))
    folded = fused.fold()
    linear = nn.Linear(INPUTS, OUTPUTS)
    x = torch.randn(2, 5, INPUTS, requires_grad=True)
    expected = fused.eval()(x, linear(x))
    assert isinstance(folded, Lora) and folded.scaling == 1.0
    assert folded.down.out_features == 3 * 6
    assert_same_function(folded(x, linear(x)), fused(x, linear(x)), [x])
    folded.eval().merge(linear)
    assert_near(linear(x), expected)


def test_fold_of_fixed_omega_in_float32() -> None:
    fused = ScaledLoras(sources(), FixedOmega([0.3, -0.7, 1.0])).float()
    folded = fused.fold()
    x, y = torch.randn(2, INPUTS).float(), torch.randn(2, OUTPUTS).float()
    assert folded.up.weight.dtype == torch.float32
    torch.testing.assert_close(folded(x, y), fused(x, y), atol=1e-5, rtol=1e-5)


def test_maps_of_unequal_size_are_refused() -> None:
    for other in (lora(inputs=INPUTS + 1), lora(outputs=OUTPUTS + 1)):
        with pytest.raises(InputError, match=r"LoRA sources of maps of one size can be combined, but there are \["):
            ScaledLoras([lora(), other], omega_of(1, count=2))


def test_terms_are_each_sources_own_and_sum_to_the_update(assert_near: Check) -> None:
    made = sources()
    fused = ScaledLoras(made, omega_of(OUTPUTS)).eval()
    x, y = torch.randn(2, 5, INPUTS), torch.randn(2, 5, OUTPUTS)
    terms = list(fused.terms(x, y))
    for source, omega, term in zip(made, fused.omega.values, terms, strict=True):
        assert_near(term, omega * update(source, x))
    assert_near(y + sum(terms), fused(x, y))
