"""`train_joint` on the tiny backbone: mixed kinds, the best step, interruption, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import ClassLabel, Dataset
from safetensors.torch import load_file

from scalearn.errors import InputError
from scalearn.joint import JointModel
from scalearn.methods import REGISTRY, JointRecipe, changed
from scalearn.tasks import Task
from scalearn.tasks.splits import make_split
from scalearn.training import train_joint
from scalearn.training.joint import JointTrainer

JOINT = [name for name, entry in REGISTRY.items() if entry.method.stage == "joint"]
RECIPE = JointRecipe(
    learning_rate=1e-2, head_learning_rate=1e-2, steps=12, evaluate_every=4, batch_size=8, warmup_fraction=0.1
)


def numbers(rows: int = 24) -> Task:
    """How many times does the text say good?"""
    texts = [" ".join(["good"] * (i % 4) + ["film"]) for i in range(rows)]
    split = make_split([texts], [float(i % 4) for i in range(rows)], labels=())
    return Task(
        name="how.good",
        kind="regression",
        text=("text",),
        label="y",
        metrics=("pearson",),
        main_metric="pearson",
        splits={"train": split, "dev": split},
    )


def choices(rows: int = 24) -> Task:
    """Which of two words is the good one?"""
    pairs = [("good", "bad") if i % 2 else ("bad", "good") for i in range(rows)]
    split = make_split(
        [["the film was"] * rows],
        [0 if i % 2 else 1 for i in range(rows)],
        labels=("a", "b"),
        kind="multiple-choice",
        choices=pairs,
    )
    return Task(
        name="which",
        kind="multiple-choice",
        text=("text",),
        label="y",
        labels=("a", "b"),
        choices=("a", "b"),
        metrics=("accuracy",),
        main_metric="accuracy",
        splits={"train": split, "dev": split},
    )


def several(rows: int = 24) -> Task:
    """Which of two words occur?"""
    texts = [" ".join(["film", *(["good"] if i % 2 else []), *(["bad"] if i % 3 else [])]) for i in range(rows)]
    values = [[int(i % 2 > 0), int(i % 3 > 0)] for i in range(rows)]
    split = make_split([texts], values, labels=("good", "bad"), kind="multi-label")
    return Task(
        name="words",
        kind="multi-label",
        text=("text",),
        label="y",
        labels=("good", "bad"),
        metrics=("f1_macro",),
        main_metric="f1_macro",
        splits={"train": split, "dev": split},
    )


@pytest.fixture
def tasks(task: Task) -> list[Task]:
    return [task, numbers(), choices(), several()]


def fresh(tiny_backbone: str, tasks: list[Task], method: str = "adapter-m") -> JointModel:
    return JointModel.from_backbone(tiny_backbone, tasks=tasks, method=method, pooling="mean")


def test_all_kinds_of_task_are_learned_together(tiny_backbone: str, tasks: list[Task], tmp_path: Path) -> None:
    model = fresh(tiny_backbone, tasks)
    recipe = changed(RECIPE, {"steps": 160, "evaluate_every": 40, "temperature": 2.0})
    result = train_joint(model, tmp_path / "out", recipe=recipe, progress=False)
    dev = [entry for entry in result.history if "eval_loss" in entry]
    assert [entry["step"] for entry in dev] == [40, 80, 120, 160]
    for entry in dev:
        own = [entry[f"eval_{task.name}_loss"] for task in tasks]
        assert entry["eval_loss"] == pytest.approx(sum(own) / 4)
    for task in tasks:
        losses = [entry[f"eval_{task.name}_loss"] for entry in dev]
        assert losses[-1] < losses[0], task.name
    best = min(dev, key=lambda entry: entry["eval_loss"])
    assert result.best_step == best["step"]
    assert {name: scores["dev"]["loss"] for name, scores in result.metrics.items()} == pytest.approx(
        {task.name: best[f"eval_{task.name}_loss"] for task in tasks}
    )

    loaded = JointModel.from_pretrained(tmp_path / "out")
    assert loaded.tasks == {task.name: task for task in tasks}
    assert loaded.predict(["good good film"], task="how.good") == model.predict(["good good film"], task="how.good")
    (choice,) = loaded.predict([("the film was", "good", "bad")], task="which")
    assert choice.label in ("a", "b") and sum(choice.probabilities.values()) == pytest.approx(1)
    (words,) = loaded.predict(["good film"], task="words")
    assert isinstance(words.label, tuple) and set(words.probabilities) == {"good", "bad"}
    described = json.loads((tmp_path / "out" / "scalearn.json").read_text())
    assert [task["name"] for task in described["tasks"]] == [task.name for task in tasks]
    assert described["provenance"]["rows"]["which"] == {"train": 24, "dev": 24}


def script_losses(patch: pytest.MonkeyPatch, losses: Iterable[float], first: str) -> list[dict[str, torch.Tensor]]:
    """Makes mean dev losses follow a script; returns a list that gets the weights at each evaluation.

    Args:
        patch: undoes it.
        losses: one for each evaluation; the last one is repeated.
        first: the task that each evaluation begins with.
    """
    script, seen, loss = iter(losses), list[dict[str, torch.Tensor]](), [0.0]

    def scripted(model: JointModel, task: Task, *rows: object, precision: object = None) -> dict[str, float]:
        if task.name == first:
            loss.append(next(script, loss[-1]))
            seen.append({key: value.clone() for key, value in model.trained_state().items()})
        return {"loss": loss[-1]}

    patch.setattr("scalearn.training.joint.scored", scripted)
    return seen


def test_the_worse_end_is_not_kept(
    tiny_backbone: str, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dev losses that rise after the second evaluation, its weights are kept, and patience ends the run."""
    seen = script_losses(monkeypatch, [3.0, 1.0, 2.0, 2.0, 9.0], tasks[0].name)
    model = fresh(tiny_backbone, tasks)
    recipe = changed(RECIPE, {"steps": 40, "evaluate_every": 4, "patience": 2})
    result = train_joint(model, tmp_path / "out", recipe=recipe, progress=False)
    assert (result.best_step, result.steps) == (8, 16)
    for name, value in model.trained_state().items():
        assert torch.equal(value, seen[1][name])
        assert torch.equal(load_file(tmp_path / "out" / "model.safetensors")[name], value)


