"""What transfer methods find out about a target, errors and similarities, and what they make of it."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scalearn import sites
from scalearn.adapted import seeded
from scalearn.backbones import Backbone, load_backbone
from scalearn.errors import InputError
from scalearn.methods import Adapter, AdapterSoup, BestSource, LoraHub, Recipe, method_from_name
from scalearn.methods.transfer import soup_weights
from scalearn.model import TransferModel
from scalearn.ranking.evidence import ROWS, TaskEvidence
from scalearn.similarity import embed_task, similarity
from scalearn.sources import Source
from scalearn.tasks import Task
from scalearn.training import train

FILLER = ("the", "film", "was", "very", "and", "long", "short", "a", "b", "c")
COUNT = 80


def texts_and_truths() -> list[tuple[str, bool]]:
    """Rows of filler, half of them with "good" and half with "bad" somewhere."""
    chance = random.Random(1)
    rows = []
    for index in range(COUNT):
        words = [chance.choice(FILLER) for _ in range(chance.randint(3, 8))]
        words.insert(chance.randint(0, len(words)), ("bad", "good")[index % 2])
        rows.append((" ".join(words), bool(index % 2)))
    return rows


def a_task(kind: str, folder: Path) -> Task:
    """The same question asked in each of the four ways; multi-label has a second label that is noise."""
    chance = random.Random(2)
    choices = ("one", "two") if kind == "multiple-choice" else ()
    rows: list[list[Any]] = []
    for text, good in texts_and_truths():
        if kind == "multiple-choice":
            worse = text.replace("good", "bad")
            better = text.replace("bad", "good")
            rows.append(["the film", *([worse, better] if good else [better, worse]), int(good)])
        elif kind == "multi-label":
            rows.append([text, ";".join(["praise"] * good + ["noise"] * (chance.random() < 0.5))])
        elif kind == "regression":
            rows.append([text, f"{2.0 * good + chance.random() / 10:.4f}"])
        else:
            rows.append([text, "yes" if good else "no"])
    path = folder / f"{kind}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", *choices, "label"])
        writer.writerows(rows)
    given: dict[str, Any] = {"choices": choices} if choices else {"kind": kind}
    return Task.from_files(path, text="text", label="label", name="ours", **given)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return a_task("classification", tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module")
def informed(target: Task, tiny_backbone: str) -> Source:
    """A source that was trained on the target itself, until it knew it."""
    model = TransferModel.from_backbone(tiny_backbone, task=target, method=Adapter(bottleneck=8))
    recipe = Recipe(learning_rate=1e-2, head_learning_rate=1e-2, epochs=80, patience=80, backbone_dropout=False)
    train(model, recipe=recipe, progress=False)
    return model.to_source(name="informed", metrics={}, provenance={})


@pytest.fixture
def noise(backbone: Backbone, make_source: Callable[..., Source]) -> Source:
    """A source of random weights, large enough to drown what the backbone sees."""
    source = make_source("noise", backbone, seed=3)
    return replace(source, tensors={key: 10 * value for key, value in source.tensors.items()})


@pytest.fixture
def evidence(backbone: Backbone, target: Task, noise: Source, informed: Source) -> TaskEvidence:
    return TaskEvidence(backbone, task=target, sources=[noise, informed], seed=0)


# ---- errors


def test_the_backbone_is_left_without_deltas_and_unchanged(evidence: TaskEvidence, tiny_backbone: str) -> None:
    evidence.error(np.array([1.0, 0.5]))
    model = evidence.backbone.model
    fresh = load_backbone(tiny_backbone).model
    assert not sites.attached(model)
    assert [name for name, _ in model.named_modules()] == [name for name, _ in fresh.named_modules()]
    for (name, own), (_, other) in zip(model.state_dict().items(), fresh.state_dict().items(), strict=True):
        assert torch.equal(own, other), name
    assert not any(module._forward_hooks for module in model.modules())


def test_also_after_a_failure(evidence: TaskEvidence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalearn.ranking.evidence.pooled", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evidence.error(np.ones(2))
    assert not sites.attached(evidence.backbone.model)


def test_an_informed_source_has_less_error_than_noise(evidence: TaskEvidence) -> None:
    alone, none, noise = (evidence.error(np.array(omega)) for omega in ([0.0, 1.0], [0.0, 0.0], [1.0, 0.0]))
    assert alone < np.log(2) - 0.03 and alone < none - 0.05 and alone < noise - 0.1  # log 2 is what guessing costs
    assert evidence.error(np.array([1.0, 1.0])) > alone + 0.1


def test_the_error_is_that_of_the_coefficients_given(evidence: TaskEvidence) -> None:
    omega = np.array([0.0, 1.0])
    first = evidence.error(omega)
    assert evidence.error(np.array([0.3, 0.3])) != first
    assert evidence.error(omega) == first  # nothing is left over from the call between


def test_the_features_are_those_of_a_probing_model(evidence: TaskEvidence, tiny_backbone: str) -> None:
    found = evidence.features(np.array([0.5, 0.7]))
    drawn = evidence.task.take(train_rows=ROWS, seed=0)
    model = TransferModel(
        load_backbone(tiny_backbone),
        task=drawn,
        method=method_from_name("probing", omega=(0.5, 0.7)),
        sources=evidence.sources,
    ).eval()
    rows = model.rows_of(drawn, "train")
    with torch.no_grad():
        for row, feature in zip(rows[:5], found, strict=False):
            ids = {key: torch.tensor([row[key]]) for key in ("input_ids", "attention_mask", "token_type_ids")}
            hidden = model.backbone(**ids).last_hidden_state[0, 0]
            np.testing.assert_allclose(hidden.numpy(), feature, atol=1e-4)


@pytest.mark.parametrize("kind", ["classification", "regression", "multi-label", "multiple-choice"])
def test_every_kind_of_task(kind: str, backbone: Backbone, noise: Source, informed: Source, tmp_path: Path) -> None:
    evidence = TaskEvidence(backbone, task=a_task(kind, tmp_path), sources=[noise, informed], seed=0)
    assert evidence.task.kind == kind
    good, bad = (evidence.error(omega) for omega in np.eye(2)[::-1])
    assert np.isfinite(bad) and 0 < good < bad


def test_a_class_of_one_row_is_no_failure(backbone: Backbone, target: Task, noise: Source, informed: Source) -> None:
    few = target.splits["train"]
    labels = few["label"][:]
    rows = [labels.index(0), *[i for i, label in enumerate(labels) if label == 1][:6]]
    rare = replace(target, splits={"train": few.select(rows)})
    error = TaskEvidence(backbone, task=rare, sources=[noise, informed], seed=0).error(np.ones(2))
    assert np.isfinite(error) and error > -np.log(1e-3) / 7 - 1e-9  # the one row's class is unknown to its fold


def test_so_many_rows_are_enough_and_drawn_with_the_seed(target: Task, backbone: Backbone, informed: Source) -> None:
    data = target.splits["train"]
    large = replace(target, splits={"train": data.select(list(range(len(data))) * 3)})
    one, same, other = (TaskEvidence(backbone, task=large, sources=[informed], seed=seed) for seed in (0, 0, 1))
    assert len(one._drawn[0]) == ROWS < len(large.splits["train"])
    assert one.error(np.ones(1)) == same.error(np.ones(1)) != other.error(np.ones(1))


def test_rows_and_a_tokenizer_are_needed(backbone: Backbone, target: Task, informed: Source) -> None:
    bare = TaskEvidence(backbone, task=replace(target, splits={}), sources=[informed], seed=0)
    with pytest.raises(InputError, match="no training rows to choose sources by: load it with its data"):
        bare.error(np.ones(1))
    mute = replace(backbone, tokenizer=None)
    with pytest.raises(InputError, match="choosing sources needs a tokenizer"):
        TaskEvidence(mute, task=target, sources=[informed], seed=0).error(np.ones(1))


# ---- similarities


def embedded(source: Source, value: list[float]) -> Source:
    return replace(source, embedding=tuple(value))


def test_similarities_are_those_of_the_texts(backbone: Backbone, target: Task, noise: Source, informed: Source) -> None:
    own = embed_task(target)
    opposite = [-value for value in own]
    sources = [embedded(noise, opposite), embedded(informed, own)]
    evidence = TaskEvidence(backbone, task=target, sources=sources, seed=0)
    assert evidence.similarities() == [similarity(own, opposite), similarity(own, own)]
    assert evidence.own() == [False, True]


def test_sources_without_an_embedding_are_named(evidence: TaskEvidence) -> None:
    with pytest.raises(InputError, match="sources noise, informed have no embedding"):
        evidence.similarities()


# ---- what methods make of it


def test_the_best_source_is_the_informed_one(evidence: TaskEvidence) -> None:
    assert BestSource().prepare(evidence) == BestSource(chosen=1)
    assert BestSource(chosen=0).prepare(evidence) == BestSource(chosen=0)  # not chosen again


def test_lorahub_leans_on_the_informed_one(evidence: TaskEvidence) -> None:
    found = LoraHub(evaluations=15).prepare(evidence)
    errors = [evidence.error(np.array(omega)) + 0.05 * np.abs(omega).mean() for omega in (found.omega, (0.0, 0.0))]
    assert errors[0] < errors[1] - 0.05
    assert abs(found.omega[1]) > abs(found.omega[0]) and max(map(abs, found.omega)) <= 1.5
    assert found.prepare(evidence) == found


def test_lorahub_tries_no_more_than_it_may_and_keeps_the_best(
    evidence: TaskEvidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[float, ...]] = []

    def error(omega: np.ndarray) -> float:
        tried.append(tuple(omega))
        return -1.0 if len(tried) == 3 else float(np.square(omega - 0.5).sum())

    monkeypatch.setattr(evidence, "error", error)
    found = LoraHub(evaluations=7).prepare(evidence)
    assert len(tried) == 7 and tried[0] == (0.0, 0.0)
    assert found.omega == tried[2] != tried[-1]  # the best of all, not the last


@pytest.mark.parametrize("name", ["best-source", "lorahub", "adaptersoup"])
def test_what_is_prepared_follows_from_the_seed(
    name: str, tiny_backbone: str, target: Task, noise: Source, informed: Source
) -> None:
    sources = [embedded(source, embed_task(target)) for source in (noise, informed)]
    options = {"evaluations": 8} if name == "lorahub" else {}

    def prepared(seed: int, before: int) -> Any:
        torch.manual_seed(before)
        np.random.seed(before)
        evidence = TaskEvidence(load_backbone(tiny_backbone), task=target, sources=sources, seed=seed)
        return method_from_name(name, **options).prepare(evidence)

    assert prepared(0, before=1) == prepared(0, before=2)


def test_preparing_leaves_the_generators_alone(evidence: TaskEvidence) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with seeded(0):
        BestSource().prepare(evidence)
    assert torch.equal(torch.rand(1), expected)


# ---- the soup's weights

SIMILARITIES = np.array([0.5, 0.2, 0.9])  # mrpc, cola, rte
ALL = np.ones(3, dtype=bool)


def test_the_golden_case() -> None:
    """ScaLearn's code on these similarities."""
    found = soup_weights(SIMILARITIES, allowed=ALL, top_k=2)
    assert found == pytest.approx((0.3571428571, 0, 0.6428571429), abs=1e-9)


