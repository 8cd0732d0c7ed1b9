"""Parity with the published implementation: hidden states, logits, loss and every gradient, in float64.

`tests/golden/` holds tensors computed by the published code on a tiny random RoBERTa (3 layers, width 48).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import RobertaConfig, RobertaModel

from scalearn.backbones import wrap_backbone
from scalearn.deltas import ScaledSources
from scalearn.methods import Adapter, FullFineTuning, Method, Probing, ScaLearn
from scalearn.model import TransferModel
from scalearn.sources import BackboneReference, Source
from scalearn.tasks import Task

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-10

CASES: dict[str, Method] = {
    "full_ft": FullFineTuning(),
    "full_ft_stsb": FullFineTuning(),
    "adapter_pfeiffer": Adapter(bottleneck=6),
    "adapter_pfeiffer_stsb": Adapter(bottleneck=6),
    "scalearn_2_avg_d03": ScaLearn(),
    "scalearnUniform_2_avg_d03": ScaLearn(uniform=True),
    "scalearnPP_2_avg_d03": ScaLearn(shared=True),
    "scalearnUniformPP_2_avg_d00": ScaLearn(uniform=True, shared=True),
    "scalearn_avg_d03": ScaLearn(init_scale=1.0),
    "scalearn_2_avg_d00_MEAN": ScaLearn(constraint="mean"),
    "scalearn_2_avg_d00_SOFTMAX": ScaLearn(constraint="softmax"),
    "scalearn_2_avg_d03_reg01": ScaLearn(regularisation=0.1),
    "probe_omega05": Probing(omega=(0.5,)),
    "omega_grid": Probing(omega=(0.3, 0.7)),
}


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_published_code(case: str) -> None:
    assert_equals_published(case, CASES[case])


def test_dropout_is_inactive_in_evaluation_whatever_its_rate() -> None:
    assert_equals_published("scalearn_2_avg_d03", ScaLearn(dropout=0.9))


def test_init_is_centred_on_scale_over_sources() -> None:
    for scale in (1.0, 2.0):
        model, _ = build("scalearn_2_avg_d03", ScaLearn(init_scale=scale), load=False)
        assert model.omega().mean().item() == pytest.approx(scale / 3, abs=5e-4)
        assert 5e-4 < model.omega().std().item() < 2e-3


def test_a_wrong_equation_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding the delta after the LayerNorm instead of before it must not pass for parity."""
    from scalearn import sites

    def after(norm: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + norm.delta(output)

    monkeypatch.setattr(sites, "_add_post_norm", after)
    with pytest.raises(AssertionError):
        assert_equals_published("scalearn_2_avg_d03", ScaLearn())


def test_a_bias_that_is_not_scaled_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def unscaled(self: ScaledSources, omega: Tensor) -> tuple[Tensor, Tensor]:
        return (self.up_weight * omega.unsqueeze(1)).flatten(0, 1).T, self.up_bias.sum(dim=0)

    monkeypatch.setattr(ScaledSources, "_scaled_up", unscaled)
    with pytest.raises(AssertionError):
        assert_equals_published("scalearn_2_avg_d03", ScaLearn())


def assert_equals_published(case: str, method: Method) -> None:
    """Fails unless hidden states, logits, loss, regulariser and all gradients equal those of the published code."""
    model, golden = build(case, method)
    model.eval()
    out = model(golden["input_ids"], golden["attention_mask"], labels=golden["labels"], output_hidden_states=True)
    out.loss.backward()
    for index, hidden in enumerate(out.hidden_states):
        assert_close(hidden, golden[f"hidden/{index}"], f"{case}: hidden state {index}")
    assert_close(out.logits, golden["logits"], f"{case}: logits")
    assert_close(out.loss, golden["loss"], f"{case}: loss")

    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    published = {key[2:] for key in golden if key.startswith("g/")}
    assert {published_name(name, case) for name in gradients} == published
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert_close(gradient, golden[f"g/{published_name(name, case)}"], f"{case}: gradient of {name}")

    if "reg_loss" in golden:
        model.zero_grad()
        penalty = model.penalty()
        assert isinstance(penalty, Tensor)
        penalty.backward()
        assert_close(penalty, golden["reg_loss"], f"{case}: regulariser")
        for name, p in model.named_parameters():
            if f"gr/{published_name(name, case)}" in golden:
                assert p.grad is not None
                assert_close(p.grad, golden[f"gr/{published_name(name, case)}"], f"{case}: regulariser of {name}")
        model.train()
        torch.manual_seed(0)
        with_penalty = model(golden["input_ids"], golden["attention_mask"], labels=golden["labels"]).loss
        object.__setattr__(model, "method", ScaLearn())
        torch.manual_seed(0)
        without = model(golden["input_ids"], golden["attention_mask"], labels=golden["labels"]).loss
        assert_close(with_penalty - without, golden["reg_loss"], f"{case}: regulariser in the training loss")


def assert_close(ours: Tensor, theirs: Tensor, what: str) -> None:
    difference = (ours - theirs).abs().max().item()
    assert ours.shape == theirs.shape and difference < TOLERANCE, f"{what}: off by {difference:.3g}"


def build(case: str, method: Method, *, load: bool = True) -> tuple[TransferModel, dict[str, Tensor]]:
    """The tiny model of a case with the published weights."""
    golden = load_file(GOLDEN / f"{case}.safetensors")
    config = RobertaConfig(
        vocab_size=200,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=66,
        layer_norm_eps=1e-5,
        type_vocab_size=1,
        pad_token_id=1,
    )
    roberta = RobertaModel(config, add_pooling_layer=False)
    own = roberta.state_dict()
    weights = load_file(GOLDEN / "backbone.safetensors")
    roberta.load_state_dict({name: weights[name] for name in own}, strict=True)
    backbone = wrap_backbone(roberta, None, name="tiny", pooling="first")
    outputs = golden["logits"].shape[-1]
    task = Task(
        name="golden",
        kind="regression" if outputs == 1 else "classification",
        text=("text",),
        label="label",
        labels=() if outputs == 1 else tuple(str(i) for i in range(outputs)),
        metrics=("pearson",) if outputs == 1 else ("accuracy",),
        main_metric="pearson" if outputs == 1 else "accuracy",
    )
    names = ("mrpc", "cola", "rte") if method.stage == "transfer" else ()
    if isinstance(method, Probing):
        names = names[: len(method.omega)]
    reference = BackboneReference.of(backbone)
    sources = [source_of(golden, name, reference) for name in names]
    model = TransferModel(backbone, task=task, method=method, sources=sources)
    if load:
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        stored = {f"w/{key}": value for key, value in prefixed(weights).items()} | golden
        model.load_trained_state({n: stored[f"w/{published_name(n, case)}"] for n in trained})
    return model, golden


def prefixed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"roberta.{name}": value for name, value in weights.items()}


