"""How much is lost by trusting a ranking of sources: each criterion against real transfer runs.

    python -m benchmarks.small_data.regret --data DIR --out runs/regret [--targets mrpc --draws 2]

Rows, targets and shelves are those of the comparison (`benchmarks.small_data.grid`); which criteria decide was chosen
by the development targets, the default here. Every source alone, and every triple averaged, is a transfer run: a head
trained by the protocol for small data. Of a criterion, in points of the target's main metric:

    regret at 1         best single source - the one ranked first
    best of 3           best single source - the best of the three ranked first
    regret at 3         best triple - the triple of the three ranked first

Runs are kept in `--out`; the same command goes on where it stopped, and prints the tables at the end.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.small_data.grid import drawn, shelf_for
from benchmarks.small_data.targets import DEVELOPMENT, EVERY
from scalearn.backbones import Backbone, load_backbone
from scalearn.experiments.kept import keep_run, key_of, place_of, read_run
from scalearn.experiments.tables import markdown_table
from scalearn.methods import UniformAverage, recipe_for
from scalearn.model import TransferModel
from scalearn.precision import resolve
from scalearn.ranking import CRITERIA, DECIDING, TaskEvidence
from scalearn.ranking.criteria import together
from scalearn.ranking.gradient import gradients
from scalearn.shelf import Shelf
from scalearn.tasks import Task
from scalearn.training import train

COMBINATIONS: dict[str, tuple[str, ...]] = {
    "mean rank of all": tuple(CRITERIA),
    "mean rank of probe, logme, h-score": DECIDING,
    "mean rank of probe, gradient": ("probe", "gradient"),
    "mean rank of h-score, gradient": ("h-score", "gradient"),
    "mean rank of probe, h-score, gradient": ("probe", "h-score", "gradient"),
    "mean rank of all but similarity": ("probe", "logme", "h-score", "gradient"),
}
TABLE = (
    "criterion",
    "regret at 1",
    "worst",
    "best of 3",
    "regret at 3",
    "worst ",
    "rank correlation",
    "seconds a source",
)


def judge(task: Task, shelf: Shelf, *, backbone: Backbone, draw: int, folder: Path) -> dict[str, Any]:
    """Each criterion's scores and seconds, by source."""
    key = {
        "criteria": [*CRITERIA, "gradient at 0"],
        "task": task.fingerprint(),
        "backbone": backbone.fingerprint,
        "sources": [source.digest() for source in shelf],
        "seed": draw,
        "precision": resolve("auto", torch.device("cpu")),
    }
    path = place_of(folder, key)
    if (kept := read_run(path)) is not None:
        return kept
    evidence = TaskEvidence(backbone, task=task, sources=tuple(shelf), seed=draw).for_ranking
    started = time.perf_counter()
    for source in shelf:
        evidence.alone(source)
    seconds = {"features": time.perf_counter() - started}
    judges: dict[str, Callable[[TaskEvidence], list[float]]] = {name: one for name, one in CRITERIA.items()}
    judges["gradient at 0"] = partial(gradients, start=0.0)
    scores = {}
    for name, one in judges.items():
        started = time.perf_counter()
        scores[name] = one(evidence)
        seconds[name] = time.perf_counter() - started
    run = {"sources": shelf.names, "scores": scores, "seconds": seconds}
    keep_run(path, key, run)
    return run


def transfer(task: Task, shelf: Shelf, *, backbone: Backbone, draw: int, folder: Path) -> float:
    """The score in points of a head over the average of these sources."""
    method = UniformAverage()
    recipe = recipe_for(method, "small", rows=len(task.splits["train"]), kind=task.kind, task=task.name)
    about = (backbone.name, backbone.fingerprint)
    key = key_of(
        method, recipe, seed=draw, task=task.fingerprint(), backbone=about, sources=shelf, device=torch.device("cpu")
    )
    path = place_of(folder, key)
    kept = read_run(path)
    if kept is None:
        model = TransferModel.from_backbone(backbone.name, task=task, method=method, sources=shelf, seed=draw)
        metrics = train(model, recipe=recipe, seed=draw, progress=False).metrics
        kept = {"sources": shelf.names, "score": metrics["test"][task.main_metric]}
        keep_run(path, key, kept)
    return 100 * float(kept["score"])


