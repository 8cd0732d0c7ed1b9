"""The page stands alone, shows what it was given and nothing else, and stays small."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalearn.experiments.outcome import Failure
from scalearn.experiments.plan import Point, RunSpec
from scalearn.experiments.report_page import write_report_page
from scalearn.experiments.report_page.examples import examples
from scalearn.experiments.report_page.histories import curves, omegas
from scalearn.experiments.report_page.rounding import rounded, thinned
from scalearn.experiments.results import Results
from scalearn.experiments.scoreboard import Board, Column, boards
from scalearn.experiments.statistics import Comparison, Pair
from scalearn.explanation import Explanation

HOSTILE = "</script><img src=x onerror=alert(1)>"


def data_of(page: Path) -> dict[str, Any]:
    """The numbers that the scripts of a page draw."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_needs_nothing_from_outside(example: Path) -> None:
    page = example.read_text()
    loaded = re.findall(r"""(?:src|href)=["'](?!#)([^"']*)""", page)
    assert [address for address in loaded if not address.startswith("data:")] == []
    assert "@import" not in page and "url(" not in page
    assert "default-src 'none'" in page


def test_head_says_how_far_it_is_and_what_to_beware_of(example: Path) -> None:
    page = example.read_text()
    for told in (
        "<b>70</b> done",
        "<b>1</b> failed",
        "<b>4</b> to do",
        "small-transfer",
        "epochs 8",
        "Xeon, 2 cores, 8 GB",
    ):
        assert told in page
    assert "cb is not the published data (200 of train for 250 rows)" in page
    assert "e27a545" in page


def test_finished_runs_that_differ_are_warned_of(made: Any) -> None:
    page = made({"tasks": ["rte"], "methods": ["head"], "sources": None, "seeds": 1})
    found = Results.read(page.parent)
    write_report_page(page, replace(found, mixed=("runs are of two kinds",), damaged=("a.json was changed",)), [])
    assert "Runs are of two kinds: do not compare them." in page.read_text()
    assert "a.json was changed" in page.read_text()


def test_a_run_with_a_changed_file_is_named_and_the_others_are_shown(made: Any) -> None:
    page = made({"tasks": ["rte"], "methods": ["head"], "sources": None, "seeds": 2})
    first, _ = Results.read(page.parent).found.values()
    (first.place.folder / "history.json").write_text("[]")
    found = Results.read(page.parent)
    write_report_page(page, found, boards(found))
    assert "history.json was changed after it was written" in page.read_text()
    changed, other = data_of(page)["runs"]
    assert (changed["state"], other["state"]) == ("open", "done") and other["examples"]["rte"]["count"] == 60


def test_what_each_source_did_is_on_the_page_and_on_that_of_its_run(made: Any) -> None:
    page = made({"tasks": ["rte"], "methods": ["scalearn", "head"], "seeds": 1})
    assert 'id="sources"' not in page.read_text()
    told = {
        **{"source": "mnli", "mean_omega": 0.3, "share": 0.25, "without": 0.83, "alone": 0.6},
        **{"difference": 0.03, "stderr": 0.01, "verdict": "hurts"},
    }
    explanation = Explanation.from_dict(
        {
            **{"task": "rte", "method": "scalearn", "split": "dev", "rows": 60, "metric": "accuracy", "score": 0.8},
            **{"stderr": 0.02, "bare": math.nan, "effects": [told], "layers": ["1"], "omega": [[0.3]]},
        }
    )
    (result,) = (one for one in Results.read(page.parent).found.values() if one.key["method"][0] == "scalearn")
    result.place.keep_explanation(explanation)
    found = Results.read(page.parent)
    write_report_page(page, found, boards(found))
    text = page.read_text()
    assert '<a href="#sources">Sources</a>' in text and 'id="sources-view"' in text
    assert "<li>mnli hurts scalearn on rte: without it dev accuracy changes by +3.0 points (se 1.0).</li>" in text
    (run,) = (run for run in data_of(page)["runs"] if "explained" in run)
    assert run["id"] == result.key["id"] and run["explained"]["bare"] is None
    assert run["explained"]["effects"] == [
        {
            **{"source": "mnli", "share": 25, "without": 83, "change": 3, "error": 1},
            **{"alone": 60, "verdict": "hurts"},
        }
    ]


def test_of_the_best_sources_those_that_were_combined_are_named(made: Any) -> None:
    best = {"name": "scalearn", "top_sources": 2}

    def change(run: RunSpec) -> dict[str, Any]:
        return {"sources": ["sst2", "rte"]} if run.top_sources else {}

    page = made({"tasks": ["rte"], "methods": [best], "seeds": 1}, change=change)
    runs = data_of(page)["runs"]
    (top,) = (run for run in runs if run["label"] == "scalearn, top_sources 2")
    assert top["source_names"] == ["sst2", "rte"] == [runs[place]["tasks"][0] for place in top["sources"]]