@pytest.mark.parametrize(
    ("top_k", "allowed", "expected"),
    [
        (None, [1, 1, 1], (5 / 16, 2 / 16, 9 / 16)),
        (5, [1, 1, 1], (5 / 16, 2 / 16, 9 / 16)),
        (1, [1, 1, 1], (0, 0, 1)),
        (2, [1, 1, 0], (5 / 7, 2 / 7, 0)),
        (1, [1, 1, 0], (1, 0, 0)),
    ],
)
def test_top_k_of_those_allowed(top_k: int | None, allowed: list[int], expected: tuple[float, ...]) -> None:
    found = soup_weights(SIMILARITIES, allowed=np.array(allowed, dtype=bool), top_k=top_k)
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_negative_similarity_counts_as_none() -> None:
    assert soup_weights(np.array([-0.5, 0.25]), allowed=np.ones(2, dtype=bool), top_k=None) == (0.0, 1.0)
    with pytest.raises(InputError, match="no source's texts are similar"):
        soup_weights(np.array([-0.5, 0.0]), allowed=np.ones(2, dtype=bool), top_k=5)
    with pytest.raises(InputError, match="no source's texts are similar"):
        soup_weights(SIMILARITIES, allowed=~ALL, top_k=5)


@pytest.mark.parametrize(("include", "expected"), [(True, (0, 1)), (False, (1, 0))])
def test_the_targets_own_source_may_be_left_out(
    include: bool, expected: tuple[float, ...], backbone: Backbone, target: Task, noise: Source, informed: Source
) -> None:
    own = embed_task(target)
    sources = [embedded(noise, [value / 2 for value in own]), embedded(informed, own)]
    evidence = TaskEvidence(backbone, task=target, sources=sources, seed=0)
    soup = AdapterSoup(top_k=1, include_target=include).prepare(evidence)
    assert soup.weights == expected
    assert soup.prepare(evidence) is soup
