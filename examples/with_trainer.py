"""`TransferModel` in your own `transformers.Trainer`, with nothing of scalearn in the loop.

    python examples/with_trainer.py
    torchrun --nproc-per-node 2 examples/with_trainer.py

Checkpoints hold what is trained, not the backbone: see docs/your-own-loop.md.
"""

import argparse
from pathlib import Path

import torch
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

import scalearn as sl
from scalearn.methods import recipe_for
from scalearn.training import optimizer_for

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backbone", default="minilm", help="or a folder, or a Hub id")
parser.add_argument("--sources", default="builtin", help="or a folder of sources for that backbone")
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--out", type=Path, default="runs/with-trainer", help="a new folder")
given = parser.parse_args()

set_seed(0)
task = sl.load_task("policy-claims")
model = sl.TransferModel.from_backbone(given.backbone, task=task, method="scalearn", sources=sl.Shelf(given.sources))

trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir=str(given.out.with_name(f"{given.out.name}-checkpoints")),
        max_steps=given.steps,
        per_device_train_batch_size=16,
        logging_steps=max(1, given.steps // 4),
        eval_strategy="steps",
        eval_steps=max(1, given.steps // 2),
        save_steps=max(1, given.steps // 2),
        load_best_model_at_end=True,  # by the loss on the dev rows
        report_to="none",
        use_cpu=not torch.cuda.is_available(),  # else Trainer takes the processes of torchrun for strangers
        ddp_broadcast_buffers=False,  # the sources never change
        ddp_find_unused_parameters=False,  # all that is trained is used
    ),
    train_dataset=model.rows_of(task, "train"),
    eval_dataset=model.rows_of(task, "dev"),
    data_collator=DataCollatorWithPadding(model.tokenizer),
    optimizers=(optimizer_for(model, recipe_for(model.method)), None),  # omega wants a larger rate than the head
)
trainer.train()

if trainer.is_world_process_zero():  # under torchrun there are others
    model.save_pretrained(given.out)
    again = sl.TransferModel.from_pretrained(given.out)
    print(f"dev accuracy {sl.evaluate(again, 'dev', task=task)['accuracy']:.2f}, saved in {given.out}")
