"""What every run has of transformers' `Trainer`: it saves only what was trained, batches by length, keeps the best."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, TrainerState
from transformers.trainer_utils import get_last_checkpoint

from scalearn.adapted import AdaptedModel
from scalearn.allocation import keep_freed_memory
from scalearn.deltas import MaskScores
from scalearn.encoding import lengths_of
from scalearn.methods import Optimisation
from scalearn.precision import Precision, resolve
from scalearn.saved import WEIGHTS
from scalearn.training.buckets import LengthBucketSampler
from scalearn.training.progress import ProgressBar

PROJECT = "scalearn"
"""Where trackio puts the runs; the project of others is theirs to say, for instance ``WANDB_PROJECT``."""


class TransferTrainer(Trainer):
    """A `Trainer` whose checkpoints hold the trained tensors of a model, not its backbone and sources."""

    model: AdaptedModel
    batches: Sampler[list[int]] | None = None
    """Which rows each step sees; None cuts the order of a `LengthBucketSampler` into batches of one size."""

    def fit(self, *, precision: Precision, bar: ProgressBar | None) -> None:
        """Trains, from the last whole checkpoint if there is one, and leaves the model with the best weights.

        Args:
            precision: see `scalearn.precision`.
            bar: is closed, whatever happens.
        """
        self.remove_callback(PrinterCallback)
        with PartialState().main_process_first():  # it removes a broken one, which others must not look at meanwhile
            last = last_whole_checkpoint(Path(self.args.output_dir))
        self.args.restore_callback_states_from_checkpoint = last is not None  # the patience that is used up already
        self.args.eval_on_start &= last is None
        use_training_attention(self.model, precision)
        if self.model.device.type == "cpu":
            keep_freed_memory()
        try:
            if last is not None and (state := _ended(Path(last))) is not None:
                self.state = state  # Trainer would go on, for a step or an epoch
                self._load_from_checkpoint(last)
            else:
                self.train(resume_from_checkpoint=last)
            self._load_best_model()  # Trainer leaves it out when the path in its state is not there any more
        finally:
            if bar is not None:
                bar.close()
        self.model.eval()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: t.contiguous() for name, t in self.model.trained_state().items()}, folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        self.model.load_trained_state(load_file(Path(resume_from_checkpoint) / WEIGHTS))

    def _evaluate(self, trial: Any, ignore_keys_for_eval: Any, skip_scheduler: bool = False) -> dict[str, float]:
        metrics: dict[str, float] = super()._evaluate(trial, ignore_keys_for_eval, skip_scheduler)
        if self.state.global_step == 0:  # the start is a checkpoint that can be the best; Trainer only looks at it
            self._determine_best_metric(metrics, trial)
            self.state.best_model_checkpoint = f"{self.args.output_dir}/checkpoint-0"
            self._save(self.state.best_model_checkpoint)
        return metrics

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        if self.state.best_global_step == 0:  # Trainer finds a best step again where the folder was moved, but for this
            self.state.best_model_checkpoint = f"{self.args.output_dir}/checkpoint-0"
        super()._save_checkpoint(model, trial)

    def _load_best_model(self) -> None:
        # By its step, not by the path that the state remembers: the folder may have been moved since.
        if self.state.best_global_step is not None:
            self._load_from_checkpoint(f"{self.args.output_dir}/checkpoint-{self.state.best_global_step}")

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batches of the training rows."""
        if self.batches is None:
            made: DataLoader[Any] = super().get_train_dataloader()
            return made
        loader: DataLoader[Any] = self.accelerator.prepare(
            DataLoader(
                self.train_dataset,
                batch_sampler=self.batches,
                collate_fn=self.data_collator,
                pin_memory=self.args.dataloader_pin_memory,
            )
        )
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthBucketSampler:
        rows = train_dataset if train_dataset is not None else self.train_dataset
        return LengthBucketSampler(lengths_of(rows), batch_size=self._train_batch_size, seed=self.args.seed)