@pytest.mark.parametrize("method", JOINT)
def test_the_warm_up_and_the_decay_of_every_rate(tiny_backbone: str, task: Task, method: str) -> None:
    """Rates rise over the first half and fall to nothing, those of heads and mask scores each from its own peak."""
    recipe = changed(
        RECIPE, {"steps": 8, "evaluate_every": 8, "warmup_fraction": 0.5, "mask_learning_rate": 3e-2, "batch_size": 2}
    )
    recipe = changed(recipe, {"learning_rate": 1e-2, "head_learning_rate": 2e-2})
    rates: list[list[float]] = []
    with pytest.MonkeyPatch.context() as patch:
        watch_steps(patch, lambda trainer, _: rates.append([group["lr"] for group in trainer.optimizer.param_groups]))
        train_joint(fresh(tiny_backbone, [task, numbers()], method), recipe=recipe, progress=False)
    peaks = [1e-2, 2e-2, *([3e-2] if method == "propetl-m" else [])]
    shares = [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]
    assert rates == [pytest.approx([share * peak for peak in peaks]) for share in shares]


def test_the_recipe_decides_which_tasks_are_drawn(tiny_backbone: str, task: Task) -> None:
    """A cap of one row makes tasks of 32 and 4 rows equally likely; a temperature brings them nearer.

    A cap by name is of that task alone; one of a task that is not there is none.
    """
    few = numbers(4)
    mixes: list[list[float]] = []
    caps = {"caps": {"reviews": 8, "record": 1}}
    for changes in ({}, {"temperature": 2.0}, {"cap": 1}, caps):
        recipe = changed(RECIPE, {"steps": 1, "evaluate_every": 1} | changes)
        with pytest.MonkeyPatch.context() as patch:
            watch_steps(patch, lambda trainer, _: mixes.append(trainer.batches.probabilities.tolist()))
            train_joint(fresh(tiny_backbone, [task, few]), recipe=recipe, progress=False)
    expected = [[32 / 36, 4 / 36], [32**0.5 / (32**0.5 + 2), 2 / (32**0.5 + 2)], [0.5, 0.5], [8 / 12, 4 / 12]]
    assert mixes == [pytest.approx(shares) for shares in expected]