def test_texts_stay_texts(made: Any) -> None:
    methods = [{"name": "head", "label": HOSTILE}, "adapter"]

    def change(run: RunSpec) -> dict[str, Any] | Failure:
        if run.method.name == "adapter":
            return Failure(error=HOSTILE, traceback=HOSTILE)
        return {"commit": HOSTILE, "machine": {"processor": HOSTILE}, "versions": {HOSTILE: "1"}}

    page = made({"tasks": ["rte"], "methods": methods, "sources": None, "seeds": 1}, change=change)
    found = Results.read(page.parent)
    (board,) = boards(found)
    column = Column(task=HOSTILE, split="test", metric=HOSTILE)
    pair = Pair(
        first=HOSTILE,
        second="x",
        difference=1.0,
        interval=(-float("inf"), float("inf")),
        bootstrap=1.0,
        wilcoxon=1.0,
        wins=1,
        ties=0,
        losses=0,
    )
    compared = Comparison(
        methods=(HOSTILE, "x"),
        tasks=(HOSTILE,),
        ranks={HOSTILE: 1.0, "x": 2.0},
        friedman=None,
        critical_difference=None,
        pairs=(pair,),
    )
    write_report_page(page, found, [replace(board, columns=(*board.columns, column), comparison=compared)])
    text = page.read_text()
    assert "<img" not in text
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in text
    assert text.count("</script") == 2  # of the data and of the scripts
    assert data_of(page)["runs"][0]["label"] == HOSTILE
    assert data_of(page)["boards"][0]["columns"][-1] == HOSTILE


def test_bold_only_what_is_best_and_the_paper_beside(example: Path, tmp_path: Path) -> None:
    found = Results.read(example.parent)
    (board,) = boards(found)
    first, second, *others = board.lines
    score = replace(second.mean, mean=66.66, deviation=1.25, interval=(65.0, 68.25), published=70.12)
    plain = replace(second, mean=replace(score, best=False))
    bold = replace(second, mean=replace(score, best=True))
    for line, wanted in ((plain, 'class="score"'), (bold, 'class="score best"')):
        write_report_page(tmp_path / "page.html", found, [replace(board, lines=(first, line, *others))])
        row = (tmp_path / "page.html").read_text().split(">adapter</th>")[1].split("</tr>")[0]
        assert row.count(wanted) >= 1 and row.count("score best") == (line is bold)
        assert "66.7" in row and "± 1.2" in row and "paper 70.1" in row and "95 % interval 65.0 to 68.2, 3 seeds" in row


def test_scores_lead_to_their_runs(example: Path) -> None:
    data, found = data_of(example), Results.read(example.parent)
    (line,) = [line for line in data["boards"][0]["lines"] if line["label"] == "scalearn++"]
    for task, runs in zip(found.plan.asked.tasks, line["runs"], strict=True):
        for seed, place in runs.items():
            run = next(run for run in found.plan.runs if run.id == data["runs"][place]["id"])
            assert (run.method.name, run.tasks, run.seed) == ("scalearn++", (task,), int(seed))
    assert [len(runs) for runs in line["runs"]] == [3, 3, 3]


def test_a_table_for_each_point(made: Any) -> None:
    page = made({"few_shot": {"k": [4, 16]}, "tasks": ["rte"], "methods": ["head", "adapter"], "sources": None})
    data = data_of(page)
    assert [board["title"] for board in data["boards"]] == ["k = 4", "k = 16"]
    for board in data["boards"]:
        places = [place for line in board["lines"] for runs in line["runs"] for place in runs.values()]
        assert len(places) == 6 and {data["runs"][place]["point"] for place in places} == {board["title"]}
    assert '<a href="#curves">Few-shot</a>' in page.read_text()


def test_sections_without_content_are_absent(made: Any) -> None:
    page = made({"tasks": ["rte"], "methods": ["head"], "sources": None, "seeds": 1}, change=lambda run: None)
    assert re.findall(r'<section id="(\w+)"', page.read_text()) == ["scores", "runs"]


def test_costs_are_medians_by_method(made: Any) -> None:
    seconds = {0: 10.0, 1: 20.0, 2: 90.0}
    fields = {"tasks": ["rte"], "methods": ["head"], "sources": None}
    page = made(fields, change=lambda run: {"seconds": seconds[run.seed], "peak_memory": 1.0 + run.seed}).read_text()
    row = page.split('id="costs"')[1].split(">head</th>")[1].split("</tr>")[0]
    assert re.findall(r">([^<>]+)</td>", row) == ["3", "0", "148,995", "128", "20.0", "–", "3.00", "0.596"]


def test_a_large_experiment_is_a_small_file(large: Path) -> None:
    runs = data_of(large)["runs"]
    assert len(runs) == 234
    assert large.stat().st_size < 1_300_000
    assert all(len(run["loss"]) <= 24 for run in runs)
    assert sum(len(frame) for run in runs if "omega" in run for frame in run["omega"]["frames"]) <= 80_000
    omega = next(run["omega"] for run in runs if run["label"] == "scalearn")
    assert omega["of"] == 41 and omega["steps"][0] == 0 and omega["steps"][-1] == 640
    assert omega["steps"][omega["kept"]] == 608


