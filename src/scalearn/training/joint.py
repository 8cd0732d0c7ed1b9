"""`train_joint`: several tasks at once, from a `JointModel` to a finished folder, safe to stop and start again.

Each step is a batch of one task; all tasks are evaluated every so many steps, and the weights of the lowest mean dev
loss are kept. Under several processes (torchrun, accelerate) each takes its part of every batch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from datasets import Dataset
from numpy.typing import NDArray
from transformers import EarlyStoppingCallback, TrainerCallback

from scalearn.atomic import refuse_existing
from scalearn.encoding import Features, collator, padded_lengths_of
from scalearn.errors import InputError
from scalearn.joint import JointModel
from scalearn.methods import JointRecipe, Protocol, joint_recipe_for
from scalearn.precision import Precision, resolve
from scalearn.tasks import Task
from scalearn.training.buckets import RedrawnSampler, TokenBudgetSampler
from scalearn.training.checks import check_attention, check_classes, check_finite, check_rows, check_seed, check_tracker
from scalearn.training.evaluate import evaluated, scored
from scalearn.training.mixing import EndToEnd, TaskMix
from scalearn.training.progress import ProgressBar
from scalearn.training.trainer import TransferTrainer, arguments_for, optimizer_for, use_training_attention
from scalearn.training.work import finish, provenance, working_folder


@dataclass(frozen=True, kw_only=True)
class JointResult:
    """What a joint run gave."""

    metrics: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Task to split (``dev``, and the test splits it has) to scores of the best checkpoint."""
    best_step: int
    steps: int
    """Steps trained before the end or the early stop."""
    seconds: float
    """Of this call, without loading."""
    history: list[dict[str, Any]]
    """Trainer's log: losses and dev scores by step."""
    logits: Mapping[str, Mapping[str, NDArray[np.float32]]]
    """Task to split to the logits of the best checkpoint, in the order of the rows."""


def train_joint(
    model: JointModel,
    out: str | Path | None = None,
    *,
    protocol: Protocol = "default",
    recipe: JointRecipe | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    command: str | None = None,
    overwrite: bool = False,
    restart: bool = False,
    progress: bool = True,
    report_to: str = "none",
    callbacks: Sequence[TrainerCallback] = (),
    finishing: Callable[[Path, JointResult], None] = lambda folder, result: None,
) -> JointResult:
    """Trains a model in place, keeps its best checkpoint by mean dev loss over tasks, and saves it.

    Args:
        model: from `JointModel.from_backbone`, with tasks that have ``train`` and ``dev`` rows.
        out: a new folder for the model; None saves nothing.
        protocol: ``published`` for the paper's hyper-parameters; all others are the library's.
        recipe: hyper-parameters that replace the protocol's.
        seed: of batches and dropout. The same seed, machine and versions give the same weights.
        precision: see `scalearn.precision`.
        command: kept as provenance.
        overwrite: replace `out` if it exists.
        restart: forget an unfinished run of the same folder.
        progress: show a progress bar.
        report_to: passed to Trainer, for instance ``trackio``: see docs/tracking.md.
        callbacks: more of them for Trainer.
        finishing: given the folder with the model before it takes the name `out`, to put more into it, and the result.

    Raises:
        InputError: a task has no rows to train on, unequal label sets or a class in dev alone, the precision or
            attention cannot be had here, `out` exists, an unfinished run with other settings stands in its place, or
            the batch cannot be shared among the processes (none can be under a budget of tokens).
    """
    recipe = recipe or joint_recipe_for(model.method, protocol)
    folder = None if out is None else Path(out)
    _join_processes(model)
    _check(model, recipe, folder, seed=seed, overwrite=overwrite, report_to=report_to)
    run = {
        "tasks": [task.fingerprint() for task in model.tasks.values()],
        "backbone": model.reference.fingerprint,
        "method": [model.method.name, model.method.model_dump()],
        "recipe": recipe.model_dump(),
        "seed": seed,
        "precision": resolve(precision, model.device),
        "attention": model.attention,
        "pooling": model.pooling,
        "processes": PartialState().num_processes,
    }
    started = time.perf_counter()
    with working_folder(folder, run, restart=restart) as work:
        trainer = _fit(
            model,
            work / "checkpoints",
            recipe,
            seed=seed,
            precision=precision,
            progress=progress,
            report_to=report_to,
            callbacks=callbacks,
        )
        check_finite(model)
        judged = {
            name: {
                split: evaluated(model, split, task=task, precision=precision)
                for split in task.splits
                if split != "train"
            }
            for name, task in model.tasks.items()
        }
        metrics = {name: {split: scores for split, (scores, _) in own.items()} for name, own in judged.items()}
        result = JointResult(
            metrics=metrics,
            best_step=int(trainer.state.best_global_step or trainer.state.global_step),
            steps=int(trainer.state.global_step),
            seconds=time.perf_counter() - started,
            history=[dict(entry) for entry in trainer.state.log_history],
            logits={name: {split: logits for split, (_, logits) in own.items()} for name, own in judged.items()},
        )
        record = provenance(
            recipe,
            rows={name: {split: len(rows) for split, rows in t.splits.items()} for name, t in model.tasks.items()},
            seed=seed,
            protocol=protocol,
            precision=resolve(precision, model.device),
            command=command,
        )
        record["best_step"] = result.best_step

        def write(finished: Path) -> None:
            model.write_into(finished, extra={"metrics": metrics, "provenance": record})
            finishing(finished, result)

        if folder is not None:
            finish(work, folder, write)
    return result


