"""A shelf ranked for a target: order, files, and models of the best of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import scalearn as sl
from scalearn import sites
from scalearn.backbones import Backbone, load_backbone
from scalearn.errors import InputError
from scalearn.methods import UniformAverage
from scalearn.ranking import TaskEvidence
from scalearn.ranking.evidence import RANKING_ROWS
from scalearn.sources import Source
from scalearn.tasks import Task


@pytest.fixture
def known(noise: Source, informed: Source, make_source: Callable[..., Source], backbone: Backbone) -> sl.Shelf:
    return sl.Shelf([noise, make_source("other", backbone), informed])


@pytest.fixture
def ranking(known: sl.Shelf, target: Task, tiny_backbone: str) -> sl.Ranking:
    return sl.rank_sources(known, task=target, backbone=tiny_backbone)


def test_the_informed_source_is_first(ranking: sl.Ranking, target: Task) -> None:
    assert ranking.order[0] == "informed" and sorted(ranking.order) == sorted(ranking.sources)
    assert ranking.sources == ("noise", "other", "informed")
    assert (ranking.task, ranking.rows) == ("ours", len(target.splits["train"]))
    assert ranking.best(1) == ("informed",) and ranking.best(9) == ranking.order
    with pytest.raises(InputError, match="the best 0 sources: ask for at least one"):
        ranking.best(0)


def test_only_training_rows_are_looked_at(
    ranking: sl.Ranking, known: sl.Shelf, target: Task, backbone: Backbone
) -> None:
    blind = replace(target, splits={"train": target.splits["train"]})
    again = sl.rank_sources(known, task=blind, backbone=backbone)
    assert again.scores == ranking.scores
    assert not sites.attached(backbone.model)


def test_so_many_rows_are_enough(known: sl.Shelf, target: Task, tiny_backbone: str) -> None:
    data = target.splits["train"]
    large = replace(target, splits={"train": data.select(list(range(len(data))) * 3)})
    found = sl.rank_sources(known, task=large, backbone=tiny_backbone, by=["h-score"])
    assert found.rows == RANKING_ROWS < len(large.splits["train"])


def test_by_decides(ranking: sl.Ranking, known: sl.Shelf, target: Task, tiny_backbone: str) -> None:
    alone = sl.rank_sources(known, task=target, backbone=tiny_backbone, by=["gradient"])
    assert list(alone.scores) == ["gradient"] and alone.scores["gradient"] == ranking.scores["gradient"]
    assert [alone.sources[i] for i in np.argsort(alone.scores["gradient"])[::-1]] == list(alone.order)


def test_what_does_not_decide_is_told_all_the_same() -> None:
    scores = cast(Any, {"probe": [1.0, 2.0], "similarity": [2.0, 1.0]})
    found = sl.Ranking(task="t", rows=9, sources=("a", "b"), scores=scores, by=("probe",), skipped={}, seconds=0.0)
    assert found.order == ("b", "a") and found.table()[0]["similarity_rank"] == 2


def test_equal_ranks_keep_the_order_of_the_shelf() -> None:
    scores = cast(Any, {"probe": [1.0, 2.0, 0.0], "logme": [2.0, 1.0, 0.0]})
    found = sl.Ranking(
        task="t", rows=9, sources=("b", "a", "c"), scores=scores, by=("probe", "logme"), skipped={}, seconds=0.0
    )
    assert found.order == ("b", "a", "c") and found.mean_ranks == [1.5, 1.5, 3]
    assert found.table()[0] == {
        "place": 1, "source": "b", "mean_rank": 1.5, "probe": 1.0, "probe_rank": 2, "logme": 2.0, "logme_rank": 1,
    }  # fmt: skip


def test_files(ranking: sl.Ranking, tmp_path: Path) -> None:
    ranking.write(tmp_path / "ranking.csv")
    with (tmp_path / "ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == list(ranking.order) and rows[0]["place"] == "1"
    assert float(rows[0]["probe"]) == ranking.scores["probe"][2]
    ranking.write(tmp_path / "ranking.json")
    told = json.loads((tmp_path / "ranking.json").read_text())
    assert told["task"] == "ours" and told["sources"] == ranking.table() and "similarity" in told["skipped"]
    with pytest.raises(InputError, match=r"ranking\.txt: a ranking is written as \.csv or \.json"):
        ranking.write(tmp_path / "ranking.txt")


def test_another_backbone_is_refused(known: sl.Shelf, target: Task, tiny_backbone: str) -> None:
    other = load_backbone(tiny_backbone)
    with pytest.raises(InputError, match="source 'noise' was trained on"):
        sl.rank_sources(known, task=target, backbone=replace(other, fingerprint="0" * 64))


# ---- models of the best


def test_a_model_of_the_best_two(known: sl.Shelf, target: Task, tiny_backbone: str, ranking: sl.Ranking) -> None:
    model = sl.TransferModel.from_backbone(
        tiny_backbone, task=target, method=UniformAverage(), sources=known, top_sources=2
    )
    assert tuple(source.name for source in model.sources) == ranking.best(2)
    assert model.omega().shape[1] == 2


def test_sources_are_passed_over_once(
    known: sl.Shelf, target: Task, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, original = [], TaskEvidence._under
    monkeypatch.setattr(TaskEvidence, "_under", lambda *given: passes.append(1) or original(*given))
    sl.TransferModel.from_backbone(
        tiny_backbone, task=target, method=sl.ScaLearn(init="rank"), sources=known, top_sources=2
    )
    assert len(passes) == len(known), "the start asks for a ranking of the best two, which knows them already"


def test_top_sources_are_of_a_shelf(target: Task, tiny_backbone: str) -> None:
    with pytest.raises(InputError, match="top_sources=2 is of a shelf"):
        sl.TransferModel.from_backbone(tiny_backbone, task=target, method="head", top_sources=2)


@pytest.mark.parametrize("init", ["rank", "best"])
def test_omega_starts_where_the_ranking_says(
    init: str, known: sl.Shelf, target: Task, tiny_backbone: str, ranking: sl.Ranking, tmp_path: Path
) -> None:
    method = sl.ScaLearn(init=cast(Any, init))
    model = sl.TransferModel.from_backbone(tiny_backbone, task=target, method=method, sources=known)
    assert isinstance(model.method, sl.ScaLearn)
    means = model.omega().mean(dim=(0, 2))
    assert means.tolist() == pytest.approx(model.method.starts, abs=2e-3)
    assert np.argsort(-means.numpy(), kind="stable")[0] == 2  # the informed one
    assert means.sum() == pytest.approx(1 if init == "best" else 2, abs=5e-3)
    model.save_pretrained(tmp_path / "model", include_sources=True)
    again = sl.TransferModel.from_pretrained(tmp_path / "model")
    assert again.method == model.method and again.omega().equal(model.omega())
