"""Sites of every family, on tiny random models: where deltas act, and that attaching leaves no trace."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput

from scalearn import sites
from scalearn.backbones import bare
from scalearn.deltas import Bottleneck, Lora, Omega, ScaledSources
from scalearn.errors import InputError
from scalearn.outline import outline

LAYERS, WIDTH = 3, 32
CONFIGS: dict[str, dict[str, object]] = json.loads(Path(__file__).with_name("architectures.json").read_text())
IMAGES = {name for name, config in CONFIGS.items() if "image_size" in config}
POST_NORM = {name for name, family in sites.FAMILIES.items() if family.kind == "post-norm"}
NO_CHECKPOINTING = {"mpnet", "albert", "xlnet"}  # transformers' have none

every_family = pytest.mark.parametrize("family", CONFIGS)


def model_of(family: str) -> PreTrainedModel:
    """As `scalearn.backbones` takes it: of sequence-to-sequence models the encoder."""
    return bare(AutoModel.from_config(AutoConfig.for_model(family, **CONFIGS[family]))).eval().requires_grad_(False)


def run(model: PreTrainedModel, *, training: bool = False) -> Tensor:
    """The last hidden state of fixed inputs."""
    generator = torch.Generator().manual_seed(1)
    if model.config.model_type in IMAGES:
        dtype = next(model.parameters()).dtype
        inputs = {"pixel_values": torch.randn(2, 3, 16, 16, generator=generator).to(dtype)}
    else:
        mask = torch.ones(2, 9, dtype=torch.long)
        mask[1, 6:] = 0
        inputs = {"input_ids": torch.randint(5, 60, (2, 9), generator=generator), "attention_mask": mask}
    with torch.set_grad_enabled(training):
        hidden: Tensor = model(**inputs).last_hidden_state
    return hidden


def deltas_of(model: PreTrainedModel, *, zero_up: bool = False) -> list[Bottleneck]:
    deltas = [Bottleneck(width=WIDTH, bottleneck=5) for _ in range(LAYERS)]
    for delta in deltas:
        for parameter in delta.parameters():
            nn.init.normal_(parameter, std=0.3)
        if zero_up:
            nn.init.zeros_(delta.up.weight)
            nn.init.zeros_(delta.up.bias)
    return deltas


def test_every_row_of_the_table_is_tested() -> None:
    assert set(CONFIGS) == set(sites.FAMILIES)


@every_family
def test_one_site_a_layer_in_order(family: str) -> None:
    model = model_of(family)
    found = sites.find_sites(model)
    names = {id(module): name for name, module in model.named_modules()}
    path = sites.FAMILIES[family].path
    inner = "albert_layers.*", "albert_layers.0"  # of which each of its groups has one
    expected = [path.replace(*inner).replace("*", str(layer)) for layer in range(LAYERS)]
    assert [names[id(site)] for site in found] == expected
    assert {type(site).__name__.endswith("LayerNorm") for site in found} == {family in POST_NORM}


def test_layers_are_counted_not_spelled() -> None:
    """Layer 10 comes after layer 9, not after layer 1."""
    config = AutoConfig.for_model("bert", **{**CONFIGS["bert"], "num_hidden_layers": 11})
    model = AutoModel.from_config(config)
    assert sites.find_sites(model)[10] is model.encoder.layer[10].output.LayerNorm


@every_family
def test_a_delta_of_zero_changes_nothing(family: str) -> None:
    model = model_of(family)
    before = run(model)
    sites.attach(model, {"layer": deltas_of(model, zero_up=True)})
    assert torch.equal(run(model), before)


@every_family
@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_delta_acts_at_its_site_by_the_equation(family: str, layer: int) -> None:
    model = model_of(family).double()
    site = sites.find_sites(model)[layer]
    seen: list[Tensor] = []

    def capture(module: nn.Module, args: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        whole = output[0] if isinstance(output, tuple) else output
        seen.extend([args[0], whole])

    plain = run(model)
    handle = site.register_forward_hook(capture)  # before the delta's hook
    deltas = deltas_of(model, zero_up=True)
    for parameter in deltas[layer].up.parameters():
        nn.init.normal_(parameter, std=0.3)
    sites.attach(model, {"layer": [delta.double() for delta in deltas]})
    last = site.register_forward_hook(capture)  # after it
    changed = run(model)
    handle.remove(), last.remove()

    (entered, y, _, result), delta = seen, deltas[layer]
    if family in POST_NORM:
        norm = nn.functional.layer_norm
        again = lambda s: norm(s, (WIDTH,), site.weight, site.bias, epsilon)  # noqa: E731
        epsilon = getattr(site, "eps", None) or site.variance_epsilon
        expected = again(entered + delta(again(entered)))
    else:
        expected = y + delta(y)
    atol = 1e-5 if family == "deberta" else 1e-12  # its norm computes in float32, whatever it is given
    torch.testing.assert_close(result, expected.detach().to(result.dtype), rtol=0, atol=atol)
    assert (changed - plain).abs().max() > 1e-3


@every_family
def test_gradient_checkpointing_gives_the_same_gradients(family: str) -> None:
    model = model_of(family)
    assert model.supports_gradient_checkpointing == (family not in NO_CHECKPOINTING)
    if family in NO_CHECKPOINTING:
        return
    deltas = deltas_of(model)
    sites.attach(model, {"layer": deltas})
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.train()
    calls: list[int] = []
    second = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)][1]
    leaf = next(module for module in second.modules() if not list(module.children()))
    leaf.register_forward_pre_hook(lambda *_: calls.append(1))

    def gradients() -> list[Tensor]:
        calls.clear()
        model.zero_grad()
        run(model, training=True).square().sum().backward()
        return [parameter.grad for delta in deltas for parameter in delta.parameters()]

    plain = gradients()
    assert len(calls) == 1
    model.gradient_checkpointing_enable()
    checkpointed = gradients()
    assert len(calls) == 2, "the layer was not recomputed: checkpointing did nothing"
    assert all(gradient.any() for gradient in plain)
    for ours, theirs in zip(checkpointed, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@every_family
def test_a_deep_copy_is_independent(family: str) -> None:
    model = model_of(family)
    plain = run(model)
    sites.attach(model, {"layer": deltas_of(model)})
    with_deltas = run(model)
    other = copy.deepcopy(model)
    for delta in sites.attached(other)["layer"]:
        nn.init.zeros_(delta.up.weight)
        nn.init.zeros_(delta.up.bias)
    assert torch.equal(run(other), plain), "the copy must use its own deltas"
    assert torch.equal(run(model), with_deltas), "and leave the original's alone"

    sites.detach(other)
    assert torch.equal(run(other), plain)
    assert torch.equal(run(model), with_deltas), "detaching the copy detached the original"
    assert len(sites.attached(model)["layer"]) == LAYERS

    other = copy.deepcopy(model)
    sites.detach(model)
    assert torch.equal(run(other), with_deltas), "detaching the original detached the copy"


@every_family
def test_detach_restores_the_backbone_bit_for_bit(family: str) -> None:
    model = model_of(family)
    before, state = run(model), copy.deepcopy(model.state_dict())
    attributes = [set(vars(site)) for site in sites.find_sites(model)]
    deltas = deltas_of(model)
    sites.attach(model, {"layer": deltas})
    assert sites.attached(model) == {"layer": deltas}
    assert any(".delta." in name for name in model.state_dict())
    assert sites.detach(model) == {"layer": deltas}
    assert sites.attached(model) == {}

    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(run(model), before)
    assert not any(module._forward_hooks for module in model.modules())
    assert [set(vars(site)) for site in sites.find_sites(model)] == attributes
    sites.attach(model, {"layer": deltas})  # and it can carry deltas again
    assert not torch.equal(run(model), before)


# ---- linear maps

ALONE = {  # whose other maps are fused or no modules
    "modernbert": set(),
    "phi3": set(),
    **{name: {"intermediate"} for name in ("deberta", "xlnet", "gpt2", "gpt_neox", "bloom")},
}


class _Changed(nn.Module):
    """Remembers what it was given and triples the map's output."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.x, self.y = x, y
        return 3 * y


