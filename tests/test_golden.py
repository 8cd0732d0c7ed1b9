"""Parity with the published implementation: hidden states, logits, loss and every gradient, in float64.

`tests/golden/` holds tensors computed by the published code on a tiny random RoBERTa (3 layers, width 48).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import RobertaConfig, RobertaModel
from transformers.modeling_outputs import SequenceClassifierOutput

from scalearn.adapted import AdaptedModel
from scalearn.backbones import BackboneReference, wrap_backbone
from scalearn.deltas import ScaledSources
from scalearn.heads import Head
from scalearn.joint import JointModel
from scalearn.kinds import Kind
from scalearn.methods import (
    IA3,
    Adapter,
    AdapterFusion,
    AdapterJoint,
    AdapterSoup,
    CompacterPlusPlus,
    FullFineTuning,
    FullFineTuningJoint,
    HyperFormer,
    Method,
    Probing,
    ProPETL,
    ProPETLJoint,
    ScaLearn,
)
from scalearn.methods.transfer import soup_weights
from scalearn.model import TransferModel
from scalearn.sources import Source
from scalearn.tasks import Task

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = 1e-10

_SOUP = soup_weights(np.array([0.5, 0.2, 0.9]), allowed=np.ones(3, dtype=bool), top_k=2)
_MASKED = ProPETL(reduction_factor=8, keep=0.5)
_HYPER = HyperFormer(reduction_factor=8, embedding=10, hidden=8, projected=6)

CASES: dict[str, Method] = {
    "full_ft": FullFineTuning(),
    "full_ft_stsb": FullFineTuning(),
    "full_ft_copa": FullFineTuning(),
    "adapter_pfeiffer": Adapter(bottleneck=6),
    "adapter_pfeiffer_stsb": Adapter(bottleneck=6),
    "adapter_pfeiffer_copa": Adapter(bottleneck=6),
    "compacterpp": CompacterPlusPlus(reduction_factor=6),
    "ia3": IA3(),
    "propetl_single": _MASKED.model_copy(update={"train_masks": False}),
    "propetl_single_masks_trainable": _MASKED,
    "adapterfusion_dynamic": AdapterFusion(),
    "adapterfusion_static": AdapterFusion(value=False),
    "adaptersoup": AdapterSoup(weights=_SOUP),
    "scalearn_2_avg_d03__copa": ScaLearn(),
    **{f"full_m__{task}": FullFineTuningJoint() for task in ("rte", "copa")},
    **{f"adapter_m__{task}": AdapterJoint(reduction_factor=8) for task in ("rte", "stsb", "copa")},
    **{
        f"propetl_m__{task}": ProPETLJoint(reduction_factor=8, tie_first_layer=True) for task in ("rte", "stsb", "copa")
    },
    **{f"hyperformer__{task}": _HYPER for task in ("rte", "stsb", "copa")},
    **{f"hyperformerpp__{task}": _HYPER.model_copy(update={"shared": True}) for task in ("rte", "stsb", "copa")},
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

    monkeypatch.setattr(ScaledSources, "scaled_up", unscaled)
    with pytest.raises(AssertionError):
        assert_equals_published("scalearn_2_avg_d03", ScaLearn())


def assert_equals_published(case: str, method: Method) -> None:
    """Fails unless hidden states, logits, loss, regulariser and all gradients equal those of the published code."""
    model, golden = build(case, method)
    model.eval()
    out = run(model, golden, case, output_hidden_states=True)
    out.loss.backward()
    for index, hidden in enumerate(out.hidden_states):
        assert_close(hidden, golden[f"hidden/{index}"], f"{case}: hidden state {index}")
    assert_close(out.logits, golden["logits"], f"{case}: logits")
    assert_close(out.loss, golden["loss"], f"{case}: loss")

    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}
    published = {key[2:] for key in golden if key.startswith("g/")}
    assert {published_name(name, case) for name in gradients} == published
    for name, gradient in gradients.items():
        assert_close(oriented(gradient, name, case), golden[f"g/{published_name(name, case)}"], f"{case}: d{name}")

    if "reg_loss" in golden:
        assert_equal_penalties(case, model, golden)


def assert_equal_penalties(case: str, model: AdaptedModel, golden: dict[str, Tensor]) -> None:
    """The regulariser's value and gradients, and that it is in the training loss of the same step."""
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
    with_penalty = run(model, golden, case).loss
    object.__setattr__(model, "method", model.method.model_copy(update={"regularisation": 0.0}))
    torch.manual_seed(0)
    assert_close(with_penalty - run(model, golden, case).loss, golden["reg_loss"], f"{case}: in the training loss")


def run(model: AdaptedModel, golden: dict[str, Tensor], case: str, **options: bool) -> SequenceClassifierOutput:
    inputs = {key: golden[key] for key in ("input_ids", "attention_mask", "labels")}
    return (
        model(case.split("__")[1], **inputs, **options) if isinstance(model, JointModel) else model(**inputs, **options)
    )


