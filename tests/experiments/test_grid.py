"""A whole grid on the tiny backbone, and what happens when it is stopped, changed, or something fails."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from scalearn.errors import InputError
from scalearn.experiments import grid, runner
from scalearn.experiments.cost import cost_of
from scalearn.experiments.expansion import plan_of
from scalearn.experiments.grid import DEATHS, Grid, Here, Step
from scalearn.experiments.live import live_table
from scalearn.experiments.outcome import Failure, Outcome
from scalearn.experiments.plan import Plan, RunSpec
from scalearn.experiments.recipe_file import experiment_from
from scalearn.experiments.report import write_report
from scalearn.experiments.results import Results, open_folder
from scalearn.experiments.runner import Report, Runner, Settings
from scalearn.experiments.store import Place, places, read_failure
from scalearn.sources import Source
from scalearn.tasks import declared

Run = Callable[..., list[Step]]
OUTCOME = Outcome(rows={}, metrics={}, main={}, parameters={}, steps=1, seconds=1.0, model="")


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
        original = getattr(runner, name)

        def counted(model: Any, *args: Any, original: Any = original, **kwargs: Any) -> Any:
            made.append(model.method.name)
            return original(model, *args, **kwargs)

        monkeypatch.setattr(runner, name, counted)
    return made


@pytest.fixture
def grid_of(data: Path, tmp_path: Path) -> Callable[..., Grid]:
    """A launch in this process."""

    def made(
        plan: Plan,
        *,
        data: Path = data,
        folder: Path = tmp_path / "runs",
        stopping: Callable[[], bool] = lambda: False,
    ) -> Grid:
        return Grid(
            plan, Here(Runner(Settings(runs=folder, data=data)), stopping=stopping), runs=folder, stopping=stopping
        )

    return made


@pytest.fixture
def run(grid_of: Callable[..., Grid]) -> Run:
    def run(plan: Plan, **how: Any) -> list[Step]:
        return list(grid_of(plan, **how))

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
            "protocol": "large",  # by which no start can be the best: sources of other rows are others
            "changes": {"epochs": 1},
            "rows": {"train": 16, "test": 7},
        }
        return plan_of(experiment_from({**given, **fields}, where="test"))

    return small


def titles(steps: list[Step]) -> list[str]:
    return [str(step.run).split(" (")[0] for step in steps]


def failures(steps: list[Step]) -> dict[str, str]:
    """What failed, and why."""
    pairs = zip(titles(steps), steps, strict=True)
    return {title: step.result.error for title, step in pairs if isinstance(step.result, Failure)}


def test_a_grid_from_end_to_end_and_again(
    small: Callable[..., Plan], run: Run, trainings: list[str], tmp_path: Path
) -> None:
    plan = small(methods=["head", "scalearn", "full", "full-m"], joint_changes={"steps": 2, "evaluate_every": 1})
    steps = run(plan)
    assert [step.found for step in steps] == [False] * len(plan.runs) == [False] * 9
    assert sorted(trainings) == sorted(step.run.method.name for step in steps)
    for step in steps:
        assert isinstance(step.result, Outcome)
        assert set(step.result.metrics) == set(step.run.tasks)
        for task in step.run.tasks:
            assert step.result.rows[task] == {"train": 16, "dev": 6, "test": 7}
            assert -100 <= step.result.score(task) <= 100  # cola's is a correlation
            assert step.result.standard_error(task) is not None
        folder = tmp_path / "runs" / step.result.model
        assert (folder / "result.json").is_file()
        assert (folder / "scalearn.json").is_file() == (not step.run.method.trains_backbone)
    assert steps[0].seconds_left is not None and steps[-1].seconds_left == 0
    assert [path for path in (tmp_path / "runs").iterdir() if path.name.startswith(".")] == []

    again = run(plan)
    assert [step.found for step in again] == [True] * 9
    assert len(trainings) == 9
    assert [step.result for step in again] == [step.result for step in steps]


def test_sources_are_trained_once_and_own_is_last(
    small: Callable[..., Plan], run: Run, trainings: list[str], tmp_path: Path
) -> None:
    steps = run(small(methods=["scalearn"], rows={}, seeds=2, sources={"tasks": ["rte", "cola"], "seed": 0}))
    assert trainings.count("adapter") == 2
    for step in steps:
        if step.run.sources:
            assert isinstance(step.result, Outcome)
            folder = tmp_path / "runs" / step.result.model
            saved = json.loads((folder / "scalearn.json").read_text())
            other = "cola" if step.run.tasks == ("rte",) else "rte"
            assert [source["name"] for source in saved["sources"]] == [other, *step.run.tasks]
            needed = [r for r in steps if r.run.id in {need.id for need in step.run.needs}]
            digests = {Source.load(tmp_path / "runs" / r.result.model).sha256 for r in needed}
            key = json.loads((folder / "result.json").read_text())["key"]
            assert set(key["sources"]) == digests


def test_a_shelf(small: Callable[..., Plan], run: Run, trainings: list[str], shelf_folder: Path) -> None:
    plan = small(methods=["scalearn-uniform++"], tasks=["rte"], sources={"shelf": str(shelf_folder), "own": False})
    (step,) = run(plan)
    assert isinstance(step.result, Outcome)
    assert step.result.parameters["method"] == 2  # cola and mrpc: rte is the target
    assert trainings == ["scalearn-uniform++"]


def test_what_was_left_goes_on(small: Callable[..., Plan], grid_of: Callable[..., Grid], trainings: list[str]) -> None:
    plan = small()
    steps = iter(grid_of(plan))
    for _ in range(3):
        next(steps)
    del steps
    assert len(trainings) == 3
    assert [step.found for step in grid_of(plan)] == [True] * 3 + [False] * 3
    assert len(trainings) == 6


def test_it_stops_when_it_is_asked_to(
    small: Callable[..., Plan], grid_of: Callable[..., Grid], trainings: list[str], tmp_path: Path
) -> None:
    """Asked in the second run: that ends at a checkpoint, no other is begun; and on it goes."""
    plan = small(changes={"epochs": 2, "batch_size": 4, "evaluate_every": 8})
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += len(trainings) == 2
        return asked > 2

    launch = grid_of(plan, stopping=stopping)
    assert [step.position for step in launch] == [1]
    assert len(launch.over) == 1 and launch.running == {} and len(trainings) == 2
    (partial,) = (tmp_path / "runs").glob(".*.partial")
    assert [path.name for path in partial.glob("checkpoints/*")] == ["checkpoint-3"]
    steps = list(grid_of(plan))
    assert [step.found for step in steps] == [True] + [False] * 5
    assert len(trainings) == 7
    assert [step.result.attempts for step in steps if isinstance(step.result, Outcome)] == [1, 2, 1, 1, 1, 1]


def test_an_interruption_is_no_failure(
    small: Callable[..., Plan], run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    plan = small()
    with monkeypatch.context() as patch:
        patch.setattr(runner, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(plan)
    assert read_failure(tmp_path / "runs", plan.runs[0]) is None
    assert failures(run(plan)) == {}  # nor does anybody hold a lock


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
    original, calls = runner.train, []

    def stops(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(runner, "train", stops)
    with pytest.raises(KeyboardInterrupt):
        run(plan, data=tmp_path / "other", folder=runs)
    found = Results.read(tmp_path / "out")
    kept = [found.outcomes[spec.id] for spec in plan.runs]
    assert kept[1:] == done[1:] and kept[0] != done[0]
    assert found.mixed == ("finished runs on rte saw different data",)
    report = write_report(tmp_path / "out") and (tmp_path / "out" / "report.md").read_text()
    assert "finished runs on rte saw different data" in report


def test_a_source_without_its_folder_is_made_again(
    small: Callable[..., Plan], run: Run, trainings: list[str], tmp_path: Path
) -> None:
    plan = small(methods=["scalearn"])
    (source, *_) = (step.result for step in run(plan) if step.run.method.name == "adapter")
    assert isinstance(source, Outcome)
    shutil.rmtree(tmp_path / "runs" / source.model)
    again = run(plan)
    assert [step.found for step in again].count(False) == 1
    assert failures(again) == {}
    assert len(trainings) == 4 + 1


def test_a_full_disk_ends_the_grid_in_one_line(
    small: Callable[..., Plan], run: Run, monkeypatch: pytest.MonkeyPatch, trainings: list[str], tmp_path: Path
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Place, "write_result", full)
    with pytest.raises(InputError, match=r"runs cannot be written \(No space left on device\)"):
        run(small(methods=["head"], sources=None))
    assert trainings == ["head"]
    assert places(tmp_path / "runs") == [] and not (tmp_path / "runs" / "failed").exists()


def test_a_failing_run_stops_no_other(
    small: Callable[..., Plan], run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = runner.train

    def train(model: Any, *args: Any, **kwargs: Any) -> Any:
        if model.method.name == "adapter" and model.task.name == "cola":
            raise RuntimeError("no memory\nleft")
        return original(model, *args, **kwargs)

    plan = small()
    with monkeypatch.context() as patch:
        patch.setattr(runner, "train", train)
        steps = run(plan)
    failed = failures(steps)
    assert len(steps) == 6 and failed.pop("adapter on cola") == "RuntimeError: no memory left"
    assert set(failed) == {"scalearn on rte", "scalearn on cola"}  # both combine it
    assert all("the source adapter on cola" in error and "has no result" in error for error in failed.values())
    broken = next(run for run in plan.runs if str(run).startswith("adapter on cola"))
    kept = read_failure(tmp_path / "runs", broken)
    assert kept is not None and "raise RuntimeError" in kept.traceback
    assert failures(run(plan)) == {}
    assert list((tmp_path / "runs" / "failed").iterdir()) == []


@pytest.mark.parametrize(
    "file",
    [
        "result.json",
        "source.safetensors",
        *(
            pytest.param(f, marks=pytest.mark.slow)
            for f in ("history.json", "predictions.parquet", "model.safetensors")
        ),
    ],
)
def test_a_damaged_run_is_named_and_stops_no_other(
    small: Callable[..., Plan], run: Run, trainings: list[str], tmp_path: Path, file: str
) -> None:
    plan = small(methods=["scalearn"])
    steps = run(plan)
    (folder,) = (tmp_path / "runs" / s.result.model for s in steps if str(s.run).startswith("adapter on rte"))
    whole = (folder / file).read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    for content in (whole[: len(whole) // 2], bytes(changed)):
        (folder / file).write_bytes(content)
        again = run(plan)
        assert len(again) == 4 and str(folder / file) in failures(again)["adapter on rte"]
        assert "adapter on cola" not in failures(again)
        assert (set(failures(again)) > {"adapter on rte"}) == (file in ("result.json", "source.safetensors"))
        assert (folder / file).read_bytes() == content
    (folder / file).write_bytes(whole)
    assert [step.found for step in run(plan)] == [True] * 4
    assert len(trainings) == 4
    assert list((tmp_path / "runs" / "failed").iterdir()) == []


def test_a_score_changed_by_hand(small: Callable[..., Plan], run: Run, tmp_path: Path) -> None:
    plan = small(methods=["head"], sources=None)
    runs = open_folder(tmp_path / "out", plan.asked)
    first, _ = run(plan, folder=runs)
    assert isinstance(first.result, Outcome)
    path = runs / first.result.model / "result.json"
    told = json.loads(path.read_text())
    told["outcome"]["metrics"]["rte"]["test"]["accuracy"] = 0.99
    path.write_text(json.dumps(told, indent=2))
    (message,) = failures(run(plan, folder=runs)).values()
    assert f"{path} was changed after it was written" in message
    found = Results.read(tmp_path / "out")
    assert found.damaged == (message,) and len(found.found) == 1


class Scripted:
    """An executor that does what it is told.

    Args:
        told: for each time that a run is asked for, what becomes of it.
    """

    slots = parallel = 2

    def __init__(self, told: Callable[[RunSpec, int], Report | Exception | None]) -> None:
        self.told = told
        self.asked: list[str] = []
        self.stopped = 0

    def submit(self, run: RunSpec) -> "Future[Report]":
        future: Future[Report] = Future()
        self.asked.append(run.id)
        result = self.told(run, self.asked.count(run.id))
        if isinstance(result, Exception):
            future.set_exception(result)
        elif result is not None:
            future.set_result(result)
        return future

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_POLL", "_REST"):
        monkeypatch.setattr(grid, name, 0.01)


@pytest.mark.usefixtures("quick")
def test_a_process_that_dies_is_forgiven_twice(small: Callable[..., Plan], tmp_path: Path) -> None:
    plan = small(methods=["head"], sources=None)
    for deaths in (DEATHS - 1, DEATHS):

        def told(run: RunSpec, times: int, deaths: int = deaths) -> Report | Exception:
            return BrokenExecutor("killed") if run is plan.runs[0] and times <= deaths else Report(outcome=OUTCOME)

        executor = Scripted(told)
        steps = {step.run.id: step.result for step in Grid(plan, executor, runs=tmp_path)}
        assert executor.asked.count(plan.runs[1].id) == 1
        first = steps[plan.runs[0].id]
        if deaths < DEATHS:
            assert steps == {run.id: OUTCOME for run in plan.runs}
        else:
            assert isinstance(first, Failure) and first.error.startswith("its process died 3 times")
            assert read_failure(tmp_path, plan.runs[0]) == first


@pytest.mark.usefixtures("quick")
def test_what_somebody_else_is_at_is_asked_for_again(small: Callable[..., Plan], tmp_path: Path) -> None:
    """Meanwhile the others are done, but not what needs it."""
    plan = small(methods=["scalearn"])
    source = plan.runs[0].id

    def told(run: RunSpec, times: int) -> Report:
        return Report() if run.id == source and times < 4 else Report(outcome=OUTCOME, found=times > 1)

    executor = Scripted(told)
    steps = list(Grid(plan, executor, runs=tmp_path))
    assert [step.run.id for step in steps][:2] == [plan.runs[1].id, source]
    assert executor.asked.count(source) == 4 and len(executor.asked) == len(plan.runs) + 3
    assert [step.found for step in steps] == [False, True, False, False]


@pytest.mark.usefixtures("quick")
def test_an_unexpected_end_is_a_failure_too(small: Callable[..., Plan], tmp_path: Path) -> None:
    plan = small(methods=["head"], sources=None)
    steps = list(Grid(plan, Scripted(lambda run, times: ValueError("lost\nnode")), runs=tmp_path))
    assert [step.result for step in steps] == [Failure(error="ValueError: lost node", traceback="")] * 2


def test_what_cannot_be_written_ends_the_grid(small: Callable[..., Plan], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="full"):
        list(Grid(small(), Scripted(lambda run, times: InputError("full")), runs=tmp_path))


@pytest.mark.usefixtures("quick")
def test_a_stop_waits_for_what_is_under_way(small: Callable[..., Plan], tmp_path: Path) -> None:
    """And begins nothing more, also not what a process died over."""
    futures: list[Future[Report]] = []

    class Slow(Scripted):
        def submit(self, run: RunSpec) -> "Future[Report]":
            futures.append(super().submit(run))
            return futures[-1]

        def stop(self) -> None:
            super().stop()
            if not futures[0].done():
                futures[0].set_result(Report(stopped=True))
                futures[1].set_exception(BrokenExecutor("killed"))

    executor = Slow(lambda run, times: None)
    launch = Grid(small(), executor, runs=tmp_path, stopping=lambda: len(executor.asked) >= 2)
    assert list(launch) == []
    assert (len(executor.asked), executor.stopped > 0, launch.over, launch.running) == (2, True, {}, {})


def test_the_run_of_this_process_is_seen_while_it_is_done(small: Callable[..., Plan], tmp_path: Path) -> None:
    """By another thread, as the live table is."""
    plan = small(methods=["head"], sources=None)
    seen: list[list[str]] = []

    class Watched(Scripted):
        slots = parallel = 1

        def submit(self, run: RunSpec) -> "Future[Report]":
            def look() -> None:
                live_table(launch)
                seen.append([str(other) for other in launch.running.values()])

            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            return super().submit(run)

    launch = Grid(plan, Watched(lambda run, times: Report(outcome=OUTCOME)), runs=tmp_path)
    list(launch)
    assert seen == [[str(run)] for run in plan.runs]
    assert launch.running == {}


def test_the_live_table_may_be_drawn_while_runs_end(small: Callable[..., Plan], tmp_path: Path) -> None:
    plan = small(methods=["head"], sources=None, seeds=40)
    launch = Grid(plan, Scripted(lambda run, times: Report(outcome=OUTCOME)), runs=tmp_path)
    faults: list[BaseException] = []
    over = threading.Event()

    def draw() -> None:
        try:
            while not over.is_set():
                live_table(launch)
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=draw)
    thread.start()
    for _ in launch:
        time.sleep(0.001)
    over.set()
    thread.join()
    assert faults == []


def test_time_left_is_in_proportion_to_what_runs_cost(small: Callable[..., Plan], tmp_path: Path) -> None:
    plan = small(methods=["full", "head"], tasks=["rte"], sources=None, changes={"epochs": 50})

    def steps(*, found: bool) -> Iterator[Step]:
        executor = Scripted(lambda run, times: Report(outcome=replace(OUTCOME), found=found))
        executor.slots = executor.parallel = 1
        return iter(Grid(plan, executor, runs=tmp_path))

    first, last = steps(found=False)
    full, head = (cost_of(run).operations for run in plan.runs)
    assert first.seconds_left == pytest.approx(head / full) and head < full / 20
    assert (first.position, last.position, last.total) == (1, 2, 2)
    assert next(steps(found=True)).seconds_left is None