@every_family
def test_linear_maps_are_found_with_their_sizes(family: str) -> None:
    model = model_of(family)
    shape = sites.Shape.of(model)
    assert (shape.architecture, shape.width, shape.layers) == (family, WIDTH, LAYERS)
    assert set(shape.linears) == ALONE.get(family, {"query", "key", "value", "intermediate"})
    expected = {"query": WIDTH, "key": WIDTH, "value": WIDTH, "intermediate": 4 * WIDTH if family == "bloom" else 64}
    if "num_key_value_heads" in CONFIGS[family]:  # two of four heads
        expected |= {"key": WIDTH // 2, "value": WIDTH // 2}
    for role in shape.linears:
        assert shape.linear(role) == (WIDTH, expected[role])


@every_family
def test_a_delta_acts_on_the_output_of_every_linear_map(family: str) -> None:
    model = model_of(family).double()
    plain = run(model)
    for role in sites.Shape.of(model).linears:
        deltas = [_Changed() for _ in range(LAYERS)]
        sites.attach(model, {role: deltas})
        changed = run(model)
        assert (changed - plain).abs().max() > 1e-6, role
        for linear, delta in zip(sites.find_sites(model, role), deltas, strict=True):
            torch.testing.assert_close(linear.forward(delta.x), delta.y, rtol=0, atol=1e-12)
        assert sites.detach(model) == {role: deltas}
        assert torch.equal(run(model), plain)


def test_several_sites_carry_deltas_at_once() -> None:
    model = model_of("bert")
    placement = {"layer": deltas_of(model), "value": [_Changed() for _ in range(LAYERS)]}
    sites.attach(model, placement)
    assert sites.attached(model) == placement
    with pytest.raises(InputError, match="carries deltas already"):
        sites.attach(model, {"key": [_Changed() for _ in range(LAYERS)]})


def test_an_unknown_site_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"GPT2Model .* has no site 'key'; it has layer, intermediate"):
        sites.attach(model_of("gpt2"), {"key": []})
    with pytest.raises(InputError, match="gpt2 has no linear map 'value' of its own; it has intermediate"):
        sites.Shape.of(model_of("gpt2")).linear("value")


