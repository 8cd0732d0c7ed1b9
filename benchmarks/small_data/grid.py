"""The comparison on small data: every method on the same few rows of the same targets, `--part` by part.

    python -m benchmarks.small_data.grid --data DIR --out runs/small [--part 0/2] [--stage main] [--draws 5]
    python -m benchmarks.small_data.grid --data DIR --out runs/small --export     writes runs/small/drawn for SetFit
    python -m benchmarks.small_data.grid --data DIR --out runs/small --score      SetFit's predictions to records
    python -m benchmarks.small_data.report --runs runs/small/runs --out benchmarks/small_data --docs docs

A cell is a target, a number of rows k and a draw: k training rows and k dev rows of what the suite trains and develops
on, classes in balance (`scalearn.tasks.few_shot`), and at most `SCORED` rows of its test split. All methods see the
same rows and start from the same seed, the draw. Sources are the builtin shelf without the target's own. Everything is
trained by the protocol for small data, whose defaults were chosen on the development targets alone.

Every run is a record of its own in `--out`/runs; the same command goes on where it stopped. Runs that results.csv has
are not repeated either (`--known`), so that the comparison can be finished elsewhere. Two commands with ``--part 0/2``
and ``--part 1/2`` share the work.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.small_data.records import Record, read_csv
from benchmarks.small_data.targets import AFTER, DEVELOPMENT, EVERY, TARGETS
from scalearn.atomic import write_text
from scalearn.errors import InputError
from scalearn.methods import changed, method_from_name, recipe_for, suited
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import BUILTIN
from scalearn.tasks import Task, few_shot, load_task
from scalearn.tasks.splits import LABEL, TEXTS
from scalearn.training import train

ROWS = (100, 500, 16, 32)
"""In the order in which they are run."""
SCORED = 300
KNOWN = Path(__file__).parent / "results.csv"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A method as it is compared."""

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    top_sources: int | None = None
    rates: tuple[float, ...] = ()
    """Learning rates that are all tried, the best chosen on dev rows; empty takes the protocol's."""


ARMS: Mapping[str, Arm] = {
    **{name: Arm(method=name) for name in ("head", "adapter", "full", "best-source", "uniform-average", "lorahub")},
    "adapterfusion": Arm(method="adapterfusion"),
    "adapterfusion-rates": Arm(method="adapterfusion", rates=(1e-4, 3e-4, 1e-3, 3e-3)),
    **{name: Arm(method=name) for name in ("scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++")},
    "scalearn-rank": Arm(method="scalearn", top_sources=3),
    "scalearn-sparse": Arm(method="scalearn", options={"keep": 3}),
}
STAGES: Mapping[str, tuple[str, ...]] = {
    "main": ("scalearn", "adapter", "adapterfusion", "best-source", "uniform-average", "head"),
    "others": (
        *("full", "scalearn-uniform", "scalearn++", "scalearn-uniform++", "scalearn-rank", "scalearn-sparse"),
        *("lorahub", "adapterfusion-rates"),
    ),
}


def drawn(name: str, *, data: Path, k: int, draw: int) -> Task:
    """A target with k rows to train, k to choose by and at most `SCORED` to score on as ``test``.

    Of a target of development, the rows to score on are of its own dev split: its test split is not looked at either.

    Raises:
        InputError: its training split has fewer than 2 k rows.
    """
    task = _loaded(name, data)
    development = name in DEVELOPMENT
    test = task.splits["dev" if development else "test"]
    pool = {"train": task.splits["train"], "dev": task.splits["dev"].select([]) if development else task.splits["dev"]}
    few = few_shot(replace(task, splits=pool), k=k, seed=draw)
    return replace(few, splits={**few.splits, "test": test.select(range(min(SCORED, len(test))))})


@cache
def _loaded(name: str, data: Path) -> Task:
    return load_task(name, data=data)


def shelf_for(task: Task) -> Shelf:
    """The builtin shelf without sources of the target's own data."""
    whole = Shelf(BUILTIN)
    return whole.without(source.name for source in whole if task.name in (source.name, source.task.get("name")))


def trained(task: Task, arm: Arm, *, k: int, draw: int) -> dict[str, Any]:
    """What a method makes of a draw: the fields of its record that depend on it."""
    started = time.perf_counter()
    method = suited(method_from_name(arm.method, **arm.options), "small", rows=k)
    recipe = recipe_for(method, "small", rows=k, kind=task.kind)
    tried = []
    for rate in arm.rates or (recipe.learning_rate,):
        model = TransferModel.from_backbone(
            task=task,
            method=method,
            sources=shelf_for(task) if method.stage == "transfer" else None,
            top_sources=arm.top_sources,
            seed=draw,
        )
        result = train(model, recipe=changed(recipe, {"learning_rate": rate}), seed=draw, progress=False)
        tried.append((result.metrics["dev"][task.main_metric], rate, result))
    dev, rate, result = max(tried, key=lambda one: one[0])  # of equal ones the first, the smallest rate
    counts = model.parameter_counts()
    return {
        "score": 100 * result.metrics["test"][task.main_metric],
        "dev": 100 * dev,
        "parameters": counts["method"],
        "total": counts["total"],
        "seconds": time.perf_counter() - started,
        "steps": sum(one.steps for _, _, one in tried),
        "best_step": result.best_step,
        "rate": rate,
        "sources": [source.name for source in model.sources],
        "starts": list(getattr(model.method, "starts", ())),
    }


