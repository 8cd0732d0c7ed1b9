"""A made-up experiment on disk, as a grid leaves it, and pages of it."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scalearn.experiments.expansion import plan_of
from scalearn.experiments.outcome import Failure, Outcome
from scalearn.experiments.plan import RunSpec
from scalearn.experiments.recipe_file import experiment_from
from scalearn.experiments.report_page import write_report_page
from scalearn.experiments.results import Results, open_folder
from scalearn.experiments.scoreboard import boards
from scalearn.experiments.store import Place, keep_failure

TRANSFER = ["adapterfusion", "scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++"]
EXAMPLE: dict[str, Any] = {
    "name": "small-transfer",
    "backbones": "minilm",
    "tasks": ["rte", "mrpc", "cb"],
    "methods": ["head", "adapter", *TRANSFER],
    "sources": {"tasks": ["mnli", "qqp", "sst2", "cola", "rte"]},
    "changes": {"epochs": 8},
    "seeds": 3,
}
LEVEL = {"rte": 0.61, "mrpc": 0.72, "cb": 0.74, "mnli": 0.71, "qqp": 0.8, "sst2": 0.88, "cola": 0.35}
GAIN = {"head": -0.06, "adapter": -0.02, "adapterfusion": 0.01, "scalearn": 0.035, "scalearn++": 0.03}
TRAINED = {
    "head": 0,
    "adapter": 447_264,
    "adapterfusion": 2_663_424,
    "scalearn": 11_520,
    "scalearn-uniform": 30,
    "scalearn++": 1_920,
    "scalearn-uniform++": 5,
}
LABELS = {"cb": ["entailment", "contradiction", "neutral"], "mrpc": ["different", "same"]}
LAYERS = 6
Made = Callable[..., Path]


class Invented:
    """What a run gave, the same for the same run."""

    def __init__(self, run: RunSpec, *, evaluations: int = 8, rows: int = 60) -> None:
        self.run, self.evaluations, self.rows = run, evaluations, rows
        self.random = np.random.default_rng(int(run.id, 16))
        self.steps = 16 * evaluations
        self.best = 16 * max(1, evaluations - 2)

    def accuracy(self, task: str) -> float:
        few = 0.0 if self.run.draw.k is None else 0.05 * math.log2(self.run.draw.k / 128)
        gain = GAIN.get(self.run.method.name, 0.02) + few
        return float(np.clip(LEVEL.get(task, 0.6) + gain + self.random.normal(0, 0.012), 0.05, 0.99))

    def history(self) -> list[dict[str, Any]]:
        count = len(self.run.sources)
        pull = self.random.normal(0, 0.35, size=(LAYERS, count))
        entries: list[dict[str, Any]] = []
        for place in range(self.evaluations + 1):
            step, done = 16 * place, 1 - math.exp(-place / 3)
            omega = 2 / count + done * pull * 2 / count if count else None
            if omega is not None and "++" in self.run.method.name:
                omega = np.repeat(omega[:1], LAYERS, axis=0)
            scaled = {"omega": omega.round(5).tolist()} if "scalearn" in self.run.method.name and count else {}
            if place == 0:
                entries += [{"step": 0, "epoch": 0.0, **scaled}] if scaled else []
                continue
            loss = 0.35 + 0.35 * math.exp(-place / 3)
            entries.append({"step": step, "epoch": float(place), "loss": loss + float(self.random.normal(0, 0.01))})
            dev = {f"eval_{metric}": self.accuracy(self.run.tasks[0]) for metric in ("accuracy", "f1")}
            entries.append(
                {"step": step, "epoch": float(place), "eval_loss": loss + 0.05 + 0.004 * place, **dev, **scaled}
            )
        return [*entries, {"step": self.steps, "train_runtime": 12.5, "train_loss": 0.5}]

    def predictions(self) -> pd.DataFrame:
        lines = []
        for task in self.run.tasks:
            names = LABELS.get(task, ["entailment", "not_entailment"])
            for split in ("dev", "test"):
                for row in range(self.rows):
                    if task == "stsb":
                        score = float(self.random.uniform(0, 5))
                        lines.append(
                            (task, split, row, f"{score:.6g}", f"{score + 0.1 * row:.6g}", [score + 0.1 * row])
                        )
                        continue
                    logits = self.random.normal(0, 1.5, len(names)).astype(np.float32)
                    answer = int(logits.argmax())
                    label = answer if self.random.random() < LEVEL.get(task, 0.6) else (answer + 1) % len(names)
                    lines.append((task, split, row, names[label], names[answer], logits))
        return pd.DataFrame(lines, columns=["task", "split", "row", "label", "prediction", "logits"])

    def outcome(self, **changes: Any) -> Outcome:
        name, tasks = self.run.method.name, self.run.tasks
        trained = {"method": TRAINED.get(name, 1000), "head": 148_995}
        fields: dict[str, Any] = {
            "rows": {task: {"train": 128, "dev": self.rows, "test": self.rows} for task in tasks},
            "metrics": {
                task: {
                    split: {"accuracy": self.accuracy(task), "accuracy_stderr": 0.028, "f1": 0.7, "loss": 0.61234}
                    for split in ("dev", "test")
                }
                for task in tasks
            },
            "main": dict.fromkeys(tasks, "accuracy"),
            "parameters": {**trained, "total": sum(trained.values())},
            "best_step": self.best,
            "steps": self.steps,
            "seconds": 20 + 10 * float(self.random.random()),
            "tokens_per_second": None if name == "head" else 1500 + 200 * float(self.random.random()),
            "peak_memory": 0.91,
            "bytes": 4 * sum(trained.values()),
            "versions": {"python": "3.11.2", "torch": "2.13.0", "transformers": "5.23.0"},
            "commit": "e27a545",
            "machine": {"platform": "Linux", "processor": "Xeon", "cores": 2, "threads": 1, "memory": 8.0, "gpu": ""},
            "finished": "2026-11-24T12:00:00.000",
            "model": "",
        }
        return Outcome(**{**fields, **changes})


def leave(runs: Path, run: RunSpec, invented: Invented, **changes: Any) -> Place:
    """Writes a finished run."""
    key = {
        "id": run.id,
        "run": run.describe(),
        "method": [run.method.name, run.method.model_dump(mode="json")],
        "recipe": run.recipe.model_dump(mode="json"),
        "seed": run.seed,
        "task": hashlib.sha256(" ".join(run.tasks).encode()).hexdigest(),
        "backbone": [run.backbone, "9f" * 32],
        "sources": [hashlib.sha256(name.encode()).hexdigest() for name in run.source_names],
        "device": "cpu",
        "precision": "float32",
        "version": "0.1.0",
    }
    place = Place.of(runs, key)
    place.folder.mkdir(parents=True)
    (place.folder / "history.json").write_text(json.dumps(invented.history()))
    invented.predictions().to_parquet(place.folder / "predictions.parquet", index=False)
    place.write_result(place.folder, invented.outcome(**changes), key=key)
    return place


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Makes an experiment and its page; `change` says what a run left: fields of its outcome, a failure, or None."""

    def made(
        fields: dict[str, Any] | None = None,
        *,
        change: Callable[[RunSpec], dict[str, Any] | Failure | None] = lambda run: {},
        **invention: int,
    ) -> Path:
        return make(tmp_path_factory.mktemp("experiment"), {**EXAMPLE, **(fields or {})}, change, **invention)

    return made


