"""Reports of made-up runs: what stands in the tables, in the CSV files, in LaTeX and in the pictures."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalearn.errors import InputError
from scalearn.experiments.curves import Line, score_curves
from scalearn.experiments.plan import RunSpec
from scalearn.experiments.report import write_report
from scalearn.experiments.results import Results, open_folder, read_folder
from scalearn.explanation import Effect, Explanation

Fill = Callable[..., str]


@pytest.fixture
def fill(tmp_path: Path, made_up: Any) -> Fill:
    """Makes the folder of an experiment, scores some of its runs, and gives its report."""

    def fill(fields: dict[str, Any], give: Callable[[RunSpec], Any]) -> str:
        made_up.write(tmp_path, made_up.plan(**fields), give)
        write_report(tmp_path)
        return (tmp_path / "report.md").read_text()

    return fill


def lines(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def noisy(run: RunSpec, better: str) -> float:
    """One method is above the others by much more than seeds vary, by 20 points."""
    return (
        0.5
        + 0.2 * (run.method.name == better)
        + {"head": 0.01, "adapter": 0.02, "ia3": -0.01}[run.method.name] * run.seed
    )


def test_mean_and_spread_over_seeds(fill: Fill) -> None:
    report = fill({"seeds": 3}, lambda run: (0.5 if run.tasks == ("rte",) else 0.3) + 0.1 * run.seed)
    assert "| method | trained | mean | rte | cola |" in report
    assert "| head | 24 | 50.0 ± 10.0 (3) | 60.0 ± 10.0 (3) | 40.0 ± 10.0 (3) |" in report
    assert "| head | 25.2 to 74.8 | 35.2 to 84.8 | 15.2 to 64.8 |" in report
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
    assert "| full-m | 24 | 50.0 ± 14.1 (2) | 50.0 ± 14.1 (2) | 50.0 ± 14.1 (2) |" in report


def test_further_test_splits_stand_beside(fill: Fill, made_up: Any) -> None:
    metrics = {"mnli": {split: {"m": score} for split, score in (("test", 0.8), ("test_mismatched", 0.7))}}
    fields = {"tasks": ["mnli"], "methods": ["head"]}
    report = fill(fields, lambda run: made_up.outcome(run, 0.8, metrics=metrics))
    assert "| method | trained | mean | mnli | mnli mismatched |" in report
    assert "| head | 24 | 80.0 | 80.0 | 70.0 |" in report


def test_only_what_is_significantly_best_is_bold(fill: Fill, tmp_path: Path) -> None:
    report = fill({"seeds": 3, "methods": ["head", "adapter", "ia3"]}, lambda run: noisy(run, "adapter"))
    assert "| adapter | 24 | 72.0 ± 2.0 (3) | **72.0** ± 2.0 (3) | **72.0** ± 2.0 (3) |" in report
    assert "| ia3 | 24 | 49.0 ± 1.0 (3) |" in report
    assert report.count("**") == 4
    latex = (tmp_path / "report.tex").read_text()
    assert latex.count("\\textbf{") == 2
    assert "adapter & 24 & \\textbf{72.0}$_{\\pm 2.0}$ & \\textbf{72.0}" in latex


def test_comparison_of_methods(fill: Fill, tmp_path: Path) -> None:
    fields = {"seeds": 3, "tasks": ["rte", "cola", "mrpc"], "methods": ["head", "adapter", "ia3"]}
    report = fill(fields, lambda run: noisy(run, "adapter"))
    assert "Mean ranks over rte, cola, mrpc (1 is the best): adapter 1.00" in report
    assert "more than 1.91 apart (Nemenyi, 0.05)" in report
    assert "| adapter | ia3 | +23.0 |" in report
    assert "| 9/0/0 |\n" in report
    assert "![minilm: mean ranks, what is joined does not differ](ranks.png)" in report
    assert "![minilm: mean score by trained parameters](efficiency.png)" in report
    for name in ("ranks.svg", "efficiency.svg"):
        assert "adapter" in (tmp_path / name).read_text()


def test_one_run_of_each_compares_nothing(fill: Fill, tmp_path: Path) -> None:
    report = fill({"tasks": ["rte"]}, lambda run: 0.6 if run.method.name == "head" else 0.8)
    assert "| head | adapter | -20.0 | - | 1.000 | 1.000 | 0/0/1 |" in report
    assert "Mean ranks" not in report
    assert not (tmp_path / "ranks.png").exists()


def test_the_papers_scores_stand_beside_runs_of_its_setting(fill: Fill, made_up: Any, tmp_path: Path) -> None:
    fields = {"backbones": "roberta-base", "tasks": ["rte", "mrpc"], "methods": ["adapter"], "protocol": "published"}
    main = {"rte": "accuracy", "mrpc": "m"}
    report = fill(fields, lambda run: made_up.outcome(run, 0.7, main={task: main[task] for task in run.tasks}))
    first, second = report.split("### roberta-base, in the paper's metrics")
    assert "| adapter | 24 | 70.0 | 70.0 (se 1.0) [paper 72.9] | 70.0 (se 1.0) |" in first
    assert "| adapter | 24 | 70.0 | 70.0 (se 1.0) [paper 72.9] | 70.0 (se 1.0) [paper 86.6] |" in second
    assert "\\quad paper &  & \\textit{72.9} & \\textit{86.6} &  \\\\" in (tmp_path / "report.tex").read_text()
    published = {line["task"]: line["published"] for line in lines(tmp_path / "scores.csv")}
    assert published == {"mean": "", "rte": "72.8900", "mrpc": ""}


def test_every_other_setting_has_no_word_of_the_paper(fill: Fill) -> None:
    assert "paper" not in fill({"backbones": "roberta-base"}, lambda run: 0.7)


def test_scores_as_csv(fill: Fill, tmp_path: Path) -> None:
    fill({"seeds": 3, "few_shot": {"k": [4]}}, lambda run: noisy(run, "adapter"))
    found = lines(tmp_path / "scores.csv")
    assert [(line["method"], line["task"]) for line in found] == [
        (method, task) for method in ("head", "adapter") for task in ("mean", "rte", "cola")
    ]
    expected = {"backbone": "minilm", "axis": "k", "value": "4", "split": "test", "metric": "m", "mean": "72.0000"}
    spread = {"deviation": "2.0000", "low": "67.0317", "high": "76.9683", "n": "3", "best": "1", "trained": "24"}
    assert found[4].items() >= {**expected, **spread}.items()
    assert [line["best"] for line in found] == ["0", "0", "0", "0", "1", "1"]


def test_costs(fill: Fill) -> None:
    report = fill({"tasks": ["rte"], "methods": ["scalearn"], "sources": {"tasks": ["mnli"]}}, lambda run: 0.6)
    headings = "| method | runs | trained | steps | seconds | tokens/s | peak memory (GB) | model (MB) |"
    assert headings in report
    assert "| scalearn | 1 | 1,000 | 9 | 1.5 | 2,000 | 0.75 | 0.0035 |" in report
    assert "| adapter (sources) | 2 | 24 | 9 | 1.5 | 2,000 | 0.75 | 0.0035 |" in report


def test_damaged_results_are_named(made_up: Any, tmp_path: Path) -> None:
    runs = made_up.write(tmp_path, made_up.plan(), lambda run: 0.6)
    damaged, *_ = sorted(runs.glob("*/result.json"))
    told = json.loads(damaged.read_text())
    told["outcome"]["steps"] = 10_000
    damaged.write_text(json.dumps(told))
    write_report(tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "## Damaged results" in report
    assert f"{damaged} was changed after it was written" in report
    assert "1 runs are not done yet" in report


def test_the_seed_of_the_sources_is_said(fill: Fill) -> None:
    fields = {"tasks": ["rte"], "methods": ["scalearn"]}
    assert "- sources: of the seed of their target\n" in fill(
        {**fields, "sources": {"tasks": ["mnli"]}}, lambda run: 0.6
    )
    zero = {"sources": {"tasks": ["mnli"], "seed": 0}, "seeds": 2}
    assert "- sources: of seed 0 for all seeds of their targets" in fill({**fields, **zero}, lambda run: None)


def test_the_page_is_written(fill: Fill, tmp_path: Path) -> None:
    fill({}, lambda run: 0.6)
    assert "made-up" in (tmp_path / "report.html").read_text()


def test_sources_that_nobody_asked_for_are_in_no_table_but_in_the_file(fill: Fill, tmp_path: Path) -> None:
    report = fill({"methods": ["scalearn"], "sources": {"tasks": ["mnli"]}}, lambda run: 0.6)
    assert "| adapter |" not in report
    assert "| scalearn | 1,000 |" in report
    found = lines(tmp_path / "runs.csv")
    assert [f"{line['method']} {line['task']}" for line in found] == [
        *("adapter mnli", "adapter rte", "adapter cola", "scalearn rte", "scalearn cola")
    ]
    assert {"test": "60.0000", "test_stderr": "1.0000", "sources": "mnli rte", "steps": "9"}.items() <= found[3].items()
    cost = {"best_step": "6", "attempts": "1", "tokens_per_second": "2000.0000", "peak_memory": "0.75", "bytes": "3500"}
    assert {**cost, "commit": "abc1234", "finished": "2026-01-02T03:04:05+00:00"}.items() <= found[3].items()


def explanation(task: str, changes: dict[str, float], *, stderr: float = 0.01) -> Explanation:
    """Of a model whose score is 0.8; without a source it changes so."""
    effects = tuple(
        Effect(
            source=name,
            mean_omega=0.25,
            share=0.4,
            without=0.8 + change,
            alone=0.61,
            difference=change,
            stderr=stderr,
            verdict="hurts" if change > stderr else "helps" if -change > stderr else "unclear",
        )
        for name, change in changes.items()
    )
    return Explanation(
        task=task,
        method="scalearn",
        split="dev",
        rows=3,
        metric="m",
        score=0.8,
        stderr=0.02,
        bare=0.5,
        effects=effects,
        layers=("1",),
        omega=((0.1,) * len(effects),),
    )


def test_what_each_source_did_with_warnings_picture_and_csv(tmp_path: Path, made_up: Any) -> None:
    plan = made_up.plan(methods=["scalearn", "head"], sources={"tasks": ["mnli"]}, explain=True, seeds=2)
    made_up.write(tmp_path, plan, lambda run: 0.6)
    write_report(tmp_path)
    assert "what each source did" not in (tmp_path / "report.md").read_text()
    assert "- explained: 0 of 4 runs" in (tmp_path / "report.md").read_text()
    for result in Results.read(tmp_path).found.values():
        run = result.key["run"]
        if run["method"][0] == "scalearn" and run["tasks"] == ["rte"]:
            changes = {"mnli": 0.03, "rte": -0.1} if run["seed"] else {"mnli": 0.02, "rte": 0.02}
            result.place.keep_explanation(explanation("rte", changes))
        elif run["method"][0] == "scalearn" and run["seed"] == 0:
            result.place.keep_explanation(explanation("cola", {"mnli": 0.005, "co|la": -0.1}))
    write_report(tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "- explained: 3 of 4 runs" in report and "rte m 80.0, 50.0 with no source; cola m 80.0" in report
    assert "| rte | mnli | 40.0 % | 82.5 | +2.5 ± 0.7 (2) | 61.0 | hurts 2 |" in report
    assert "| rte | rte | 40.0 % | 76.0 | -4.0 ± 8.5 (2) | 61.0 | hurts 1, helps 1 |" in report
    assert r"| cola | co\|la | 40.0 % | 70.0 | -10.0 (se 1.0) | 61.0 | helps |" in report
    (warning,) = (line for line in report.splitlines() if "Negative transfer" in line)
    assert "mnli hurts scalearn on rte, in 2 of 2 seeds: without it dev m changes by +2.5 points ± 0.7 (2)." in warning
    assert "](source-effects-1.png)" in report and (tmp_path / "source-effects-1.svg").is_file()
    found = lines(tmp_path / "sources.csv")
    assert [f"{line['task']} {line['seed']} {line['source']} {line['verdict']}" for line in found] == [
        *("rte 0 mnli hurts", "rte 0 rte hurts", "rte 1 mnli hurts", "rte 1 rte helps"),
        *("cola 0 mnli unclear", "cola 0 co|la helps"),
    ]
    assert {"score": "80.0000", "bare": "50.0000", "difference": "3.0000", "stderr": "1.0000"}.items() <= found[
        2
    ].items()


def test_a_damaged_explanation_is_named_and_the_run_stays(tmp_path: Path, made_up: Any) -> None:
    plan = made_up.plan(methods=["scalearn"], sources={"tasks": ["mnli"]}, tasks=["rte"])
    runs = made_up.write(tmp_path, plan, lambda run: 0.6)
    for folder in runs.glob("*/result.json"):
        (folder.parent / "explanation.json").write_text("{")
    write_report(tmp_path)
    report = (tmp_path / "report.md").read_text()
    assert "explanation.json is no whole result" in report and "60.0" in report and "not done yet" not in report


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
    assert "by the coefficient of a source\n\n| source | 0 | 1 |" in report
    assert "| qqp | 0.0 | 25.0 |" in report
    assert "[mnli and qqp](probing/minilm/rte/mnli+qqp/table.md)" in report
    assert (tmp_path / "probing/minilm/rte/mnli+qqp/heatmap.png").is_file()
    assert "| 1 | 25.0 | 50.0 |" in (tmp_path / "probing/minilm/rte/mnli+qqp/table.md").read_text()


def test_a_probe_that_is_not_complete_waits(fill: Fill, tmp_path: Path) -> None:
    fields = {"methods": [], "tasks": ["rte"], "sources": {"tasks": ["mnli"]}, "probe": {"grid": [0, 1]}}
    report = fill(fields, lambda run: 0.5 if getattr(run.method, "omega", (0,)) == (0,) else None)
    assert "by the coefficient of a source" not in report
    assert "1 runs are not done yet" in report


def test_a_folder_is_of_one_experiment(made_up: Any, tmp_path: Path) -> None:
    plan = made_up.plan()
    assert open_folder(tmp_path / "a", plan.asked) == tmp_path / "a" / "runs"
    assert open_folder(tmp_path / "a", plan.asked, kept=tmp_path / "shared") == tmp_path / "shared"
    asked, runs = read_folder(tmp_path / "a")
    assert (asked, runs.resolve()) == (plan.asked, (tmp_path / "shared").resolve())
    with pytest.raises(InputError, match="holds the experiment 'made-up', not 'other'"):
        open_folder(tmp_path / "a", made_up.plan(name="other").asked)
    with pytest.raises(InputError, match="is no experiment"):
        write_report(tmp_path)
