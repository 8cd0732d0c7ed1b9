"""A whole grid on the tiny backbone, and what happens when it is stopped, changed, or something fails."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from scalearn.errors import InputError
from scalearn.experiments import grid
from scalearn.experiments.expansion import plan_of
from scalearn.experiments.grid import Runner, Step, run_grid
from scalearn.experiments.outcome import Failure, Outcome, read_failure
from scalearn.experiments.plan import Plan
from scalearn.experiments.recipe_file import experiment_from
from scalearn.experiments.report import write_report
from scalearn.experiments.results import Results, only_one, open_folder
from scalearn.sources import Source
from scalearn.tasks import declared

Run = Callable[..., list[Step]]


def write_task(folder: Path, name: str, rows: int = 60) -> None:
    """Rows of words that the tiny backbone knows."""
    declaration = declared(name)
    (folder / "glue" / name).mkdir(parents=True, exist_ok=True)
    features = {column: Value("string") for column in declaration.text}
    for split, count in (("train", rows), ("validation", rows // 3)):
        labels = [row % 2 for row in range(count)]
        texts = [
            f"the {name[:1]} film {'good' if label else 'bad'} very {'a ' * (row % 3)}"
            for row, label in enumerate(labels)
        ]
        columns = {column: texts for column in declaration.text} | {"label": labels}
        schema = Features({**features, "label": ClassLabel(names=list(declaration.labels))})
        path = folder / "glue" / name / f"{split}-00000-of-00001.parquet"
        Dataset.from_dict(columns, features=schema).to_parquet(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("rte", "cola"):
        write_task(folder, name)
    return folder


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The method of every training, as it happens."""
    made: list[str] = []
    for name in ("train", "train_joint"):
        original = getattr(grid, name)

        def counted(model: Any, *args: Any, original: Any = original, **kwargs: Any) -> Any:
            made.append(model.method.name)
            return original(model, *args, **kwargs)

        monkeypatch.setattr(grid, name, counted)
    return made


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Run:
    def run(plan: Plan, *, data: Path = data, folder: Path = tmp_path / "runs") -> list[Step]:
        return list(run_grid(plan, Runner(folder, data=data, progress=False), folder=folder))

    return run


@pytest.fixture
def small(tiny_backbone: str) -> Callable[..., Plan]:
    def small(**fields: Any) -> Plan:
        given = {
            "name": "small",
            "backbones": tiny_backbone,
            "tasks": ["rte", "cola"],
            "methods": ["head", "scalearn"],
            "sources": {"tasks": ["rte", "cola"]},
            "changes": {"epochs": 1},
            "rows": {"train": 16, "test": 7},
        }
        return plan_of(experiment_from({**given, **fields}, where="test"))

    return small


def test_a_grid_from_end_to_end_and_again(
    small: Callable[..., Plan], run: Run, trainings: list[str], tmp_path: Path
) -> None:
    plan = small(methods=["head", "scalearn", "full", "full-m"], joint_changes={"steps": 2, "evaluate_every": 1})
    steps = run(plan)
    assert [step.found for step in steps] == [False] * len(plan.runs) == [False] * 9
    assert sorted(trainings) == sorted(step.run.method.name for step in steps)
    assert all(isinstance(step.result, Outcome) for step in steps)
    for step in steps:
        assert isinstance(step.result, Outcome)
        assert set(step.result.metrics) == set(step.run.tasks)
        for task in step.run.tasks:
            assert step.result.rows[task] == {"train": 16, "dev": 6, "test": 7}
            assert -100 <= step.result.score(task) <= 100  # cola's is a correlation
            assert step.result.standard_error(task) is not None
        assert bool(step.result.model) == (not step.run.method.trains_backbone)
        assert not step.result.model or (tmp_path / "runs" / step.result.model).is_dir()
    assert steps[0].seconds_left is not None and steps[-1].seconds_left == 0

    again = run(plan)
    assert [step.found for step in again] == [True] * 9
    assert len(trainings) == 9
    assert [step.result for step in again] == [step.result for step in steps]


def test_sources_are_trained_once_and_own_is_last(
    small: Callable[..., Plan], run: Run, trainings: list[str], tmp_path: Path
) -> None:
    steps = run(small(methods=["scalearn"], rows={}, seeds=2))
    assert trainings.count("adapter") == 2
    for step in steps:
        if step.run.sources:
            assert isinstance(step.result, Outcome)
            saved = json.loads((tmp_path / "runs" / step.result.model / "scalearn.json").read_text())
            other = "cola" if step.run.tasks == ("rte",) else "rte"
            assert [source["name"] for source in saved["sources"]] == [other, *step.run.tasks]
            needed = [r for r in steps if r.run.id in {need.id for need in step.run.needs}]
            digests = {Source.load(tmp_path / "runs" / r.result.model).sha256 for r in needed}
            key = json.loads((tmp_path / "runs" / f"{step.run.id}.json").read_text())["key"]
            assert set(key["sources"]) == digests


def test_a_shelf(small: Callable[..., Plan], run: Run, trainings: list[str], shelf_folder: Path) -> None:
    plan = small(methods=["scalearn-uniform++"], tasks=["rte"], sources={"shelf": str(shelf_folder), "own": False})
    (step,) = run(plan)
    assert isinstance(step.result, Outcome)
    assert step.result.parameters["method"] == 2  # cola and mrpc: rte is the target
    assert trainings == ["scalearn-uniform++"]


