"""Cold starts: every figure is of a fresh process, with the files of libraries and weights in the page cache."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

TEXTS = ("Dogs are welcome on the terrace only.", "A dog may sit with you inside.")
_COMMAND = "import sys; from scalearn.cli import main; sys.argv[0] = 'scalearn'; main()"
_FIRST = """
import json, time
import torch
from scalearn.model import TransferModel
from scalearn.backbones import load_backbone
from scalearn.precision import autocast
from scalearn.shelf import Shelf
from scalearn.tasks import load_task
from scalearn.training.trainer import use_training_attention

start = time.perf_counter()
backbone = load_backbone()
loaded = time.perf_counter()
model = TransferModel.from_backbone(backbone, task=load_task("policy-claims"), sources=Shelf("builtin"))
use_training_attention(model, "auto")
optimizer = torch.optim.AdamW([p for p in model.train().parameters() if p.requires_grad])
ids = torch.randint(1000, 20000, (32, 40))
ready = time.perf_counter()
with autocast("auto", model.device):
    loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.zeros(32).long()).loss
loss.backward()
optimizer.step()
print(json.dumps({"load_backbone, after imports": loaded - start,
                  "first training step, 32 x 40, after loading": time.perf_counter() - ready}))
"""


def cold_starts(rounds: int, *, seed: int = 0) -> dict[str, list[float]]:
    """Seconds of each start, round by round; every round has all of them, in an order of its own.

    Args:
        rounds: measurements of each, after one that warms the page cache and does not count.
        seed: of the order within rounds.

    Returns:
        `rounds` figures each: whole processes (``scalearn --help``, ``import scalearn``, ``scalearn predict``), and
        within one, loading the backbone and the first training step.

    Raises:
        subprocess.CalledProcessError: a process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        _save_model(model)
        starts: list[Callable[[], Mapping[str, float]]] = [
            partial(_whole, "scalearn --help", [_COMMAND, "--help"]),
            partial(_whole, "import scalearn", ["import scalearn"]),
            partial(_whole, "scalearn predict, one row", [_COMMAND, "predict", str(model), *TEXTS]),
            lambda: {name: float(seconds) for name, seconds in json.loads(_run([_FIRST])).items()},
        ]
        found: dict[str, list[float]] = {name: [] for start in starts for name in start()}
        order = random.Random(seed)
        for _ in range(rounds):
            for start in order.sample(starts, len(starts)):
                for name, seconds in start().items():
                    found[name].append(seconds)
    return found


def _save_model(folder: Path) -> None:
    """ScaLearn over the shelf that ships, as it is before training: its folder loads like any other."""
    from scalearn.model import TransferModel
    from scalearn.shelf import Shelf
    from scalearn.tasks import load_task

    TransferModel.from_backbone(task=load_task("policy-claims"), sources=Shelf("builtin")).save_pretrained(folder)


def _whole(name: str, words: Sequence[str]) -> dict[str, float]:
    """Seconds from the beginning of a process to its end."""
    start = time.perf_counter()
    _run(words)
    return {name: time.perf_counter() - start}


def _run(words: Sequence[str]) -> str:
    """What a Python process prints; the first word is its code."""
    own = {"GOMP_SPINCOUNT": "2000"} if "OMP_WAIT_POLICY" not in os.environ else {}  # as `scalearn.cli.main` does
    environment = {**own, **os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", *words], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout
