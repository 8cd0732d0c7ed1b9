"""Trained parameters: the published numbers at RoBERTa-base, and the models' own counts on a backbone with weights."""

from __future__ import annotations

import pytest
from transformers import AutoConfig

from scalearn.backbones import MINILM, Backbone, load_backbone
from scalearn.errors import InputError
from scalearn.experiments.counting import KNOWN, Skeleton, count, count_all, skeleton
from scalearn.joint import JointModel
from scalearn.methods import REGISTRY, LoRA, ProPETL, method_from_name
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task

PUBLISHED = {
    "adapter": 894_528,
    "compacter++": 29_440,
    "ia3": 55_296,
    "propetl": 74_544,
    "full": 124_055_040,
    "head": 0,
    "adapter-m": 894_528,
    "full-m": 124_055_040,
    "hyperformer": 59_420_544,
    "hyperformer++": 5_095_024,
    "adapterfusion": 21_252_096,
    "scalearn": 73_728,
    "scalearn-uniform": 96,
    "scalearn++": 6_144,
    "scalearn-uniform++": 8,
    "adaptersoup": 0,
    "lorahub": 0,
    "best-source": 0,
    "uniform-average": 0,
    "probing": 0,
}
"""Measured on the published code, RoBERTa-base, T = 8; a bottleneck's share alone for ProPETL."""


@pytest.fixture(scope="module")
def roberta() -> Skeleton:
    return skeleton("roberta-base")


@pytest.mark.parametrize(("name", "expected"), PUBLISHED.items())
def test_counts_are_the_published_ones(name: str, expected: int, roberta: Skeleton) -> None:
    found = count(REGISTRY[name].method, backbone=roberta, sources=8)
    masks = 12 * 2 * 768 * 48 if name == "propetl" else 0
    heads = 592_130 * (8 if REGISTRY[name].method.stage == "joint" else 1)
    assert found == {"method": expected, "masks": masks, "head": heads, "total": expected + masks + heads}


@pytest.mark.parametrize(("tied", "expected"), [(True, 1_475_376), (False, 1_549_104)])
def test_propetl_m_with_and_without_the_tie_of_the_published_code(tied: bool, expected: int, roberta: Skeleton) -> None:
    found = count(method_from_name("propetl-m", tie_first_layer=tied), backbone=roberta, sources=8)
    assert found["method"] + found["masks"] == expected
    assert found["method"] == 74_544


def test_every_method_is_counted_and_held_to_a_published_number(roberta: Skeleton) -> None:
    ours = {"lora", "propetl-m"}  # one is not in the comparison, one has a test of its own
    assert PUBLISHED.keys() | ours == REGISTRY.keys()
    assert None not in count_all(backbone=roberta).values()


def test_masks_that_are_not_trained_are_not_counted(roberta: Skeleton) -> None:
    assert count(ProPETL(train_masks=False), backbone=roberta)["masks"] == 0


def test_t_counts_sources_and_tasks(roberta: Skeleton) -> None:
    assert count(REGISTRY["scalearn"].method, backbone=roberta, sources=3)["method"] == 3 * 12 * 768
    three = count(REGISTRY["hyperformer"].method, backbone=roberta, sources=3)["method"]
    assert 59_420_544 - three == 5 * 512  # a task costs its embedding


def test_sources_of_another_kind_have_other_omegas(roberta: Skeleton) -> None:
    wide = LoRA(modules=("query", "intermediate"))
    found = count(REGISTRY["scalearn"].method, backbone=roberta, sources=2, source=wide)
    assert found["method"] == 2 * 12 * (768 + 3072)


def test_the_larger_backbones_are_the_published_ones() -> None:
    assert skeleton("xlm-roberta-base").parameters == 277_453_056
    assert skeleton("bert-base-uncased").parameters == 108_891_648


def test_minilm_is_the_packaged_one() -> None:
    packaged = load_backbone(MINILM)
    assert skeleton(MINILM).parameters == sum(p.numel() for p in packaged.model.parameters())
    keys = ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "max_position_embeddings")
    assert {k: getattr(KNOWN[MINILM], k) for k in keys} == {k: getattr(packaged.model.config, k) for k in keys}


@pytest.mark.parametrize("name", [n for n, e in REGISTRY.items() if e.method.stage != "joint" and n != "probing"])
def test_a_model_says_the_same(name: str, backbone: Backbone, task: Task, shelf: Shelf, tiny_backbone: str) -> None:
    given = {
        "adaptersoup": {"weights": (1.0,)},
        "best-source": {"chosen": 0},
        "compacter++": {"reduction_factor": 4},
        "lorahub": {"omega": (1.0,)},
    }
    method = method_from_name(name, **given.get(name, {}))
    sources = [shelf["rte"]] if method.stage == "transfer" else []
    own = TransferModel(backbone, task=task, method=method, sources=sources).parameter_counts()
    found = count(method, backbone=tiny_backbone, sources=1)
    assert (found["method"] + found["masks"], found["head"], found["total"]) == tuple(own.values())


@pytest.mark.parametrize("name", [n for n, e in REGISTRY.items() if e.method.stage == "joint"])
def test_a_joint_model_says_the_same(name: str, backbone: Backbone, task: Task, tiny_backbone: str) -> None:
    tasks = [Task.from_description({**task.describe(), "name": f"task{t}"}) for t in range(3)]
    own = JointModel(backbone, tasks=tasks, method=REGISTRY[name].method).parameter_counts()
    assert count(REGISTRY[name].method, backbone=tiny_backbone, sources=3)["total"] == own["total"]


def test_a_method_that_does_not_fit_is_left_open(tmp_path) -> None:
    AutoConfig.for_model("modernbert", num_hidden_layers=2, hidden_size=192, intermediate_size=96).save_pretrained(
        tmp_path
    )
    found = count_all(backbone=str(tmp_path), sources=2)
    assert [name for name, counts in found.items() if counts is None] == ["ia3", "lora"]  # one map gives q, k and v


@pytest.mark.parametrize("given", ["nowhere/at-all", "/no/folder"])
def test_an_unknown_backbone_is_refused(given: str) -> None:
    with pytest.raises(InputError, match=rf"backbone '{given}' cannot be counted .*: give minilm, "):
        skeleton(given)


def test_no_sources_are_refused(roberta: Skeleton) -> None:
    for counted in (
        lambda: count(REGISTRY["scalearn"].method, backbone=roberta, sources=0),
        lambda: count_all(sources=0),
    ):
        with pytest.raises(InputError, match=r"sources=0: count with at least one \(--tasks\)"):
            counted()
