"""What looks over a run's shoulder: a stop at a checkpoint, progress on disk, omega at each evaluation."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from scalearn.methods import Recipe
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task
from scalearn.training import TrainResult, train
from scalearn.training.callbacks import Meter, OmegaHistory, StopAtCheckpoint, Stopped
from scalearn.training.trainer import TransferTrainer, last_whole_checkpoint

STEPS = 4  # of an epoch: 32 rows in batches of 8
BY_EPOCH = Recipe(learning_rate=2e-2, head_learning_rate=1e-2, epochs=4, patience=4, batch_size=8)
BY_STEPS = BY_EPOCH.model_copy(update={"evaluate_every": 3})

Fresh = Callable[..., TransferModel]


@pytest.fixture
def fresh(tiny_backbone: str, task: Task) -> Fresh:
    def made(method: str = "adapter", *, sources: Shelf | None = None) -> TransferModel:
        return TransferModel.from_backbone(tiny_backbone, method=method, sources=sources, task=task, pooling="mean")

    return made


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every training step, as it happens."""
    original, made = TransferTrainer.training_step, []

    def training_step(self: TransferTrainer, *args: Any, **kwargs: Any) -> Any:
        made.append(self.state.global_step + 1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(TransferTrainer, "training_step", training_step)
    return made


def fit(model: TransferModel, out: Path, recipe: Recipe, *callbacks: Any) -> TrainResult:
    return train(model, out, recipe=recipe, precision="fp32", progress=False, callbacks=callbacks)


def essence(model: TransferModel, result: TrainResult) -> Any:
    weights = {name: tensor.tolist() for name, tensor in model.trained_state().items()}
    scores = [(entry["step"], entry["eval_loss"]) for entry in result.history if "eval_loss" in entry]
    return weights, scores, result.metrics, result.best_step, result.steps


@pytest.mark.parametrize(
    "stops",
    [
        pytest.param((1, STEPS - 1, STEPS, STEPS + 1, 4 * STEPS - 1), id="about the ends of epochs"),
        pytest.param(range(1, 4 * STEPS), id="at all", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "recipe", [pytest.param(BY_EPOCH, id="by epoch"), pytest.param(BY_STEPS, id="by steps", marks=pytest.mark.slow)]
)
def test_a_stop_at_any_step_changes_nothing(
    fresh: Fresh, steps: list[int], recipe: Recipe, stops: Sequence[int], tmp_path: Path
) -> None:
    unbroken = fresh()
    expected = essence(unbroken, fit(unbroken, tmp_path / "whole", recipe))
    for step in stops:
        steps.clear()
        out = tmp_path / str(step)
        with pytest.raises(Stopped, match=f"at step {step} of 16"):
            fit(fresh(), out, recipe, StopAtCheckpoint(lambda step=step: steps[-1] == step))  # type: ignore[misc]
        last = last_whole_checkpoint(tmp_path / f".{step}.partial" / "checkpoints")
        assert last is not None and Path(last).name == f"checkpoint-{step}"
        model = fresh()
        assert essence(model, fit(model, out, recipe)) == expected
        assert steps == list(range(1, 4 * STEPS + 1))


def test_after_the_last_step_it_is_too_late(fresh: Fresh, steps: list[int], tmp_path: Path) -> None:
    fit(fresh(), tmp_path / "out", BY_STEPS, StopAtCheckpoint(lambda: steps[-1] == 4 * STEPS))
    assert (tmp_path / "out").is_dir()


def test_a_run_that_had_stopped_early_does_not_train_on(
    fresh: Fresh, steps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended for want of a better score, and was interrupted before it could say so."""
    scores = [0.9, 0.5, 0.4, *([0.99] * 9)]
    recipe = BY_EPOCH.model_copy(update={"select": "metric", "patience": 2, "epochs": 10})

    def judge(*_: Any) -> dict[str, float]:
        return {"accuracy": scores.pop(0)}

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Task, "judge", judge)
        patch.setattr(sys.modules["scalearn.training.train"], "check_finite", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(fresh("head"), tmp_path / "out", recipe)
    assert steps == list(range(1, 3 * STEPS + 1))
    result = fit(fresh("head"), tmp_path / "out", recipe)
    assert steps == list(range(1, 3 * STEPS + 1))
    assert (result.best_epoch, result.epochs, result.steps) == (1, 3, 3 * STEPS)


@pytest.mark.parametrize("content", ["", '{"global_step": 8, "log_his'])
def test_a_state_that_was_cut_short_is_no_checkpoint(tmp_path: Path, content: str) -> None:
    for step, text in ((4, "{}"), (8, content)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(text)
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]


def test_progress_counts_on(fresh: Fresh, steps: list[int], tmp_path: Path) -> None:
    path = tmp_path / ".out.partial" / "progress.json"
    first = Meter(path, facts={"id": "abc"})
    with pytest.raises(Stopped):
        fit(fresh(), tmp_path / "out", BY_EPOCH, first, StopAtCheckpoint(lambda: steps[-1] == 6))
    told = json.loads(path.read_text())
    assert {name: told[name] for name in ("id", "step", "steps", "attempts")} == {
        **{"id": "abc", "step": 6},
        **{"steps": 16, "attempts": 1},
    }
    second = Meter(path)
    assert second.attempts == 2 and second.seconds >= told["seconds"] > 0
    before = first.tokens
    fit(fresh(), tmp_path / "out", BY_EPOCH, second)
    whole = Meter(tmp_path / "other.json")
    fit(fresh(), tmp_path / "whole", BY_EPOCH, whole)
    assert before > 0 and before + second.tokens == whole.tokens  # each counts its own steps
    assert whole.tokens_per_second == whole.tokens / whole.step_seconds


@pytest.mark.parametrize("content", ["", "[]", '{"attempts": "many"}'])
def test_progress_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "progress.json").write_text(content)
    meter = Meter(tmp_path / "progress.json")
    assert (meter.attempts, meter.earlier, meter.tokens_per_second) == (1, 0, None)


def test_omega_at_the_start_and_at_each_evaluation(
    fresh: Fresh, shelf: Shelf, steps: list[int], tmp_path: Path
) -> None:
    def history(out: Path, *stop: Any) -> list[tuple[int, Any]]:
        model = fresh("scalearn", sources=shelf)
        result = fit(model, out, BY_STEPS, OmegaHistory(model), *stop)
        return [(entry["step"], entry["omega"]) for entry in result.history if "omega" in entry]

    whole = history(tmp_path / "whole")
    assert [step for step, _ in whole] == [0, 3, 6, 9, 12, 15, 16]
    assert torch.tensor(whole[0][1]).shape == (2, 3)  # layers, sources
    assert whole[0][1] != whole[-1][1]
    steps.clear()
    with pytest.raises(Stopped):
        history(tmp_path / "out", StopAtCheckpoint(lambda: steps[-1] == 7))
    assert history(tmp_path / "out") == whole


def test_a_run_without_a_best_step_ends_with_its_last(
    fresh: Fresh, steps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a correlation is of no number, since all predictions are alike."""
    recipe = BY_EPOCH.model_copy(update={"select": "metric"})
    monkeypatch.setattr(Task, "judge", lambda *_: {"accuracy": float("nan")})
    whole = fresh()
    expected = essence(whole, fit(whole, tmp_path / "whole", recipe))
    steps.clear()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sys.modules["scalearn.training.train"], "check_finite", interrupted)
        fit(fresh(), tmp_path / "out", recipe)
    again = fresh()
    assert essence(again, fit(again, tmp_path / "out", recipe))[0] == expected[0]
    assert steps == list(range(1, 4 * STEPS + 1))
