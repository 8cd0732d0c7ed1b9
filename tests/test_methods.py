"""The registry: what each method trains, its options, and its hyper-parameters, the published ones included."""

from functools import cache
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import RobertaConfig, RobertaModel

from scalearn.backbones import Backbone, BackboneReference
from scalearn.combinable import COMBINABLE
from scalearn.deltas import Bottleneck
from scalearn.errors import InputError
from scalearn.methods import (
    REGISTRY,
    Adapter,
    JointRecipe,
    Method,
    Probing,
    Recipe,
    ScaLearn,
    Setting,
    changed,
    joint_recipe_for,
    method_from_name,
    recipe_for,
)
from scalearn.model import TransferModel
from scalearn.sites import Shape
from scalearn.sources import Source
from scalearn.tasks import Task

SETTING = Setting(shape=Shape(architecture="bert", width=16, layers=1))
SCALEARN = ("scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++")
TRANSFERS = [(name, "transfer") for name in SCALEARN]


# ---- what is trained


@cache
def trained_on_roberta(name: str, **options: Any) -> dict[str, int]:
    """Parameter counts for RoBERTa-base, eight sources and two labels, without a byte of weights."""
    with torch.device("meta"):
        config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1)
        roberta = RobertaModel(config, add_pooling_layer=False).requires_grad_(False)
        backbone = Backbone(name="roberta", model=roberta, tokenizer=None, pooling="first", fingerprint="")
        method = method_from_name(name, **options)
        made = {
            f"layers.{layer}.{key}": value
            for layer in range(12)
            for key, value in Bottleneck(width=768, bottleneck=48).state_dict().items()
        }
        kept = {"task": {}, "method": "adapter", "options": {}, "metrics": {}, "provenance": {}, "tensors": made}
        reference = BackboneReference.of(backbone)
        count = 8 if method.stage == "transfer" else 0
        sources = [Source(name=f"source{t}", backbone=reference, **kept) for t in range(count)]
        task = Task(
            name="two",
            kind="classification",
            text=("text",),
            label="label",
            labels=("no", "yes"),
            metrics=("accuracy",),
            main_metric="accuracy",
        )
        return TransferModel(backbone, task=task, method=method, sources=sources).parameter_counts()


PUBLISHED_COUNTS = {
    "adapter": 894_528,
    "scalearn": 73_728,
    "scalearn-uniform": 96,
    "scalearn++": 6_144,
    "scalearn-uniform++": 8,
    "full": 124_055_040,
    "head": 0,
}


@pytest.mark.parametrize(("name", "expected"), PUBLISHED_COUNTS.items())
def test_parameter_counts_are_the_published_ones(name: str, expected: int) -> None:
    assert trained_on_roberta(name) == {"method": expected, "head": 592_130, "total": expected + 592_130}


def test_probing_trains_the_head_only() -> None:
    assert trained_on_roberta("probing", omega=(0.5,) * 8)["method"] == 0


def test_an_adapter_can_be_given_its_bottleneck() -> None:
    assert trained_on_roberta("adapter", bottleneck=48) == trained_on_roberta("adapter", reduction_factor=16)
    assert trained_on_roberta("adapter", bottleneck=8)["method"] == 12 * (2 * 768 * 8 + 8 + 768)


def test_an_adapter_keeps_one_dimension_at_least() -> None:
    (delta,) = Adapter(reduction_factor=100).build(SETTING)["layer"]
    assert delta.down.out_features == 1


# ---- the registry


@pytest.mark.parametrize("name", REGISTRY)
def test_every_entry_is_filed_under_its_name(name: str) -> None:
    assert REGISTRY[name].method.name == name


@pytest.mark.parametrize("name", REGISTRY)
def test_a_method_survives_its_own_description(name: str) -> None:
    method = REGISTRY[name].method
    assert method_from_name(name, **method.model_dump()) == method


STAGES = {
    "single": ("adapter", "compacter++", "propetl", "ia3", "lora", "full", "head"),
    "joint": ("full-m", "adapter-m", "propetl-m", "hyperformer", "hyperformer++"),
    "transfer": (
        *SCALEARN,
        "adapterfusion",
        "adaptersoup",
        "lorahub",
        "best-source",
        "uniform-average",
        "probing",
    ),
}


def test_the_registry_holds_every_method_of_the_comparison() -> None:
    found = {stage: tuple(n for n, e in REGISTRY.items() if e.method.stage == stage) for stage in STAGES}
    assert found == STAGES


@pytest.mark.parametrize("name", REGISTRY)
def test_what_a_method_trains_and_gives(name: str) -> None:
    method = REGISTRY[name].method
    assert method.trains_backbone == (name in ("full", "full-m"))
    assert method.gives_source == (name in COMBINABLE)
    assert method.reference or name == "head"