def test_batches_are_of_one_padded_length_not_of_one_length(tiny_backbone: str, task: Task) -> None:
    """Else a batch of a task whose labels follow from the lengths would be of one label."""
    labels: list[set[float]] = []
    widths: list[int] = []

    def watch(trainer: JointTrainer, inputs: dict[str, Any]) -> None:
        if inputs["task"] == "how.good":
            labels.append(set(inputs["labels"].tolist()))
        else:
            widths.append(inputs["input_ids"].shape[1])

    with pytest.MonkeyPatch.context() as patch:
        watch_steps(patch, watch)
        recipe = changed(RECIPE, {"steps": 40, "evaluate_every": 40})
        train_joint(fresh(tiny_backbone, [task, numbers()]), recipe=recipe, progress=False)
    assert len(labels) > 8 and min(map(len, labels)) > 1
    assert set(widths) == {8, 16} and widths.count(8) > 2, "eight rows at random are hardly ever all short"


@pytest.mark.parametrize("tokens", [8, 40, 64])
def test_a_step_is_a_batch_of_one_task_within_the_budget(tiny_backbone: str, tasks: list[Task], tokens: int) -> None:
    seen: list[tuple[str, list[list[int]], int]] = []

    def watch(trainer: JointTrainer, inputs: dict[str, Any]) -> None:
        ids = inputs["input_ids"]
        assert ids.numel() <= tokens or len(ids) == 1
        seen.append((inputs["task"], ids.flatten(0, -2).tolist(), len(ids)))

    with pytest.MonkeyPatch.context() as patch:
        watch_steps(patch, watch)
        recipe = changed(RECIPE, {"steps": 24, "evaluate_every": 24, "temperature": 9.0, "tokens_per_batch": tokens})
        result = train_joint(fresh(tiny_backbone, tasks), recipe=recipe, progress=False)
    assert result.steps == 24 and {name for name, *_ in seen} == {task.name for task in tasks}
    if tokens == 64:
        assert max(rows for name, _, rows in seen if name == "how.good") == 8
        assert max(rows for name, _, rows in seen if name == "which") == 4, "two choices of 8 tokens each"