def assert_close(ours: Tensor, theirs: Tensor, what: str) -> None:
    difference = (ours - theirs).abs().max().item()
    # Compacter's shared rule is float32 in the published code, whatever the model's precision: so is its gradient.
    tolerance = (
        TOLERANCE if theirs.dtype == torch.float64 else torch.finfo(theirs.dtype).eps * theirs.abs().max().item()
    )
    assert ours.shape == theirs.shape and difference < tolerance, f"{what}: off by {difference:.3g}"


def build(case: str, method: Method, *, load: bool = True) -> tuple[AdaptedModel, dict[str, Tensor]]:
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
    if method.stage == "joint":
        outputs = {"rte": 2, "mrpc": 3, "stsb": 1, "copa": 2}
        tasks = [task_of(name, count, choices=name == "copa") for name, count in outputs.items()]
        model: AdaptedModel = JointModel(backbone, tasks=tasks, method=method)
        if isinstance(method, AdapterJoint):
            model.heads["task copa"] = LinearHead(width=48, outputs=1, kind="multiple-choice")
            model.heads["task copa"].dense = nn.Identity()
    else:
        names = ("mrpc", "cola", "rte") if method.stage == "transfer" else ()
        if isinstance(method, Probing):
            names = names[: len(method.omega)]
        reference = BackboneReference.of(backbone)
        # the soup's file holds the mean alone; its sources are those of the other cases
        stored = load_file(GOLDEN / "adapterfusion_dynamic.safetensors") if isinstance(method, AdapterSoup) else golden
        sources = [source_of(stored, name, reference) for name in names]
        task = task_of("golden", golden["logits"].shape[-1], choices=golden["input_ids"].ndim == 3)
        model = TransferModel(backbone, task=task, method=method, sources=sources)
    if load:
        root = "encoder" if case.startswith("full_m") else "roberta"
        given = {f"w/{root}.{name}": value for name, value in weights.items()} | golden
        names_in_file = {name: published_name(name, case) for name in model.trained_state()}
        model.load_trained_state(
            {name: oriented(given[f"w/{theirs}"], name, case) for name, theirs in names_in_file.items()}
        )
        if case == "scalearn_2_avg_d03__copa":  # the published head reads the frozen pooler, which is our dense map
            model.head.dense.requires_grad_(False)
    return model, golden


class LinearHead(Head):
    """What published Adapter-m has for COPA: one map of the first token, without dense and tanh."""

    def score(self, pooled: Tensor) -> Tensor:
        return self.out(pooled)


def task_of(name: str, outputs: int, *, choices: bool) -> Task:
    kind: Kind = "multiple-choice" if choices else "regression" if outputs == 1 else "classification"
    metric = "pearson" if outputs == 1 else "accuracy"
    return Task(
        name=name,
        kind=kind,
        text=("text",),
        label="label",
        labels=() if outputs == 1 else tuple(str(i) for i in range(outputs)),
        choices=tuple(f"choice{i}" for i in range(outputs)) if choices else (),
        metrics=(metric,),
        main_metric=metric,
    )


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


def oriented(tensor: Tensor, name: str, case: str) -> Tensor:
    """A tensor of ours in the published layout, or the other way round."""
    if case.startswith("propetl_single") and name.endswith("_mask.scores"):
        return tensor.T
    if case == "ia3" and name.endswith(".scale"):
        return tensor.reshape(-1, 1) if tensor.ndim == 1 else tensor.squeeze(1)
    return tensor


TASKS = ("rte", "mrpc", "stsb", "copa")


def published_name(name: str, case: str) -> str:
    """The published code's name of one of our parameters."""
    layer = r"^backbone\.encoder\.layer\.(\d+)\.output\.LayerNorm\.delta\."
    for ours, theirs in (*_joint_names(case, layer), *_names(case, layer)):
        name = re.sub(ours, theirs, name)
    return name