@pytest.mark.parametrize(("name", "stage"), [("adapter", "transfer"), ("scalearn", "single"), ("full-m", "transfer")])
def test_a_method_of_another_stage_is_refused(name: str, stage: Any) -> None:
    with pytest.raises(InputError, match=f"no method '{name}' of stage '{stage}'.*; there are "):
        method_from_name(name, stage=stage)


def test_a_recipe_of_another_stage_is_refused() -> None:
    with pytest.raises(InputError, match="several tasks at once: use scalearn joint"):
        recipe_for(method_from_name("adapter-m"))
    with pytest.raises(InputError, match="learns one task: use scalearn train"):
        joint_recipe_for(method_from_name("adapter"))


@pytest.mark.parametrize(
    ("uniform", "shared", "name"),
    [(False, False, SCALEARN[0]), (True, False, SCALEARN[1]), (False, True, SCALEARN[2]), (True, True, SCALEARN[3])],
)
def test_the_name_follows_the_options(uniform: bool, shared: bool, name: str) -> None:
    assert ScaLearn(uniform=uniform, shared=shared).name == name
    assert method_from_name("scalearn", uniform=uniform, shared=shared).name == name


def test_a_method_that_is_none_has_no_name() -> None:
    with pytest.raises(TypeError, match=r"Method has no name: use one of scalearn\.methods\.REGISTRY"):
        _ = Method().name


# ---- options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0.3),
        ({"uniform": True}, 0.3),
        ({"shared": True}, 0.3),
        ({"uniform": True, "shared": True}, 0.0),
        ({"constraint": "mean"}, 0.0),
        ({"constraint": "softmax"}, 0.0),
        ({"dropout": 0.1}, 0.1),
        ({"dropout": 0.0}, 0.0),
        ({"uniform": True, "shared": True, "dropout": 0.2}, 0.2),
        ({"constraint": "mean", "dropout": 0.2}, 0.2),
    ],
)
def test_omega_dropout(options: dict[str, Any], expected: float) -> None:
    assert ScaLearn(**options).omega_dropout == expected


@pytest.mark.parametrize(
    ("given", "meant"), [("scalern", "scalearn"), ("adapters", "adapter"), ("scalearn+", "scalearn++")]
)
def test_an_unknown_method_names_the_closest(given: str, meant: str) -> None:
    with pytest.raises(InputError) as error:
        method_from_name(given)
    assert f"no method {given!r} (did you mean {meant!r}?)" in str(error.value)
    assert all(name in str(error.value) for name in REGISTRY)


def test_a_method_like_no_other_names_all() -> None:
    with pytest.raises(InputError, match=r"no method 'zzz'; there are adapter, compacter"):
        method_from_name("zzz")


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("scalearn", "droput", 0.1),
        ("scalearn", "dropout", 1.0),
        ("scalearn", "dropout", -0.1),
        ("scalearn", "constraint", "max"),
        ("scalearn", "regularisation", -1.0),
        ("scalearn", "uniform", "perhaps"),
        ("adapter", "reduction_factor", 0),
        ("adapter", "bottleneck", 0),
        ("scalearn", "l1", -0.1),
        ("scalearn", "keep", 0),
        ("probing", "omega", "many"),
        ("full", "dropout", 0.1),
    ],
)
def test_a_bad_option_is_refused_by_name(name: str, option: str, value: object) -> None:
    with pytest.raises(InputError) as error:
        method_from_name(name, **{option: value})
    message = str(error.value)
    assert message.startswith(f"method {name!r}: {option}")
    assert "options are " in message and "\n" not in message


def test_all_bad_options_are_named_together() -> None:
    with pytest.raises(InputError, match=r"method 'scalearn': dropout: .*; colour: .*; .*options are uniform, "):
        method_from_name("scalearn", dropout=2.0, colour="red")


@pytest.mark.parametrize("option", ["l1", "keep"])
@pytest.mark.parametrize("constraint", ["mean", "softmax"])
def test_sparsity_is_for_an_omega_without_constraint(option: str, constraint: str) -> None:
    with pytest.raises(InputError, match=f"{option}: .*without constraint, not under '{constraint}'"):
        method_from_name("scalearn", constraint=constraint, **{option: 1})
    method_from_name("scalearn", constraint=constraint, l1=0, keep=None)


def test_runs_from_before_sparsity_keep_their_names() -> None:
    before = ["uniform", "shared", "dropout", "init_scale", "constraint", "regularisation"]
    assert list(ScaLearn().model_dump()) == before
    assert ScaLearn(l1=0.1, keep=2).model_dump().items() >= {"l1": 0.1, "keep": 2}.items()


def test_methods_are_frozen() -> None:
    with pytest.raises(ValidationError):
        ScaLearn().dropout = 0.5


