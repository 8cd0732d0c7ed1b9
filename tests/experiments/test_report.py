"""Reports of made-up runs: what stands in the tables, in the CSV file and in the picture."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalearn.errors import InputError
from scalearn.experiments.curves import Line, score_curves
from scalearn.experiments.expansion import plan_of
from scalearn.experiments.outcome import Failure, Outcome, keep_failure, keep_outcome
from scalearn.experiments.plan import Plan, RunSpec
from scalearn.experiments.recipe_file import experiment_from
from scalearn.experiments.report import write_report
from scalearn.experiments.results import open_folder, read_folder

BASE = {"name": "made-up", "backbones": "minilm", "tasks": ["rte", "cola"], "methods": ["head", "adapter"]}
Fill = Callable[..., str]


def outcome(run: RunSpec, score: float, **splits: float) -> Outcome:
    scores = {"dev": 0.5, "test": score, **splits}
    return Outcome(
        rows={task: {"train": 12, "dev": 3, "test": 7} for task in run.tasks},
        metrics={
            task: {split: {"m": value, "m_stderr": 0.01} for split, value in scores.items()} for task in run.tasks
        },
        main=dict.fromkeys(run.tasks, "m"),
        parameters={"method": 1000 if run.sources else 24, "head": 3, "total": 27},
        steps=9,
        seconds=1.5,
        model="",
    )


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Makes the folder of an experiment, scores some of its runs, and gives its report."""

    def fill(fields: dict[str, Any], score: Callable[[RunSpec], float | str | None]) -> str:
        plan = plan_of(experiment_from({**BASE, **fields}, where="test"))
        runs = open_folder(tmp_path, plan.asked)
        for run in plan.runs:
            found = score(run)
            if isinstance(found, str):
                keep_failure(runs, run, Failure(error=found, traceback=""))
            elif found is not None:
                keep_outcome(runs, run, outcome(run, found), key={})
        write_report(tmp_path)
        return (tmp_path / "report.md").read_text()

    return fill


def test_mean_and_spread_over_seeds(fill: Fill) -> None:
    report = fill({"seeds": 3}, lambda run: (0.5 if run.tasks == ("rte",) else 0.3) + 0.1 * run.seed)
    assert "| method | trained | mean | rte | cola |" in report
    assert "| head | 24 | 50.0 | 60.0 ± 10.0 (3) | 40.0 ± 10.0 (3) |" in report
    assert "runs finished: 12 of 12" in report
    assert "Failed" not in report and "not done" not in report


def test_one_seed_has_a_standard_error(fill: Fill) -> None:
    assert "| adapter | 24 | 60.0 | 60.0 (se 1.0) | 60.0 (se 1.0) |" in fill({}, lambda run: 0.6)


def test_what_is_missing_or_failed_is_said(fill: Fill) -> None:
    def score(run: RunSpec) -> float | str | None:
        if run.method.name == "head":
            return 0.6 if run.tasks == ("rte",) else "no memory left"
        return None

    report = fill({}, score)
    assert "| head | 24 | - | 60.0 (se 1.0) | - |" in report  # no mean over a part of the tasks
    assert "| adapter | - | - | - | - |" in report
    assert "- head on cola (minilm) seed 0: no memory left" in report
    assert "2 runs are not done yet" in report


def test_capped_rows_are_said(fill: Fill) -> None:
    capped = {"rows": {"train": 12, "test": 7}}
    assert "Capped at 12 train, 7 test rows. Scores on capped test rows" in fill(capped, lambda run: 0.6)
    assert "Capped at 12 train rows.\n" in fill({"rows": {"train": 12}}, lambda run: 0.6)
    assert "- rte: 12 train, 3 dev, 7 test" in fill({}, lambda run: 0.6)
    assert "Capped" not in fill({}, lambda run: 0.6)


def test_a_table_for_each_backbone(fill: Fill) -> None:
    report = fill({"backbones": ["minilm", "roberta-base"]}, lambda run: 0.6 if run.backbone == "minilm" else 0.7)
    assert report.index("## minilm") < report.index("60.0") < report.index("## roberta-base") < report.index("70.0")


def test_a_joint_run_fills_a_row(fill: Fill) -> None:
    report = fill({"methods": ["full-m"], "seeds": 2}, lambda run: 0.4 + 0.2 * run.seed)
    assert "| full-m | 24 | 50.0 | 50.0 ± 14.1 (2) | 50.0 ± 14.1 (2) |" in report


