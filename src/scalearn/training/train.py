"""`train`: from a `TransferModel` to a finished folder, safe to stop and start again (`scalearn.training.work`)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import EarlyStoppingCallback, EvalPrediction, TrainerCallback

from scalearn.atomic import refuse_existing
from scalearn.encoding import Reordered, collator, labels_of, lengths_of, padded_lengths_of
from scalearn.errors import InputError
from scalearn.heads import balanced_weights
from scalearn.methods import Protocol, Recipe, recipe_for, resolved
from scalearn.model import TransferModel
from scalearn.precision import Precision, resolve
from scalearn.saved import refer
from scalearn.similarity import can_embed, embed_task
from scalearn.sources import check_name
from scalearn.training.buckets import TokenBudgetSampler
from scalearn.training.checks import check_attention, check_finite, check_rows, check_seed, check_tracker
from scalearn.training.evaluate import evaluated
from scalearn.training.head_start import start_linear
from scalearn.training.progress import ProgressBar
from scalearn.training.trainer import TransferTrainer, arguments_for, optimizer_for
from scalearn.training.work import finish, provenance, working_folder


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training run gave."""

    metrics: Mapping[str, Mapping[str, float]]
    """Split to scores of the best checkpoint, with standard errors: ``dev``, and ``test`` where the task has one."""
    best_epoch: float
    epochs: float
    """Epochs trained before the end or the early stop."""
    best_step: int
    steps: int
    """Steps trained before the end or the early stop."""
    seconds: float
    """Of this call, without loading."""
    history: list[dict[str, Any]]
    """Trainer's log: losses and dev scores by evaluation."""
    logits: Mapping[str, NDArray[np.float32]]
    """Split to the logits of the best checkpoint, in the order of the rows: (N, outputs), or (N, choices)."""


def train(
    model: TransferModel,
    out: str | Path | None = None,
    *,
    protocol: Protocol = "default",
    recipe: Recipe | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    name: str | None = None,
    command: str | None = None,
    include_sources: bool = False,
    overwrite: bool = False,
    restart: bool = False,
    progress: bool = True,
    report_to: str = "none",
    callbacks: Sequence[TrainerCallback] = (),
    finishing: Callable[[Path, TrainResult], None] = lambda folder, result: None,
) -> TrainResult:
    """Trains a model in place, keeps its best checkpoint by the dev split, and saves it.

    Args:
        model: from `TransferModel.from_backbone`, with a task that has ``train`` and ``dev`` rows.
        out: a new folder for the model, and for the source it makes where the method makes one; None saves nothing.
        protocol: whose hyper-parameters: see `scalearn.methods.Protocol`.
        recipe: hyper-parameters instead of the protocol's, whose name is kept as provenance.
        seed: of batches and dropout. The same seed, machine and versions give the same weights.
        precision: see `scalearn.precision`.
        name: of the source that is made; the task's by default.
        command: kept as provenance.
        include_sources: copy the sources into `out`.
        overwrite: replace `out` if it exists.
        restart: forget an unfinished run of the same folder.
        progress: show a progress bar.
        report_to: passed to Trainer, for instance ``trackio``: see docs/tracking.md.
        callbacks: more of them for Trainer.
        finishing: given the folder with the model before it takes the name `out`, to put more into it, and the result.

    Raises:
        InputError: the task has no rows to train on, the precision or attention cannot be had here, `out` exists, or an
            unfinished run with other settings stands in its place.
    """
    rows = len(model.task.splits.get("train", ()))
    if recipe is None:
        protocol = resolved(protocol, rows)
        if model.protocol not in (None, protocol):
            raise InputError(
                f"method {model.method.name!r} was built for protocol {model.protocol!r}, but is to be trained by "
                f"{protocol!r}: give protocol={protocol!r} to from_backbone too"
            )
        recipe = recipe_for(model.method, protocol, rows=rows, kind=model.task.kind, task=model.task.name)
    folder = None if out is None else Path(out)
    name = name or model.task.name
    check_rows(model.task)
    check_attention(model)
    check_tracker(report_to)
    check_seed(seed)
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:  # accelerate may not have noticed yet
        raise InputError(
            f"train runs in one process, not in {processes}: start it without torchrun and accelerate launch, or train "
            "in a loop of your own (docs/your-own-loop.md)"
        )
    if folder is not None:
        _check_saving(model, folder, name=name, include_sources=include_sources, overwrite=overwrite)
    run = {
        "task": model.task.fingerprint(),
        "backbone": model.reference.fingerprint,
        "method": [model.method.name, model.method.model_dump(exclude={"starts"})],  # found, not asked for
        "sources": [source.digest() for source in model.sources],
        "recipe": recipe.model_dump(),
        "seed": seed,
        "precision": resolve(precision, model.device),
        "attention": model.attention,
        "pooling": model.head.pooling,
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
            split: evaluated(model, split, precision=precision) for split in model.task.splits if split != "train"
        }
        metrics = {split: scores for split, (scores, _) in judged.items()}
        result = TrainResult(
            metrics=metrics,
            best_epoch=_best_epoch(trainer),
            epochs=float(trainer.state.epoch or 0),
            best_step=_best_step(trainer),
            steps=int(trainer.state.global_step),
            seconds=time.perf_counter() - started,
            history=[dict(entry) for entry in trainer.state.log_history],
            logits={split: logits for split, (_, logits) in judged.items()},
        )
        record = provenance(
            recipe,
            rows={split: len(rows) for split, rows in model.task.splits.items()},
            seed=seed,
            protocol=protocol,
            precision=resolve(precision, model.device),
            command=command,
        )
        record["best_epoch"] = result.best_epoch

        def write(finished: Path) -> None:
            facts = {"metrics": metrics, "provenance": record}
            model.write_into(finished, folder=folder or finished, include_sources=include_sources, extra=facts)
            if model.makes_source:
                embedding = embed_task(model.task) if can_embed() and not model.task.image else ()
                source = model.to_source(name=name, metrics=metrics, provenance=record, embedding=embedding)
                source.write_into(finished)
            finishing(finished, result)

        if folder is not None:
            finish(work, folder, write)
    return result