def test_tasks_that_do_not_choose_the_checkpoint(tiny_backbone: str, task: Task) -> None:
    """Their dev losses are kept but not averaged: with the mean over all, the second evaluation would be the best."""
    losses = {"reviews": iter([1.0, 2.0, 3.0]), "how.good": iter([9.0, 1.0, 5.0]), "which": iter([1.0, 2.0, 3.0])}

    def scripted(model: JointModel, task: Task, *rows: object, precision: object = None) -> dict[str, float]:
        return {"loss": next(losses[task.name])}

    recipe = changed(RECIPE, {"unselective": ["how.good", "record"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scalearn.training.joint.scored", scripted)
        result = train_joint(fresh(tiny_backbone, [task, numbers(), choices()]), recipe=recipe, progress=False)
    dev = [entry for entry in result.history if "eval_loss" in entry]
    assert [entry["eval_loss"] for entry in dev] == [1.0, 2.0, 3.0]
    assert [entry["eval_how.good_loss"] for entry in dev] == [9.0, 1.0, 5.0]
    assert result.best_step == 4


def test_scores_of_a_joint_run(tiny_backbone: str, tasks: list[Task]) -> None:
    """The standard errors are of the result, not of each evaluation on the way."""
    result = train_joint(fresh(tiny_backbone, tasks), recipe=changed(RECIPE, {"steps": 4}), progress=False)
    assert set(result.metrics["words"]["dev"]) == {"loss", "f1_macro", "f1_macro_stderr"}
    (entry,) = [entry for entry in result.history if "eval_loss" in entry]
    assert {key for key in entry if key.startswith("eval_words")} == {"eval_words_loss", "eval_words_f1_macro"}
    assert entry["eval_words_f1_macro"] == result.metrics["words"]["dev"]["f1_macro"]


# ---- interruption


def watch_steps(patch: pytest.MonkeyPatch, watch: Callable[[JointTrainer, dict[str, Any]], object]) -> None:
    """Calls `watch` with trainer and batch before each step."""
    original = JointTrainer.training_step

    def training_step(self: JointTrainer, model: Any, inputs: dict[str, Any], *rest: Any) -> torch.Tensor:
        watch(self, inputs)
        return original(self, model, inputs, *rest)

    patch.setattr(JointTrainer, "training_step", training_step)


def stop_before(step: int, seen: list[list[Any]]) -> Callable[[JointTrainer, dict[str, Any]], None]:
    """Ctrl-C before a step, counted from 0 over the whole run; appends to `seen` what each step is of."""

    def watch(trainer: JointTrainer, inputs: dict[str, Any]) -> None:
        if trainer.state.global_step == step:
            raise KeyboardInterrupt
        seen.append([trainer.state.global_step, inputs["task"], inputs["input_ids"].tolist()])

    return watch


LONG = changed(RECIPE, {"steps": 16, "evaluate_every": 4, "temperature": 3.0, "patience": 9})


@pytest.mark.parametrize(
    ("step", "tokens"),
    [(6, None), (11, 32), *(pytest.param(step, None, marks=pytest.mark.slow) for step in (2, 11, 15))],
)
def test_an_interrupted_run_goes_on_with_the_same_batches(
    tiny_backbone: str, tasks: list[Task], tmp_path: Path, step: int, tokens: int | None
) -> None:
    """Of all kinds, with dropout everywhere: same tasks, same rows, same log, same weights bit for bit."""
    recipe = LONG if tokens is None else changed(LONG, {"tokens_per_batch": tokens})
    runs: dict[str, list[list[Any]]] = {"unbroken": [], "begun": [], "ended": []}
    models, results = {}, {}
    for name, stop in (("unbroken", -1), ("begun", step), ("ended", -1)):
        models[name] = fresh(tiny_backbone, tasks)
        with pytest.MonkeyPatch.context() as patch:
            watch_steps(patch, stop_before(stop, runs[name]))
            out = tmp_path / ("unbroken" if name == "unbroken" else "out")
            if name == "begun":
                with pytest.raises(KeyboardInterrupt):
                    train_joint(models[name], out, recipe=recipe, progress=False)
                assert sorted(path.name for path in tmp_path.iterdir()) == [".out.partial", "unbroken"]
            else:
                results[name] = train_joint(models[name], out, recipe=recipe, progress=False)
    kept = step // 4 * 4
    assert [which for which, *_ in runs["ended"]] == list(range(kept, 16)), "it went on from the last evaluation"
    assert runs["begun"][:kept] + runs["ended"] == runs["unbroken"]
    assert len({task for _, task, _ in runs["unbroken"]}) == 4
    for name, value in models["unbroken"].trained_state().items():
        assert torch.equal(models["ended"].trained_state()[name], value), name
    assert results["ended"].metrics == results["unbroken"].metrics
    losses = [[entry["eval_loss"] for entry in r.history if "eval_loss" in entry] for r in results.values()]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "unbroken"]


def test_patience_is_not_forgotten_by_an_interruption(tiny_backbone: str, tasks: list[Task], tmp_path: Path) -> None:
    """One of two patient evaluations is over when the run is interrupted: one is left."""
    recipe = changed(RECIPE, {"steps": 40, "evaluate_every": 2, "patience": 2})
    for losses, stop in (([1.0, 2.0], 5), ([2.0] * 9, -1)):
        model = fresh(tiny_backbone, tasks[:2])
        with pytest.MonkeyPatch.context() as patch:
            script_losses(patch, losses, tasks[0].name)
            watch_steps(patch, stop_before(stop, []))
            if stop > 0:
                with pytest.raises(KeyboardInterrupt):
                    train_joint(model, tmp_path / "out", recipe=recipe, progress=False)
            else:
                result = train_joint(model, tmp_path / "out", recipe=recipe, progress=False)
    assert (result.best_step, result.steps) == (2, 6)


def test_the_best_checkpoint_is_found_where_the_project_is_now(
    tiny_backbone: str, tasks: list[Task], tmp_path: Path
) -> None:
    """Stopped after its last step, so that no later checkpoint says where the best one is, and moved."""

    def stop(self: JointTrainer) -> None:
        raise KeyboardInterrupt

    recipe = changed(RECIPE, {"steps": 8, "evaluate_every": 2, "patience": 9})
    (tmp_path / "was").mkdir()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        seen = script_losses(patch, [1.0, 2.0], tasks[0].name)
        patch.setattr(JointTrainer, "_load_best_model", stop)
        train_joint(fresh(tiny_backbone, tasks[:2]), tmp_path / "was" / "out", recipe=recipe, progress=False)
    (tmp_path / "was").rename(tmp_path / "now")
    model = fresh(tiny_backbone, tasks[:2])
    with pytest.MonkeyPatch.context() as patch:
        script_losses(patch, [2.0], tasks[0].name)
        result = train_joint(model, tmp_path / "now" / "out", recipe=recipe, progress=False)
    assert (result.best_step, result.steps) == (2, 8)
    for name, value in model.trained_state().items():
        assert torch.equal(value, seen[0][name]), name


def test_an_unfinished_run_goes_on_only_as_it_began(tiny_backbone: str, tasks: list[Task], tmp_path: Path) -> None:
    def run(*, stop: int = -1, given: list[Task] = tasks, **other: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            watch_steps(patch, stop_before(stop, []))
            train_joint(fresh(tiny_backbone, given), tmp_path / "out", progress=False, **({"recipe": RECIPE} | other))

    with pytest.raises(KeyboardInterrupt):
        run(stop=5)
    for other in ({"seed": 1}, {"recipe": changed(RECIPE, {"temperature": 2.0})}, {"given": tasks[::-1]}):
        with pytest.raises(InputError, match=r"unfinished run .* with other settings: .*--restart"):
            run(**other)
    run(seed=1, restart=True)
    assert json.loads((tmp_path / "out" / "scalearn.json").read_text())["provenance"]["seed"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_that_is_not_kept_leaves_nothing(
    tiny_backbone: str, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    train_joint(fresh(tiny_backbone, tasks), recipe=RECIPE, progress=False)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        watch_steps(patch, stop_before(5, []))
        train_joint(fresh(tiny_backbone, tasks), recipe=RECIPE, progress=False)
    assert list(tmp_path.iterdir()) == []


# ---- disk

LOAD = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from scalearn.joint import JointModel
torch.set_num_threads(1)
TEXTS = {texts!r}
for folder in Path(sys.argv[1]).glob("*/out"):
    model = JointModel.from_pretrained(folder)
    logits = {{
        name: model.logits(model.encode(texts, task=name), task=name, precision="fp32") for name, texts in TEXTS.items()
    }}
    save_file(logits, folder.with_name("logits.safetensors"))
"""


def test_every_method_learns_all_kinds_and_is_loaded_in_a_new_process(
    tiny_backbone: str, tasks: list[Task], tmp_path: Path
) -> None:
    rows = ["good film", "the film was very bad", "a b c"]
    texts: dict[str, dict[str, list[Any]]] = {task.name: {"text_a": rows} for task in tasks}
    texts["which"]["choices"] = [["good", "bad"], ["very long", "short"], ["a", "b"]]
    recipe = changed(RECIPE, {"steps": 8, "evaluate_every": 4, "temperature": 9.0, "mask_learning_rate": 1e-2})
    expected = {}
    for method in JOINT:
        model = fresh(tiny_backbone, tasks, method)
        train_joint(model, tmp_path / method / "out", recipe=recipe, progress=False)
        expected[method] = {
            name: model.logits(model.encode(own, task=name), task=name, precision="fp32") for name, own in texts.items()
        }
        assert {name: tuple(value.shape) for name, value in expected[method].items()} == {
            "reviews": (3, 2),
            "how.good": (3, 1),
            "which": (3, 2),
            "words": (3, 2),
        }
    subprocess.run(
        [sys.executable, "-c", LOAD.format(texts=texts), str(tmp_path)],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    for method, logits in expected.items():
        found = load_file(tmp_path / method / "logits.safetensors")
        assert all(torch.equal(found[name], value) for name, value in logits.items()), method


# ---- what is refused


def refused(tiny_backbone: str, tasks: list[Task], out: Path, match: str, **changes: object) -> None:
    with pytest.raises(InputError, match=match):
        train_joint(fresh(tiny_backbone, tasks), out, recipe=changed(RECIPE, changes), progress=False)
    assert list(out.parent.iterdir()) == []


def test_a_task_without_rows(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    refused(tiny_backbone, [task, replace(numbers(), splits={})], out / "a", "'how.good' has no train rows")
    no_dev = replace(numbers(), splits={"train": numbers().splits["train"]})
    refused(tiny_backbone, [task, no_dev], out / "a", "'how.good' has no dev rows")


def test_unequal_label_sets(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    out.mkdir()
    dev = task.splits["dev"]
    swapped: Dataset = dev.cast_column("label", ClassLabel(names=["good", "bad"]))
    wrong = replace(task, name="other", splits={**task.splits, "dev": swapped})
    match = "'other': split 'dev' has the labels good, bad, not bad, good"
    refused(tiny_backbone, [task, wrong], out / "a", match)


def test_a_class_that_no_training_row_has(tiny_backbone: str, pair_task: Task, task: Task, tmp_path: Path) -> None:
    """Which no method can learn, though its dev rows would choose the checkpoint."""
    (tmp_path / "runs").mkdir()
    texts = [["film"] * 6, ["good"] * 6]
    train, dev = (make_split(texts, labels, labels=pair_task.labels) for labels in ([0, 2] * 3, [0, 1, 2] * 2))
    splits = {"train": train, "dev": dev}
    match = r"'pairs': no training row is of the class 'perhaps', but 2 of 6 dev rows are: .*--train-rows"
    refused(tiny_backbone, [task, replace(pair_task, splits=splits)], tmp_path / "runs" / "a", match)
    swapped = replace(pair_task, splits={"train": dev, "dev": train})
    train_joint(fresh(tiny_backbone, [task, swapped]), recipe=RECIPE, progress=False)


def test_no_task_chooses_the_checkpoint(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    match = r"all tasks \(reviews, how\.good\) are unselective.*: leave at least one out"
    names = ("how.good", "record", "reviews")
    refused(tiny_backbone, [task, numbers()], tmp_path / "runs" / "a", match, unselective=names)


def test_a_folder_that_exists_is_not_touched(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="exists"):
        train_joint(fresh(tiny_backbone, [task, numbers()]), tmp_path / "out", recipe=RECIPE, progress=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