def make(
    folder: Path,
    fields: dict[str, Any],
    change: Callable[[RunSpec], dict[str, Any] | Failure | None] = lambda run: {},
    **invention: int,
) -> Path:
    """An experiment's folder with its runs, and the page in it."""
    plan = plan_of(experiment_from(fields, where="made up"))
    runs = open_folder(folder, plan.asked)
    for run in plan.runs:
        found = change(run)
        if isinstance(found, Failure):
            keep_failure(runs, run, found)
        elif found is not None:
            leave(runs, run, Invented(run, **invention), **found)
    results = Results.read(folder)
    write_report_page(folder / "report.html", results, boards(results))
    return folder / "report.html"


def unfinished(run: RunSpec) -> dict[str, Any] | Failure | None:
    """What a grid looks like on its way: one run failed, two are not done."""
    if run.method.name == "adapterfusion" and run.tasks == ("cb",):
        if run.seed == 1:
            return Failure(
                error="RuntimeError: out of memory", traceback="Traceback (most recent call last):\n  <b>boom</b>"
            )
        return {} if run.seed == 0 else None
    if run.method.name == "head" and run.tasks == ("cb",):
        return None
    return {"unpublished": {"cb": {"train": [200, 250]}}} if run.tasks == ("cb",) else {}


@pytest.fixture(scope="session")
def example(made: Made) -> Path:
    """The page of a grid on its way."""
    return made(change=unfinished)


@pytest.fixture(scope="session")
def large(made: Made) -> Path:
    """The page of 234 runs over 14 sources, each evaluated 40 times."""
    tasks = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
    sources = [*tasks, "boolq", "cb", "copa", "wic", "wsc", "multirc"]
    methods = ["lora", {"name": "scalearn", "options": {"init_scale": 1.0}}, *EXAMPLE["methods"]]
    return made({"tasks": tasks, "sources": {"tasks": sources}, "methods": methods}, evaluations=40, rows=10)
