"""`TransferModel` in a loop of plain PyTorch: it is an `nn.Module` that returns a loss.

python examples/bare_loop.py
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader

import scalearn as sl
from scalearn.encoding import collator

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backbone", default="minilm", help="or a folder, or a Hub id")
parser.add_argument("--sources", default="builtin", help="or a folder of sources for that backbone")
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--omega-rate", type=float, default=6e-3, help="omega wants a larger rate than the head")
parser.add_argument("--head-rate", type=float, default=3e-4)
parser.add_argument("--out", type=Path, default="runs/bare-loop", help="a new folder")
given = parser.parse_args()

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
task = sl.load_task("policy-claims")
model = sl.TransferModel.from_backbone(given.backbone, task=task, method="scalearn", sources=sl.Shelf(given.sources))
model.to(device)

rows = model.rows_of(task, "train")
loader = DataLoader(rows, batch_size=16, shuffle=True, collate_fn=collator(model.tokenizer))
head = list(model.head.parameters())
omega = [p for p in model.backbone.parameters() if p.requires_grad]  # all else in there is frozen
optimizer = torch.optim.AdamW([{"params": omega, "lr": given.omega_rate}, {"params": head, "lr": given.head_rate}])

losses = []
for epoch in range(given.epochs):
    model.train()
    total = 0.0
    for batch in loader:
        loss = model(**{name: tensor.to(device) for name, tensor in batch.items()}).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        total += loss.item() / len(loader)
    losses.append(total)
    print(f"epoch {epoch + 1}: loss {total:.3f}")

model.save_pretrained(given.out)
save_file(model.state_dict(), given.out / "state.safetensors")  # omega and head alone: to go on from, load it again
print(f"dev accuracy {sl.evaluate(model, 'dev')['accuracy']:.2f}, saved in {given.out}")
