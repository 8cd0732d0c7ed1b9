"""A question asked in each of the four ways, a source that knows its answer, and one of noise."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from scalearn.backbones import Backbone
from scalearn.methods import Adapter, Recipe
from scalearn.model import TransferModel
from scalearn.ranking import TaskEvidence
from scalearn.sources import Source
from scalearn.tasks import Task
from scalearn.training import train

FILLER = ("the", "film", "was", "very", "and", "long", "short", "a", "b", "c")
COUNT = 80
KINDS = ("classification", "regression", "multi-label", "multiple-choice")


def texts_and_truths() -> list[tuple[str, bool]]:
    """Rows of filler, half of them with "good" and half with "bad" somewhere."""
    chance = random.Random(1)
    rows = []
    for index in range(COUNT):
        words = [chance.choice(FILLER) for _ in range(chance.randint(3, 8))]
        words.insert(chance.randint(0, len(words)), ("bad", "good")[index % 2])
        rows.append((" ".join(words), bool(index % 2)))
    return rows


@pytest.fixture(scope="session")
def task_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Task]:
    """From a kind to its task; multi-label has a second label that is noise."""

    @cache
    def make(kind: str) -> Task:
        chance = random.Random(2)
        choices = ("one", "two") if kind == "multiple-choice" else ()
        rows: list[list[Any]] = []
        for text, good in texts_and_truths():
            if kind == "multiple-choice":
                worse = text.replace("good", "bad")
                better = text.replace("bad", "good")
                rows.append(["the film", *([worse, better] if good else [better, worse]), int(good)])
            elif kind == "multi-label":
                rows.append([text, ";".join(["praise"] * good + ["noise"] * (chance.random() < 0.5))])
            elif kind == "regression":
                rows.append([text, f"{2.0 * good + chance.random() / 10:.4f}"])
            else:
                rows.append([text, "yes" if good else "no"])
        path = tmp_path_factory.mktemp("kinds") / f"{kind}.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", *choices, "label"])
            writer.writerows(rows)
        given: dict[str, Any] = {"choices": choices} if choices else {"kind": kind}
        return Task.from_files(path, text="text", label="label", name="ours", **given)

    return make


@pytest.fixture(scope="session")
def target(task_of: Callable[[str], Task]) -> Task:
    return task_of("classification")


@pytest.fixture(scope="session")
def informed(target: Task, tiny_backbone: str) -> Source:
    """A source that was trained on the target itself, until it knew it."""
    model = TransferModel.from_backbone(tiny_backbone, task=target, method=Adapter(bottleneck=8))
    recipe = Recipe(learning_rate=1e-2, head_learning_rate=1e-2, epochs=80, patience=80, backbone_dropout=False)
    train(model, recipe=recipe, progress=False)
    return model.to_source(name="informed", metrics={}, provenance={})


@pytest.fixture
def noise(backbone: Backbone, make_source: Callable[..., Source]) -> Source:
    """A source of random weights, large enough to drown what the backbone sees."""
    source = make_source("noise", backbone, seed=3)
    return replace(source, tensors={key: 10 * value for key, value in source.tensors.items()})


@pytest.fixture
def evidence(backbone: Backbone, target: Task, noise: Source, informed: Source) -> TaskEvidence:
    return TaskEvidence(backbone, task=target, sources=[noise, informed], seed=0)