def test_probing_needs_one_constant_a_source() -> None:
    with pytest.raises(InputError, match="2 coefficients for 0 sources"):
        Probing(omega=(0.3, 0.7)).build(SETTING)


# ---- hyper-parameters

PUBLISHED_RECIPES = {
    "full": (2e-5, 5),
    "adapter": (3e-4, 5),
    "probing": (3e-4, 5),
    "compacter++": (3e-3, 5),
    "ia3": (5e-3, 5),
    "adapterfusion": (5e-5, 5),
    "adaptersoup": (3e-4, 5),
    **dict.fromkeys(SCALEARN, (6e-3, 30)),
}


@pytest.mark.parametrize("name", PUBLISHED_RECIPES)
def test_published_recipe(name: str) -> None:
    rate, patience = PUBLISHED_RECIPES[name]
    assert recipe_for(REGISTRY[name].method, "published") == Recipe(
        learning_rate=rate,
        head_learning_rate=rate,
        epochs=30,
        patience=patience,
        batch_size=32,
        weight_decay=0.0,
        warmup_fraction=0.0,
        backbone_dropout=True,
        select="loss",
    )


@pytest.mark.parametrize("name", STAGES["joint"])
def test_published_joint_recipe(name: str) -> None:
    rate = 2e-5 if name == "full-m" else 3e-4
    assert joint_recipe_for(REGISTRY[name].method, "published") == JointRecipe(
        learning_rate=rate,
        head_learning_rate=rate,
        mask_learning_rate=3e-3 if name == "propetl-m" else None,
        mask_weight_decay=0.0,
        steps=375_000,
        evaluate_every=7_500,
        patience=10,
        batch_size=32,
        weight_decay=0.0,
        warmup_fraction=0.1,
        backbone_dropout=True,
        temperature=1.0,
        cap=None,
        caps={"record": 100_730},
        unselective=("record",),
    )
    assert joint_recipe_for(REGISTRY[name].method).caps == {}


def test_published_propetl_recipe_has_a_rate_for_the_masks() -> None:
    recipe = recipe_for(REGISTRY["propetl"].method, "published")
    assert (recipe.learning_rate, recipe.mask_learning_rate, recipe.weight_decay) == (1e-3, 5e-3, 0.1)


@pytest.mark.parametrize("name", [*STAGES["single"], *STAGES["transfer"]])
def test_default_recipe(name: str) -> None:
    recipe = recipe_for(REGISTRY[name].method)
    assert recipe == REGISTRY[name].large
    assert recipe.select == "metric" and recipe.backbone_dropout == (name == "full")


def test_options_do_not_change_the_recipe() -> None:
    assert recipe_for(ScaLearn(dropout=0.0, constraint="mean"), "published") == REGISTRY["scalearn"].published


@pytest.mark.parametrize(
    "fault",
    [
        {"learning_rate": 0},
        {"epochs": 0},
        {"steps": 0},
        {"evaluate_every": 0},
        {"patience": 0},
        {"batch_size": 0},
        {"tokens_per_batch": 7},
        {"weight_decay": -1},
        {"warmup_fraction": 1.5},
        {"select": "luck"},
        {"rate": 1},
    ],
)
def test_a_recipe_is_checked(fault: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fault))):
        Recipe(**{"learning_rate": 1e-3, "head_learning_rate": 1e-3, **fault})


def test_a_changed_recipe_keeps_the_rest() -> None:
    recipe = REGISTRY["adapter"].large
    new = changed(recipe, {"epochs": 3, "learning_rate": 0.5})
    assert new.model_dump() == recipe.model_dump() | {"epochs": 3, "learning_rate": 0.5}
    with pytest.raises(InputError, match=r"recipe: epochs: .*; colour: .*options are learning_rate, "):
        changed(recipe, {"epochs": -1, "colour": "red"})


@pytest.mark.parametrize("name", ["adapter", "adapter-m"])
def test_a_batch_is_of_so_many_rows_or_so_many_tokens(name: str) -> None:
    recipe = REGISTRY[name].large
    assert recipe.tokens_per_batch is None
    budget = changed(recipe, {"tokens_per_batch": 8})
    assert budget.model_dump() == recipe.model_dump() | {"tokens_per_batch": 8}
    assert changed(budget, {"learning_rate": 0.5}).tokens_per_batch == 8
    assert changed(budget, {"batch_size": 4}).tokens_per_batch is None, "or the rows asked for would do nothing"
    assert changed(recipe, {"batch_size": 4, "tokens_per_batch": None}).batch_size == 4
    with pytest.raises(InputError, match="batch_size 4 and tokens_per_batch 512 exclude one another: give either"):
        changed(recipe, {"batch_size": 4, "tokens_per_batch": 512})
    with pytest.raises(InputError, match=r"tokens_per_batch: .*greater than or equal to 8, given 7"):
        changed(recipe, {"tokens_per_batch": 7})


