"""The report of the comparison on small data, from made-up runs."""

import itertools
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

sys.path.insert(0, str(Path(__file__).parents[1]))  # where pytest was not started as `python -m pytest`

from benchmarks.small_data import plots
from benchmarks.small_data.choice import chosen
from benchmarks.small_data.differences import comparable, difference, mean_over_draws, scores_of
from benchmarks.small_data.grid import told
from benchmarks.small_data.records import Record, csv_text, ordered, read_csv, read_runs
from benchmarks.small_data.report import ROWS, filled, main, report, tables

from scalearn.errors import InputError
from scalearn.tasks import Task

TARGETS = ("boolq", "cb", "cola", "copa", "disaster-food", "disaster-shelter", "sst2", "wic")
PAIRS = ("boolq", "cb", "wic")
TRAINED = {"adapter": 110_000, "full": 22_000_000, "setfit": 22_000_000, "adapterfusion": 2_600_000, "scalearn": 16_000}
SOME = ("head", "adapter", "full", "best-source", "lorahub", "adapterfusion", "scalearn", "setfit")
EFFECTS = {"scalearn": 8.0, "adapterfusion": 3.0, "best-source": 6.0, "setfit": 5.0, "full": 2.0, "head": -4.0}


def made_up(*, methods: tuple[str, ...] = SOME, rows: tuple[int, ...] = ROWS, seed: int = 0) -> list[Record]:
    """Runs as they will be: small targets have none at 500 rows, and SetFit none of multiple choice."""
    noise = np.random.default_rng(seed)
    records = []
    for place, target in enumerate(TARGETS):
        for k, draw in itertools.product(rows, range(5)):
            level = 50 + 3 * place + 8 * np.log10(k) + noise.normal(0, 2)
            for method in methods:
                effect = EFFECTS.get(method, 1.0) + noise.normal(0, 0.5)
                if (k == 500 and target in ("cb", "copa")) or (method == "setfit" and target == "copa"):
                    continue
                records.append(
                    Record(
                        target=target,
                        kind="multiple-choice" if target == "copa" else "classification",
                        pair=target in (*PAIRS, "copa"),
                        development=False,
                        k=k,
                        draw=draw,
                        method=method,
                        score=float(level + effect),
                        parameters=TRAINED.get(method, 0),
                        total=TRAINED.get(method, 0) + 770,
                        seconds=0.05 * k * (2 if method == "adapter" else 1),
                    )
                )
    return records


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return made_up()


