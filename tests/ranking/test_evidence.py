"""What transfer methods find out about a target, errors and similarities, and what they make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from scalearn import sites
from scalearn.adapted import seeded
from scalearn.backbones import Backbone, load_backbone
from scalearn.errors import InputError
from scalearn.methods import AdapterSoup, BestSource, LoraHub, ScaLearn, method_from_name
from scalearn.methods.start import FEWEST
from scalearn.methods.transfer import soup_weights
from scalearn.model import TransferModel
from scalearn.ranking.evidence import ROWS, TaskEvidence
from scalearn.similarity import embed_task, similarity
from scalearn.sources import Source
from scalearn.tasks import Task

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


def test_of_fewer_sources_no_pass_is_made_again(evidence: TaskEvidence, monkeypatch: pytest.MonkeyPatch) -> None:
    backwards = [source.name for source in evidence.sources][::-1]
    anew = TaskEvidence(evidence.backbone, task=evidence.task, sources=evidence.sources[::-1], seed=evidence.seed)
    expected = anew.scores()
    assert evidence.scores() == expected[::-1] and len(set(expected)) == len(expected)
    monkeypatch.setattr(TaskEvidence, "_under", lambda *_: 1 / 0)
    assert evidence.only(backwards).scores() == expected
    assert evidence.only(backwards[:1]).sources == evidence.sources[-1:]


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
def test_every_kind_of_task(
    kind: str, backbone: Backbone, noise: Source, informed: Source, task_of: Callable[[str], Task]
) -> None:
    evidence = TaskEvidence(backbone, task=task_of(kind), sources=[noise, informed], seed=0)
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


def test_choices_of_a_question_are_held_out_together(
    backbone: Backbone, noise: Source, task_of: Callable[[str], Task]
) -> None:
    """Else the right choice of a row would tell the wrong one's class."""
    evidence = TaskEvidence(backbone, task=task_of("multiple-choice"), sources=[noise], seed=0)
    held = np.concatenate([held for _, held in evidence.folds])
    assert sorted(held) == list(range(2 * evidence.row_count)) == list(range(len(evidence.columns[0])))
    for train, out in evidence.folds:
        assert not {row // 2 for row in train} & {row // 2 for row in out}
    assert evidence.features(np.ones(1)).reshape(-1, 2, 16).sum(axis=1) == pytest.approx(0, abs=1e-5)


def test_contrasts_of_choices_are_what_is_independent(
    backbone: Backbone, noise: Source, task_of: Callable[[str], Task]
) -> None:
    evidence = TaskEvidence(backbone, task=task_of("multiple-choice"), sources=[noise], seed=0)
    values = np.arange(8.0).reshape(-1, 1) ** 2  # four rows of two
    found = evidence.contrasted(values)
    assert np.abs(found[:, 0]) == pytest.approx(np.abs(values[1::2, 0] - values[::2, 0]) / np.sqrt(2))
    assert evidence.contrasted(evidence.targets).std() > 0


@pytest.mark.parametrize("kind", ["classification", "multi-label"])
def test_rows_of_one_label_say_nothing(
    kind: str, backbone: Backbone, noise: Source, task_of: Callable[[str], Task]
) -> None:
    task = task_of(kind)
    data = task.splits["train"]
    alike = [index for index, label in enumerate(data["label"][:]) if label == data["label"][0]][:8]
    task = replace(task, splits={"train": data.select(alike)})
    with pytest.raises(InputError, match="8 training rows of task 'ours' all have one label: give rows that differ"):
        _ = TaskEvidence(backbone, task=task, sources=[noise], seed=0).targets


def test_one_source_alone_is_omega_of_one(evidence: TaskEvidence) -> None:
    for index, source in enumerate(evidence.sources):
        np.testing.assert_allclose(evidence.alone(source), evidence.features(np.eye(2)[index]), atol=1e-4)


def test_attention_is_left_as_it_was(evidence: TaskEvidence) -> None:
    before = evidence.backbone.model.config._attn_implementation
    evidence.differentiated(lambda features, rows: features.sum(), start=0.5)
    assert evidence.backbone.model.config._attn_implementation == before
    assert not sites.attached(evidence.backbone.model)


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


@pytest.mark.parametrize("kind", ["classification", "regression", "multi-label", "multiple-choice"])
def test_where_omega_starts_is_one_of_four(
    kind: str, backbone: Backbone, noise: Source, informed: Source, task_of: Callable[[str], Task]
) -> None:
    task = task_of(kind)
    evidence = TaskEvidence(backbone, task=task, sources=[noise, informed], seed=0)
    assert evidence.train_rows >= FEWEST and evidence.tells_apart
    starts = ScaLearn(init="auto").prepare(evidence).starts
    assert starts in {(1.0, 1.0), (0.5, 0.5), (0.0, 1.0)}, "the informed one ranks first, and none is worst"
    alone = TaskEvidence(backbone, task=task, sources=[informed], seed=0)
    assert ScaLearn(init="auto").prepare(alone).starts in {(2.0,), (1.0,)}


@pytest.mark.parametrize("kind", ["multi-label", "regression"])
def test_omega_starts_where_no_label_differs(
    kind: str, backbone: Backbone, noise: Source, informed: Source, task_of: Callable[[str], Task]
) -> None:
    task = task_of(kind)
    same = replace(task, splits={"train": task.splits["train"].select([0] * FEWEST)})
    evidence = TaskEvidence(backbone, task=same, sources=[noise, informed], seed=0)
    assert not evidence.tells_apart
    assert len(ScaLearn(init="auto").prepare(evidence).starts) == 2


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
