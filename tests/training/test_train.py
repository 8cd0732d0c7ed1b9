"""`train` on the tiny backbone: it learns, repeats itself, keeps the best, and survives interruption."""

import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from torch import Tensor

from scalearn import tokens
from scalearn.encoding import encode
from scalearn.errors import InputError
from scalearn.methods import REGISTRY, Adapter, Method, Recipe, changed
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task
from scalearn.training import TrainResult, evaluate, train
from scalearn.training.trainer import TransferTrainer

STEPS = 4  # of an epoch: 32 rows in batches of 8
RECIPE = Recipe(learning_rate=2e-2, head_learning_rate=1e-2, epochs=4, patience=4, batch_size=8)
LEARNS = Recipe(learning_rate=1e-2, head_learning_rate=1e-2, epochs=6, patience=6, batch_size=4, backbone_dropout=False)
BY_METRIC = RECIPE.model_copy(update={"select": "metric"})
BY_STEPS = changed(changed(RECIPE, {"epochs": 1}), {"steps": 14, "evaluate_every": 3, "patience": 9})

Fresh = Callable[..., TransferModel]


ADAPTER = Adapter(bottleneck=4)


@pytest.fixture(scope="module")
def fresh(tiny_backbone: str, task: Task) -> Fresh:
    """A model before training."""

    def made(method: Method | str = ADAPTER, *, sources: Shelf | None = None, **other: Any) -> TransferModel:
        arguments = {"task": task, "pooling": "mean"} | other
        return TransferModel.from_backbone(tiny_backbone, method=method, sources=sources, **arguments)

    return made


def fit(model: TransferModel, out: Path | str | None = None, *, recipe: Recipe = RECIPE, **other: Any) -> TrainResult:
    return train(model, out, recipe=recipe, precision="fp32", progress=False, **other)


