"""What a head reads does not depend on how little of the last layer is computed for it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from scalearn import sites
from scalearn.deltas import Bottleneck, Lora
from scalearn.heads import pool
from scalearn.reading import LAST_LAYERS, can_shorten, pooled
from scalearn.sites import LAYER

WIDTH, LAYERS, B, S = 32, 3, 4, 9
_SIZES = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": 64}
_TEXT = {"vocab_size": 60, "max_position_embeddings": 40}
CONFIGS: dict[str, dict[str, Any]] = {
    **{name: _SIZES | _TEXT for name in ("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie")},
    "distilbert": _TEXT | {"dim": WIDTH, "n_layers": LAYERS, "n_heads": 4, "hidden_dim": 64},
}
PLACES = (LAYER, "query", "key", "value", "intermediate")
every_family = pytest.mark.parametrize("family", CONFIGS)


def model_of(family: str, **options: Any) -> PreTrainedModel:
    """A model with a delta at every site, in float64."""
    config = AutoConfig.for_model(family, **CONFIGS[family], initializer_range=0.3, **options)
    model: PreTrainedModel = AutoModel.from_config(config)
    shape = sites.Shape.of(model)
    deltas: dict[str, list[nn.Module]] = {LAYER: [Bottleneck(width=WIDTH, bottleneck=5) for _ in range(LAYERS)]}
    for role, (inputs, outputs) in shape.linears.items():
        deltas[role] = [Lora(inputs=inputs, outputs=outputs, rank=2, alpha=2.0) for _ in range(LAYERS)]
    for parameter in (p for layers in deltas.values() for delta in layers for p in delta.parameters()):
        nn.init.normal_(parameter, std=0.3)
    sites.attach(model, deltas)
    assert set(sites.attached(model)) == set(PLACES)
    return model.double().eval()


def batch_of(*, padding: str = "right") -> dict[str, Tensor]:
    mask = torch.ones(B, S, dtype=torch.long)
    mask[1, slice(6, None) if padding == "right" else slice(None, 3)] = 0
    return {"input_ids": torch.randint(5, 60, (B, S)), "attention_mask": mask}


def whole(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """What a head reads of the whole last layer."""
    return pool(model(**batch).last_hidden_state, batch.get("attention_mask"), "first")


@contextmanager
def last_rows(model: PreTrainedModel) -> Iterator[list[int]]:
    """The numbers of rows that the last feed-forward network sees."""
    seen: list[int] = []
    network = sites.find_sites(model, "intermediate")[-1]
    handle = network.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1]))
    yield seen
    handle.remove()


def test_every_row_of_the_table_is_tested() -> None:
    assert set(CONFIGS) == set(LAST_LAYERS)


@pytest.mark.parametrize("implementation", ["eager", "sdpa", "lean"])
@every_family
def test_one_row_of_the_last_layer_gives_the_same(family: str, implementation: str) -> None:
    model, batch = model_of(family), batch_of()
    model.set_attn_implementation(implementation)
    expected = whole(model, batch)
    with last_rows(model) as rows:
        found = pooled(model, batch, "first")
    assert rows == [1]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

    weights = torch.randn(found.shape, dtype=torch.float64)
    of = [p for p in model.parameters() if p.requires_grad]
    for mine, theirs in zip(
        torch.autograd.grad((found * weights).sum(), of, allow_unused=True),
        torch.autograd.grad((expected * weights).sum(), of, allow_unused=True),
        strict=True,
    ):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-11)


def test_without_a_mask() -> None:
    model, batch = model_of("bert"), {"input_ids": torch.randint(5, 60, (B, S))}
    torch.testing.assert_close(pooled(model, batch, "first"), whole(model, batch), rtol=0, atol=1e-12)


def test_every_choice_is_read() -> None:
    model, flat = model_of("bert"), batch_of()
    batch = {name: tokens.view(2, 2, S) for name, tokens in flat.items()}
    torch.testing.assert_close(pooled(model, batch, "first"), whole(model, flat).view(2, 2, WIDTH), rtol=0, atol=1e-12)


def test_dropout_acts_on_the_one_row_too() -> None:
    model, batch = model_of("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5), batch_of()
    model.set_attn_implementation("lean")
    for layer in model.encoder.layer[:-1]:
        layer.eval()
    model.encoder.layer[-1].train()
    with last_rows(model) as rows:
        first, second = (pooled(model, batch, "first") for _ in range(2))
    assert rows == [1, 1]
    assert not torch.equal(first, second)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_other_poolings_take_all_rows(pooling: Any) -> None:
    model, batch = model_of("bert"), batch_of()
    with last_rows(model) as rows:
        found = pooled(model, batch, pooling)
    assert rows == [S]
    expected = pool(model(**batch).last_hidden_state, batch["attention_mask"], pooling)
    assert torch.equal(found, expected)


def test_padding_before_the_text_takes_all_rows() -> None:
    model, batch = model_of("bert"), batch_of(padding="left")
    with last_rows(model) as rows:
        found = pooled(model, batch, "first")
    assert rows == [S]
    assert torch.equal(found, whole(model, batch))


def test_activation_checkpointing_takes_all_rows() -> None:
    model, batch = model_of("bert").train(), batch_of()
    assert can_shorten(model)
    model.activation_checkpointing_enable()
    assert not can_shorten(model)
    with last_rows(model) as rows:
        pooled(model, batch, "first").sum().backward()
    assert set(rows) == {S}


def test_other_architectures_take_all_rows() -> None:
    model = AutoModel.from_config(AutoConfig.for_model("mpnet", **_SIZES, **_TEXT)).double().eval()
    batch = batch_of()
    assert not can_shorten(model)
    assert torch.equal(pooled(model, batch, "first"), whole(model, batch))


def test_all_rows_are_there_afterwards_also_after_a_failure() -> None:
    model, batch = model_of("bert"), batch_of()
    expected = model(**batch).last_hidden_state
    pooled(model, batch, "first")
    assert torch.equal(model(**batch).last_hidden_state, expected)

    def fail(*_: Any) -> None:
        raise RuntimeError("on the way")

    handle = model.encoder.layer[-1].output.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="on the way"):
        pooled(model, batch, "first")
    handle.remove()
    assert torch.equal(model(**batch).last_hidden_state, expected)
    assert torch.equal(copy.deepcopy(model)(**batch).last_hidden_state, expected)


def test_a_copy_reads_its_own_layer() -> None:
    model, batch = model_of("bert"), batch_of()
    before = pooled(model, batch, "first").detach()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.encoder.layer[-1].parameters():
            parameter.add_(1.0)
    assert torch.equal(pooled(twin, batch, "first"), before)
    assert not torch.equal(pooled(model, batch, "first"), before)


def test_a_forward_that_someone_put_on_the_layer_is_called() -> None:
    model, batch = model_of("bert"), batch_of()
    layer, calls = model.encoder.layer[-1], []
    own = layer.forward
    layer.forward = lambda *args, **options: calls.append(1) or own(*args, **options)
    assert torch.equal(pooled(model, batch, "first"), whole(model, batch))
    assert len(calls) == 2
    assert "forward" in vars(layer)


def test_threads_do_not_disturb_each_other() -> None:
    """While one reads first tokens, another gets all rows of the same layer."""
    model, batch = model_of("bert"), batch_of()
    expected, inside = model(**batch).last_hidden_state, threading.Event()
    found: list[Tensor] = []

    def other() -> None:
        inside.wait(60)
        found.append(model(**batch).last_hidden_state)

    thread = threading.Thread(target=other)

    def let_the_other_run(*_: Any) -> None:
        if not inside.is_set():
            inside.set()
            thread.join(60)

    model.encoder.layer[0].register_forward_pre_hook(let_the_other_run)
    thread.start()
    with last_rows(model) as rows:
        pooled(model, batch, "first")
    assert sorted(rows) == [1, S]
    assert torch.equal(found[0], expected)