def source_of(golden: dict[str, Tensor], name: str, backbone: BackboneReference) -> Source:
    published = re.compile(rf"w/roberta\.encoder\.layer\.(\d+)\.output\.adapters\.{name}\.adapter_(down\.0|up)\.(\w+)")
    tensors = {
        f"layers.{match[1]}.{match[2].removesuffix('.0')}.{match[3]}": value
        for key, value in golden.items()
        if (match := published.fullmatch(key))
    }
    return Source(
        name=name, backbone=backbone, task={}, method="adapter", options={}, metrics={}, provenance={}, tensors=tensors
    )


def published_name(name: str, case: str) -> str:
    """The published code's name of one of our parameters."""
    task = {"adapter_pfeiffer_stsb": "stsb", "probe_omega05": "mrpc", "omega_grid": "cola"}.get(case, "rte")
    flexible = case.startswith(("adapter", "probe", "omega"))  # the published flexible heads name layers by number
    dense, out = (f"heads.{task}.1", f"heads.{task}.4") if flexible else ("classifier.dense", "classifier.out_proj")
    shared = "PP" in case
    omega = "roberta.shared_parameters.mrpc,cola,rte.omega" if shared else r"\1.scalearn_layer.mrpc,cola,rte.omega"
    for ours, theirs in (
        (r"head\.dense", dense),
        (r"head\.out", out),
        (r"^backbone\.", "roberta."),
        (r"^(.*)\.LayerNorm\.delta\.omega\.values", omega),
        (r"\.LayerNorm\.delta\.down", f".adapters.{task}.adapter_down.0"),
        (r"\.LayerNorm\.delta\.up", f".adapters.{task}.adapter_up"),
    ):
        name = re.sub(ours, theirs, name)
    return name
