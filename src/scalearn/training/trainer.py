"""The one subclass of transformers' `Trainer`: it saves only what was trained, and batches by length."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Trainer
from transformers.trainer_utils import get_last_checkpoint

from scalearn.adapted import AdaptedModel
from scalearn.deltas import MaskScores
from scalearn.encoding import row_length
from scalearn.methods import Optimisation
from scalearn.saved import WEIGHTS
from scalearn.training.buckets import LengthBucketSampler


class TransferTrainer(Trainer):
    """A `Trainer` whose checkpoints hold the trained tensors of a model, not its backbone and sources."""

    model: AdaptedModel

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: t.contiguous() for name, t in self.model.trained_state().items()}, folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        self.model.load_trained_state(load_file(Path(resume_from_checkpoint) / WEIGHTS))

    def _load_best_model(self) -> None:
        # By its step, not by the path that the state remembers: the folder may have been moved since.
        if self.state.best_global_step:
            self._load_from_checkpoint(f"{self.args.output_dir}/checkpoint-{self.state.best_global_step}")

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthBucketSampler:
        rows = train_dataset if train_dataset is not None else self.train_dataset
        lengths = [row_length(row) for row in rows]
        return LengthBucketSampler(lengths, batch_size=self._train_batch_size, seed=self.args.seed)


def optimizer_for(model: AdaptedModel, recipe: Optimisation) -> torch.optim.AdamW:
    """AdamW with a learning rate each for heads, mask scores, and everything else that is trained."""
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
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], betas=(0.9, 0.999), eps=1e-8, weight_decay=recipe.weight_decay
    )


def last_whole_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that was written to its end; Trainer writes `trainer_state.json` last."""
    if not folder.is_dir():
        return None
    while (last := get_last_checkpoint(str(folder))) is not None:
        if (Path(last) / "trainer_state.json").is_file():
            return str(last)
        shutil.rmtree(last)
    return None