def _names(case: str, layer: str) -> list[tuple[str, str]]:
    """Patterns of models of one task."""
    task = {"probe_omega05": "mrpc", "omega_grid": "cola"}.get(case, "rte")
    if case in ("adapter_pfeiffer_stsb", "adapter_pfeiffer_copa"):
        task = case.rsplit("_", 1)[1]
    # the published flexible heads name layers by number
    numbered = case.startswith(("adapter_pf", "probe", "omega", "compacter", "ia3", "propetl"))
    dense, out = (f"heads.{task}.1", f"heads.{task}.4") if numbered else ("classifier.dense", "classifier.out_proj")
    if case.endswith("copa") and not numbered:  # the pooler, and one map behind it
        dense, out = "roberta.pooler.dense", "classifier"
    adapters = rf"roberta.encoder.layer.\1.output.adapters.{task}"
    output = r"roberta.encoder.layer.\1.output"
    sources = "mrpc,cola,rte"
    omega = (
        f"roberta.shared_parameters.{sources}.omega" if "PP" in case else rf"{output}.scalearn_layer.{sources}.omega"
    )
    return [
        (r"^head\.dense", dense),
        (r"^head\.out", out),
        (layer + r"omega\.values", omega),
        (layer + r"rule", f"roberta.shared_parameters.{task}.phm_rule"),
        (layer + r"(down|up)_mask\.scores", rf"{output}.adapters_mask.{task}.\2_mask"),
        (layer + r"down\.(left|right)", rf"{adapters}.adapter_down.0.W_\2"),
        (layer + r"up\.(left|right)", rf"{adapters}.adapter_up.W_\2"),
        *([(layer + r"down\.bias", rf"{adapters}.adapter_down.0.b")] if case == "compacterpp" else []),
        *([(layer + r"up\.bias", rf"{adapters}.adapter_up.b")] if case == "compacterpp" else []),
        (layer + r"(shared\.)?down", rf"{adapters}.adapter_down.0"),
        (layer + r"(shared\.)?up\b", rf"{adapters}.adapter_up"),
        (layer + r"(query|key|value)", rf"{output}.adapter_fusion_layer.{sources}.\2"),
        (r"\.delta\.scale", f".loras.{task}.lora_B"),
        (r"^backbone\.", "roberta."),
    ]


def _joint_names(case: str, layer: str) -> list[tuple[str, str]]:
    """Patterns of joint models."""
    joint = ("full_m", "adapter_m", "propetl_m", "hyperformer")
    if not case.startswith(joint):
        return []
    rows: list[tuple[str, str]] = []
    for task in TASKS:
        old = case.startswith(("full_m", "adapter_m"))
        prefix = f"taskmodels_dict.{task}." if old else ""
        dense, out = (
            (f"{prefix}classifier.dense", f"{prefix}classifier.out_proj")
            if case.startswith("full_m")
            else (f"{prefix}heads.{task}.1", f"{prefix}heads.{task}.4")
            if case.startswith("adapter_m")
            else (f"heads.{task}.dense", f"heads.{task}.out_proj")
        )
        if task == "copa":
            pooler = f"{prefix}roberta.pooler.dense" if case.startswith("full_m") else "roberta.pooler.dense"
            last = {"full_m": f"{prefix}classifier", "adapter_m": f"{prefix}heads.copa.1"}
            dense, out = pooler, last.get(case.split("__")[0], "heads.copa.classifier")
        rows += [(rf"^heads\.task {task}\.dense", dense), (rf"^heads\.task {task}\.out", out)]
    controller = r"roberta.encoder.layer.\1.output.adapter_controller"
    hyper = "roberta.encoder.adapter_layers_hyper_net"
    networks = (("down_weight", "down_sampler", "weight"), ("down_bias", "down_sampler", "bias"))
    networks += (("up_weight", "up_sampler", "weight"), ("up_bias", "up_sampler", "bias"))
    per_layer = case.startswith("hyperformer__")
    for ours, sampler, part in networks:
        theirs = (
            rf"{hyper}.feed_forward_{sampler}_hyper_nets.\1.{part}_generator.0"
            if per_layer
            else f"{hyper}.{sampler}_hyper_net.{part}_generator.0"
        )
        rows.append((layer + rf"networks\.{ours}", theirs))
    for part in ("weight", "bias"):
        theirs = (
            rf"{hyper}.feed_forward_post_layernorm_hypernets.\1.{part}_generator"
            if per_layer
            else f"{hyper}.post_layernorm_hypernet.{part}_generator"
        )
        rows.append((layer + rf"networks\.norm_{part}", theirs))
    generator = f"{hyper}.task_hypernet.task_embeding_generator"
    return [
        *rows,
        (layer + r"encoder\.tasks\.task (\w+)", r"task_embedding_controller.task_to_embeddings.\2"),
        (layer + r"encoder\.layers", f"{hyper}.layer_id_embeddings.weight"),
        (layer + r"encoder\.hidden", f"{generator}.0"),
        (layer + r"encoder\.projected", f"{generator}.2"),
        (layer + r"encoder\.norm", f"{hyper}.LayerNorm"),
        (layer + r"shared\.(down|up)", rf"{controller}.adapters.common_adapter.\2_sampler"),
        (layer + r"task_(down|up)\.task (\w+)\.scores", rf"{controller}.mask_scores.\3_\2_mask.param"),
        # in layer 0 the published layer mask is the last task's
        (layer.replace(r"(\d+)", "(0)") + r"(down|up)_mask\.scores", rf"{controller}.mask_scores.copa_\2_mask.param"),
        (layer + r"(down|up)_mask\.scores", rf"{controller}.mask_scores.layer_\2_mask.param"),
        (layer + r"(down|up)\.", r"encoder.encoder.layer.\1.output.adapters.MT.adapter_\2."),
        (r"adapter_down\.(weight|bias)", r"adapter_down.0.\1"),
        *([(r"^backbone\.", "encoder.")] if case.startswith("full_m") else []),
    ]