@every_family
def test_scaled_sources_act_at_every_site(family: str) -> None:
    """All of the transfer layer's omegas get a gradient."""
    model = model_of(family)
    deltas = [ScaledSources(deltas_of(model), Omega(sources=LAYERS, width=WIDTH)) for _ in range(LAYERS)]
    sites.attach(model, {"layer": deltas})
    run(model, training=True).square().sum().backward()
    assert all(delta.omega.values.grad is not None and delta.omega.values.grad.any() for delta in deltas)


def test_detach_without_deltas_is_harmless() -> None:
    model = model_of("bert")
    assert sites.detach(model) == {}


def test_attach_twice_is_refused() -> None:
    model = model_of("bert")
    sites.attach(model, {"layer": deltas_of(model)})
    with_deltas = run(model)
    with pytest.raises(InputError, match=r"BertModel carries deltas already.*detach"):
        sites.attach(model, {"layer": deltas_of(model)})
    assert torch.equal(run(model), with_deltas)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_wrong_number_of_deltas_is_refused(count: int) -> None:
    model = model_of("roberta")
    before = run(model)
    with pytest.raises(InputError, match=rf"{count} deltas for the 3 layers of RobertaModel"):
        sites.attach(model, {"layer": (deltas_of(model) * 2)[:count]})
    assert sites.attached(model) == {}
    assert torch.equal(run(model), before)


def test_a_count_that_does_not_match_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sites.FAMILIES, "bert", sites.Family("encoder.layer.*.renamed", "post-norm"))
    with pytest.raises(InputError, match=r"BertModel \(bert\) has 3 layers, but 0 modules match"):
        sites.find_sites(model_of("bert"))


def test_a_linear_map_may_be_named_by_its_path() -> None:
    model = model_of("llama")
    before = run(model)
    path = "layers.*.self_attn.o_proj"
    deltas = [Lora(inputs=WIDTH, outputs=WIDTH, rank=2, alpha=2.0) for _ in range(LAYERS)]
    for delta in deltas:
        nn.init.normal_(delta.up.weight)
    sites.attach(model, {path: deltas})
    assert [model.layers[i].self_attn.o_proj.delta for i in range(LAYERS)] == deltas
    assert not torch.allclose(run(model), before)
    assert sites.detach(model) == {path: deltas}
    assert torch.equal(run(model), before)


def test_a_path_that_fits_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"3 layers, but 0 modules match 'layers.\*.nothing': correct the path"):
        sites.find_sites(model_of("llama"), "layers.*.nothing")


@every_family
def test_every_linear_map_has_a_path(family: str) -> None:
    """Fused maps, too, can carry a LoRA that we train ourselves."""
    model = model_of(family)
    shape = sites.Shape.of(model)
    for site in sites.LAYER, *shape.linears:
        if site != sites.LAYER:
            places = {id(module) for module in sites.find_sites(model, site)}
            assert any({id(m) for m in sites.find_sites(model, path)} == places for path in shape.paths), site
    placement = {}
    for path in shape.paths:
        inputs, outputs = shape.linear(path)
        placement[path] = [Lora(inputs=inputs, outputs=outputs, rank=2, alpha=2.0) for _ in range(shape.layers)]
        for delta in placement[path]:
            nn.init.normal_(delta.up.weight)
    assert placement
    sites.attach(model, placement)
    run(model, training=True).square().sum().backward()
    assert all(delta.up.weight.grad.any() for layers in placement.values() for delta in layers)


def test_albert_has_one_delta_for_the_weights_that_its_layers_share() -> None:
    config = AutoConfig.for_model("albert", **CONFIGS["albert"] | {"num_hidden_groups": 1})
    model = bare(AutoModel.from_config(config)).eval().requires_grad_(False)
    assert config.num_hidden_layers == LAYERS and sites.Shape.of(model).layers == 1
    (delta,) = deltas_of(model)[:1]
    calls: list[int] = []
    delta.register_forward_hook(lambda *_: calls.append(1))
    before = run(model)
    sites.attach(model, {"layer": [delta]})
    assert not torch.allclose(run(model), before)
    assert len(calls) == LAYERS, "it acts in every pass"