def test_further_test_splits_stand_beside(tmp_path: Path) -> None:
    plan = plan_of(experiment_from({**BASE, "tasks": ["mnli"], "methods": ["head"]}, where="test"))
    (run,) = plan.runs
    keep_outcome(open_folder(tmp_path, plan.asked), run, outcome(run, 0.8, test_mismatched=0.7), key={})
    write_report(tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "| method | trained | mean | mnli | mnli mismatched |" in report
    assert "| head | 24 | 80.0 | 80.0 (se 1.0) | 70.0 (se 1.0) |" in report


def test_sources_that_nobody_asked_for_are_in_no_table_but_in_the_file(fill: Fill, tmp_path: Path) -> None:
    report = fill({"methods": ["scalearn"], "sources": {"tasks": ["mnli"]}}, lambda run: 0.6)
    assert "| adapter" not in report
    assert "| scalearn | 1,000 |" in report
    with (tmp_path / "runs.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [f"{line['method']} {line['task']}" for line in lines] == [
        *("adapter mnli", "adapter rte", "adapter cola", "scalearn rte", "scalearn cola")
    ]
    assert {"test": "60.0000", "test_stderr": "1.0000", "sources": "mnli rte", "steps": "9"}.items() <= lines[3].items()


def test_few_shot_has_a_table_for_each_k_and_a_picture(fill: Fill, tmp_path: Path) -> None:
    report = fill({"few_shot": {"k": [4, 16]}, "seeds": 2}, lambda run: (run.draw.k or 0) / 100 + 0.1 * run.seed)
    four, sixteen = report.index("## minilm, k = 4"), report.index("## minilm, k = 16")
    assert four < report.index("9.0 ± 7.1 (2)") < sixteen < report.index("21.0 ± 7.1 (2)")
    assert "![minilm: test scores by training rows k](few-shot.png)" in report
    assert (tmp_path / "few-shot.png").stat().st_size > 10_000


def test_a_picture_has_a_panel_for_each_task_and_a_line_for_each_method() -> None:
    line = Line(at=(4, 16), mean=(50, 60), spread=(1, 2))
    panels = {"rte": {"head": line, "scalearn": line}, "cola": {"scalearn": line}}
    figure = score_curves(panels, axis="k", score_axis="score", logarithmic=True)
    rte, cola = (axes for axes in figure.axes if axes.get_visible())
    assert (rte.get_title(), cola.get_title()) == ("rte", "cola")
    assert (len(rte.lines), len(cola.lines), rte.get_xscale()) == (2, 1, "log")
    assert rte.lines[1].get_color() == cola.lines[0].get_color()
    assert [text.get_text() for text in rte.get_xticklabels()] == ["4", "16"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["head", "scalearn"]


def test_probing_has_tables_and_pictures(fill: Fill, tmp_path: Path) -> None:
    fields = {
        "methods": [],
        "tasks": ["rte"],
        "sources": {"tasks": ["mnli", "qqp"]},
        "probe": {"together": [1, 2], "grid": [0, 1]},
    }
    report = fill(fields, lambda run: sum(getattr(run.method, "omega", (0,))) / 4)
    assert "| source | 0 | 1 |" in report
    assert "| qqp | 0.0 | 25.0 |" in report
    assert "[mnli and qqp](probing/minilm/rte/mnli+qqp/table.md)" in report
    assert (tmp_path / "probing/minilm/rte/mnli+qqp/heatmap.png").is_file()
    assert "| 1 | 25.0 | 50.0 |" in (tmp_path / "probing/minilm/rte/mnli+qqp/table.md").read_text()


def test_a_probe_that_is_not_complete_waits(fill: Fill, tmp_path: Path) -> None:
    fields = {"methods": [], "tasks": ["rte"], "sources": {"tasks": ["mnli"]}, "probe": {"grid": [0, 1]}}
    report = fill(fields, lambda run: 0.5 if getattr(run.method, "omega", (0,)) == (0,) else None)
    assert "source" not in report
    assert "1 runs are not done yet" in report


def test_a_folder_is_of_one_experiment(tmp_path: Path) -> None:
    plan: Plan = plan_of(experiment_from(BASE, where="test"))
    assert open_folder(tmp_path / "a", plan.asked) == tmp_path / "a" / "runs"
    assert open_folder(tmp_path / "a", plan.asked, kept=tmp_path / "shared") == tmp_path / "shared"
    asked, runs = read_folder(tmp_path / "a")
    assert (asked, runs.resolve()) == (plan.asked, (tmp_path / "shared").resolve())
    with pytest.raises(InputError, match="holds the experiment 'made-up', not 'other'"):
        open_folder(tmp_path / "a", experiment_from({**BASE, "name": "other"}, where="test"))
    with pytest.raises(InputError, match="is no experiment"):
        write_report(tmp_path)