def weights(model: TransferModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.trained_state().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that nothing disturbed."""

    folder: Path
    result: TrainResult
    weights: dict[str, Tensor]
    model: TransferModel


@pytest.fixture(scope="module")
def finished(fresh: Fresh, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished") / "out"
    model = fresh()
    result = fit(model, folder, command="scalearn train reviews")
    return Finished(folder=folder, result=result, weights=weights(model), model=model)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ctrl-C in the given step, counted from 1 over this call's steps."""
    original, taken = TransferTrainer.training_step, Counter[str]()

    def training_step(self: TransferTrainer, *args: Any, **kwargs: Any) -> Tensor:
        taken["steps"] += 1
        if taken["steps"] == step:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(TransferTrainer, "training_step", training_step)


def interrupted(model: TransferModel, out: Path | str, *, step: int, **other: Any) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(patch, step)
        fit(model, out, **other)


def script_scores(patch: pytest.MonkeyPatch, scores: Iterable[float], model: TransferModel) -> list[dict[str, Tensor]]:
    """Makes dev accuracy follow a script; returns a list that gets the weights at each evaluation."""
    script, seen = iter(scores), []

    def judge(self: Task, rows: object, logits: object) -> dict[str, float]:
        seen.append(weights(model))
        return {"accuracy": next(script), "f1_macro": 0.0}

    patch.setattr(Task, "judge", judge)
    return seen


# ---- learning


@pytest.mark.parametrize("tokens", [None, 64])
def test_the_frozen_part_is_computed_once(
    fresh: Fresh, shelf: Shelf, tokens: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only a head is trained, its rows' pooled states stand for the tokens, and the result is the same."""
    recipe = LEARNS.model_copy(update={"epochs": 2, "tokens_per_batch": tokens})
    once = fresh("uniform-average", sources=shelf)
    calls = Counter[str]()
    once.backbone.register_forward_hook(lambda *_: calls.update(["passes"]))
    fit(once, recipe=recipe)
    assert calls["passes"] == 3, "32 train rows, 8 dev rows, and the dev rows again for the scores"
    monkeypatch.setattr(TransferModel, "trains_head_only", False)
    anew = fresh("uniform-average", sources=shelf)
    fit(anew, recipe=recipe)
    for name, value in weights(anew).items():
        torch.testing.assert_close(weights(once)[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "rate", "fall", "accuracy"), [("full", 1e-2, 0.5, 1.0), ("adapter", 5e-2, 0.1, 0.6)])
def test_training_lowers_the_loss(fresh: Fresh, name: str, rate: float, fall: float, accuracy: float) -> None:
    recipe = LEARNS.model_copy(update={"learning_rate": rate, "head_learning_rate": rate})
    result = fit(fresh(name), recipe=recipe)
    losses = [entry["loss"] for entry in result.history if "loss" in entry]
    assert len(losses) == 6
    assert losses[-1] < losses[0] - fall
    assert result.metrics["dev"]["accuracy"] >= accuracy


def test_the_metrics_are_those_of_the_kept_weights(finished: Finished) -> None:
    dev = [entry for entry in finished.result.history if "eval_loss" in entry]
    best = min(dev, key=lambda entry: entry["eval_loss"])
    assert finished.result.best_epoch == best["epoch"]
    assert finished.result.metrics["dev"]["loss"] == pytest.approx(best["eval_loss"], abs=1e-5)
    assert finished.result.metrics["dev"]["accuracy"] == best["eval_accuracy"]
    assert evaluate(finished.model, "dev", precision="fp32") == finished.result.metrics["dev"]
    assert not finished.model.training


def test_the_saved_model_is_the_trained_one(finished: Finished, task: Task) -> None:
    loaded = TransferModel.from_pretrained(finished.folder)
    assert same(weights(loaded), finished.weights)
    assert evaluate(loaded, "dev", task=task, precision="fp32") == finished.result.metrics["dev"]


def test_one_seed_gives_one_model_bit_for_bit(fresh: Fresh, finished: Finished) -> None:
    model = fresh()
    result = fit(model)
    assert same(weights(model), finished.weights)
    assert result.metrics == finished.result.metrics


def test_another_seed_gives_another(fresh: Fresh, finished: Finished) -> None:
    model = fresh()
    fit(model, seed=1)
    assert not same(weights(model), finished.weights)


def test_each_epoch_sees_every_row_once_in_another_order(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = TransferTrainer.training_step, []

    def training_step(self: TransferTrainer, module: torch.nn.Module, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
        seen.extend(tuple(row[row != 0].tolist()) for row in inputs["input_ids"])
        return original(self, module, inputs, *rest)

    monkeypatch.setattr(TransferTrainer, "training_step", training_step)
    model = fresh("head")
    fit(model, recipe=RECIPE.model_copy(update={"epochs": 3, "patience": 3}))
    fit(fresh("head"), recipe=RECIPE.model_copy(update={"epochs": 1}), seed=1)
    rows = Counter(tuple(row["input_ids"]) for row in model.encode({"text_a": model.task.splits["train"]["text_a"][:]}))
    epochs = [seen[i : i + 32] for i in range(0, 128, 32)]  # three of seed 0, one of seed 1
    assert [Counter(epoch) for epoch in epochs] == [rows] * 4
    assert len(set(map(tuple, epochs))) == 4


@pytest.mark.parametrize("name", ["scalearn", "scalearn-uniform++", "probing", "full", "head"])
def test_only_what_is_trained_changes(
    name: str, fresh: Fresh, make_source: Callable[..., Source], backbone: Any
) -> None:
    transfer = REGISTRY[name].method.stage == "transfer"
    shelf = Shelf([make_source("cola", backbone)]) if transfer else None
    model = fresh(name, sources=shelf)
    before = {key: value.clone() for key, value in model.named_parameters(remove_duplicate=False)}
    fit(model, recipe=RECIPE.model_copy(update={"epochs": 1, "patience": 1}))
    after = dict(model.named_parameters(remove_duplicate=False))
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    trained = {key for key, p in model.named_parameters(remove_duplicate=False) if p.requires_grad}
    assert changed <= trained
    assert {key for key in changed if key.startswith("head.")} == {key for key in trained if key.startswith("head.")}
    inside = {key for key in trained if not key.startswith("head.")}
    assert len(changed & inside) >= 0.8 * len(inside)  # a key's bias, for one, has no gradient


def test_regression(fresh: Fresh, tmp_path: Path) -> None:
    chance = random.Random(0)
    rows = ["text,score"]
    for _ in range(24):
        count = chance.randint(0, 8)
        rows.append(f"{' '.join(['film'] + ['good'] * count + ['bad'] * (8 - count))},{count / 4 + 0.01}")
    (tmp_path / "scores.csv").write_text("\n".join(rows) + "\n")
    task = Task.from_files(tmp_path / "scores.csv", text="text", label="score")
    model = fresh("full", task=task)
    result = fit(model, recipe=LEARNS.model_copy(update={"select": "metric"}))
    names = {"pearson", "spearman", "combined_score"}
    assert set(result.metrics["dev"]) == {"loss", *names, *(f"{name}_stderr" for name in names)}
    assert result.metrics["dev"]["pearson"] > 0.8
    dev = task.splits["dev"]
    answers = torch.tensor([answer.label for answer in model.predict(dev["text_a"][:], precision="fp32")])
    expected = (answers - torch.tensor(dev["label"][:])).square().mean().item()
    assert result.metrics["dev"]["loss"] == pytest.approx(expected, rel=1e-4)


def test_every_other_split_is_scored(fresh: Fresh, task: Task) -> None:
    splits = {**task.splits, "test": task.splits["train"].select(range(5))}
    result = fit(fresh("head", task=replace(task, splits=splits)), recipe=RECIPE.model_copy(update={"epochs": 1}))
    assert set(result.metrics) == {"dev", "test"}
    for scores in result.metrics.values():
        assert set(scores) == {"loss", "accuracy", "f1_macro", "accuracy_stderr", "f1_macro_stderr"}
    assert not [key for entry in result.history for key in entry if "stderr" in key], "not at every evaluation"


def test_answers_are_judged_beside_their_own_rows(fresh: Fresh, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """In training dev rows are taken by length, and judged in their own order nevertheless."""
    original, judged = Task.judge, list[tuple[list[str], Tensor]]()

    def judge(self: Task, rows: Dataset, logits: Any) -> dict[str, float]:
        judged.append((rows["text_a"][:], torch.as_tensor(logits)))
        return original(self, rows, logits)

    predicted, lengths = TransferTrainer.prediction_step, list[int]()

    def prediction_step(self: TransferTrainer, module: Any, inputs: dict[str, Tensor], *rest: Any, **how: Any) -> Any:
        lengths.extend(inputs["attention_mask"].sum(dim=1).tolist())
        return predicted(self, module, inputs, *rest, **how)

    monkeypatch.setattr(Task, "judge", judge)
    monkeypatch.setattr(TransferTrainer, "prediction_step", prediction_step)
    model = fresh()
    fit(model, recipe=RECIPE.model_copy(update={"epochs": 1}))
    assert len(lengths) == 8 and lengths == sorted(lengths)
    texts = task.splits["dev"]["text_a"][:]
    assert sorted(texts, key=lambda text: len(text.split())) != texts
    logits = model.logits(model.encode({"text_a": texts}), precision="fp32")
    assert len(judged) == 2, "after the epoch, and at the end"
    for names_of_rows, given in judged:
        assert dict(zip(names_of_rows, given.tolist(), strict=True)) == {
            text: pytest.approx(own, abs=1e-5) for text, own in zip(texts, logits.tolist(), strict=True)
        }


def test_tokens_from_the_cache_train_the_same(
    fresh: Fresh, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(tokens, "KEPT_FROM", 1)
    model = fresh()
    assert fit(model).metrics == finished.result.metrics
    assert same(weights(model), finished.weights)
    assert len(names(tmp_path / "cache" / "scalearn-tokens")) == 2


def test_what_of_a_pair_is_cut_is_the_tasks_choice(fresh: Fresh, pair_task: Task) -> None:
    texts = {"text_a": ["a b"], "text_b": ["good film was long"]}
    given = {"label": [0], "question": [0], **texts}
    task = replace(pair_task, truncation="only_first", max_length=8)
    model = fresh("head", task=task)
    (cut,) = encode(model.need_tokenizer(), texts, max_length=8, truncation="only_first", labels=[0])
    splits = {"dev": Dataset.from_dict(given)}
    grouped = SimpleNamespace(image=None, max_length=8, truncation="only_first", splits=splits)
    assert list(model.rows_of(grouped, "dev")) == [cut]  # type: ignore[arg-type]
    assert model.encode(texts, [0]) == [cut]
    assert encode(model.need_tokenizer(), texts, max_length=8, labels=[0]) != [cut]


def test_the_published_protocol_knows_the_task(fresh: Fresh, task: Task, shelf: Shelf, tmp_path: Path) -> None:
    model = fresh("scalearn-uniform", task=replace(task, name="record"), sources=shelf, protocol="published")
    train(model, tmp_path / "out", protocol="published", precision="fp32", progress=False)
    described = json.loads((tmp_path / "out" / "scalearn.json").read_text())
    assert described["provenance"]["recipe"]["epochs"] == 3


# ---- steps instead of epochs


def evaluated(result: TrainResult) -> list[float]:
    """The steps after which dev rows were scored."""
    return [entry["step"] for entry in result.history if "eval_loss" in entry]


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"steps": 10}, [4, 8, 10]),
        ({"steps": 10, "evaluate_every": 3}, [3, 6, 9, 10]),
        ({"steps": 2, "evaluate_every": 3}, [2]),
        ({"epochs": 2, "evaluate_every": 3}, [3, 6, 8]),
        ({"steps": 6, "evaluate_every": 6}, [6]),
    ],
)
def test_so_many_steps_instead_of_epochs(fresh: Fresh, changes: dict[str, int], steps: list[int]) -> None:
    model = fresh("head")
    result = fit(model, recipe=changed(RECIPE, changes))
    assert evaluated(result) == steps
    assert (result.steps, result.epochs) == (steps[-1], steps[-1] / STEPS)
    losses = [entry["eval_loss"] for entry in result.history if "eval_loss" in entry]
    assert result.best_step == steps[losses.index(min(losses))]
    assert result.best_epoch == result.best_step / STEPS
    assert result.metrics["dev"]["loss"] == pytest.approx(min(losses), abs=1e-5)


def test_the_best_step_is_kept_and_patience_counts_evaluations(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh("head")
    seen = script_scores(monkeypatch, [0.5, 0.6, 0.6, 0.4, 0.0], model)
    result = fit(model, recipe=changed(BY_METRIC, {"steps": 1000, "evaluate_every": 3, "patience": 2}))
    assert evaluated(result) == [3, 6, 9, 12]
    assert (result.steps, result.best_step, result.epochs, result.best_epoch) == (12, 6, 3, 1.5)
    assert same(weights(model), seen[1])


# ---- a budget of tokens instead of rows


def watched_fit(model: TransferModel, out: Path | None = None, *, recipe: Recipe) -> tuple[TrainResult, list[Any]]:
    """Trains, and returns the rows that each step saw, padded."""
    original, seen = TransferTrainer.training_step, list[Any]()

    def training_step(self: TransferTrainer, module: torch.nn.Module, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
        seen.append([tuple(row) for row in inputs["input_ids"].tolist()])
        return original(self, module, inputs, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransferTrainer, "training_step", training_step)
        return fit(model, out, recipe=recipe), seen


def test_steps_of_so_many_tokens(fresh: Fresh, task: Task) -> None:
    """Eight rows of up to 8 tokens or four of up to 16, every row once an epoch, in equally many steps."""
    model = fresh()
    result, seen = watched_fit(model, recipe=changed(RECIPE, {"tokens_per_batch": 64, "epochs": 3}))
    lengths = sorted(len(row["input_ids"]) for row in model.encode({"text_a": task.splits["train"]["text_a"][:]}))
    assert all(len(batch) * len(batch[0]) <= 64 for batch in seen)
    assert {(len(batch), len(batch[0])) for batch in seen} >= {(8, 8), (4, 16)}
    per_epoch, rest = divmod(len(seen), 3)
    assert rest == 0 and (result.steps, result.epochs) == (len(seen), 3.0)
    assert evaluated(result) == [per_epoch, 2 * per_epoch, 3 * per_epoch]
    for epoch in range(3):
        rows = [row for batch in seen[epoch * per_epoch : (epoch + 1) * per_epoch] for row in batch]
        assert sorted(sum(token > 0 for token in row) for row in rows) == lengths
    assert len({tuple(sorted(batch)) for batch in seen}) > 2 * per_epoch, "the same rows meet in every epoch"
    assert result.history[-1]["num_input_tokens_seen"] == 3 * sum(lengths)


def test_a_row_longer_than_the_budget_is_a_step_of_its_own(fresh: Fresh) -> None:
    _, seen = watched_fit(fresh(), recipe=changed(RECIPE, {"tokens_per_batch": 8, "epochs": 1}))
    assert [len(batch) for batch in seen] == [1] * 32
    assert {len(batch[0]) for batch in seen} == {8, 16}


@pytest.mark.parametrize("step", [2, 8, 12])
def test_an_interrupted_run_of_a_budget_resumes_to_the_same_end(fresh: Fresh, tmp_path: Path, step: int) -> None:
    """Its checkpoints are in the midst of epochs, of seven steps: the same rows, and the same weights bit for bit."""
    recipe = changed(BY_STEPS, {"tokens_per_batch": 64})
    whole = fresh()
    expected, seen = watched_fit(whole, recipe=recipe)
    assert expected.epochs == 2.0
    interrupted(fresh(), tmp_path / "out", step=step, recipe=recipe)
    model = fresh()
    result, again = watched_fit(model, tmp_path / "out", recipe=recipe)
    assert again == seen[(step - 1) // 3 * 3 :], "it went on from the last evaluation"
    assert same(weights(model), weights(whole))
    assert (result.metrics, result.best_step, result.epochs) == (expected.metrics, expected.best_step, expected.epochs)


def test_patience_counts_evaluations_under_a_budget(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh("head")
    script_scores(monkeypatch, [0.5, 0.6, 0.6, 0.4, 0.0], model)
    changes = {"tokens_per_batch": 64, "epochs": 10, "patience": 2}
    result = fit(model, recipe=changed(BY_METRIC, changes))
    assert (result.epochs, result.best_epoch) == (4, 2)


# ---- the best checkpoint, and when to stop


@pytest.mark.parametrize(("select", "best"), [("metric", 1), ("loss", None)])
def test_the_best_weights_are_kept_not_the_last(
    fresh: Fresh, monkeypatch: pytest.MonkeyPatch, select: str, best: int | None
) -> None:
    model = fresh()
    seen = script_scores(monkeypatch, [0.2, 0.9, 0.5, 0.4, 0.9], model)
    result = fit(model, recipe=RECIPE.model_copy(update={"select": select}))
    if best is None:  # by loss: the script must not matter
        losses = [entry["eval_loss"] for entry in result.history if "eval_loss" in entry]
        best = losses.index(min(losses))
    assert result.best_epoch == best + 1
    assert same(weights(model), seen[best])
    assert not same(seen[1], seen[3])


def test_training_stops_after_so_many_epochs_without_a_better_score(
    fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fresh("head")
    seen = script_scores(monkeypatch, [0.5, 0.6, 0.6, 0.4, 0.0], model)
    result = fit(model, recipe=BY_METRIC.model_copy(update={"epochs": 10, "patience": 2}))
    assert (result.epochs, result.best_epoch) == (4, 2)
    assert same(weights(model), seen[1])


# ---- what is written


def test_an_adapter_run_leaves_a_model_and_a_source(finished: Finished, task: Task) -> None:
    assert names(finished.folder.parent) == ["out"]
    assert names(finished.folder) == [
        "README.md",
        "model.safetensors",
        "scalearn.json",
        "source.json",
        "source.safetensors",
    ]
    (source,) = Shelf(finished.folder)
    assert (source.name, source.method) == ("reviews", "adapter")
    assert source.task == task.describe()
    assert source.metrics == finished.result.metrics
    assert source.provenance["command"] == "scalearn train reviews"
    assert source.provenance["rows"] == {"train": 32, "dev": 8}
    for layer, bottleneck in enumerate(source.deltas()["layer"]):
        for key, value in bottleneck.state_dict().items():
            name = f"backbone.encoder.layer.{layer}.output.LayerNorm.delta.{key}"
            assert torch.equal(value, finished.weights[name])


def test_the_source_can_be_transferred(fresh: Fresh, finished: Finished, tmp_path: Path) -> None:
    model = fresh("scalearn", sources=Shelf(finished.folder.parent))
    fit(model, tmp_path / "target", recipe=RECIPE.model_copy(update={"epochs": 1}))
    assert names(tmp_path / "target") == ["README.md", "model.safetensors", "scalearn.json"]
    stored = load_file(tmp_path / "target" / "model.safetensors")
    assert all(key.startswith("head.") or key.endswith(".omega.values") for key in stored)
    assert same(weights(TransferModel.from_pretrained(tmp_path / "target")), weights(model))


def test_sources_can_be_included(fresh: Fresh, finished: Finished, tmp_path: Path) -> None:
    model = fresh("scalearn", sources=Shelf(finished.folder.parent))
    fit(model, tmp_path / "target", recipe=RECIPE.model_copy(update={"epochs": 1}), include_sources=True, name="other")
    assert names(tmp_path / "target" / "sources") == ["reviews"]


def test_the_name_of_the_source_can_be_chosen(fresh: Fresh, tmp_path: Path) -> None:
    fit(fresh(), tmp_path / "out", recipe=RECIPE.model_copy(update={"epochs": 1}), name="mine")
    assert Shelf(tmp_path / "out").names == ("mine",)


def test_without_a_folder_nothing_is_left(fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fit(fresh("head"), recipe=RECIPE.model_copy(update={"epochs": 1}))
    assert names(tmp_path) == []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at(patch, 2)
        fit(fresh("head"))
    assert names(tmp_path) == []


def test_an_existing_folder_is_refused_before_training(fresh: Fresh, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    model = fresh()
    before = weights(model)
    with pytest.raises(InputError, match="out exists already"):
        fit(model, tmp_path / "out")
    assert same(weights(model), before)
    assert names(tmp_path) == ["out"]


def test_overwriting(fresh: Fresh, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scalearn.json").write_text("old")
    fit(fresh("head"), tmp_path / "out", recipe=RECIPE.model_copy(update={"epochs": 1}), overwrite=True)
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["README.md", "model.safetensors", "scalearn.json"]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_task_without_rows_is_refused(fresh: Fresh, task: Task, tmp_path: Path, split: str) -> None:
    splits = {name: rows for name, rows in task.splits.items() if name != split}
    with pytest.raises(InputError, match=f"task 'reviews' has no {split} rows"):
        fit(fresh(task=replace(task, splits=splits)), tmp_path / "out")
    assert names(tmp_path) == []


# ---- interruption


@pytest.mark.parametrize("step", [1, STEPS + 2, 3 * STEPS + 1])
def test_an_interrupted_run_resumes_to_the_same_end(
    fresh: Fresh, finished: Finished, tmp_path: Path, step: int
) -> None:
    interrupted(fresh(), tmp_path / "out", step=step)
    assert names(tmp_path) == [".out.partial"]
    model = fresh()
    result = fit(model, tmp_path / "out")
    assert same(weights(model), finished.weights)
    assert same(load_file(tmp_path / "out" / "model.safetensors"), finished.weights)
    assert (result.metrics, result.best_epoch, result.epochs) == (
        finished.result.metrics,
        finished.result.best_epoch,
        finished.result.epochs,
    )
    assert names(tmp_path) == ["out"]


@pytest.fixture(scope="module")
def finished_by_steps(fresh: Fresh) -> tuple[TrainResult, dict[str, Tensor]]:
    model = fresh()
    return fit(model, recipe=BY_STEPS), weights(model)


@pytest.mark.parametrize("step", [2, 5, 9, 14])
def test_an_interrupted_run_by_steps_resumes_to_the_same_end(
    fresh: Fresh, finished_by_steps: tuple[TrainResult, dict[str, Tensor]], tmp_path: Path, step: int
) -> None:
    """Its checkpoints are in the midst of epochs, of four steps."""
    whole, kept = finished_by_steps
    interrupted(fresh(), tmp_path / "out", step=step, recipe=BY_STEPS)
    original, taken = TransferTrainer.training_step, []

    def training_step(self: TransferTrainer, *args: Any, **kwargs: Any) -> Tensor:
        taken.append(self.state.global_step)
        return original(self, *args, **kwargs)

    model = fresh()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransferTrainer, "training_step", training_step)
        result = fit(model, tmp_path / "out", recipe=BY_STEPS)
    assert taken == list(range((step - 1) // 3 * 3, 14)), "it went on from the last evaluation"
    assert same(weights(model), kept)
    assert evaluated(result) == evaluated(whole) == [3, 6, 9, 12, 14]
    assert (result.metrics, result.best_step, result.best_epoch, result.steps, result.epochs) == (
        whole.metrics,
        whole.best_step,
        whole.best_epoch,
        whole.steps,
        whole.epochs,
    )


def test_a_run_is_not_repeated_from_the_start(fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(fresh("head"), tmp_path / "out", step=3 * STEPS + 2)
    original, taken = TransferTrainer.training_step, []

    def training_step(self: TransferTrainer, *args: Any, **kwargs: Any) -> Tensor:
        taken.append(self.state.global_step)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(TransferTrainer, "training_step", training_step)
    fit(fresh("head"), tmp_path / "out")
    assert taken == [12, 13, 14, 15]


def test_an_interruption_while_writing_can_be_resumed(fresh: Fresh, finished: Finished, tmp_path: Path) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TransferModel, "write_into", fails)
        fit(fresh(), tmp_path / "out")
    assert names(tmp_path) == [".out.partial"]
    model = fresh()
    fit(model, tmp_path / "out")
    assert same(weights(model), finished.weights)
    assert names(tmp_path) == ["out"]


def test_checkpoints_hold_only_what_was_trained(fresh: Fresh, finished: Finished, tmp_path: Path) -> None:
    interrupted(fresh(), tmp_path / "out", step=STEPS + 2)
    (checkpoint,) = (tmp_path / ".out.partial" / "checkpoints").iterdir()
    assert names(checkpoint) == [
        "model.safetensors",
        "optimizer.pt",
        "rng_state.pth",
        "scheduler.pt",
        "trainer_state.json",
    ]
    assert load_file(checkpoint / "model.safetensors").keys() == finished.weights.keys()
    optimizer = torch.load(checkpoint / "optimizer.pt", weights_only=True)
    assert len(optimizer["state"]) == len(finished.weights)
    assert names(tmp_path / ".out.partial") == ["checkpoints", "run.json"]


def test_a_broken_last_checkpoint_is_passed_over(fresh: Fresh, finished: Finished, tmp_path: Path) -> None:
    interrupted(fresh(), tmp_path / "out", step=2 * STEPS + 2)
    checkpoints = tmp_path / ".out.partial" / "checkpoints"
    (checkpoints / "checkpoint-8" / "trainer_state.json").unlink()
    model = fresh()
    fit(model, tmp_path / "out")
    assert same(weights(model), finished.weights)


OTHER: dict[str, dict[str, Any]] = {
    "seed": {"seed": 1},
    "recipe": {"recipe": RECIPE.model_copy(update={"epochs": 5})},
    "method": {"method": Adapter(bottleneck=5)},
    "pooling": {"pooling": "first"},
    "task": {"task": None},
}


@pytest.mark.parametrize("what", OTHER)
def test_other_settings_are_refused(fresh: Fresh, task: Task, tmp_path: Path, what: str) -> None:
    interrupted(fresh(), tmp_path / "out", step=STEPS + 2)
    before = sorted(tmp_path.rglob("*"))
    other = dict(OTHER[what])
    if what == "task":
        other["task"] = task.take(train_rows=20, seed=0)
    build = {key: other.pop(key) for key in ("method", "pooling", "task") if key in other}
    with pytest.raises(
        InputError, match=r"\.out\.partial holds an unfinished run of .*out with other settings.*restart"
    ):
        fit(fresh(**build), tmp_path / "out", **other)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unfinished_run_can_be_discarded(fresh: Fresh, finished: Finished, tmp_path: Path) -> None:
    interrupted(fresh(), tmp_path / "out", step=STEPS + 2, seed=1)
    model = fresh()
    fit(model, tmp_path / "out", restart=True)
    assert same(weights(model), finished.weights)
    assert names(tmp_path) == ["out"]


def test_patience_is_not_forgotten_by_an_interruption(fresh: Fresh, tmp_path: Path) -> None:
    """Two of three patient epochs are over when the run is interrupted: one is left, as without the interruption."""
    recipe = BY_METRIC.model_copy(update={"epochs": 10, "patience": 3})
    with pytest.MonkeyPatch.context() as patch:
        model = fresh("head")
        script_scores(patch, [0.9, 0.5, 0.4], model)
        interrupted(model, tmp_path / "out", step=3 * STEPS + 2, recipe=recipe)
    with pytest.MonkeyPatch.context() as patch:
        model = fresh("head")
        script_scores(patch, [0.3] * 9, model)
        result = fit(model, tmp_path / "out", recipe=recipe)
    assert (result.epochs, result.best_epoch) == (4, 1)


@pytest.mark.parametrize("best", [1, 0], ids=["first epoch", "start"])
@pytest.mark.parametrize("trained", [False, True], ids=["in training", "after training"])
@pytest.mark.parametrize("moved", [False, True], ids=["stays", "moves"])
def test_the_best_checkpoint_is_found_where_the_project_is_now(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool, trained: bool, best: int
) -> None:
    recipe = BY_METRIC if best else changed(BY_METRIC, {"head_start": "linear"})

    def fails(self: TransferTrainer) -> None:
        raise KeyboardInterrupt

    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        model = fresh("head")
        seen = script_scores(patch, [0.9, 0.5, 0.4, 0.4, 0.3], model)
        if trained:
            patch.setattr(TransferTrainer, "_load_best_model", fails)
        else:
            interrupt_at(patch, 2 * STEPS + 2)
        fit(model, "out", recipe=recipe)
    assert not same(seen[0], seen[1])
    place = (tmp_path / "project").rename(tmp_path / ("moved" if moved else "project"))
    monkeypatch.chdir(tmp_path if moved else place)
    with pytest.MonkeyPatch.context() as patch:
        model = fresh("head")
        script_scores(patch, [0.3] * 9, model)
        result = fit(model, place / "out" if moved else "out", recipe=recipe)
    assert result.best_epoch == best
    assert same(weights(model), seen[0])


def test_run_json_is_what_the_run_is_known_by(fresh: Fresh, tmp_path: Path) -> None:
    interrupted(fresh(), tmp_path / "out", step=2)
    run = json.loads((tmp_path / ".out.partial" / "run.json").read_text())
    assert (run["seed"], run["precision"], run["pooling"]) == (0, "fp32", "mean")
    assert run["recipe"] == RECIPE.model_dump()


# ---- evaluation


def test_evaluate_names_the_splits_there_are(finished: Finished) -> None:
    with pytest.raises(InputError, match=r"task 'reviews' has no split 'test'; it has (train, dev|dev, train)"):
        evaluate(finished.model)


def test_evaluate_refuses_other_labels(finished: Finished, task: Task) -> None:
    other = replace(task, labels=("negative", "positive"))
    with pytest.raises(InputError, match=r"has labels \['negative', 'positive'\] .* trained for \['bad', 'good'\]"):
        evaluate(finished.model, "dev", task=other)


def test_evaluate_scores_by_hand(finished: Finished, task: Task) -> None:
    dev = task.splits["dev"]
    answers = finished.model.predict(dev["text_a"][:], precision="fp32")
    right = [answer.label == task.labels[gold] for answer, gold in zip(answers, dev["label"][:], strict=True)]
    loss = -sum(
        torch.tensor(answer.probabilities[task.labels[gold]]).log().item()
        for answer, gold in zip(answers, dev["label"][:], strict=True)
    )
    scores = evaluate(finished.model, "dev", batch_size=3, precision="fp32")
    logits = finished.model.logits(finished.model.encode({"text_a": dev["text_a"][:]}), precision="fp32")
    errors = task.standard_errors(dev, logits.numpy())
    assert set(errors) == {"accuracy_stderr", "f1_macro_stderr"} and errors.items() <= scores.items()
    assert scores["accuracy"] == sum(right) / len(right)
    assert scores["loss"] == pytest.approx(loss / len(dev), rel=1e-4)


def test_progress_goes_to_the_error_stream(fresh: Fresh, capsys: pytest.CaptureFixture[str]) -> None:
    train(fresh("head"), recipe=RECIPE.model_copy(update={"epochs": 1}), precision="fp32", progress=True)
    assert capsys.readouterr().out == ""
    assert "scalearn.training.progress" in sys.modules


# ---- what would be no result


def test_a_run_that_diverges_is_no_result(fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = TransferTrainer.training_step

    def training_step(self: TransferTrainer, *args: Any, **kwargs: Any) -> Tensor:
        loss = original(self, *args, **kwargs)
        with torch.no_grad():
            next(p for p in self.model.parameters() if p.requires_grad).fill_(float("nan"))
        return loss

    monkeypatch.setattr(TransferTrainer, "training_step", training_step)
    with pytest.raises(InputError, match=r"training diverged: .* lower the learning rates"):
        fit(fresh(), tmp_path / "out", recipe=BY_METRIC)
    assert names(tmp_path) == []


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_generator_takes(fresh: Fresh, tmp_path: Path, seed: int) -> None:
    with pytest.raises(InputError, match=rf"seed {seed}: give a number from 0"):
        fit(fresh(), tmp_path / "out", seed=seed)
    assert names(tmp_path) == []


def test_several_processes_are_refused(fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="train runs in one process, not in 2: start it without torchrun"):
        fit(fresh(), tmp_path / "out")
    assert names(tmp_path) == []


def test_a_finished_training_is_not_lost_when_it_cannot_be_saved(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same call, once it can be, saves what was trained, without another step."""

    def fails(self: TransferModel, *args: Any, **kwargs: Any) -> None:
        raise InputError("a source is gone")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="a source is gone"):
        patch.setattr(TransferModel, "write_into", fails)
        fit(first := fresh(), tmp_path / "out")
    assert names(tmp_path) == [".out.partial"]
    monkeypatch.setattr(TransferTrainer, "training_step", None)
    fit(fresh(), tmp_path / "out")
    assert same(load_file(tmp_path / "out" / "model.safetensors"), weights(first))