def about(task: Task, name: str, *, k: int, draw: int) -> dict[str, Any]:
    """The fields of a record that its cell decides."""
    pair = len(task.text) == 2 and task.kind != "multiple-choice"
    return {
        "target": name,
        "kind": task.kind,
        "pair": pair,
        "development": name in DEVELOPMENT,
        "k": k,
        "draw": draw,
    }


def run(name: str, arm: str, *, k: int, draw: int, given: argparse.Namespace) -> None:
    """Trains a method on a cell and keeps the record, unless it is there."""
    path = given.out / "runs" / f"{name}-{k}-{draw}-{arm}.json"
    if path.exists() or (name, k, draw, arm) in given.done:
        return
    task = drawn(name, data=given.data, k=k, draw=draw)
    found = {**about(task, name, k=k, draw=draw), "method": arm, **trained(task, ARMS[arm], k=k, draw=draw)}
    Record.model_validate(found)
    write_text(path, json.dumps(found, indent=1) + "\n")
    print(
        f"{name} {k} {draw} {arm}: {found['score']:.1f} (dev {found['dev']:.1f}), best step {found['best_step']} of "
        f"{found['steps']}, {found['seconds']:.0f} s",
        flush=True,
    )


def export(name: str, *, k: int, draw: int, given: argparse.Namespace) -> None:
    """Writes a cell's rows for SetFit, in its own environment."""
    path = given.out / "drawn" / f"{name}-{k}-{draw}.json"
    task = drawn(name, data=given.data, k=k, draw=draw)
    facts = {**about(task, name, k=k, draw=draw), "metric": task.main_metric, "labels": list(task.labels)}
    write_text(path, json.dumps({**facts, **{split: told(rows) for split, rows in task.splits.items()}}) + "\n")


def told(rows: Any) -> dict[str, list[Any]]:
    """Texts, N lists of one or two, and labels of N rows."""
    columns = [rows[column][:] for column in TEXTS if column in rows.column_names]
    texts, labels = [list(each) for each in zip(*columns, strict=True)], list(rows[LABEL][:])
    assert len(texts) == len(labels)
    return {"texts": texts, "labels": labels}


def score(path: Path, *, given: argparse.Namespace) -> None:
    """Makes a record of SetFit's predictions, by the metrics of the other methods."""
    made = json.loads(path.read_text(encoding="utf-8"))
    if "score" in made:
        return
    task = drawn(made["target"], data=given.data, k=made["k"], draw=made["draw"])
    predicted = np.asarray(made["predictions"])
    gold = np.asarray(task.splits["test"]["label"][:])
    source = given.out / "drawn" / path.name.replace("-setfit.json", ".json")
    same = hashlib.sha256(source.read_bytes()).hexdigest() == made["data"]
    if not same or json.loads(source.read_text(encoding="utf-8"))["test"] != told(task.splits["test"]):
        raise InputError(f"{path} is of other rows than are drawn now: export them, remove it, and run SetFit again")
    if predicted.shape != gold.shape:
        raise InputError(f"{path} has predictions {predicted.shape} for labels {gold.shape}: run it again")
    metrics = task.score(gold, predicted)
    found = {
        **about(task, made["target"], k=made["k"], draw=made["draw"]),
        "method": "setfit",
        "score": 100 * metrics[task.main_metric],
        "parameters": made["parameters"],
        "total": made["parameters"],
        "seconds": made["seconds"],
        "steps": made["steps"],
    }
    Record.model_validate(found)
    write_text(path, json.dumps({**made, **found}) + "\n")


def cells(given: argparse.Namespace) -> Iterator[tuple[int, int, str]]:
    """Draw, k and target, in the order in which they are run."""
    for k, draw, name in itertools.product(given.rows, range(given.draws), given.targets):
        splits = _loaded(name, given.data).splits
        if len(splits["train"]) + (0 if name in DEVELOPMENT else len(splits["dev"])) >= 2 * k:
            yield draw, k, name


def main() -> None:
    """Runs what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", default=(*TARGETS, *AFTER), choices=EVERY)
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--stage", choices=STAGES, default="main")
    parser.add_argument("--methods", nargs="+", choices=ARMS, help="instead of a stage")
    parser.add_argument("--part", default="0/1", help="which part of how many, 0/2 and 1/2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--known", type=Path, default=KNOWN, help="a results.csv whose runs are done")
    parser.add_argument("--export", action="store_true")
    parser.add_argument("--score", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    (given.out / "runs").mkdir(parents=True, exist_ok=True)
    if given.score:
        for path in sorted((given.out / "runs").glob("*-setfit.json")):
            score(path, given=given)
        return
    if given.export:
        (given.out / "drawn").mkdir(exist_ok=True)
        for draw, k, name in cells(given):
            export(name, k=k, draw=draw, given=given)
        return
    given.done = {record.cell for record in read_csv(given.known)} if given.known.is_file() else set()
    part, parts = map(int, given.part.split("/"))
    for index, (draw, k, name) in enumerate(cells(given)):
        if index % parts == part:
            for arm in given.methods or STAGES[given.stage]:
                run(name, arm, k=k, draw=draw, given=given)


if __name__ == "__main__":
    main()
