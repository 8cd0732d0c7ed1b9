"""Several methods and seeds on the tiny backbone."""

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scalearn.backbones import Backbone
from scalearn.errors import InputError
from scalearn.experiments import Run, compare, markdown, summarise
from scalearn.experiments.compare import sources_markdown
from scalearn.experiments.draw import Draw
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task

CHANGES = {"epochs": 1}


@pytest.fixture
def target(task: Task) -> Task:
    return replace(task, splits={**task.splits, "test": task.splits["dev"]})


def test_each_seed_draws_its_own_rows(target: Task, shelf: Shelf, tiny_backbone: str) -> None:
    runs = compare(
        target,
        methods=["head", "scalearn"],
        seeds=[0, 1],
        sources=shelf,
        backbone=tiny_backbone,
        draw=Draw(train=12),
        changes=CHANGES,
        progress=False,
    )
    assert [(run.method, run.seed) for run in runs] == [("head", 0), ("scalearn", 0), ("head", 1), ("scalearn", 1)]
    assert all(run.rows == {"train": 12, "dev": 8, "test": 8} for run in runs)
    assert runs[1].parameters["method"] == 3 * 16 * 2
    assert target.take(train_rows=12, seed=0).fingerprint() != target.take(train_rows=12, seed=1).fingerprint()


def test_own_adds_the_targets_adapter_last(
    target: Task, make_source: Callable[..., Source], backbone: Backbone, tiny_backbone: str, tmp_path: Path
) -> None:
    sources = [make_source(name, backbone, bottleneck=4) for name in ("cola", "mrpc", "rte")]
    plain = [replace(source, options={"bottleneck": None}) for source in sources]
    shelf = Shelf(source.save(tmp_path / "shelf" / source.name) for source in plain)
    runs = compare(
        target,
        methods=["adapter", "scalearn-uniform++"],
        seeds=[0],
        sources=shelf,
        backbone=tiny_backbone,
        own=True,
        changes=CHANGES,
        folder=tmp_path / "runs",
        progress=False,
    )
    assert [run.own for run in runs] == [False, True]
    assert runs[1].parameters["method"] == 4
    assert len(list((tmp_path / "runs").glob("*.json"))) == 2  # the adapter was not trained twice


def test_own_is_like_the_shelf(target: Task, shelf: Shelf, tiny_backbone: str, tmp_path: Path) -> None:
    """With sources of another width than the method's default, the own one has theirs."""
    compare(
        target,
        methods=["adapter", "scalearn-uniform++"],
        seeds=[0],
        sources=shelf,
        backbone=tiny_backbone,
        own=True,
        changes=CHANGES,
        folder=tmp_path / "runs",
        progress=False,
    )
    made = [json.loads(path.read_text())["key"]["method"] for path in (tmp_path / "runs").glob("*.json")]
    assert sorted(options["bottleneck"] or 0 for name, options in made if name == "adapter") == [0, 3]


def test_the_best_sources_alone_and_what_each_did(
    target: Task, shelf: Shelf, tiny_backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scalearn.ranking.Ranking.best", lambda ranking, count: ("rte", "cola", "mrpc")[:count])

    def compared(**how: Any) -> list[Run]:
        given = {"methods": ["head", "scalearn"], "seeds": [0], "sources": shelf, "backbone": tiny_backbone}
        return compare(target, **given, changes=CHANGES, folder=tmp_path / "runs", progress=False, **how)  # type: ignore[arg-type]

    whole, top = compared()[1], compared(top_sources=2)[1]
    assert whole.model != top.model and (whole.top_sources, top.top_sources) == (None, 2)
    assert 2 * whole.parameters["method"] == 3 * top.parameters["method"]
    assert top.explanation is None
    module = importlib.import_module("scalearn.experiments.compare")  # whose name in its package is the function's
    monkeypatch.setattr(module, "train", lambda *_, **__: 1 / 0)
    head, explained = compared(top_sources=2, explain=True)
    assert head.explanation is None and explained.explanation is not None
    assert replace(explained, explanation=None) == top, "not trained anew"
    page = sources_markdown([head, explained])
    assert "## scalearn: what each source did" in page and "| reviews | rte |" in page and "| mrpc |" not in page
    monkeypatch.setattr(module, "explain_model", lambda *_, **__: 1 / 0)
    assert sources_markdown(compared(top_sources=2, explain=True)) == page, "nor explained anew"
    assert "| scalearn | best 2 of shelf |" in markdown(
        summarise([explained], main_metric="accuracy"), main_metric="accuracy"
    )


def test_without_test_rows_dev_rows_are_what_is_told(task: Task, shelf: Shelf, tiny_backbone: str) -> None:
    given: dict[str, Any] = {"methods": ["head"], "seeds": [0, 1], "sources": shelf, "backbone": tiny_backbone}
    rows = summarise(compare(task, **given, changes=CHANGES, progress=False), main_metric="accuracy")
    assert rows[0].test is None
    table = markdown(rows, main_metric="accuracy")
    assert "dev accuracy | seconds" in table and f"{rows[0].dev:.1f} ± {rows[0].spread:.1f} |" in table
    with pytest.raises(InputError, match="no dev rows: a comparison needs train and dev"):
        compare(replace(task, splits={"train": task.splits["train"]}), **given)


def test_the_table_has_mean_and_spread() -> None:
    def run(seed: int, test: float) -> Run:
        return Run(
            method="scalearn",
            seed=seed,
            own=True,
            rows={},
            parameters={"method": 96, "head": 1000, "total": 1096},
            metrics={"dev": {"accuracy": 0.5}, "test": {"accuracy": test}},
            epochs=3,
            seconds=10 + seed,
            model="",
            peak_memory=1.0,
        )

    (row,) = summarise([run(0, 0.60), run(1, 0.70), run(2, 0.80)], main_metric="accuracy")
    assert (row.test, row.spread, row.seconds) == pytest.approx((70.0, 10.0, 11.0))
    assert "| scalearn | shelf + own | 96 | 1,096 | 50.0 | 70.0 ± 10.0 | 11 |" in markdown(
        [row], main_metric="accuracy"
    )