def arguments_for(
    model: AdaptedModel, recipe: Optimisation, checkpoints: Path, *, seed: int, precision: Precision, **others: Any
) -> TrainingArguments:
    """Trainer's arguments that all runs share, and others."""
    return TrainingArguments(
        output_dir=str(checkpoints),
        lr_scheduler_type="linear",
        warmup_steps=recipe.warmup_fraction,
        max_grad_norm=1.0,
        save_total_limit=2,  # with 1, Trainer removes the last one at the end, before the run is evaluated and saved
        load_best_model_at_end=True,
        bf16=resolve(precision, model.device) == "bf16",
        fp16=resolve(precision, model.device) == "fp16",
        use_cpu=model.device.type == "cpu",
        dataloader_pin_memory=model.device.type == "cuda",
        seed=seed,
        disable_tqdm=True,
        project=PROJECT,
        run_name=run_name(model, checkpoints, seed=seed),
        **others,
    )


def run_name(model: AdaptedModel, checkpoints: Path, *, seed: int) -> str:
    """What trackers call a run: ``claims: scalearn on rte, seed 0, 2026-01-31 09:30:00``.

    Trackers go on with a run of the same name. So the name has the moment in which the working folder was opened: an
    interrupted run keeps it, and a new run in the same place has another.

    Args:
        model: to be trained.
        checkpoints: in the working folder of the run.
        seed: of the run.
    """
    work = checkpoints.parent
    opened = work / "run.json"
    moment = datetime.fromtimestamp(opened.stat().st_mtime) if opened.is_file() else datetime.now()
    names = list(model.heads_by_task())
    tasks = " ".join(names[0].split())[:40] if len(names) == 1 else f"{len(names)} tasks"
    folder = work.name.removeprefix(".").removesuffix(".partial")[:40]
    return f"{folder}: {model.method.name} on {tasks}, seed {seed}, {moment:%Y-%m-%d %H:%M:%S}"


def use_training_attention(model: AdaptedModel, precision: Precision) -> None:
    """Sets the attention that the model trains with; evaluation sets its own."""
    model.backbone.set_attn_implementation(model.attention_for_training(precision))


def optimizer_for(model: AdaptedModel, recipe: Optimisation) -> torch.optim.AdamW:
    """AdamW with a learning rate each for heads, mask scores, and everything else that is trained.

    What the method does after each step (`Method.after_step`: an L1 penalty) is done by the optimizer's own step.
    """
    masks = {id(p) for m in model.modules() if isinstance(m, MaskScores) for p in m.parameters()}
    heads = {id(p) for head in model.heads_by_task().values() for p in head.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) not in heads | masks], "lr": recipe.learning_rate},
        {"params": [p for p in trained if id(p) in heads], "lr": recipe.head_learning_rate},
        {
            "params": [p for p in trained if id(p) in masks],
            "lr": recipe.mask_learning_rate or recipe.learning_rate,
            "weight_decay": recipe.mask_weight_decay,
        },
    ]
    optimizer = torch.optim.AdamW(
        [group for group in groups if group["params"]], betas=(0.9, 0.999), eps=1e-8, weight_decay=recipe.weight_decay
    )
    if (after := model.method.after_step(model.deltas)) is not None:
        optimizer.register_step_post_hook(lambda done, *_: after(done.param_groups[0]["lr"]))
    return optimizer


def last_whole_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that was written to its end; Trainer writes its state last."""
    if not folder.is_dir():
        return None
    while (last := get_last_checkpoint(str(folder))) is not None:
        if _whole(Path(last) / TRAINER_STATE_NAME):
            return str(last)
        shutil.rmtree(last)
    return None


def _whole(state: Path) -> bool:
    try:
        json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent, or cut short
        return False
    return True


def _ended(checkpoint: Path) -> TrainerState | None:
    """The state of a run whose training was over at this checkpoint; None if it was not."""
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    control = state.stateful_callbacks.get("TrainerControl", {})
    return state if control.get("args", {}).get("should_training_stop") else None
