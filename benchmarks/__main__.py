"""Training-step times in interleaved rounds; writes benchmarks/RESULTS.md.

Every round runs every case once, so that whatever else the machine does falls on all of them; a case's figure is the
median over rounds of its time over that of the round's plain backbone.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import track
from torch import nn

from benchmarks.literal import LiteralScaling
from scalearn import sites
from scalearn.backbones import load_backbone
from scalearn.deltas import Bottleneck, Omega, ScaledSources

ROUNDS = 9
SHAPE = (32, 128)
BOTTLENECK = 24


def main() -> None:
    """Measures and writes."""
    cases: dict[str, Callable[[], None]] = {"plain frozen backbone": step(None)}
    for count in (1, 8):
        cases[f"fused, T = {count}"] = step(lambda sources, omega: ScaledSources(sources, omega), count)
        cases[f"literal, T = {count}"] = step(lambda sources, omega: LiteralScaling(sources, omega), count)
    table = measure(cases, reference="plain frozen backbone")
    formats = {
        f"{name}, {attention} attention": step(None, bf16=name == "bf16", attention=attention)
        for name in ("fp32", "bf16")
        for attention in ("sdpa", "eager")
    }
    precision = measure(formats, reference="fp32, sdpa attention")
    capabilities = torch.cpu.get_capabilities()
    extensions = [name for name in ("avx512_f", "avx512_bf16", "amx_bf16") if capabilities.get(name)]
    text = f"""# Speed

`make bench`, {torch.get_num_threads()} threads, {platform.machine()} with {", ".join(extensions)}; torch
{torch.__version__}; all-MiniLM-L6-v2, {SHAPE[0]} x {SHAPE[1]} tokens, forward and backward to the first site,
{ROUNDS} interleaved rounds. Figures are ratios within a round: median, and in brackets the smallest and largest.

## A training step over T sources, fp32

{table}
## Number format and attention, plain backbone

{precision}
"""
    path = Path(__file__).parent / "RESULTS.md"
    path.write_text(text, encoding="utf-8")
    print(text)
    print(f"written to {path}")


def step(
    build: Callable[[list[Bottleneck], Omega], nn.Module] | None,
    count: int = 0,
    *,
    bf16: bool = False,
    attention: str = "sdpa",
) -> Callable[[], None]:
    """A function that runs one training step of MiniLM with the given transfer layer in every layer."""
    backbone = load_backbone()
    model = backbone.model.eval()
    model.set_attn_implementation(attention)
    if build is not None:
        deltas = [
            build(
                [Bottleneck(width=backbone.width, bottleneck=BOTTLENECK) for _ in range(count)],
                Omega(sources=count, width=backbone.width),
            )
            for _ in range(backbone.layers)
        ]
        sites.attach(model, {sites.LAYER: deltas})
    embeddings = model.embeddings.word_embeddings(torch.randint(1000, 20000, SHAPE)).requires_grad_(build is None)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            hidden = model(inputs_embeds=embeddings).last_hidden_state
        hidden.float().mean().backward()

    return run


def measure(cases: dict[str, Callable[[], None]], *, reference: str) -> str:
    """A Markdown table of the cases' times over the reference's."""
    ratios: dict[str, list[float]] = {name: [] for name in cases}
    for run in cases.values():
        run()  # warm-up
    for _ in track(range(ROUNDS), description="rounds"):
        seconds = {}
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            seconds[name] = time.perf_counter() - start
        for name in cases:
            ratios[name].append(seconds[name] / seconds[reference])
    lines = [f"| case | time over {reference} |", "|---|---:|"]
    lines += [f"| {n} | {statistics.median(r):.2f} ({min(r):.2f} to {max(r):.2f}) |" for n, r in ratios.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
