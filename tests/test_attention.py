"""Lean attention is eager attention, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PreTrainedModel

from scalearn import attention
from scalearn.attention import LEAN, SUPPORTED, lean_attention, supports_lean

WIDTH = 32
_SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_TEXT = {"vocab_size": 60, "max_position_embeddings": 40}
CONFIGS: dict[str, dict[str, Any]] = {
    **{name: _SIZES | _TEXT for name in ("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie")},
    "distilbert": _TEXT | {"dim": WIDTH, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
}
B, S = 3, 11


def model_of(family: str, **options: Any) -> PreTrainedModel:
    config = AutoConfig.for_model(family, **CONFIGS[family], initializer_range=0.3, **options)
    model: PreTrainedModel = AutoModel.from_config(config)
    return model.double().eval()


def answer(model: PreTrainedModel, implementation: str, *, padding: str) -> tuple[Tensor, dict[str, Tensor]]:
    """The last hidden state, and the gradient of a random function of it for every parameter."""
    model.set_attn_implementation(implementation)
    generator = torch.Generator().manual_seed(1)
    inputs = {"input_ids": torch.randint(5, 60, (B, S), generator=generator)}
    if padding != "none":
        mask = torch.ones(B, S, dtype=torch.long)
        mask[1, slice(7, None) if padding == "right" else slice(None, 4)] = 0
        inputs["attention_mask"] = mask
    model.zero_grad()
    hidden: Tensor = model(**inputs).last_hidden_state
    (hidden * torch.randn(hidden.shape, generator=generator, dtype=torch.float64)).sum().backward()
    return hidden.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_every_supported_type_is_tested() -> None:
    assert set(CONFIGS) == SUPPORTED


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("family", CONFIGS)
def test_it_gives_what_eager_attention_does(family: str, padding: str) -> None:
    model = model_of(family)
    assert supports_lean(model)
    expected, gradients = answer(model, "eager", padding=padding)
    found, own = answer(model, LEAN, padding=padding)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert own.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name], gradient, rtol=1e-11, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    "family", ["mpnet", "deberta-v2", "llama", "gpt2", "modernbert", "vit"]
)  # relative positions, grouped keys, causal masks, windows; ViT's softmax is in float32 whatever the rest is in
def test_it_is_not_for_other_attention(family: str) -> None:
    assert not supports_lean(AutoModel.from_config(AutoConfig.for_model(family, **_SMALL[family])))


_SMALL: dict[str, dict[str, Any]] = {
    **{name: _SIZES | _TEXT for name in ("mpnet", "deberta-v2", "llama")},
    "vit": _SIZES | {"image_size": 16, "patch_size": 4},
    "gpt2": {"n_embd": WIDTH, "n_layer": 1, "n_head": 4, "vocab_size": 60, "n_positions": 40},
    "modernbert": _SIZES | _TEXT | {f"{name}_token_id": 1 for name in ("pad", "bos", "eos", "cls", "sep")},
}


def test_with_the_same_mask_dropout_is_eagers(monkeypatch: pytest.MonkeyPatch) -> None:
    p, shape = 0.3, (2, 4, 9, 8)
    states = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    keep = torch.rand(8, 9, 9) > p
    monkeypatch.setattr(attention, "keep_mask", lambda size, probability: keep.view(size))
    weights = torch.randn(2, 9, 4, 8, dtype=torch.float64)

    query, key, value = states
    probabilities = (query @ key.transpose(-1, -2) * 8**-0.5).softmax(-1)
    literal = ((probabilities * keep.view(2, 4, 9, 9) / (1 - p)) @ value).transpose(1, 2)
    expected = torch.autograd.grad((literal * weights).sum(), states)
    found, nothing = lean_attention(torch.nn.Identity(), query, key, value, None, dropout=p)
    own = torch.autograd.grad((found * weights).sum(), states)

    assert nothing is None
    torch.testing.assert_close(found, literal, rtol=0, atol=1e-12)
    for mine, theirs in zip(own, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_dropout_acts_in_training_only() -> None:
    model = model_of("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5)
    calm = [answer(model, LEAN, padding="none")[0] for _ in range(2)]
    model.train()
    dropped = [answer(model, LEAN, padding="none")[0] for _ in range(2)]
    assert torch.equal(calm[0], calm[1])
    assert not torch.equal(dropped[0], dropped[1])


def test_padding_weighs_nothing_in_bf16() -> None:
    """The lowest number of float32, which masks are made of under autocast, is -inf in bf16."""
    model = model_of("bert").float()
    model.set_attn_implementation(LEAN)
    ids = torch.randint(5, 60, (2, S))
    mask = torch.ones(2, S, dtype=torch.long)
    mask[1, 6:] = 0
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        ids[1, 6:] = 7
        other = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert hidden.isfinite().all()
    assert torch.equal(hidden[1, :6], other[1, :6])


def test_keys_of_another_format_are_trained_under_autocast() -> None:
    """IA3 rescales keys and values by float32 vectors."""
    query = torch.randn(2, 4, 9, 8, dtype=torch.bfloat16, requires_grad=True)
    key, value = (torch.randn(2, 4, 9, 8, requires_grad=True) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        out = lean_attention(torch.nn.Identity(), query, key, value, None)[0]
    out.float().square().sum().backward()
    assert (query.grad is not None and query.grad.dtype) == torch.bfloat16
    for states in (key, value):
        assert states.grad is not None
        assert states.grad.dtype == torch.float32
        assert states.grad.abs().sum() > 0


def test_there_is_no_second_derivative() -> None:
    query, key, value = (torch.randn(2, 4, 9, 8, requires_grad=True) for _ in range(3))
    out = lean_attention(torch.nn.Identity(), query, key, value, None)[0]
    (gradient,) = torch.autograd.grad(out.square().sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_one_query_may_meet_many_keys() -> None:
    query, key, value = torch.randn(2, 4, 1, 8), torch.randn(2, 4, 9, 8), torch.randn(2, 4, 9, 8)
    found = lean_attention(torch.nn.Identity(), query, key, value, torch.zeros(2, 1, 1, 9))[0]
    torch.testing.assert_close(found, F.scaled_dot_product_attention(query, key, value).transpose(1, 2))