def test_what_was_stopped_goes_on(small: Callable[..., Plan], data: Path, trainings: list[str], tmp_path: Path) -> None:
    plan = small()
    folder = tmp_path / "runs"
    steps = run_grid(plan, Runner(folder, data=data, progress=False), folder=folder)
    for _ in range(3):
        next(steps)
    steps.close()
    assert len(trainings) == 3
    found = [s.found for s in run_grid(plan, Runner(folder, data=data, progress=False), folder=folder)]
    assert found == [True] * 3 + [False] * 3
    assert len(trainings) == 6


def test_an_interruption_is_no_failure(
    small: Callable[..., Plan], run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(grid, "train", interrupted)
    plan = small()
    with pytest.raises(KeyboardInterrupt):
        run(plan)
    assert read_failure(tmp_path / "runs", plan.runs[0]) is None


def test_other_data_are_another_run(small: Callable[..., Plan], run: Run, trainings: list[str], tmp_path: Path) -> None:
    plan = small(methods=["scalearn"])
    run(plan)
    for name, rows in (("rte", 90), ("cola", 60)):
        write_task(tmp_path / "other", name, rows=rows)
    again = run(plan, data=tmp_path / "other")
    found = {(step.run.method.name, step.run.tasks[0]): step.found for step in again}
    assert found == {  # cola's rows are the same, but one of the sources of its transfer is not
        ("adapter", "rte"): False,
        ("adapter", "cola"): True,
        ("scalearn", "rte"): False,
        ("scalearn", "cola"): False,
    }
    assert len(trainings) == 4 + 3


def test_what_is_done_stays_until_there_is_better(
    small: Callable[..., Plan], run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Other data, and Ctrl-C in the middle: the results of the first call are still there, and said to be mixed."""
    plan = small(methods=["head", "adapter"], sources=None)
    runs = open_folder(tmp_path / "out", plan.asked)
    done = [step.result for step in run(plan, folder=runs)]
    for name in ("rte", "cola"):
        write_task(tmp_path / "other", name, rows=90)
    original, calls = grid.train, []

    def stops(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(grid, "train", stops)
    with pytest.raises(KeyboardInterrupt):
        run(plan, data=tmp_path / "other", folder=runs)
    found = Results.read(tmp_path / "out")
    kept = [found.outcomes[spec.id] for spec in plan.runs]
    assert kept[1:] == done[1:] and kept[0] != done[0]
    assert found.mixed == ("finished runs on rte saw different data",)
    report = write_report(tmp_path / "out") and (tmp_path / "out" / "report.md").read_text()
    assert "**Take care**: finished runs on rte saw different data" in report
    assert "(**not the published data**: 90 of train for 2,490, 30 of validation for 277 rows)" in report


def test_a_source_without_its_folder_is_made_again(
    small: Callable[..., Plan], run: Run, trainings: list[str], tmp_path: Path
) -> None:
    plan = small(methods=["scalearn"])
    (source, *_) = (step.result for step in run(plan) if step.run.method.name == "adapter")
    assert isinstance(source, Outcome)
    shutil.rmtree(tmp_path / "runs" / source.model)
    again = run(plan)
    assert [step.found for step in again].count(False) == 1
    assert all(isinstance(step.result, Outcome) for step in again)
    assert len(trainings) == 4 + 1


def test_a_full_disk_ends_the_grid_in_one_line(
    small: Callable[..., Plan], run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(grid, "keep_outcome", full)
    monkeypatch.setattr(grid, "keep_failure", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        run(small(methods=["head"], sources=None))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "runs"),
        pytest.raises(InputError, match="another `scalearn run` is at work"),
        only_one(tmp_path / "runs"),
    ):
        pass
    with only_one(tmp_path / "runs"):
        pass


def test_a_failing_run_stops_no_other(
    small: Callable[..., Plan], run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = grid.train

    def train(model: Any, *args: Any, **kwargs: Any) -> Any:
        if model.method.name == "adapter" and model.task.name == "cola":
            raise RuntimeError("no memory\nleft")
        return original(model, *args, **kwargs)

    monkeypatch.setattr(grid, "train", train)
    plan = small()
    steps = run(plan)
    failed = {str(step.run).split(" (")[0]: step.result.error for step in steps if isinstance(step.result, Failure)}
    assert failed.pop("adapter on cola") == "RuntimeError: no memory left"
    assert set(failed) == {"scalearn on rte", "scalearn on cola"}  # both combine it
    assert all("the source adapter on cola" in error and "has no result" in error for error in failed.values())
    (broken,) = [step.run for step in steps if str(step.run).startswith("adapter on cola")]
    kept = read_failure(tmp_path / "runs", broken)
    assert kept is not None and "raise RuntimeError" in kept.traceback

    monkeypatch.setattr(grid, "train", original)
    assert not any(isinstance(step.result, Failure) for step in run(plan))
    assert read_failure(tmp_path / "runs", broken) is None


def test_time_left_is_in_proportion_to_what_runs_cost(small: Callable[..., Plan], tmp_path: Path) -> None:
    plan = small(methods=["full", "head"], tasks=["rte"], sources=None, changes={"epochs": 50})
    outcome = Outcome(rows={}, metrics={}, main={}, parameters={}, steps=1, seconds=1.0, model="")
    first, last = run_grid(plan, lambda run: (outcome, False), folder=tmp_path)
    assert first.seconds_left is not None and first.seconds_left < 0.01  # a head costs a small part of full
    assert (first.position, last.position, last.total) == (1, 2, 2)
    (only_found, _) = run_grid(plan, lambda run: (outcome, True), folder=tmp_path)
    assert only_found.seconds_left is None