def _check_saving(model: TransferModel, folder: Path, *, name: str, include_sources: bool, overwrite: bool) -> None:
    """Says before the training, not after it, whatever would make saving fail."""
    refuse_existing(folder, overwrite=overwrite)
    if model.makes_source:
        check_name(name)
    for source in model.sources:
        if not include_sources:
            refer(source, folder=folder)
        if source.location and folder.resolve() in Path(source.location).resolve().parents:
            raise InputError(f"source {source.name!r} lies in {folder}, which would be replaced: choose another folder")


def _fit(
    model: TransferModel,
    checkpoints: Path,
    recipe: Recipe,
    *,
    seed: int,
    precision: Precision,
    progress: bool,
    report_to: str,
    callbacks: Sequence[TrainerCallback],
) -> TransferTrainer:
    """Trains `model` and leaves it with the weights of its best checkpoint."""
    task = model.task
    train, dev = (model.rows_of(task, split, progress=progress) for split in ("train", "dev"))
    order = np.argsort(lengths_of(dev), kind="stable")  # of dev rows, so that little of a batch is padding
    dev = Reordered(dev, order)
    budget, batch_size = None, recipe.batch_size
    if recipe.tokens_per_batch is not None:
        budget = TokenBudgetSampler(padded_lengths_of(train), tokens=recipe.tokens_per_batch, seed=seed)
        batch_size = round(len(train) / len(budget))  # on average, for what Trainer says of its speed

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        return task.judge(task.splits["dev"], np.asarray(prediction.predictions)[np.argsort(order)])

    model.backbone_dropout = recipe.backbone_dropout
    arguments = arguments_for(
        model,
        recipe,
        checkpoints,
        seed=seed,
        precision=precision,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=2 * recipe.batch_size,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.steps or -1,
        **_intervals(recipe.evaluate_every),
        metric_for_best_model="eval_loss" if recipe.select == "loss" else f"eval_{task.main_metric}",
        greater_is_better=recipe.select == "metric",
        report_to=report_to,
        eval_on_start=recipe.head_start == "linear",
        # A head alone sees what the backbone computed before, and no tokens; nor has an image any.
        include_num_input_tokens_seen="no" if model.trains_head_only or task.image else "non_padding",
    )
    bar = ProgressBar(f"{model.method.name} on {task.name}", metric=task.main_metric) if progress else None
    if model.trains_head_only:  # each row needs the backbone once, not once an epoch
        train, dev = (model.pooled_of(model.head, rows, precision=precision) for rows in (train, dev))
    if recipe.head_start == "linear" and model.head.fresh:  # one that was trained goes on from where it is
        read = train if model.trains_head_only else model.pooled_of(model.head, train, precision=precision)
        states = np.stack([row["pooled"].numpy() for row in read])
        if np.isfinite(states).all():  # else training says what is wrong
            start_linear(model.head, states, np.asarray(labels_of(read)))
    trainer = TransferTrainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=dev,
        data_collator=collator(model.need_processor()),
        compute_metrics=compute_metrics,
        callbacks=[EarlyStoppingCallback(recipe.patience), *([bar] if bar else []), *callbacks],
        optimizers=(optimizer_for(model, recipe), None),
    )
    trainer.batches = budget
    if recipe.balance_labels and task.kind == "multi-label":
        model.head.label_weights = balanced_weights(torch.as_tensor(np.asarray(labels_of(train))))
    try:
        trainer.fit(precision=precision, bar=bar)
    finally:
        model.head.label_weights = None
    return trainer


def _intervals(steps: int | None) -> dict[str, Any]:
    """When Trainer evaluates, saves and logs: every so many steps and after the last one, or once an epoch."""
    names = ("eval", "save", "logging")
    if steps is None:
        return {f"{name}_strategy": "epoch" for name in names}
    return {f"{name}_strategy": "steps" for name in names} | {f"{name}_steps": steps for name in names}


def _best_step(trainer: TransferTrainer) -> int:
    """The step of the checkpoint that was kept."""
    best = trainer.state.best_global_step
    return int(trainer.state.global_step if best is None else best)


def _best_epoch(trainer: TransferTrainer) -> float:
    """The epoch of the checkpoint that was kept."""
    steps = {entry["step"]: entry["epoch"] for entry in trainer.state.log_history if "eval_loss" in entry}
    return float(steps.get(trainer.state.best_global_step, trainer.state.epoch or 0))
