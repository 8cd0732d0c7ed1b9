"""`python -m benchmarks.serving load` and `... memory`: the service under load, and what thousands of targets take up.

`load` starts `scalearn serve` twice, with and without batching, and lets clients ask one row at a time, each its next
as soon as it has an answer. Both servers live through all rounds; every round asks each of them in an order of its own,
so that whatever else the machine does falls on both. The clients run on the same cores.

`memory` measures each way of keeping heads in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import psutil
import torch
import typer
from torch import Tensor

from benchmarks.models import two_classes
from benchmarks.processes import told
from scalearn.experiments.machine import machine
from scalearn.model import TransferModel
from scalearn.serving import MultiTaskPredictor
from scalearn.shelf import Shelf
from scalearn.tasks import load_task

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_SERVE = "import sys; from scalearn.cli import main; sys.argv[0] = 'scalearn'; main()"
SERVERS = {"batches of 64": (), "one row at a time": ("--max-batch-rows", "1", "--max-wait-ms", "0")}
CLIENTS = {1: 60, 8: 160, 50: 400}
"""Clients at once to requests of a round, all of them together."""
HEADS = {
    "memory, fp32": (float("inf"), torch.float32),
    "memory, bf16": (float("inf"), torch.bfloat16),
    "file, fp32": (0, torch.float32),
    "file, bf16": (0, torch.bfloat16),
    "256 MB, then file, fp32 (the default)": (256 * 2**20, torch.float32),
}


# ---- load


@dataclass
class Load:
    """What the clients of one case saw."""

    rates: list[float] = field(default_factory=list)
    """Rows per second, round by round."""
    seconds: list[float] = field(default_factory=list)
    """From a request to its answer, of all rounds."""
    failed: int = 0
    """Requests without an answer, or with another status than 200."""


@app.command()
def load(
    rounds: Annotated[int, typer.Option(min=1, help="After one that warms up and does not count.")] = 7,
    seed: Annotated[int, typer.Option(help="Of the order within rounds, and of the rows.")] = 0,
) -> None:
    """Rows per second and latency at 1, 8 and 50 clients, with batching and without, side by side."""
    print(f"{machine()['processor']}, {machine()['cores']} cores, shared with the clients; {rounds} rounds")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        names = _save_targets(Path(folder))
        addresses = {name: stack.enter_context(_serving(folder, *options)) for name, options in SERVERS.items()}
        rows = _requests(names, seed=seed)
        found = {(name, clients): Load() for clients in CLIENTS for name in SERVERS}
        order = random.Random(seed)
        for turn in range(rounds + 1):
            for name, clients in order.sample(list(found), len(found)):
                case = found[name, clients] if turn else Load()
                asyncio.run(_ask(addresses[name], rows, clients=clients, count=CLIENTS[clients], into=case))
    print("\n| clients | server | rows/s, median (range) | p50 ms | p99 ms | requests | not answered |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for (name, clients), case in found.items():
        rates = f"{statistics.median(case.rates):.0f} ({min(case.rates):.0f} to {max(case.rates):.0f})"
        ordered = sorted(case.seconds)
        half, most = (1000 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
        counted = f"{len(ordered) + case.failed} | {case.failed}"
        print(f"| {clients} | {name} | {rates} | {half:.0f} | {most:.0f} | {counted} |")


def _save_targets(folder: Path) -> list[str]:
    """Six targets over the shelf that ships, as they are before training: every second one of ScaLearnUniform."""
    shelf = Shelf("builtin")
    names = []
    for index in range(6):
        method = ("scalearn-uniform", "scalearn")[index % 2]
        model = TransferModel.from_backbone(task=two_classes(), method=method, sources=shelf, seed=index)
        names.append(f"target-{index}")
        model.save_pretrained(folder / names[-1])
    return names


@contextmanager
def _serving(*words: str) -> Iterator[str]:
    """A service in a process of its own, as its address."""
    command = [sys.executable, "-c", _SERVE, "serve", *words, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[3]
    finally:
        process.terminate()
        assert process.wait() == 0


def _requests(names: Sequence[str], *, seed: int) -> list[bytes]:
    """Bodies of requests: sentences of the task that ships, 8 to 40 tokens, for each target in turn."""
    chosen = random.Random(seed)
    texts = [text for text in load_task("policy-claims").splits["train"]["text_a"][:] if len(text) < 200]
    rows = [(names[index % len(names)], chosen.choice(texts)) for index in range(300)]
    return [json.dumps({"task": name, "rows": [text]}).encode() for name, text in rows]


async def _ask(address: str, rows: Sequence[bytes], *, clients: int, count: int, into: Load) -> None:
    """Lets `clients` ask `count` requests between them."""
    url = urlsplit(address)
    left = iter(range(count))
    done: list[float] = []

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        for index in left:
            body = rows[index % len(rows)]
            start = time.perf_counter()
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            writer.write(head.encode() + b"\r\n\r\n" + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            told = await reader.readexactly(int(answer.split(b"content-length: ")[1].split(b"\r\n")[0]))
            if answer.startswith(b"http/1.1 200 ") and len(json.loads(told)["answers"]) == 1:
                done.append(time.perf_counter() - start)
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(clients)), return_exceptions=True)
    into.rates.append(len(done) / (time.perf_counter() - start))
    into.seconds += done
    into.failed += count - len(done)


# ---- memory


@app.command()
def memory(
    targets: Annotated[
        int, typer.Option(min=1, help="Of ScaLearnUniform, on minilm over the shelf that ships.")
    ] = 10_000,
    only: Annotated[str, typer.Option(help=f"One of: {'; '.join(HEADS)}; all by default.")] = "",
) -> None:
    """What so many targets take up, how long they take to add, and what a batch of 64 of them costs."""
    print(f"{machine()['processor']}, {machine()['cores']} cores; {targets:,} targets")
    print("\n| heads | resident, MB | KB a target | file, MB | adding, s | 64 rows of 64 targets, ms | of one, ms |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as `scalearn serve` has it
    for name in [only] if only else HEADS:
        with told(Holding, name) as pipe:
            pipe.send(targets)
            told_back = pipe.recv()
        print("| " + " | ".join([name, *told_back]) + " |", flush=True)


class Holding:
    """Measures one way of keeping heads.

    Args:
        name: of `HEADS`.
    """

    def __init__(self, name: str) -> None:
        budget, dtype = HEADS[name]
        shelf = Shelf("builtin")
        self.many = MultiTaskPredictor(sources=shelf, head_memory=budget, head_dtype=dtype)
        self.model = TransferModel.from_backbone(task=two_classes(), method="scalearn-uniform", sources=shelf)
        self.trained: list[Tensor] = [p for p in self.model.parameters() if p.requires_grad]

    def __call__(self, count: int) -> list[str]:
        """The row of the table for so many targets."""
        self._add(0)
        self._time(["0"] * 64)
        before = _resident()
        start = time.perf_counter()
        for index in range(1, count):
            self._add(index)
        seconds = time.perf_counter() - start
        grown = _resident() - before
        drawn = random.Random(0)
        mixed, alone = [], []
        for _ in range(9):  # in turn, so that whatever else the machine does falls on both
            mixed.append(self._time([str(drawn.randrange(count)) for _ in range(64)]))
            alone.append(self._time([str(drawn.randrange(count))] * 64))
        figures = (grown / 2**20, grown / count / 2**10, self.many.usage.file / 2**20, seconds)
        times = (1000 * statistics.median(own) for own in (mixed, alone))
        return [f"{figure:,.0f}" if figure >= 10 else f"{figure:.1f}" for figure in (*figures, *times)]

    def _add(self, index: int) -> None:
        """One more target with numbers of its own."""
        with torch.no_grad():
            for parameter in self.trained:
                parameter.normal_(std=0.02)
        self.many.add(self.model, str(index))

    def _time(self, names: Sequence[str]) -> float:
        start = time.perf_counter()
        self.many.predict(
            [(name, "The committee will publish its findings before the end of the year.") for name in names]
        )
        return time.perf_counter() - start


def _resident() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    app()