class JointTrainer(TransferTrainer):
    """A `TransferTrainer` whose batches are of one task each, and whose evaluation is of all tasks."""

    model: JointModel
    batches: TaskMix
    dev: Mapping[str, tuple[Sequence[Features], Dataset]]
    """Dev rows of each task, tokenised and as they stand in the split."""
    unselective: Sequence[str]
    """Tasks whose dev loss does not count in the mean."""
    precision: Precision

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Scores every task on its dev rows; ``eval_loss`` is the mean of the losses that count."""
        scores = {
            name: scored(self.model, self.model.tasks[name], *rows, precision=self.precision)
            for name, rows in self.dev.items()
        }
        metrics = {f"eval_{name}_{key}": value for name, own in scores.items() for key, value in own.items()}
        losses = [own["loss"] for name, own in scores.items() if name not in self.unselective]
        metrics["eval_loss"] = sum(losses) / len(losses)
        use_training_attention(self.model, self.precision)
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def _join_processes(model: JointModel) -> None:
    """Makes the state that knows of the other processes; whoever asks for it first decides which device it is for.

    Asked without a device, on a machine without a GPU each process would take itself for the only one, and all of them
    would open, fill and remove one working folder.

    Raises:
        InputError: it was made before, for one process.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    joined = PartialState(cpu=model.device.type == "cpu").num_processes
    if joined < started:
        raise InputError(
            f"{started} processes were started, but accelerate's state was made for {joined} before train_joint: make "
            "no Accelerator, PartialState or TrainingArguments before it, or set ACCELERATE_USE_CPU=true"
        )


def _check(
    model: JointModel, recipe: JointRecipe, folder: Path | None, *, seed: int, overwrite: bool, report_to: str
) -> None:
    """Says before the training, not after it, whatever would make it fail."""
    for task in model.tasks.values():
        check_rows(task)
        check_classes(task)
    if set(model.tasks) <= set(recipe.unselective):
        raise InputError(
            f"all tasks ({', '.join(model.tasks)}) are unselective, so that no dev loss chooses the checkpoint: leave "
            "at least one out of unselective, or add a task"
        )
    check_attention(model)
    check_tracker(report_to)
    check_seed(seed)
    processes = PartialState().num_processes
    if recipe.tokens_per_batch is not None and processes > 1:
        raise InputError(
            f"batches of {recipe.tokens_per_batch} tokens cannot be shared by {processes} processes: give rows per "
            "batch instead (batch_size, --batch-size), or start one process"
        )
    if recipe.batch_size % processes:
        raise InputError(
            f"a batch of {recipe.batch_size} rows cannot be shared by {processes} processes: change either"
        )
    if folder is not None:
        refuse_existing(folder, overwrite=overwrite)
    elif processes > 1:
        raise InputError("several processes share the checkpoints of a run: give a folder for it (out=..., --out)")