def test_the_published_runs_on_humset_chose_by_the_metric() -> None:
    adapter, soup = (REGISTRY[name].method for name in ("adapter", "adaptersoup"))
    assert recipe_for(adapter, "published").select == "loss"
    assert recipe_for(adapter, "published", kind="multi-label").select == "metric"
    assert recipe_for(adapter, "published", kind="multi-label").patience == 5
    assert recipe_for(soup, "published", kind="multi-label").patience == 3


@pytest.mark.parametrize("name", [*STAGES["single"], *STAGES["transfer"]])
def test_the_published_transfer_to_record_took_three_epochs(name: str) -> None:
    method = REGISTRY[name].method
    published = recipe_for(method, "published")
    assert published.epochs == 30
    expected = published.model_copy(update={"epochs": 3}) if name in STAGES["transfer"] else published
    assert recipe_for(method, "published", task="record") == expected
    assert recipe_for(method, "published", task="multirc") == published
    assert recipe_for(method, task="record") == recipe_for(method)


@pytest.mark.parametrize("protocol", ["default", "published"])
@pytest.mark.parametrize("name", ["adapter", "scalearn"])
def test_the_published_few_shot_recipe(name: str, protocol: Any) -> None:
    recipe = recipe_for(REGISTRY[name].method, protocol)
    assert recipe.steps is recipe.evaluate_every is None
    changes = {"steps": 1000, "patience": 20, "select": "metric"}
    few = recipe_for(REGISTRY[name].method, protocol, few_shot=True)
    assert few.model_dump() == recipe.model_dump() | changes
    assert changed(few, {"epochs": 2}).steps is None, "or the epochs that were asked for would do nothing"
    assert changed(few, {"steps": 5}).steps == 5
    with pytest.raises(InputError, match="epochs 2 and steps 5 exclude one another"):
        changed(few, {"epochs": 2, "steps": 5})


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({}, [10, 1000]),
        ({"cap": 100}, [10, 100]),
        ({"caps": {"record": 50, "absent": 1}}, [10, 50]),
        ({"cap": 20, "caps": {"record": 50}}, [10, 20]),
        ({"cap": 100, "caps": {"record": 50}}, [10, 50]),
        ({"cap": 5, "caps": {"rte": 3}}, [3, 5]),
        ({"caps": {"record": 5000}}, [10, 1000]),
    ],
)
def test_rows_that_a_task_counts_as(changes: dict[str, Any], counted: list[int]) -> None:
    recipe = changed(REGISTRY["adapter-m"].large, changes)
    assert [recipe.counted("rte", 10), recipe.counted("record", 1000)] == counted


def test_a_cap_of_no_rows_is_refused() -> None:
    with pytest.raises(InputError, match=r"recipe: caps\.record: .*greater than 0"):
        changed(REGISTRY["adapter-m"].large, {"caps": {"record": 0}})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="init_scale"):
        method_from_name("scalearn", init_scale=value)
    with pytest.raises(InputError, match="learning_rate"):
        changed(recipe_for(method_from_name("adapter")), {"learning_rate": value})


def test_the_protocol_goes_by_the_rows() -> None:
    method = method_from_name("scalearn")
    large, small = recipe_for(method), recipe_for(method, rows=100)
    assert recipe_for(method, rows=2_000) == large == recipe_for(method, "large", rows=100)
    assert (small.steps, small.evaluate_every, small.head_start) == (48, 12, "linear")
    assert [recipe_for(method, rows=rows).steps for rows in (1, 256, 500, 1_999)] == [48, 48, 96, 375]
    assert recipe_for(method, rows=100, few_shot=True) == small
    assert recipe_for(method, "published", rows=100) == recipe_for(method, "published")
    assert recipe_for(method, "small", rows=5_000).steps == 400
    with pytest.raises(InputError, match="protocol 'small' trains by the number of training rows"):
        recipe_for(method, "small")


def test_other_steps_leave_the_number_of_evaluations() -> None:
    small = recipe_for(method_from_name("scalearn"), rows=100)
    assert (changed(small, {"steps": 1_000}).evaluate_every, changed(small, {"steps": 2}).evaluate_every) == (250, 1)
    assert changed(small, {"steps": 100, "evaluate_every": 7}).evaluate_every == 7
    epochs = changed(small, {"epochs": 3})
    assert (epochs.steps, epochs.evaluate_every) == (None, None)
    few = recipe_for(method_from_name("scalearn"), few_shot=True)
    assert changed(few, {"epochs": 3, "evaluate_every": 5}).evaluate_every == 5