def test_omega_keeps_the_model_that_was_kept() -> None:
    history = [{"step": step, "eval_loss": 1.0, "omega": [[step / 100, 0.5]] * 3} for step in range(50)]
    found = omegas(history, best_step=31)
    assert found is not None
    told = found.data(5)
    assert told["steps"] == [0, 12, 24, 31, 49] and told["kept"] == 3
    assert told["frames"][3] == [3100, 5000]  # all layers share it
    assert (told["shared"], told["layers"], told["sources"], told["of"]) == (True, 3, 2, 50)


def test_omega_goes_source_by_source() -> None:
    found = omegas([{"step": 1, "omega": [[0.1, 0.2], [0.3, 0.41234]]}], best_step=0)
    assert found is not None
    assert found.data(5)["frames"] == [[1000, 3000, 2000, 4123]]  # source 1 in layers 1 and 2, then source 2
    assert omegas([{"step": 1, "loss": 0.5}], best_step=1) is None
    assert omegas([{"step": 1, "omega": [[float("nan")]]}], best_step=1) is None


def test_curves_of_one_task_and_of_several() -> None:
    history = [{"step": 8, "loss": 0.61234}, {"step": 8, "eval_loss": 0.5, "eval_f1": 0.75, "eval_rte_f1": 0.25}]
    assert curves(history, {"rte": "f1"}) == {
        "loss": [[8, 0.6123]],
        "dev_loss": [[8, 0.5]],
        "dev": {"rte": [[8, 75]]},
    }
    assert curves(history, {"rte": "f1", "cb": "f1"})["dev"] == {"rte": [[8, 25]], "cb": []}
    assert curves([{"step": 8, "loss": float("nan")}], {"rte": "f1"})["loss"] == []


def test_examples_are_right_ones_and_the_surest_mistakes() -> None:
    sure = [0.1, 0.2, 3.0, 0.3, 4.0, 2.0, 0.4, 0.5]
    lines = [("rte", "test", row, "a" if row % 2 else "b", "a", [size, 0.0]) for row, size in enumerate(sure)]
    lines.append(("rte", "dev", 9, "a", "a", [9.0, 0.0]))
    found = examples(pd.DataFrame(lines, columns=["task", "split", "row", "label", "prediction", "logits"]))["rte"]
    assert (found["count"], found["right"]) == (8, 4)
    assert [row[0] for row in found["rows"]] == [1, 3, 5, 4, 2, 6]
    assert found["rows"][3] == [4, "b", "a", round(1 / (1 + float(np.exp(-4))), 3), False]


def test_examples_of_a_regression_are_the_nearest_and_the_farthest() -> None:
    lines = [("stsb", "test", row, "2.5", f"{2.5 + row / 4}", [0.0]) for row in range(8)]
    found = examples(pd.DataFrame(lines, columns=["task", "split", "row", "label", "prediction", "logits"]))["stsb"]
    assert found["right"] is None
    assert [row[0] for row in found["rows"]] == [0, 1, 2, 5, 6, 7]
    assert found["rows"][5] == [7, "2.5", "4.25", None, None]


def test_choices_that_a_row_does_not_have_take_no_probability() -> None:
    lines = [("copa", "test", 0, "choice1", "choice1", [0.0, 0.0, float("-inf")])]
    found = examples(pd.DataFrame(lines, columns=["task", "split", "row", "label", "prediction", "logits"]))["copa"]
    assert found["rows"] == [[0, "choice1", "choice1", 0.5, True]]


def test_numbers_are_short() -> None:
    assert rounded(0.123456) == 0.1235
    assert json.dumps(rounded(70.0)) == "70"
    assert rounded(float("nan")) is None and rounded(None) is None


@pytest.mark.parametrize(
    ("count", "keep", "wanted"),
    [(3, None, [0, 1, 2]), (11, None, [0, 2, 5, 8, 10]), (11, 7, [0, 2, 5, 7, 10]), (11, 10, [0, 2, 5, 8, 10])],
)
def test_lists_are_thinned_evenly(count: int, keep: int | None, wanted: list[int]) -> None:
    assert thinned(range(count), 5, keep=keep) == wanted


def test_a_board_by_hand_without_runs_is_shown(made: Any, tmp_path: Path) -> None:
    page = made({"tasks": ["rte"], "methods": ["head"], "sources": None, "seeds": 1}, change=lambda run: None)
    column = Column(task="rte", split="test_matched", metric="f1")
    board = Board(backbone="minilm", point=Point("k", 4), columns=(column,), lines=(), comparison=None)
    write_report_page(tmp_path / "page.html", Results.read(page.parent), [board])
    assert "rte matched" in (tmp_path / "page.html").read_text()


def test_the_same_numbers_make_the_same_file(example: Path, tmp_path: Path) -> None:
    found = Results.read(example.parent)
    write_report_page(tmp_path / "page.html", found, boards(found))
    assert (tmp_path / "page.html").read_bytes() == example.read_bytes()
