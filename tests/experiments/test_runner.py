"""One run: stopped after any number of steps it ends as an unbroken one, whatever the method; and all that it keeps."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from safetensors.torch import load_file

from scalearn.errors import InputError
from scalearn.experiments import runner
from scalearn.experiments.expansion import plan_of
from scalearn.experiments.plan import RunSpec
from scalearn.experiments.recipe_file import experiment_from
from scalearn.experiments.runner import Report, Runner, Settings, predictions_of
from scalearn.experiments.store import Place, places, read_failure
from scalearn.methods import REGISTRY
from scalearn.tasks import Task

METHODS = [name for name in REGISTRY if name != "probing"]
OPTIONS = {
    "compacter++": {"reduction_factor": 4},
    "adaptersoup": {"weights": [0.75, 0.25]},
    "lorahub": {"evaluations": 6},
}
"""That fit a backbone so small, sources whose texts nobody looked at, and a test that searches four times."""
SHORT = {"batch_size": 8, "patience": 9, "backbone_dropout": True}

Spec = Callable[..., RunSpec]


@pytest.fixture
def spec(tiny_backbone: str, shelf_folder: Path) -> Spec:
    """A run of a method on the built-in task; of a joint one, on that and policy-claims' rows by another name."""

    def made(method: str, top_sources: int | None = None, **changes: Any) -> RunSpec:
        stage = REGISTRY[method].method.stage
        given: dict[str, Any] = {
            "name": "one",
            "backbones": tiny_backbone,
            "tasks": ["policy-claims"] if stage != "joint" else ["rte", "cola"],
            "methods": [{"name": method, "options": OPTIONS.get(method, {}), "top_sources": top_sources}],
            "rows": {"train": 24, "dev": 9, "test": 9},
        }
        if stage == "joint":
            given["joint_changes"] = {**SHORT, "steps": 7, "evaluate_every": 3, **changes}
        else:
            given["changes"] = {**SHORT, "epochs": 3, "evaluate_every": 4, **changes}
        if stage == "transfer":
            given["sources"] = {"shelf": str(shelf_folder), "tasks": ["mrpc", "rte"], "own": False}
        (run,) = plan_of(experiment_from(given, where="test")).runs
        return run

    return made


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def attempt(data: Path, runs: Path) -> Callable[..., Report]:
    """Does a run as a new launch would."""

    def attempt(
        run: RunSpec, stop: Callable[[], bool] = lambda: False, *, folder: Path = runs, explain: bool = False
    ) -> Report:
        return Runner(Settings(runs=folder, data=data, explain=explain)).attempt(run, stop)

    return attempt


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two tasks for joint methods."""
    folder = tmp_path_factory.mktemp("data")
    for name, columns in (("rte", ("sentence1", "sentence2")), ("cola", ("sentence",))):
        (folder / "glue" / name).mkdir(parents=True)
        for split, count in (("train", 40), ("validation", 12)):
            texts = [f"the film was {('bad', 'good')[row % 2]} {'very ' * (row % 4)}" for row in range(count)]
            rows = Dataset.from_dict({**dict.fromkeys(columns, texts), "label": [row % 2 for row in range(count)]})
            rows.to_parquet(folder / "glue" / name / f"{split}-00000-of-00001.parquet")
    return folder


def essence(runs: Path) -> Any:
    (place,) = places(runs)
    found = place.read()
    assert found is not None
    found.check()
    weights = {
        path.name: {name: tensor.tolist() for name, tensor in load_file(path).items()}
        for path in place.folder.glob("*.safetensors")
    }
    outcome = found.outcome
    return (
        weights,
        (place.folder / "predictions.parquet").read_bytes(),
        (outcome.metrics, outcome.best_step, outcome.steps),
        [(entry["step"], entry["eval_loss"]) for entry in found.history() if "eval_loss" in entry],
    )


QUICK = ("scalearn", "adapter", "adaptersoup", "lorahub")
"""One that learns omega, one of a single task, two that look at the data first; the rest takes minutes together."""


@pytest.mark.parametrize(
    "method", [method if method in QUICK else pytest.param(method, marks=pytest.mark.slow) for method in METHODS]
)
def test_a_run_stopped_twice_ends_as_an_unbroken_one(
    spec: Spec, attempt: Callable[..., Report], runs: Path, tmp_path: Path, method: str
) -> None:
    run = spec(method)
    whole = attempt(run, folder=tmp_path / "whole")
    assert whole.outcome is not None, whole.failure
    for after in (2, 3):  # steps 2 and 5: in the middle of the first epoch and of the second
        asked = iter(range(1, 99))
        report = attempt(run, lambda asked=asked, after=after: next(asked) == after)  # type: ignore[misc]
        assert report == Report(stopped=True)
    (partial,) = runs.glob(".*.partial")
    assert json.loads((partial / "progress.json").read_text())["step"] == 5
    last = attempt(run)
    assert last.outcome is not None and last.outcome.attempts == 3
    assert essence(runs) == essence(tmp_path / "whole")
    assert [path.name for path in runs.iterdir()] == [last.outcome.model]


def test_what_is_kept(spec: Spec, attempt: Callable[..., Report], runs: Path) -> None:
    report = attempt(spec("adapter"))
    outcome = report.outcome
    assert outcome is not None and not report.found
    (place,) = places(runs)
    found = place.read()
    assert found is not None
    assert {path.name for path in place.folder.iterdir()} >= {*found.files, "result.json", "README.md"}
    assert (outcome.steps, outcome.attempts, outcome.model) == (9, 1, place.name)
    assert outcome.seconds > 0 and outcome.peak_memory > 0.1 and outcome.gpu_memory == 0
    assert outcome.tokens_per_second is not None and outcome.tokens_per_second > 0
    assert outcome.versions.keys() >= {"scalearn", "torch", "python"} and outcome.machine["cores"]
    assert outcome.bytes == sum(
        (place.folder / name).stat().st_size
        for name in ("model.safetensors", "scalearn.json", "source.safetensors", "source.json", "README.md")
        if (place.folder / name).exists()
    )
    frame = found.predictions()
    assert frame.groupby("split").size().to_dict() == {"dev": 9, "test": 9}
    for split, rows in frame.groupby("split"):
        right = (rows["label"] == rows["prediction"]).mean()
        assert right == pytest.approx(outcome.metrics["policy-claims"][str(split)]["accuracy"])
    again = attempt(spec("adapter"))
    assert again == Report(outcome=outcome, found=True)


def test_omega_is_in_the_history(spec: Spec, attempt: Callable[..., Report], runs: Path) -> None:
    attempt(spec("scalearn"))
    (place,) = places(runs)
    found = place.read()
    assert found is not None
    omegas = {entry["step"]: np.array(entry["omega"]).shape for entry in found.history() if "omega" in entry}
    assert omegas == dict.fromkeys((0, 4, 8, 9), (2, 2))  # layers, sources


def test_the_best_sources_alone_are_combined_and_named(
    spec: Spec, attempt: Callable[..., Report], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scalearn.ranking.Ranking.best", lambda ranking, count: ("rte", "mrpc")[:count])
    top, whole = attempt(spec("scalearn", 1)).outcome, attempt(spec("scalearn")).outcome
    assert top is not None and whole is not None and top.model != whole.model
    assert (list(top.sources), list(whole.sources)) == (["rte"], []), "all need no names"
    described = json.loads((runs / top.model / "scalearn.json").read_text())
    assert [source["name"] for source in described["sources"]] == ["rte"]
    assert 2 * top.parameters["method"] == whole.parameters["method"]
    assert attempt(spec("scalearn", 1)).found


def test_a_finished_run_is_explained_and_not_trained_anew(
    spec: Spec, attempt: Callable[..., Report], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = spec("scalearn")
    outcome = attempt(run).outcome
    monkeypatch.setattr(runner, "train", lambda *_, **__: 1 / 0)
    (place,) = places(runs)
    assert outcome is not None and place.read_explanation() is None
    assert attempt(run, lambda: True, explain=True) == Report(stopped=True) and place.read_explanation() is None
    assert attempt(run, explain=True) == Report(outcome=outcome, found=True)
    found = place.read_explanation()
    assert found is not None and [effect.source for effect in found.effects] == ["mrpc", "rte"]
    assert (found.split, found.rows) == ("dev", 9)
    assert found.score == outcome.metrics["policy-claims"]["dev"][found.metric]
    monkeypatch.setattr(runner, "explain", lambda *_, **__: found)  # what is there is not made again
    path = place.folder / "explanation.json"
    before = path.stat().st_mtime_ns
    assert attempt(run, explain=True).found and path.stat().st_mtime_ns == before
    path.write_text(path.read_text().replace('"rows": 9', '"rows": 8'))
    with pytest.raises(InputError, match="was changed after it was written"):
        place.read_explanation()
    assert attempt(run, explain=True).found and place.read_explanation() == found
    assert place.read_whole() is not None, "it is none of the files that make the result"


def test_what_has_no_coefficients_is_not_explained(spec: Spec, attempt: Callable[..., Report], runs: Path) -> None:
    attempt(spec("head"), explain=True)
    assert [place.read_explanation() for place in places(runs)] == [None]


def test_somebody_else_at_it(spec: Spec, attempt: Callable[..., Report], runs: Path) -> None:
    run = spec("head")
    report = attempt(run, lambda: True)
    assert report == Report(stopped=True)
    (partial,) = runs.glob(".*.partial")
    with Place(runs, partial.name[1:].removesuffix(".partial")).lock():
        report = attempt(run)
        assert report.busy and places(runs) == []
    assert attempt(run).outcome is not None


def test_what_is_done_in_the_moment_of_asking_is_found(
    spec: Spec, attempt: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = spec("head")
    first = attempt(run)
    original, asked = Runner._found, []

    def found(self: Runner, place: Place) -> Any:
        asked.append(place)
        return original(self, place) if len(asked) > 1 else None

    monkeypatch.setattr(Runner, "_found", found)
    assert attempt(run) == Report(outcome=first.outcome, found=True)
    assert len(asked) == 2


def test_an_unfinished_run_that_is_another_is_begun_anew(
    spec: Spec, attempt: Callable[..., Report], runs: Path, tmp_path: Path
) -> None:
    run = spec("adapter")
    attempt(run, lambda: True)
    (partial,) = runs.glob(".*.partial")
    (partial / "run.json").write_text('{"of": "another version"}')
    report = attempt(run)
    assert report.outcome is not None and report.outcome.steps == 9
    attempt(run, folder=tmp_path / "whole")
    assert essence(runs) == essence(tmp_path / "whole")


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("no memory"), False),
    ],
)
def test_a_full_disk_is_no_failure_of_a_run(
    spec: Spec,
    attempt: Callable[..., Report],
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    ends: bool,
) -> None:
    run = spec("head")

    def fails(*_: Any, **__: Any) -> None:
        try:
            raise error
        except Exception as cause:
            raise ValueError("while it was saved") from cause

    monkeypatch.setattr(runner, "train", fails)
    if ends:
        with pytest.raises(InputError, match=r"runs cannot be written .*make room"):
            attempt(run)
        assert read_failure(runs, run) is None
    else:
        report = attempt(run)
        assert report.failure is not None and report.failure == read_failure(runs, run)
        assert report.failure.error == "ValueError: while it was saved"


def test_where_hardly_a_byte_is_free(
    spec: Spec, attempt: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What writes optimizer states says nothing of disks."""

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 7104 vs 6996")

    monkeypatch.setattr(runner, "train", fails)
    run = spec("head")
    assert attempt(run).failure is not None
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 4096}))
    with pytest.raises(InputError, match="No space left on device"):
        attempt(run)


def test_predictions_by_kind(task: Task, scale_task: Task) -> None:
    rows = task.splits["dev"]
    logits = np.array([[0.0, 1.0]] * len(rows), dtype=np.float32)
    frame = predictions_of([task], {task.name: {"dev": logits}})
    assert list(frame.columns) == ["task", "split", "row", "label", "prediction", "logits"]
    assert frame["row"].tolist() == list(range(len(rows)))
    assert frame["label"].tolist() == [task.labels[label] for label in rows["label"]]
    assert set(frame["prediction"]) == {task.labels[1]}
    assert isinstance(frame, pd.DataFrame) and frame["logits"][0].tolist() == [0.0, 1.0]


def test_what_can_change_a_result_makes_another_run(spec: Spec, attempt: Callable[..., Report], runs: Path) -> None:
    for run in (spec("head"), spec("head"), spec("head", head_learning_rate=0.5)):
        attempt(run)
    assert len(places(runs)) == 2