def _fit(
    model: JointModel,
    checkpoints: Path,
    recipe: JointRecipe,
    *,
    seed: int,
    precision: Precision,
    progress: bool,
    report_to: str,
    callbacks: Sequence[TrainerCallback],
) -> JointTrainer:
    """Trains `model` and leaves it with the weights of its best checkpoint."""
    processes = PartialState().num_processes
    model.backbone_dropout = recipe.backbone_dropout
    arguments = arguments_for(
        model,
        recipe,
        checkpoints,
        seed=seed,
        precision=precision,
        per_device_train_batch_size=recipe.batch_size // processes,
        max_steps=recipe.steps,
        eval_strategy="steps",
        save_strategy="steps",
        logging_strategy="steps",
        eval_steps=recipe.evaluate_every,
        save_steps=recipe.evaluate_every,
        logging_steps=recipe.evaluate_every,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        accelerator_config={"split_batches": True},  # every process takes its part of one task's batch
        ddp_find_unused_parameters=True,  # the other tasks' heads get no gradient
        report_to=report_to,
        include_num_input_tokens_seen="no" if model.image_processor else "non_padding",
    )
    train, dev = (
        {name: _rows_of(model, task, split, progress=progress) for name, task in model.tasks.items()}
        for split in ("train", "dev")
    )
    pad = collator(model.need_processor())

    def collate(rows: Sequence[tuple[str, Features]]) -> dict[str, Any]:
        return {"task": rows[0][0], **pad([features for _, features in rows])}

    title = f"{model.method.name} on {len(model.tasks)} tasks"
    bar = ProgressBar(title, metric="loss") if progress and PartialState().is_main_process else None
    trainer = JointTrainer(
        model=model,
        args=arguments,
        train_dataset=EndToEnd(train),
        eval_dataset=[],
        data_collator=collate,
        callbacks=[EarlyStoppingCallback(recipe.patience), *([bar] if bar else []), *callbacks],
        optimizers=(optimizer_for(model, recipe), None),
    )
    trainer.batches = TaskMix(
        [_batches(rows, recipe, seed=seed, stream=task) for task, rows in enumerate(train.values())],
        batch_size=recipe.batch_size,
        steps=recipe.steps,
        seed=seed,
        counted=[recipe.counted(name, len(rows)) for name, rows in train.items()],
        temperature=recipe.temperature,
    )
    trainer.dev = {name: (rows, model.tasks[name].splits["dev"]) for name, rows in dev.items()}
    trainer.unselective = recipe.unselective
    trainer.precision = precision
    trainer.fit(precision=precision, bar=bar)
    return trainer


def _batches(
    rows: Sequence[Features], recipe: JointRecipe, *, seed: int, stream: int
) -> RedrawnSampler | TokenBudgetSampler:
    """Of one task."""
    lengths = padded_lengths_of(rows)
    if recipe.tokens_per_batch is None:
        return RedrawnSampler(lengths, batch_size=recipe.batch_size, seed=seed, stream=stream)
    return TokenBudgetSampler(lengths, tokens=recipe.tokens_per_batch, seed=seed, stream=stream)


def _rows_of(model: JointModel, task: Task, split: str, *, progress: bool) -> Sequence[Features]:
    """Tokenised rows; the first process puts them where the others find them."""
    with PartialState().main_process_first():
        return model.rows_of(task, split, progress=progress and PartialState().is_main_process)