def losses(
    judged: dict[str, Any], singles: Sequence[float], triples: dict[frozenset[str], float]
) -> Iterator[tuple[str, list[float]]]:
    """Of each criterion: regret at 1, best of 3, regret at 3 (NaN without triples), and the rank correlation."""
    names: list[str] = list(judged["sources"])
    scores: dict[str, Sequence[float]] = dict(judged["scores"])
    for title, of in COMBINATIONS.items():
        scores[title] = together({name: judged["scores"][name] for name in of})  # type: ignore[misc]
    for title, values in scores.items():
        order = np.argsort(-np.asarray(values), kind="stable")[:3]
        first = frozenset(names[index] for index in order)
        agreement = float(spearmanr(values, singles).statistic) if np.ptp(values) and np.ptp(singles) else 0.0
        yield (
            title,
            [
                max(singles) - singles[order[0]],
                max(singles) - max(singles[index] for index in order),
                max(triples.values()) - triples[first] if triples else float("nan"),
                agreement,
            ],
        )


def main() -> None:
    """Measures what is missing, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", default=DEVELOPMENT, choices=EVERY)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--no-triples", action="store_true", help="single sources only: a fifth of the time")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    backbone = load_backbone()
    found: dict[str, list[list[float]]] = {}
    seconds: dict[str, list[float]] = {}
    spreads = []
    for target, draw in itertools.product(given.targets, range(given.draws)):
        task = drawn(target, data=given.data, k=given.rows, draw=draw)
        shelf = shelf_for(task)
        judged = judge(task, shelf, backbone=backbone, draw=draw, folder=given.out)
        scores: dict[frozenset[str], float] = {}
        for size in (1,) if given.no_triples else (1, 3):
            for names in itertools.combinations(shelf.names, size):
                scores[frozenset(names)] = transfer(
                    task, shelf.only(names), backbone=backbone, draw=draw, folder=given.out
                )
        singles = [scores[frozenset([name])] for name in shelf.names]
        triples = {names: score for names, score in scores.items() if len(names) == 3}
        told = "  ".join(f"{name} {score:.1f}" for name, score in zip(shelf.names, singles, strict=True))
        best = f"  best triple {max(triples.values()):.1f}" if triples else ""
        print(f"{target} draw {draw}: {told}{best}", flush=True)
        spreads.append(max(singles) - float(np.mean(singles)))
        for title, values in losses(judged, singles, triples):
            found.setdefault(title, []).append(values)
        for title, value in judged["seconds"].items():
            seconds.setdefault(title, []).append(value / len(shelf))
    cells = [
        (
            title,
            f"{np.mean(values, axis=0)[0]:.2f}",
            f"{np.max(values, axis=0)[0]:.2f}",
            f"{np.mean(values, axis=0)[1]:.2f}",
            f"{np.mean(values, axis=0)[2]:.2f}",
            f"{np.max(values, axis=0)[2]:.2f}",
            f"{np.mean(values, axis=0)[3]:.2f}",
            f"{np.median(seconds[title]):.2f}" if title in seconds else "",
        )
        for title, values in found.items()
    ]
    print(f"\n{len(spreads)} draws of {given.rows} rows of {', '.join(given.targets)}; points of the main metric\n")
    print(markdown_table(TABLE, cells, names=1))
    print(f"\na source drawn at random: regret at 1 {np.mean(spreads):.2f}")
    features = np.median(seconds["features"])
    print(f"probe, logme and h-score share the features: {features:.2f} seconds a source")


if __name__ == "__main__":
    main()
