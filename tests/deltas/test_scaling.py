"""The fused transfer layer against a literal one that follows the paper's equations source by source."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalearn.deltas import Bottleneck, Constraint, FixedOmega, Omega, ScaledSources
from scalearn.errors import InputError

BATCH, LENGTH, WIDTH = 2, 5, 12
VECTOR, UNIFORM = WIDTH, 1

Check = Callable[..., None]


@pytest.fixture(autouse=True)
def _double() -> None:
    torch.set_default_dtype(torch.float64)  # the shared fixture sets float32 again


def sources(count: int, *, bottlenecks: tuple[int, ...] = (4,), width: int = WIDTH) -> list[Bottleneck]:
    """Random sources, biases included."""
    made = [Bottleneck(width=width, bottleneck=bottlenecks[t % len(bottlenecks)]) for t in range(count)]
    for source in made:
        for parameter in source.parameters():
            nn.init.normal_(parameter, std=0.5)
    return made


def omega_of(count: int, width: int, *, constraint: Constraint = "none", dropout: float = 0.0) -> Omega:
    omega = Omega(sources=count, width=width, constraint=constraint, dropout=dropout)
    nn.init.uniform_(omega.values, 0.2, 1.8)  # far from the nearly constant start
    return omega


def literal(z: Tensor, adapters: list[Bottleneck], omega: Tensor) -> Tensor:
    """sum_t omega_t * (U_t f(D_t z + d_t) + u_t) as written: (B, S, T, d) exists, and loops are loops."""
    outputs = []
    for adapter in adapters:
        inner = z @ adapter.down.weight.T + adapter.down.bias
        hidden = torch.relu(inner) if adapter.activation == "relu" else inner * (1 + torch.erf(inner / 2**0.5)) / 2
        outputs.append(hidden @ adapter.up.weight.T + adapter.up.bias)
    stacked = torch.stack(outputs, dim=2)  # (B, S, T, d)
    total = torch.zeros_like(z)
    for t in range(len(adapters)):
        total = total + omega[t] * stacked[:, :, t]
    return total


def literal_constraint(values: Tensor, constraint: Constraint) -> Tensor:
    if constraint == "none":
        return values
    columns = []
    for column in values.T:
        weights = column.exp() if constraint == "softmax" else column
        columns.append(weights / weights.sum())
    return torch.stack(columns, dim=1)


def assert_near(ours: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max().item() <= tolerance * max(1.0, expected.abs().max().item())


@pytest.mark.parametrize("bottlenecks", [(4,), (3, 6, 1)], ids=["equal", "unequal"])
@pytest.mark.parametrize("constraint", ["none", "mean", "softmax"])
@pytest.mark.parametrize("width", [VECTOR, UNIFORM], ids=["vector", "uniform"])
@pytest.mark.parametrize("count", [1, 2, 8, 32])
def test_fused_equals_literal(count: int, width: int, constraint: Constraint, bottlenecks: tuple[int, ...]) -> None:
    adapters = sources(count, bottlenecks=bottlenecks)
    fused = ScaledSources(adapters, omega_of(count, width, constraint=constraint))
    values = fused.omega.values.detach().clone().requires_grad_()
    z, z_literal = (torch.randn(BATCH, LENGTH, WIDTH).requires_grad_() for _ in range(2))
    z_literal.data.copy_(z.data)
    weights = torch.randn(BATCH, LENGTH, WIDTH)

    ours = fused(z)
    expected = literal(z_literal, adapters, literal_constraint(values, constraint))
    (ours * weights).sum().backward()
    (expected * weights).sum().backward()

    assert_near(ours, expected)
    assert_near(z.grad, z_literal.grad)
    assert_near(fused.omega.values.grad, values.grad)


@pytest.mark.parametrize("width", [VECTOR, UNIFORM], ids=["vector", "uniform"])
def test_a_shared_omega_sums_the_gradients_of_its_layers(width: int, assert_same_function: Check) -> None:
    """The "++" variants, of two layers with a nonlinearity between them."""
    layers = [sources(3, bottlenecks=(3, 6, 1)) for _ in range(2)]
    omega = omega_of(3, width)
    first, second = (ScaledSources(adapters, omega) for adapters in layers)
    z = torch.randn(BATCH, LENGTH, WIDTH, requires_grad=True)
    between = torch.tanh(z + literal(z, layers[0], omega.values))
    expected = between + literal(between, layers[1], omega.values)
    inner = torch.tanh(z + first(z))
    assert_same_function(inner + second(inner), expected, [z, omega.values])


@pytest.mark.parametrize("shape", [(WIDTH,), (7, WIDTH), (2, 3, 5, WIDTH)])
def test_any_leading_shape(shape: tuple[int, ...]) -> None:
    adapters = sources(3)
    fused = ScaledSources(adapters, omega_of(3, VECTOR))
    z = torch.randn(shape)
    assert fused(z).shape == shape
    assert_near(fused(z).reshape(1, -1, WIDTH), literal(z.reshape(1, -1, WIDTH), adapters, fused.omega.values))


# ---- dropout on omega


@pytest.mark.parametrize("constraint", ["none", "mean", "softmax"])
@pytest.mark.parametrize("width", [VECTOR, UNIFORM], ids=["vector", "uniform"])
def test_one_mask_scales_weight_and_bias(width: int, constraint: Constraint, assert_same_function: Check) -> None:
    adapters = sources(8, bottlenecks=(3, 6, 1))
    fused = ScaledSources(adapters, omega_of(8, width, constraint=constraint, dropout=0.4)).train()
    values = fused.omega.values
    z = torch.randn(BATCH, LENGTH, WIDTH, requires_grad=True)
    torch.manual_seed(7)
    ours = fused(z)
    torch.manual_seed(7)
    masked = F.dropout(literal_constraint(values, constraint), 0.4, training=True)
    assert (masked == 0).any() and (masked != 0).any()
    assert_same_function(ours, literal(z, adapters, masked), [z, values])


def test_dropout_follows_the_constraint() -> None:
    omega = omega_of(8, VECTOR, dropout=0.5, constraint="softmax").train()
    values = omega()
    kept = values != 0
    assert_near(values[kept], (2 * omega.values.softmax(dim=0))[kept])


def test_each_layer_draws_its_own_mask_from_a_shared_omega() -> None:
    adapters = sources(8)
    omega = omega_of(8, VECTOR, dropout=0.5)
    first, second = (ScaledSources(adapters, omega).train() for _ in range(2))
    z = torch.randn(BATCH, LENGTH, WIDTH)
    assert not torch.allclose(first(z), second(z))
    assert not torch.allclose(first(z), first(z)), "and another in each forward pass"
    first.eval(), second.eval()
    assert torch.equal(first(z), second(z))


def test_one_mask_for_all_texts_and_tokens() -> None:
    fused = ScaledSources(sources(8), omega_of(8, VECTOR, dropout=0.5)).train()
    z = torch.randn(WIDTH).expand(BATCH, LENGTH, WIDTH)
    out = fused(z)
    assert_near(out, out[:1, :1].expand_as(out))


def test_uniform_dropout_drops_whole_sources() -> None:
    adapters = sources(1)
    fused = ScaledSources(adapters, omega_of(1, UNIFORM, dropout=0.5)).train()
    z = torch.randn(BATCH, LENGTH, WIDTH)
    kept = 2 * literal(z, adapters, fused.omega.values)
    seen = set()
    for _ in range(20):
        out = fused(z)
        dropped = bool((out == 0).all())
        if not dropped:
            assert_near(out, kept)
        seen.add(dropped)
    assert seen == {True, False}


def test_dropout_keeps_the_mean() -> None:
    omega = omega_of(8, VECTOR, dropout=0.3).train()
    mean = torch.stack([omega() for _ in range(4000)]).mean(dim=0)
    assert ((mean - omega.values).abs() / omega.values).max() < 0.06  # 5 standard errors are 0.052


def test_evaluation_has_no_dropout() -> None:
    omega = omega_of(8, VECTOR, dropout=0.9).eval()
    assert torch.equal(omega(), omega.values)


# ---- omega


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_omega_starts_near_scale_over_sources(count: int, scale: float) -> None:
    values = Omega(sources=count, width=2000, init_scale=scale).values
    assert values.mean().item() == pytest.approx(scale / count, abs=2e-4)
    assert values.std().item() == pytest.approx(1e-3, rel=0.1)


def test_penalty() -> None:
    omega = Omega(sources=2, width=3)
    with torch.no_grad():
        omega.values.copy_(torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.5, 0.5]]))
    assert omega.penalty().item() == pytest.approx(((1 - 2.0) ** 2 + (1 - 0.5) ** 2) / 2)


def test_penalty_has_the_gradient_of_its_formula() -> None:
    omega = omega_of(3, VECTOR)
    omega.penalty().backward()
    expected = -2 * (1 - omega.values.mean(dim=1, keepdim=True)) / (3 * WIDTH)
    assert_near(omega.values.grad, expected.expand_as(omega.values))


def test_fixed_omega_is_constant(assert_same_function: Check) -> None:
    adapters = sources(2, bottlenecks=(3, 6))
    fused = ScaledSources(adapters, FixedOmega([0.3, 0.7])).train()
    z = torch.randn(BATCH, LENGTH, WIDTH, requires_grad=True)
    assert_same_function(fused(z), literal(z, adapters, torch.tensor([[0.3], [0.7]])), [z])
    assert list(fused.parameters()) == []
    assert fused.omega.values.shape == (2, 1)


# ---- sources


def test_sources_are_frozen_buffers() -> None:
    fused = ScaledSources(sources(3), omega_of(3, VECTOR))
    assert [name for name, _ in fused.named_parameters()] == ["omega.values"]
    assert {name for name, _ in fused.named_buffers()} == {"down_weight", "down_bias", "up_weight", "up_bias"}
    fused(torch.randn(BATCH, LENGTH, WIDTH)).sum().backward()
    assert all(buffer.grad is None and not buffer.requires_grad for buffer in fused.buffers())
    assert list(fused.state_dict()) == ["omega.values"], "loading one would write into what several models share"


def test_sources_are_copied() -> None:
    adapters = sources(2)
    fused = ScaledSources(adapters, omega_of(2, VECTOR))
    z = torch.randn(BATCH, LENGTH, WIDTH)
    before = fused(z)
    with torch.no_grad():
        for adapter in adapters:
            for parameter in adapter.parameters():
                parameter.zero_()
    assert torch.equal(fused(z), before)


# ---- memory


def largest_saved(run: Callable[[], Tensor]) -> int:
    """Elements of the largest tensor that autograd keeps for the backward pass."""
    sizes = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return max(sizes)


def test_no_tensor_of_sources_times_tokens_times_width() -> None:
    count, width, bottleneck, tokens = 6, 48, 3, 32
    adapters = sources(count, bottlenecks=(bottleneck,), width=width)
    fused = ScaledSources(adapters, omega_of(count, width))
    z = torch.randn(4, tokens // 4, width, requires_grad=True)
    allowed = max(tokens * count * bottleneck, tokens * width, count * bottleneck * width)
    assert largest_saved(lambda: fused(z)) <= allowed < tokens * count * width
    values = fused.omega.values
    stacked = lambda: (torch.stack([a(z) for a in adapters], dim=2) * values).sum(dim=2)  # noqa: E731
    assert largest_saved(stacked) == tokens * count * width, "the measure must see what the literal layer keeps"


# ---- folding


@pytest.mark.parametrize("constraint", ["none", "mean", "softmax"])
@pytest.mark.parametrize("width", [VECTOR, UNIFORM], ids=["vector", "uniform"])
@pytest.mark.parametrize("count", [1, 8])
def test_fold_equals_unfolded(count: int, width: int, constraint: Constraint, assert_same_function: Check) -> None:
    fused = ScaledSources(
        sources(count, bottlenecks=(3, 6)), omega_of(count, width, constraint=constraint, dropout=0.5)
    )
    folded = fused.fold()
    z = torch.randn(BATCH, LENGTH, WIDTH, requires_grad=True)
    assert isinstance(folded, Bottleneck)
    assert folded.down.out_features == count * (3 if count == 1 else 6)
    assert_same_function(folded(z), fused.eval()(z), [z])


def test_fold_in_float32() -> None:
    fused = ScaledSources(sources(8), omega_of(8, VECTOR)).float()
    folded = fused.fold()
    z = torch.randn(BATCH, LENGTH, WIDTH, dtype=torch.float32)
    assert folded.up.weight.dtype == torch.float32
    assert_near(folded(z), fused(z), 1e-6)


@pytest.mark.parametrize("bottlenecks", [(4,), (3, 6, 1)], ids=["equal", "unequal"])
def test_gelu_sources(bottlenecks: tuple[int, ...], assert_same_function: Check) -> None:
    """What a written-out Compacter++ is."""
    adapters = sources(3, bottlenecks=bottlenecks)
    for adapter in adapters:
        adapter.activation = "gelu"
    fused = ScaledSources(adapters, omega_of(3, VECTOR))
    z = torch.randn(BATCH, LENGTH, WIDTH, requires_grad=True)
    expected = literal(z, adapters, fused.omega.values)
    assert_same_function(fused(z), expected, [z, fused.omega.values])
    assert fused.fold().activation == "gelu"
    assert_same_function(fused.fold()(z), literal(z, adapters, fused.omega.values), [z])


def test_mixed_activations_are_refused() -> None:
    gelu = Bottleneck(width=WIDTH, bottleneck=4, activation="gelu")
    with pytest.raises(InputError, match=r"gelu.*relu"):
        ScaledSources([*sources(2), gelu], omega_of(3, VECTOR))


def test_mixed_widths_are_refused() -> None:
    with pytest.raises(InputError, match=r"width 8 .*width 12 "):
        ScaledSources([*sources(2), *sources(1, width=8)], omega_of(3, UNIFORM))


def test_fold_of_fixed_omega(assert_same_function: Check) -> None:
    fused = ScaledSources(sources(2), FixedOmega([0.3, 0.7]))
    z = torch.randn(BATCH, LENGTH, WIDTH, requires_grad=True)
    assert_same_function(fused.fold()(z), fused(z), [z])


def test_fold_can_be_trained_without_changing_the_original() -> None:
    fused = ScaledSources(sources(2), omega_of(2, VECTOR))
    z = torch.randn(BATCH, LENGTH, WIDTH)
    before = fused(z)
    folded = fused.fold()
    with torch.no_grad():
        for parameter in folded.parameters():
            assert parameter.requires_grad
            parameter.zero_()
    assert torch.equal(fused(z), before)


# ---- what each source adds


@pytest.mark.parametrize("width", [VECTOR, UNIFORM], ids=["vector", "uniform"])
def test_terms_are_each_sources_own_and_sum_to_the_delta(width: int) -> None:
    adapters = sources(3, bottlenecks=(4, 2, 3))
    fused = ScaledSources(adapters, omega_of(3, width)).eval()
    z = torch.randn(BATCH, LENGTH, WIDTH)
    terms = list(fused.terms(z))
    for adapter, omega, term in zip(adapters, fused.omega.values, terms, strict=True):
        assert_near(term, omega * adapter(z))
    assert_near(sum(terms), fused(z))