def cells_of(table: str, row: str) -> list[str]:
    """The cells of the first row that starts so."""
    line = next(line for line in table.splitlines() if line.startswith(f"| {row}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


# ---- statistics


def test_the_interval_covers_a_known_effect() -> None:
    noise = np.random.default_rng(1)
    covered, widths = 0, []
    for _ in range(200):
        of_target = 2.0 + noise.normal(0, 1.5, size=8)  # targets differ in what the method gains
        gains = of_target[:, None] + noise.normal(0, 2.0, size=(8, 5))
        other = noise.normal(60, 10, size=(8, 1)) + noise.normal(0, 5, size=(8, 5))
        ours = {(f"t{t}", d): float(other[t, d] + gains[t, d]) for t in range(8) for d in range(5)}
        found = difference(ours, {(f"t{t}", d): float(other[t, d]) for t in range(8) for d in range(5)})
        assert found is not None
        covered += found.interval[0] <= 2.0 <= found.interval[1]
        widths.append(found.interval[1] - found.interval[0])
    assert 0.93 * 200 <= covered <= 0.995 * 200
    assert 2 < np.mean(widths) < 5, "pairing takes out what targets and draws have in common"


def test_only_what_both_have_is_compared() -> None:
    ours = {("a", 0): 10.0, ("a", 1): 12.0, ("b", 0): 5.0, ("c", 0): 99.0}
    other = {("a", 0): 8.0, ("a", 1): 8.0, ("b", 0): 6.0, ("b", 1): 0.0, ("d", 0): 1.0}
    found = difference(ours, other)
    assert found is not None
    assert found.by_target == {"a": 3.0, "b": -1.0} and found.mean == 1.0 and found.runs == 3
    assert (found.worst, found.record) == ("b", "1/0/1")
    assert difference(ours, {("d", 0): 1.0}) is None and difference(ours, {}) is None


def test_draws_move_the_mean_of_the_same_targets() -> None:
    mean, reach = mean_over_draws({("a", 0): 1.0, ("a", 1): 3.0, ("b", 0): 10.0, ("b", 1): 12.0})
    assert mean == 6.5 and reach == pytest.approx(4.302652730 * 2**0.5 / 2)  # t of 2 degrees of freedom, table
    assert mean_over_draws({("a", 0): 1.0, ("b", 0): 2.0}) == (1.5, None)


def test_means_are_compared_on_the_same_targets_and_draws(records: list[Record]) -> None:
    some = [r for r in records if (r.method, r.target, r.draw) != ("full", "wic", 3)]
    few = [r for r in some if r.method != "lorahub" or r.target == "wic"]
    cut = comparable(scores_of(few), methods=("scalearn", "full", "lorahub", "setfit"), rows=ROWS)
    assert {method for _, method in cut} == {"scalearn", "full", "setfit"}, "lorahub has one target of eight"
    assert {k for k, _ in cut} == set(ROWS)
    for k in ROWS:
        assert cut[k, "scalearn"].keys() == cut[k, "full"].keys() == cut[k, "setfit"].keys()
        assert {target for target, _ in cut[k, "full"]} == set(TARGETS) - {"cb", "copa"}
        assert ("wic", 3) not in cut[k, "scalearn"]
    assert comparable({}, methods=("full",), rows=ROWS) == {}
    first = [r for r in records if r.method != "full" or r.draw == 0]
    both = [comparable(scores_of(first), methods=("scalearn", "full"), rows=ROWS, by_runs=by) for by in (False, True)]
    assert [sorted({draw for _, draw in cut[100, "scalearn"]}) for cut in both] == [[0], [0, 1, 2, 3, 4]]
    assert [(100, "full") in cut for cut in both] == [True, False], "one draw would cost the others four"


# ---- tables


def test_bars_are_judged_on_what_was_measured(records: list[Record]) -> None:
    few = [r for r in records if r.method != "adapter" or r.k != 500]
    few = [r for r in few if r.method != "setfit" or r.k != 16 or r.target != "wic"]
    for place, record in enumerate(few):
        if (record.method, record.target, record.k) == ("scalearn", "sst2", 32):
            few[place] = record.model_copy(update={"score": record.score - 5})
    copa = [r for r in records if (r.target, r.method) == ("copa", "scalearn")]
    few += [r.model_copy(update={"method": "setfit"}) for r in copa]
    table = tables(few, ours="scalearn")["bars"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    found = {(row[0].split(",")[0], row[1]): row for row in rows}
    assert len(rows) == len(found) == 2 + 2 + 4 + 2
    assert found["minus adapter", "100"][-3:] == ["8", "40", "yes"]
    assert found["minus adapter", "500"][2:] == ["not measured", "-", "-", "-", "-", "-"]
    assert found["minus adapterfusion", "500"][-3:] == ["6", "30", "yes"]
    assert (
        found["minus best-source", "32"][-4].startswith("sst2 -") and found["minus best-source", "32"][-1] == "**no**"
    )
    assert found["minus best-source", "16"][-1] == "yes"
    assert found["minus setfit", "16"][-3:] == ["2", "10", "yes"], "boolq and cb"
    assert found["minus setfit", "32"][-3:] == ["3", "15", "yes"], "and wic; copa is no classification"
    unsteady = [
        r.model_copy(update={"score": r.score + 300}) if (r.method, r.target) == ("scalearn", "cola") else r
        for r in records
    ]
    adapter = cells_of(tables(unsteady, ours="scalearn")["bars"], "minus adapter, mean: >= 5")
    assert float(adapter[2]) > 40 and " to +" in adapter[3] and adapter[3].startswith("-") and adapter[-1] == "**no**"


def test_tables_say_what_they_are_of(records: list[Record]) -> None:
    few = [r for r in records if (r.target, r.draw, r.k, r.method) != ("wic", 4, 16, "head")]
    few.append(records[0].model_copy(update={"target": "rte", "development": True, "score": 0.0}))
    made = tables(few, ours="scalearn")
    head = cells_of(made["mean"], "head")
    assert re.fullmatch(r"\d+\.\d \(8; 39\)", head[1]) and head[4].endswith("(6; 30)")
    assert "(7; 35)" in cells_of(made["mean"], "setfit")[1]
    assert cells_of(made["targets-16"], "wic")[1].endswith("(4)"), "of the first method, head"
    assert "±" in cells_of(made["targets-500"], "wic")[1] and "cb" not in made["targets-500"]
    assert cells_of(made["bars-after"], "minus best-source")[-3:-1] == ["1", "5"], "boolq"
    assert "rte" not in "".join(table for name, table in made.items() if name != "development")
    assert cells_of(made["development"], records[0].method)[1:] == ["0.0 (1; 1)", "-", "-", "-"]
    assert cells_of(made["differences-100"], "adapter")[4:] == ["8/0/0", "0.016", "8", "40"]  # of 7 data sets
    adapter, ours = cells_of(made["cost"], "adapter"), cells_of(made["cost"], "scalearn ")
    assert ours[1:4] == ["16,000", "16,770", "0.15"] and ours[-2:] == ["0.50", "150"]
    assert adapter[3] == "1" and adapter[6] == "10.0"


def test_what_dev_rows_choose_is_scored_on_test_rows(records: list[Record]) -> None:
    def run(method: str, *, draw: int, dev: float | None, score: float) -> Record:
        return records[0].model_copy(update={"method": method, "draw": draw, "dev": dev, "score": score, "k": 100})

    own = [
        *(run("scalearn", draw=0, dev=60.0, score=50.0), run("adapter", draw=0, dev=61.0, score=40.0)),
        *(run("scalearn", draw=1, dev=60.0, score=30.0), run("adapter", draw=1, dev=60.0, score=70.0)),  # equal
        run("scalearn", draw=2, dev=60.0, score=50.0),  # not both were run
        *(run("scalearn", draw=3, dev=60.0, score=50.0), run("setfit", draw=3, dev=None, score=70.0)),
    ]
    target = own[0].target
    assert chosen(own, ("scalearn", "adapter")) == {100: {(target, 0): 40.0, (target, 1): 50.0}}
    table = tables(own, ours="scalearn")["chosen"]
    assert "| scalearn or adapter | 100 | adapter | -10.0 |" in table and "setfit" not in table


def test_a_difference_is_of_the_method_that_is_ours(records: list[Record]) -> None:
    ours = tables(records, ours="scalearn")["differences-100"]
    theirs = tables(records, ours="adapter")["differences-100"]
    assert float(cells_of(ours, "adapter")[1]) == -float(cells_of(theirs, "scalearn ")[1]) > 6


# ---- files


def written(folder: Path, records: list[Record]) -> Path:
    for record in records:
        name = f"{record.target}-{record.k}-{record.draw}-{record.method}.json"
        (folder / name).write_text(json.dumps(record.model_dump() | {"commit": "abc"}), encoding="utf-8")
    return folder


def test_the_csv_gives_the_same_tables_as_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    written(runs, made_up(methods=("adapter", "scalearn"), rows=(16, 100)))
    main(["--runs", str(runs), "--out", str(tmp_path / "a")])
    main(["--csv", str(tmp_path / "a" / "results.csv"), "--out", str(tmp_path / "b")])
    assert capsys.readouterr().out.count("RESULTS.md") == 2
    for name in ("results.csv", "RESULTS.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert read_csv(tmp_path / "a" / "results.csv") == read_runs(runs)
    text = (tmp_path / "a" / "RESULTS.md").read_text(encoding="utf-8")
    assert "160 runs on 8 targets" in text and "scalearn, 500 rows, minus: nothing was measured." in text


def test_records_are_checked(tmp_path: Path) -> None:
    one = made_up(methods=("head",), rows=(16,))[0]
    with pytest.raises(InputError, match="no records in"):
        read_runs(tmp_path)
    (tmp_path / "a.json").write_text(
        one.model_dump_json().replace('"score":', '"score":"nan","was":'), encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"a\.json is no record of a run: score: .*finite"):
        read_runs(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.json").write_text(one.model_dump_json(), encoding="utf-8")
    with pytest.raises(InputError, match=r"b\.json: head on boolq, 16 rows, draw 0 is there twice"):
        read_runs(tmp_path)
    (tmp_path / "results.csv").write_text(csv_text([one]).replace("16", "sixteen"), encoding="utf-8")
    with pytest.raises(InputError, match=r"results\.csv, line 2 .* k: "):
        read_csv(tmp_path / "results.csv")
    assert ordered(["new", "setfit", "head"]) == ["head", "setfit", "new"]


def test_a_page_keeps_what_is_not_between_its_marks() -> None:
    made = {"mean": "| m |\n", "bars": "| b |\n"}
    page = "a\n<!-- table: mean -->\nold\n\n<!-- end -->\nb\n<!-- counted: x y -->\n1\n<!-- end -->\n"
    new = filled(page, made)
    assert new == page.replace("old\n", "\n| m |\n") == filled(new, made)
    with pytest.raises(InputError, match="no table means: there are mean, bars"):
        filled("<!-- table: means -->\n<!-- end -->\n", made)
    with pytest.raises(InputError, match="has no <!-- end -->"):
        filled("<!-- table: mean -->\n" + page, made)


def test_plots_are_drawn_of_what_there_is(tmp_path: Path, records: list[Record]) -> None:
    docs, out = tmp_path / "docs", tmp_path / "out"
    docs.mkdir()
    (docs / "small-data.md").write_text("# Ours\n<!-- table: bars -->\n<!-- end -->\n", encoding="utf-8")
    files = report(records, ours="scalearn", out=out, docs=docs)
    pictures = [path for path in files if path.suffix == ".png"]
    assert len(pictures) == 4 and all(2_000 < path.stat().st_size <= 100_000 for path in pictures)
    assert "| minus adapter, mean: >= 5, interval above 0 | 100 | +" in (docs / "small-data.md").read_text("utf-8")
    some = [record for record in records if record.k != 100]
    assert plots.score_against_parameters(some, ours="scalearn") is None
    assert plots.difference_to_adapter(some) is None
    assert plots.draw(tmp_path / "none", [], ours="scalearn") == []
    with pytest.raises(InputError, match="no run of scaleran: --ours is one of head, adapter"):
        report(records, ours="scaleran", out=out, docs=None)


def test_labels_keep_apart_and_near() -> None:
    placed = plots._apart([3.0, 1.0, 1.1, 9.0], 1.0)
    assert placed == pytest.approx([3.0, 0.55, 1.55, 9.0])


def test_rows_are_told_to_setfit_as_they_are(task: Task) -> None:
    rows = task.splits["train"]
    found = told(rows)
    assert found == {"texts": [[text] for text in rows["text_a"][:]], "labels": list(rows["label"][:])}
    pairs = Dataset.from_dict({"text_a": ["a", "b"], "text_b": ["c", "d"], "label": [0, 1]})
    assert told(pairs) == {"texts": [["a", "c"], ["b", "d"]], "labels": [0, 1]}


def test_new_runs_are_added_to_those_of_the_csv(records: list[Record], tmp_path: Path) -> None:
    few, runs = tmp_path / "few.csv", tmp_path / "runs"
    few.write_text(csv_text([record for record in records if record.draw < 4]))
    runs.mkdir()
    for index, record in enumerate(one for one in records if one.draw >= 3):
        (runs / f"{index}.json").write_text(record.model_dump_json())
    main(["--runs", str(runs), "--csv", str(few), "--out", str(tmp_path / "out")])
    assert read_csv(tmp_path / "out" / "results.csv") == records
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path / "none")])
