"""The criteria by name: what they prefer, what they leave out, and what they say together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from scalearn.backbones import Backbone
from scalearn.errors import InputError
from scalearn.ranking import CRITERIA, DECIDING, TaskEvidence
from scalearn.ranking.criteria import judged, ranks, together
from scalearn.similarity import embed_task
from scalearn.sources import Source
from scalearn.tasks import Task


@pytest.mark.parametrize("kind", ["classification", "regression", "multi-label", "multiple-choice"])
def test_the_informed_source_is_preferred(
    kind: str, backbone: Backbone, noise: Source, informed: Source, task_of: Callable[[str], Task]
) -> None:
    evidence = TaskEvidence(backbone, task=task_of(kind), sources=[noise, informed], seed=0)
    scores, skipped = judged(evidence, DECIDING)
    assert not skipped and list(scores) == list(DECIDING)
    for name, (of_noise, of_informed) in scores.items():
        assert of_informed > of_noise, name


def test_the_gradient_is_for_what_helps(
    backbone: Backbone, target: Task, informed: Source, make_source: Callable[..., Source]
) -> None:
    sources = [make_source("other", backbone), informed]
    of_other, of_informed = CRITERIA["gradient"](TaskEvidence(backbone, task=target, sources=sources, seed=0))
    assert of_informed > max(of_other, 0)


def test_the_probe_explains_a_share(evidence: TaskEvidence) -> None:
    explained = CRITERIA["probe"](evidence)
    errors = [evidence.error(omega) for omega in np.eye(2)]
    labels = evidence.columns[0]
    share = labels.mean()
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert explained == pytest.approx([1 - error / entropy for error in errors], abs=1e-4)


def test_what_is_not_possible_is_left_out_unless_it_was_asked_for(evidence: TaskEvidence) -> None:
    scores, skipped = judged(evidence)
    assert set(scores) == {"probe", "logme", "h-score", "gradient"}
    assert list(skipped) == ["similarity"] and "have no embedding of their texts" in skipped["similarity"]
    with pytest.raises(InputError, match="have no embedding of their texts"):
        judged(evidence, ("similarity", "probe"))


def test_similarity_counts_where_it_is_known(backbone: Backbone, target: Task, noise: Source, informed: Source) -> None:
    own = tuple(embed_task(target))
    sources = [replace(noise, embedding=tuple(-value for value in own)), replace(informed, embedding=own)]
    evidence = TaskEvidence(backbone, task=target, sources=sources, seed=0)
    (of_noise, of_informed), _ = judged(evidence, ("similarity",))[0]["similarity"], None
    assert of_noise == pytest.approx(-of_informed) and of_informed > 0


def test_sources_of_several_kinds_have_no_gradient(
    backbone: Backbone, target: Task, noise: Source, informed: Source
) -> None:
    from scalearn.methods import LoRA
    from scalearn.model import TransferModel

    model = TransferModel.from_backbone(backbone.name, task=target, method=LoRA(rank=2))
    lora = model.to_source(name="lora", metrics={}, provenance={})
    evidence = TaskEvidence(backbone, task=target, sources=[noise, lora], seed=0)
    scores, skipped = judged(evidence)
    assert set(scores) == set(DECIDING) and set(skipped) == {"similarity", "gradient"}


def test_a_source_that_breaks_the_backbone_is_the_last(
    backbone: Backbone, target: Task, noise: Source, informed: Source
) -> None:
    broken = replace(noise, tensors={key: 1e38 * value for key, value in noise.tensors.items()})
    evidence = TaskEvidence(backbone, task=target, sources=[broken, informed], seed=0)
    scores, _ = judged(evidence, DECIDING)
    assert all(np.isneginf(of_broken) and np.isfinite(other) for of_broken, other in scores.values())
    assert together(scores) == [-2, -1]
    assert "not finite" in judged(evidence)[1]["gradient"], "it asks about all sources at once"


def test_unknown_criteria_are_named(evidence: TaskEvidence) -> None:
    with pytest.raises(InputError, match="no criterion 'size', 'age'; there are similarity, probe, logme, h-score, gr"):
        judged(evidence, cast(Any, ("size", "probe", "age")))


def test_ranks_and_what_they_are_together() -> None:
    assert ranks([0.5, 2.0, 0.5, -1.0]) == [2.5, 1, 2.5, 4]
    scores = {"probe": [3.0, 2.0, 1.0], "logme": [-9.0, -8.0, -10.0]}
    assert together(cast(Any, scores)) == [-1.5, -1.5, -3]