# ---- sites that were declared


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, states: Tensor) -> Tensor:
        return self.norm(states + self.up(states).relu())


class _OwnConfig(PreTrainedConfig):
    model_type = "own"
    hidden_size, num_hidden_layers = WIDTH, 12


class _Own(PreTrainedModel):
    """A model that nobody knows."""

    config_class = _OwnConfig

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(60, WIDTH)
        self.blocks = nn.ModuleList(_Block() for _ in range(config.num_hidden_layers))
        self.others = nn.ModuleList([nn.Identity()])
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> BaseModelOutput:
        states = self.embeddings(input_ids)
        for block in self.blocks:
            states = block(states)
        return BaseModelOutput(last_hidden_state=states)


OUTLINE = """\
  embeddings    Embedding 60 x 32
  blocks.0..11  _Block
    up          Linear 32 -> 32
    norm        LayerNorm 32
  others.0      Identity"""


def own() -> PreTrainedModel:
    model: PreTrainedModel = _Own(_OwnConfig()).eval().requires_grad_(False)
    return model


def test_an_unknown_architecture_shows_its_modules_and_a_way_on() -> None:
    with pytest.raises(InputError) as error:
        sites.attach(own(), {"layer": []})
    first, tree = str(error.value).split("\n", 1)
    assert first.startswith(
        "_Own is of type 'own', whose sites are not known: say where its layers are, for instance sites='blocks.*' "
        "(--sites 'blocks.*'): 12 of class _Block; or choose a backbone of type bert, roberta, "
    )
    assert tree == error.value.detail == OUTLINE


def test_without_a_list_of_blocks_nothing_is_suggested() -> None:
    model = own()
    del model.blocks, model.others
    with pytest.raises(InputError, match=r"with sites=PATH \(--sites PATH\), \* in it for the number"):
        sites.find_sites(model)


def test_a_long_tree_is_cut() -> None:
    model = nn.ModuleDict({f"part{i}": nn.Identity() for i in range(50)})
    lines = outline(model).splitlines()
    assert len(lines) == 41 and lines[-1] == "  ... and 10 lines more"


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("blocks.*", "pre-norm"),
        ("blocks.*.norm", "post-norm"),
        (sites.Family("blocks.*.norm", "pre-norm", {"intermediate": "blocks.*.up"}), "pre-norm"),
    ],
)
def test_declared_sites_are_used_as_those_of_the_table(where: str | sites.Family, kind: str) -> None:
    model = own()
    sites.declare(model, where)
    assert sites.declared(model).kind == kind
    shape = sites.Shape.of(model)
    assert shape.layers == 12 and shape.linear("blocks.*.up") == (WIDTH, WIDTH)
    assert set(shape.linears) == (set() if isinstance(where, str) else {"intermediate"})
    deltas = [delta for _ in range(4) for delta in deltas_of(model)]
    twin = copy.deepcopy(model)
    sites.attach(twin, {"layer": deltas})
    site, before = twin.blocks[11], run(model)
    assert ("delta" in dict(site.named_children())) == (where == "blocks.*")
    seen: list[Tensor] = []
    site.norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    after = run(twin)
    y = model.blocks[11].norm(seen[0])
    expected = model.blocks[11].norm(seen[0] + deltas[11](y)) if kind == "post-norm" else y + deltas[11](y)
    torch.testing.assert_close(after, expected.detach())
    assert not torch.allclose(after, before)
    assert sites.detach(twin) == {"layer": deltas}
    assert torch.equal(run(twin), before)


def test_a_declaration_wins_over_the_table() -> None:
    model = model_of("bert")
    sites.declare(model, "encoder.layer.*")
    assert sites.find_sites(model) == list(model.encoder.layer)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("layers.*", r"sites 'layers.\*' of _Own: no module there; for instance sites='blocks.\*'"),
        ("blocks.*.norm|up", "normalisations and other modules there"),
        ("others.*", "normalisations of another width than the hidden states' (32)"),
        ("blocks", "no layer there"),
        ("blocks.*.wide", "linear maps of another width than the hidden states' (32)"),
    ],
)
def test_what_cannot_be_a_site_is_refused(where: str, expected: str) -> None:
    model = own()
    model.others[0] = nn.LayerNorm(5)
    model.blocks[0].wide = nn.Linear(WIDTH, 5)
    with pytest.raises(InputError, match=expected.replace("(32)", r"\(32\)")) as error:
        sites.declare(model, where)
    assert "blocks.0..11" in error.value.detail
    assert sites.declared(model) is None
