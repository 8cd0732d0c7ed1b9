"""`TransferModel` in a loop of accelerate, with gradients accumulated over two batches, in one process or several.

python examples/with_accelerate.py
accelerate launch --cpu --num_processes 2 examples/with_accelerate.py
"""

import argparse
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader
from transformers import get_linear_schedule_with_warmup

import scalearn as sl
from scalearn.encoding import collator
from scalearn.methods import recipe_for
from scalearn.training import optimizer_for

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backbone", default="minilm", help="or a folder, or a Hub id")
parser.add_argument("--sources", default="builtin", help="or a folder of sources for that backbone")
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--out", type=Path, default="runs/with-accelerate", help="a new folder")
given = parser.parse_args()

set_seed(0)
accelerator = Accelerator(gradient_accumulation_steps=2)
task = sl.load_task("policy-claims")
model = sl.TransferModel.from_backbone(given.backbone, task=task, method="scalearn", sources=sl.Shelf(given.sources))

rows = model.rows_of(task, "train")
loader = DataLoader(rows, batch_size=8, shuffle=True, collate_fn=collator(model.tokenizer))
optimizer = optimizer_for(model, recipe_for(model.method))
scheduler = get_linear_schedule_with_warmup(optimizer, 0, given.epochs * len(loader) // 2)
wrapped, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)

losses = []
for epoch in range(given.epochs):
    wrapped.train()
    total = 0.0
    for batch in loader:
        with accelerator.accumulate(wrapped):
            loss = wrapped(**batch).loss
            accelerator.backward(loss)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        total += loss.item() / len(loader)
    losses.append(total)
    accelerator.print(f"epoch {epoch + 1}: loss {total:.3f}")

accelerator.save_state(f"{given.out}-state")  # to go on from: omega and head, the optimizer and the generators
if accelerator.is_main_process:
    model.save_pretrained(given.out)  # `wrapped` trained it in place
    accelerator.print(f"dev accuracy {sl.evaluate(model, 'dev')['accuracy']:.2f}, saved in {given.out}")
accelerator.end_training()
